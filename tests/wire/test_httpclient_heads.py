"""Response heads: what real origins send is read; what could be read in two ways is not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.raworigin import (
    OK,
    Peer,
    ask,
    client,
    keeps,
    on_both_loops,
    outcome,
    read,
    replies,
    serving,
)
from vary_proxy.core.message import Fields, Response
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpreader import Limits, head_end, read_framing, read_head

LIMITS = Limits()


@pytest.mark.parametrize(
    ("wire", "head"),
    [
        pytest.param(b"HTTP/1.1 200 OK", (200, b"OK"), id="plain"),
        pytest.param(b"HTTP/1.1 200 ", (200, b""), id="empty reason"),
        pytest.param(b"HTTP/1.1 200", (200, b""), id="no reason and no space"),
        pytest.param(b"HTTP/1.1 999 Request denied", (999, b"Request denied"), id="999"),
        pytest.param(b"HTTP/1.1 299 Custom", (299, b"Custom"), id="custom status"),
        pytest.param(b"HTTP/1.1 404 n\xe4h \xff", (404, b"n\xe4h \xff"), id="obs-text reason"),
        pytest.param(b"HTTP/1.1 200  padded ", (200, b"padded"), id="padded reason"),
        pytest.param(b"HTTP/1.1 200 \x01bell\x07", (200, b""), id="controls in the reason"),
        pytest.param(b"HTTP/1.0 200 OK", (200, b"OK"), id="HTTP/1.0"),
        pytest.param(b"HTTP/1.2 200 OK", (200, b"OK"), id="later minor version"),
    ],
)
def test_status_lines(wire: bytes, head: tuple[int, bytes]) -> None:
    response, _ = read_head(wire + b"\r\n\r\n", LIMITS)
    assert (response.status, response.reason) == head


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        pytest.param(b"X-Name: v", [(b"x-name", b"v")], id="lower case inside"),
        pytest.param(
            b"a:1\r\nA: 2\r\nb:3\r\na:4",
            [(b"a", b"1"), (b"a", b"2"), (b"b", b"3"), (b"a", b"4")],
            id="order and repetition",
        ),
        pytest.param(b"a:", [(b"a", b"")], id="empty value"),
        pytest.param(b"a:   \t ", [(b"a", b"")], id="blank value"),
        pytest.param(b"a: \t v \t ", [(b"a", b"v")], id="white space around"),
        pytest.param(b"a:v:w", [(b"a", b"v:w")], id="colon in the value"),
        pytest.param(b"a: \x80\xff\xe9", [(b"a", b"\x80\xff\xe9")], id="obs-text"),
        pytest.param(b"a: x\x0b\x0c\x1by", [(b"a", b"x\x0b\x0c\x1by")], id="controls kept"),
        pytest.param(b"a: \xa0v\x85", [(b"a", b"\xa0v\x85")], id="only SP and HTAB are trimmed"),
        pytest.param(b"a : v", [(b"a", b"v")], id="9112-5.1 space before the colon"),
        pytest.param(b"a\t: v", [(b"a", b"v")], id="9112-5.1 tab before the colon"),
        pytest.param(b"a: v\r\n w", [(b"a", b"v w")], id="9112-5.2 folded"),
        pytest.param(
            b"a: v \r\n \t w\r\n\tx\r\nb: 1",
            [(b"a", b"v w x"), (b"b", b"1")],
            id="9112-5.2 folded twice",
        ),
        pytest.param(
            b"x_y: 1\r\n!#$%&'*+-.^_`|~: 2",
            [(b"x_y", b"1"), (b"!#$%&'*+-.^_`|~", b"2")],
            id="any token",
        ),
        pytest.param(b"X[1]: 1\r\na: 2", [(b"a", b"2")], id="a name that is no token is dropped"),
        pytest.param(b"X Y: 1\r\na: 2", [(b"a", b"2")], id="space in a name: dropped"),
        pytest.param(b"Caf\xe9: 1\r\na: 2", [(b"a", b"2")], id="obs-text in a name: dropped"),
        pytest.param(
            b"\r\n".join(b"f%d: v" % n for n in range(1000)),
            [(b"f%d" % n, b"v") for n in range(1000)],
            id="a thousand fields",
        ),
    ],
)
def test_field_lines(wire: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    block = b"HTTP/1.1 200 OK\r\n" + wire + b"\r\n\r\n"
    for _ in range(2):  # names are remembered
        response, _ = read_head(block, LIMITS)
        assert response.fields.items == tuple(fields)


UNREADABLE = [
    pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="HTTP/2.0"),
    pytest.param(b"HTTP/0.9 200 OK\r\n\r\n", id="HTTP/0.9"),
    pytest.param(b"HTTP/1.10 200 OK\r\n\r\n", id="two digits of version"),
    pytest.param(b"http/1.1 200 OK\r\n\r\n", id="lower-case version"),
    pytest.param(b"ICY 200 OK\r\n\r\n", id="ICY"),
    pytest.param(b"HTTP/1.1\r\n\r\n", id="no status"),
    pytest.param(b"HTTP/1.1 \r\n\r\n", id="empty status"),
    pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="status of two digits"),
    pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status of four digits"),
    pytest.param(b"HTTP/1.1 099 OK\r\n\r\n", id="status below 100"),
    pytest.param(b"HTTP/1.1 +20 OK\r\n\r\n", id="signed status"),
    pytest.param(b"HTTP/1.1 200OK\r\n\r\n", id="no space after the status"),
    pytest.param(b"HTTP/1.1  200 OK\r\n\r\n", id="two spaces before the status"),
    pytest.param(b"HTTP/1.1\t200 OK\r\n\r\n", id="tab before the status"),
    pytest.param(b" HTTP/1.1 200 OK\r\n\r\n", id="space before the version"),
    pytest.param(b"\r\nHTTP/1.1 200 OK\r\n\r\n", id="empty line first"),
    pytest.param(b"\r\n\r\n", id="nothing but an empty line"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
    pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="TLS alert"),
    pytest.param(b"<html>", id="HTTP/0.9 body"),
    pytest.param(b"HTTP/1.1 200 OK\n\n", id="bare LF everywhere"),
    pytest.param(b"HTTP/1.1 200 OK\r\na: 1\nb: 2\r\n\r\n", id="bare LF after a field"),
    pytest.param(b"HTTP/1.1 200 OK\r\na: 1\n\r\n\r\n", id="bare LF before the end"),
    pytest.param(b"HTTP/1.1 200 OK\ra: 1\r\n\r\n", id="bare CR in the status line"),
    pytest.param(b"HTTP/1.1 200 OK\r\na: 1\rb: 2\r\n\r\n", id="bare CR in a value"),
    pytest.param(b"HTTP/1.1 200 OK\r\na: 1\r\r\n\r\n", id="CR CR LF"),
    pytest.param(b"HTTP/1.1 200 O\0K\r\n\r\n", id="NUL in the reason"),
    pytest.param(b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n", id="NUL in a value"),
    pytest.param(b"HTTP/1.1 200 OK\r\na\0: 1\r\n\r\n", id="NUL in a name"),
    pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", id="no colon"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntoken\r\n\r\n", id="no colon after a token"),
    pytest.param(b"HTTP/1.1 200 OK\r\n: v\r\n\r\n", id="empty name"),
    pytest.param(b"HTTP/1.1 200 OK\r\n \r\n\r\n", id="blank line"),
    pytest.param(b"HTTP/1.1 200 OK\r\n a: 1\r\n\r\n", id="folded first line"),
    pytest.param(b"HTTP/1.1 200 OK\r\na\x0b: 1\r\n\r\n", id="control in a name"),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="101 that nobody asked for"),
]


@pytest.mark.parametrize("wire", UNREADABLE)
@on_both_loops
async def test_an_unreadable_head_is_a_failure_at_once(wire: bytes) -> None:
    async with serving(keeps(wire), replies(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == "http_protocol_error"
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


FRAMINGS = [
    pytest.param(b"Content-Length: 2\r\nTransfer-Encoding: chunked", id="both"),
    pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 2", id="both, other order"),
    pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: x", id="both, one malformed"),
    pytest.param(b"Content-Length: 2\r\nContent-Length: 3", id="two lengths"),
    pytest.param(b"Content-Length: 2, 3", id="two lengths in one line"),
    pytest.param(b"Content-Length: 2, x", id="a length and something else"),
    pytest.param(b"Content-Length: 2,", id="a length and a comma"),
    pytest.param(b"Content-Length: 2\r\nContent-Length:", id="a length and an empty line"),
    pytest.param(b"Content-Length:", id="empty length"),
    pytest.param(b"Content-Length: +2", id="plus"),
    pytest.param(b"Content-Length: -2", id="minus"),
    pytest.param(b"Content-Length: 0x2", id="hexadecimal"),
    pytest.param(b"Content-Length: 2.0", id="decimal point"),
    pytest.param(b"Content-Length: 2_0", id="underscore"),
    pytest.param(b"Content-Length: 2 0", id="space inside"),
    pytest.param(b"Content-Length: 2\x0b", id="vertical tab"),
    pytest.param(b"Content-Length: \xb2", id="superscript two"),
    pytest.param(b"Content-Length: \xd9\xa2", id="arabic two"),
    pytest.param(b'Content-Length: "2"', id="quoted"),
    pytest.param(b"Content-Length: 9223372036854775808", id="2**63"),
    pytest.param(b"Content-Length: 99999999999999999999999999", id="huge"),
    pytest.param(b"Content-Length: 2, 00000000000000000000000000000003", id="a long other one"),
    pytest.param(b"Content-Length : 2", id="space before the colon"),
    pytest.param(b"Content-Length\t: 2", id="tab before the colon"),
    pytest.param(b"(Content-Length: 2", id="decorated name"),
    pytest.param(b"Content-Length\x80: 2", id="name with obs-text"),
    pytest.param(b"Content-Length:\r\n 2", id="folded length"),
    pytest.param(b"Content-Length: 2\r\n 0", id="length continued by folding"),
    pytest.param(b"Transfer-Encoding : chunked", id="TE: space before the colon"),
    pytest.param(b"Transfer-Encoding:\r\n chunked", id="TE: folded"),
    pytest.param(b"Transfer-Encoding: gzip", id="TE: gzip"),
    pytest.param(b"Transfer-Encoding: gzip, chunked", id="TE: gzip, chunked"),
    pytest.param(b"Transfer-Encoding: chunked, gzip", id="TE: chunked, gzip"),
    pytest.param(b"Transfer-Encoding: chunked, chunked", id="TE: chunked twice"),
    pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", id="TE: two lines"),
    pytest.param(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", id="TE: two codings"),
    pytest.param(b"Transfer-Encoding: identity", id="TE: identity"),
    pytest.param(b"Transfer-Encoding:", id="TE: empty"),
    pytest.param(b"Transfer-Encoding: xchunked", id="TE: xchunked"),
    pytest.param(b"Transfer-Encoding: chunked;q=1", id="TE: parameter"),
    pytest.param(b'Transfer-Encoding: "chunked"', id="TE: quoted"),
    pytest.param(b"Transfer-Encoding: chunked\x0b", id="TE: vertical tab"),
    pytest.param(b"Transfer-Encoding: \x00chunked", id="TE: NUL"),
]


@pytest.mark.parametrize("fields", FRAMINGS)
async def test_framing_that_can_be_read_in_two_ways_is_a_failure(fields: bytes) -> None:
    wire = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with serving(keeps(wire), replies(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == "http_protocol_error"
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


async def test_chunked_in_http_1_0_is_a_failure() -> None:
    wire = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with serving(keeps(wire)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == "http_protocol_error"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 2",
        b"Content-Length: 2, 2",
        b"Content-Length: 2,2\r\ncontent-length: 02",
        b"Content-Length: 0000000002",
    ],
)
async def test_one_length_said_in_several_ways_becomes_one(fields: bytes) -> None:
    """RFC 9110 §8.6: a repeated identical length is replaced by one."""
    wire = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nA: 1\r\n\r\nok"
    async with serving(keeps(wire)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert response.head.fields.items == ((b"content-length", b"2"), (b"a", b"1"))
        assert response.length == 2
        assert await read(response) == b"ok"


@pytest.mark.parametrize(
    ("minor", "connection", "persistent"),
    [
        (1, None, True),
        (1, b"keep-alive", True),
        (1, b"close", False),
        (1, b"Close", False),
        (1, b"x, close", False),
        (1, b"keep-alive, close", False),
        (1, b"closed", True),
        (0, None, False),
        (0, b"keep-alive", True),
        (0, b"Keep-Alive", True),
        (0, b"keep-alive, close", False),
    ],
)
def test_persistence(minor: int, connection: bytes | None, persistent: bool) -> None:
    """RFC 9112 §9.3."""
    fields = [(b"content-length", b"1")]
    if connection is not None:
        fields.append((b"connection", connection))
    _, framing = read_framing(Response(200, Fields(tuple(fields))), minor, b"GET")
    assert framing.persistent is persistent


@pytest.mark.parametrize(
    ("method", "status", "fields", "length", "persistent"),
    [
        (b"HEAD", 200, b"Content-Length: 99\r\n", 0, True),
        (b"HEAD", 200, b"Transfer-Encoding: chunked\r\n", 0, True),
        (b"HEAD", 200, b"", 0, True),
        (b"GET", 304, b"Content-Length: 99\r\n", 0, True),
        (b"GET", 304, b"", 0, True),
        (b"GET", 204, b"", 0, True),
        (b"GET", 204, b"Content-Length: 0\r\n", 0, True),
        (b"GET", 204, b"Content-Length: 5\r\n", 0, False),
        (b"GET", 204, b"Transfer-Encoding: chunked\r\n", 0, False),
        (b"GET", 205, b"Content-Length: 0\r\n", 0, True),
        (b"GET", 200, b"Content-Length: 0\r\n", 0, True),
        (b"head", 200, b"Content-Length: 9\r\n", 9, True),
        (b"GET", 200, b"", None, False),
    ],
)
def test_where_a_body_ends(
    method: bytes, status: int, fields: bytes, length: int | None, persistent: bool
) -> None:
    """RFC 9112 §6.3."""
    response, minor = read_head(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, fields), LIMITS)
    _, framing = read_framing(response, minor, method)
    assert (framing.length, framing.persistent) == (length, persistent)
    assert not framing.chunked


@on_both_loops
async def test_bodiless_responses_leave_the_connection_usable() -> None:
    wire = (
        b'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: "a"\r\n\r\n',
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK,
    )
    async with serving(keeps(*wire)) as origin, client(origin) as http:
        for method, status in ((b"GET", 304), (b"GET", 204), (b"HEAD", 200), (b"HEAD", 200)):
            response = await http.fetch(ask(method))
            assert (response.head.status, response.length) == (status, 0)
            assert not response.close_delimited
            assert await read(response) == b""
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 1


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@on_both_loops
async def test_a_head_may_arrive_in_pieces(size: int) -> None:
    wire = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK

    async def script(peer: Peer) -> None:
        await peer.head()
        for at in range(0, len(wire), size):
            await peer.send(wire[at : at + size])
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")


def test_head_end_wants_the_whole_head_and_no_more() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"
    for at in range(len(head)):
        assert head_end(head[:at], LIMITS) == -1
    assert head_end(head + b"HTTP/1.1 \n\n\0", LIMITS) == len(head)


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 200 + b"\r\n", "http_response_header_section_size"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 2000, "http_response_header_section_size"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"1" * 600 + b"\r\n\r\n", "http_response_header_size"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"1" * 700, "http_response_header_size"),
        (
            b"HTTP/1.1 103 Early\r\n" + b"A: 1\r\n" * 200 + b"\r\n",
            "http_response_header_section_size",
        ),
    ],
)
async def test_a_head_has_bounds(wire: bytes, error: str) -> None:
    async with serving(keeps(wire)) as origin:
        async with client(origin, max_head=1000, max_line=500) as http:
            with pytest.raises(OriginFailure) as failure:
                await http.fetch(ask())
        assert (failure.value.error, failure.value.status) == (error, 502)


async def test_a_head_up_to_its_bounds_is_read() -> None:
    line = b"A: " + b"1" * 497
    wire = b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n\r\n"
    limits = {"max_head": len(wire), "max_line": 500}
    async with serving(keeps(wire)) as origin, client(origin, **limits) as http:
        assert await outcome(http, ask()) == (204, b"")


@on_both_loops
async def test_interim_responses_are_passed_on_in_order() -> None:
    wire = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\nContent-Length: 5\r\n\r\n"
        b"HTTP/1.1 199\r\n\r\n" + OK
    )
    seen: list[Response] = []

    async def on_interim(response: Response) -> None:
        seen.append(response)

    async with serving(keeps(wire, wire, OK)) as origin, client(origin) as http:
        response = await http.fetch(ask(), None, on_interim)
        assert (response.head.status, await read(response)) == (200, b"ok")
        assert [(r.status, r.fields.get(b"link")) for r in seen] == [
            (103, b"</a.css>; rel=preload"),
            (102, None),
            (103, b"</b.css>; rel=preload"),
            (199, None),
        ]
        assert await outcome(http, ask()) == (200, b"ok")
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 1


async def test_an_interim_handler_that_fails_ends_the_exchange() -> None:
    async def on_interim(response: Response) -> None:
        raise RuntimeError("the client has left")

    wire = b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK
    async with serving(keeps(wire), replies(OK)) as origin, client(origin) as http:
        with pytest.raises(RuntimeError):
            await http.fetch(ask(), None, on_interim)
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


async def test_endless_interim_responses_are_a_failure() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100
    async with serving(keeps(hints)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == "http_protocol_error"


async def test_a_tunnel_is_never_opened() -> None:
    async with serving(keeps(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask(b"CONNECT", b"x:443")) == "http_protocol_error"


HEADS = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 ",
            b"200",
            b" OK",
            b"\r\n",
            b"\r",
            b"\n",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b"\xff",
        ]
        + [b"Content-Length", b"Transfer-Encoding", b"chunked", b"5", b"A: 1\r\n", b"Keep-Alive"]
    ),
    max_size=24,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(HEADS)
def test_any_head_is_read_or_refused_and_never_grows_lines(junk: bytes) -> None:
    with contextlib.suppress(OriginFailure):
        block = b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n"
        end = head_end(block, LIMITS)
        response, minor = read_head(block[:end], LIMITS)
        response, framing = read_framing(response, minor, b"GET")
        for name, value in response.fields.items:
            assert name == name.lower() != b""
            assert not set(b"\r\n\0") & set(name + value)
        assert len(response.fields.lines(b"content-length")) <= 1
        assert (framing.length is None) or not framing.chunked
