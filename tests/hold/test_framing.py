"""One message, one meaning: through the whole proxy, on both lanes, cold and primed.

Whatever a client tries, the origin reads exactly one unambiguous request or none, the client
gets one answer, and a doubtful connection is closed. A hit is held to the same rules.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.core.test_wire import REFUSED
from tests.hold.worlds import HOST, Asked, Front, Origin, front, get, responses, said
from tests.wire.rawclient import Client

SMUGGLED = get(b"/smuggled")
LIMITED = {"target too long", "too many fields", "long line", "long head"}
CODED = b"Transfer-Encoding: chunked"
ON_EACH_STORE = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: front.example", *fields, b"", b"")) + body


DOUBTFUL = [
    *((name, data + b"\r\n\r\n") for name, data, _ in REFUSED if name not in LIMITED),
    ("TE then CL, TE first", post(CODED, b"Content-Length: 4", body=b"0\r\n\r\n")),
    ("CL then TE, a hit", get(b"/", b"Content-Length: 0", CODED)),
    ("TE: xchunked", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    ("TE: chunked with a tab inside", post(b"Transfer-Encoding: \tchun\tked")),
    ("TE: comma", post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n")),
    ("TE: comma first", post(b"Transfer-Encoding: ,chunked", body=b"0\r\n\r\n")),
    ("TE: cow then chunked", post(b"Transfer-Encoding: cow", CODED, body=b"0\r\n\r\n")),
    ("TE: on a folded line", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    ("TE: name with a space", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    ("TE: name with NUL", post(b"Transfer-Encoding\0: chunked", body=b"0\r\n\r\n")),
    ("TE: behind a bare CR", post(b"X: x\rTransfer-Encoding: chunked", body=b"0\r\n\r\n")),
    ("TE: behind a bare LF", post(b"X: x\nTransfer-Encoding: chunked", body=b"0\r\n\r\n")),
    ("TE: vertical tab after", post(b"Transfer-Encoding: chunked\x0b", body=b"0\r\n\r\n")),
    ("TE: no-break space", post(b"Transfer-Encoding: chunked\xa0", body=b"0\r\n\r\n")),
    ("TE: in a GET with two", get(b"/", CODED, CODED)),
    ("CL: two alike", get(b"/", b"Content-Length: 0", b"Content-Length: 0")),
    ("CL: a list", get(b"/", b"Content-Length: 0, 0")),
    ("CL: a fraction", get(b"/", b"Content-Length: 0.0")),
    ("CL: an exponent", get(b"/", b"Content-Length: 1e1")),
    ("CL: with space before the colon", get(b"/", b"Content-Length : 5")),
    ("CL: minus nought", get(b"/", b"Content-Length: -0")),
    ("CL: plus nought", get(b"/", b"Content-Length: +0")),
    ("Host: twice, alike", get(b"/", b"Host: front.example")),
    ("Host: twice, another case", get(b"/", b"hOST: other.example")),
    ("Host: folded", b"GET / HTTP/1.1\r\nHost:\r\n front.example\r\n\r\n"),
    ("absolute form, other case of scheme", post(line=b"GET HTTP://other.example/ HTTP/1.1")),
    ("absolute form, https to another", post(line=b"GET https://other.example/ HTTP/1.1")),
    ("absolute form, at sign", post(line=b"GET http://front.example@other.example/ HTTP/1.1")),
    ("absolute form, backslash", post(line=b"GET http://front.example\\@evil/ HTTP/1.1")),
    ("two slashes", post(line=b"GET http:/front.example/ HTTP/1.1")),
    ("link-local, absolute", post(line=b"GET http://169.254.169.254/latest HTTP/1.1")),
    ("bare LF, whole head", b"GET / HTTP/1.1\nHost: front.example\n\n"),
    ("bare LF, at the end", b"GET / HTTP/1.1\r\nHost: front.example\r\n\n"),
    ("bare CR, whole head", b"GET / HTTP/1.1\rHost: front.example\r\r"),
    ("HTTP/0.9", b"GET /\r\n"),
    ("HTTP/0.9, then a head", b"GET /\r\nHost: front.example\r\n\r\n"),
    ("a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("a PROXY line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
]  # fmt: skip


async def everything(client: Client) -> bytes:
    """All that comes until the proxy has closed, in order or with a reset."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while more := await asyncio.wait_for(client.reader.read(1 << 16), 20):
            got += more
    return got


async def refused(edge: Front, before: bytes, data: bytes, count: int, *, misses: int = 0) -> None:
    """*data* behind *before* is answered once, with an error, and nothing after it.

    *before* are *count* requests, of which *misses* reach the origin.
    """
    asked = len(edge.origin.asked) + misses
    client = await edge.client()
    client.send(before, data, SMUGGLED)
    answers = responses(await everything(client))
    assert [one.status for one in answers[:-1]] == [200] * count
    assert len(answers) == count + 1
    assert 400 <= answers[-1].status < 600
    assert answers[-1]["cache-control"] == "no-store"
    assert b"/smuggled" not in b"".join(one.head for one in edge.origin.asked)
    assert len(edge.origin.asked) == asked
    assert edge.origin.unclear == []


@LANES
@pytest.mark.parametrize(("name", "data"), [pytest.param(*row, id=row[0]) for row in DOUBTFUL])
async def test_what_is_doubtful_reaches_nobody(name: str, data: bytes, fast: bool) -> None:
    async with front(fast=fast) as edge:
        await refused(edge, b"", data, 0)
        await refused(edge, get(b"/cold"), data, 1, misses=1)
        edge.origin.asked.clear()
        await edge.primed()
        assert len(edge.origin.asked) == 1
        await refused(edge, b"", data, 0)
        await refused(edge, get(), data, 1)
        await refused(edge, get() + get(), data, 2)
        assert (await edge.get()).status == 200  # the stored response is unharmed
        assert len(edge.origin.asked) == 1


@LANES
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"A : b",), id="space before the colon"),
        pytest.param((b"Content-Length: +3",), id="a bad length"),
        pytest.param((b"A: b", b"C: d\ne"), id="a bare LF, seen early"),
        pytest.param((b"Host: other.example",), id="two hosts"),
    ],
)
async def test_a_refused_head_request_is_answered_by_a_head_alone(
    fields: tuple[bytes, ...], fast: bool
) -> None:
    """What followed would be read as the beginning of the next response (RFC 9110 §9.3.2)."""
    async with front(fast=fast) as edge:
        for data in (
            get(b"/", *fields, method=b"HEAD"),
            b"\r\n" + get(b"/", *fields, method=b"HEAD"),
        ):
            client = await edge.client()
            client.send(get(b"/"), data)
            answers = responses(await everything(client), (b"GET", b"HEAD"))
            assert [one.status for one in answers] == [200, 400]


@ON_EACH_STORE
@LANES
async def test_behind_a_hit_nothing_doubtful_reaches_anybody(fast: bool) -> None:
    """The same through one proxy, whose hits come from each store."""
    async with front(fast=fast) as edge:
        site = b"Origin: https://a.example"
        await edge.primed()
        await edge.primed(b"/", site)
        for _, data in DOUBTFUL:
            await refused(edge, get(), data, 1)
            await refused(edge, get() + get(b"/", site), data, 2)
        assert (await edge.get()).status == 200
        assert len(edge.origin.asked) == 2


@ON_EACH_STORE
@LANES
async def test_a_doubtful_head_in_two_packets_is_no_less_doubtful(fast: bool) -> None:
    async with front(fast=fast) as edge:
        await edge.primed()
        for _, data in DOUBTFUL[::3]:
            for cut in (1, len(data) // 2, len(data) - 2, len(data) - 1):
                client = await edge.client()
                client.send(get())
                assert (await client.answer()).status == 200
                client.send(data[:cut])
                await client.writer.drain()
                await asyncio.sleep(0)
                client.send(data[cut:], SMUGGLED)
                answers = responses(await everything(client))
                assert len(answers) == 1
                assert answers[0].status >= 400
        assert len(edge.origin.asked) == 1


HEADED = post(CODED)
BROKEN_BODIES = [
    ("no size", b"\r\n"),
    ("space before the size", b" 3\r\nabc\r\n0\r\n\r\n"),
    ("space after the size", b"3 \r\nabc\r\n0\r\n\r\n"),
    ("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("underscore", b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
    ("sign", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("minus", b"-1\r\nabc\r\n0\r\n\r\n"),
    ("more than 64 bits", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("bare LF after the size", b"3\nabc\r\n0\r\n\r\n"),
    ("bare CR after the size", b"3\rabc\r\n0\r\n\r\n"),
    ("bare LF after the data", b"3\r\nabc\n0\r\n\r\n"),
    ("no line end after the data", b"3\r\nabc0\r\n\r\n"),
    ("data too long", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("bare LF in an extension", b"3;a\nx\r\nabc\r\n0\r\n\r\n"),
    ("bare CR in an extension", b"3;a\rx\r\nabc\r\n0\r\n\r\n"),
    ("NUL in an extension", b"3;\0\r\nabc\r\n0\r\n\r\n"),
    ("endless extension", b"3;" + b"x" * 100_000 + b"\r\nabc\r\n0\r\n\r\n"),
    ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("trailer without colon", b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    ("bare LF at the end", b"0\r\n\n"),
    ("endless trailers", b"0\r\n" + b"A: b\r\n" * 50_000),
]  # fmt: skip


@LANES
@pytest.mark.parametrize(("name", "data"), [pytest.param(*row, id=row[0]) for row in BROKEN_BODIES])
async def test_a_broken_body_is_never_a_request(name: str, data: bytes, fast: bool) -> None:
    async with front(fast=fast) as edge:
        await edge.primed()
        for before in (b"", get()):
            client = await edge.client()
            client.send(before, HEADED, data, SMUGGLED)
            answers = responses(await everything(client))
            assert [one.status for one in answers[:-1]] == [200] * bool(before)
            assert answers[-1].status in (400, 413, 431, 502)
        # The origin reads no request in it: at most a beginning, and then that its sender left.
        assert [one.target for one in edge.origin.asked] == [b"/"]
        assert edge.origin.unclear == []
        begun = [one.split(b" HTTP/", 1)[0] for one in edge.origin.broken_off]
        assert set(begun) <= {b"POST /"}


FIVE = b"Content-Length: 5"
ONE = b"1\r\na\r\n0\r\n\r\n"
ODD_BUT_CLEAR = [
    ("empty line first", b"\r\n" + get(), b""),
    ("GET with a body", get(b"/", b"Content-Length: 5") + b"12345", b"12345"),
    ("GET with chunks", get(b"/", CODED) + b"5\r\n12345\r\n0\r\n\r\n", b"12345"),
    ("a request as a body", get(b"/", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, SMUGGLED),
    ("leading zeros", post(b"Content-Length: 0005", body=b"12345"), b"12345"),
    ("white space around", post(b"Content-Length: \t 5 \t", body=b"12345"), b"12345"),
    ("coding in capitals", post(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"), b""),
    ("size in capitals", post(CODED, body=b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    ("extensions", post(CODED, body=b'3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n'), b"abc"),
    ("leading zeros of a size", post(CODED, body=b"0003\r\nabc\r\n000\r\n\r\n"), b"abc"),
    ("trailers", post(CODED, body=b"3\r\nabc\r\n0\r\nHost: evil\r\nX: y\r\n\r\n"), b"abc"),
    ("trailers that frame", post(CODED, body=b"0\r\nContent-Length: 50\r\n\r\n"), b""),
    ("absolute form", post(line=b"GET http://front.example/ HTTP/1.1"), b""),
    ("HTTP/1.0", post(b"Connection: keep-alive", line=b"GET / HTTP/1.0"), b""),
    ("HEAD with a body", post(FIVE, body=b"12345", line=b"HEAD / HTTP/1.1"), b"12345"),
    ("Connection names length", post(b"Connection: content-length", FIVE, body=b"12345"), b"12345"),
    ("Connection names a coding", post(b"Connection: transfer-encoding", CODED, body=ONE), b"a"),
    ("underscored length", post(b"Content_Length: 50", FIVE, body=b"12345"), b"12345"),
    ("underscored coding", post(b"Transfer_Encoding: chunked", FIVE, body=b"12345"), b"12345"),
]  # fmt: skip


@LANES
@pytest.mark.parametrize(
    ("name", "data", "body"), [pytest.param(*row, id=row[0]) for row in ODD_BUT_CLEAR]
)
async def test_what_is_odd_but_clear_is_one_request(
    name: str, data: bytes, body: bytes, fast: bool
) -> None:
    async with front(fast=fast) as edge:
        client = await edge.client()
        client.send(data, get(b"/after", b"Connection: close"))
        method = data.lstrip().partition(b" ")[0]
        answers = responses(await everything(client), (method,))
        assert [one.status for one in answers] == [200, 200]
        first, after = edge.origin.asked
        assert (first.target, first.body, after.target) == (b"/", body, b"/after")
        assert first.get(b"host") == HOST
        assert edge.origin.unclear == []  # it takes one length or one coding, not both
        assert not {b"content_length", b"transfer_encoding", b"x"} & {n for n, _ in first.fields}
        if body:  # said anew, whatever the client's spelling of it was
            framing = (first.get(b"content-length"), first.get(b"transfer-encoding"))
            assert framing in ((b"%d" % len(body), None), (None, b"chunked"))


@ON_EACH_STORE
@LANES
async def test_a_body_on_get_never_shapes_what_is_stored(fast: bool) -> None:
    async with front(fast=fast) as edge:
        evil = get(b"/", b"Content-Length: 4") + b"evil"
        assert b"evil" in (await edge.ask(evil)).body
        assert b"evil" not in (await edge.get()).body
        assert b"evil" in (await edge.ask(evil)).body
        for _ in range(3):
            assert b"evil" not in (await edge.get()).body


@ON_EACH_STORE
@LANES
async def test_early_data_behind_a_refused_body_is_nothing(fast: bool) -> None:
    async with front(fast=fast, server="limits: {body: 1KiB}") as edge:
        await edge.primed()
        for fields in (
            (b"Content-Length: 9999",),
            (b"Content-Length: 9999", b"Expect: 100-continue"),
        ):
            client = await edge.client()
            client.send(get(), post(*fields), SMUGGLED * 3)
            answers = responses(await everything(client))
            assert [one.status for one in answers] == [200, 413]
        assert len(edge.origin.asked) == 1


@ON_EACH_STORE
@LANES
async def test_pipelines_are_answered_in_order_and_once(fast: bool) -> None:
    async with front(fast=fast) as edge:
        await edge.primed()
        order = [b"/", b"/a", b"/", b"/", b"/b", b"/", b"/a"]
        client = await edge.client()
        last = get(b"/last", b"Connection: close")
        client.send(*(get(target) for target in order), last)
        answers = responses(await everything(client))
        shown = [one.body.split(b" ", 2)[1] for one in answers]
        assert shown == [*order, b"/last"]


SPLITTING = [
    b"%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0a<script>",
    b"%0aSet-Cookie:%20evil=1",
    b"%250d%250aSet-Cookie:%20evil=1",
    "\u560d\u560aSet-Cookie:evil".encode(),  # whose low bytes are CR and LF
    b"\x85Set-Cookie:evil",
]


def splitting(asked: Asked) -> bytes:
    """Puts what it was asked for into fields, as careless servers do."""
    fields = (b"Location: http://x" + asked.target, b"X-For: " + (asked.get(b"origin") or b"-"))
    return said(b"ok", *fields, b"Cache-Control: max-age=60")


@ON_EACH_STORE
@LANES
async def test_a_response_cannot_be_split(fast: bool) -> None:
    async with front(splitting, fast=fast) as edge:
        for _ in range(3):
            for trick in SPLITTING:
                answer = await edge.get(b"/" + trick, b"Origin: https://a.example/" + trick)
                assert answer.status == 200
                names = {name.lower() for name, _ in answer.fields}
                assert names <= {name.lower() for name, _ in (await edge.get()).fields} | {"age"}
                client = await edge.client()
                client.send(get(b"/" + trick, b"Connection: close"))
                assert len(responses(await everything(client))) == 1


OK = b"HTTP/1.1 200 OK\r\n"
UNCLEAR_ANSWERS = [
    ("length and coding", OK + CODED + b"\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nok"),
    ("signed length", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\nok"),
    ("bad chunk", b"HTTP/1.1 200 OK\r\n" + CODED + b"\r\n\r\nzz\r\nok\r\n0\r\n\r\n"),
    ("cut chunks", b"HTTP/1.1 200 OK\r\n" + CODED + b"\r\n\r\n2\r\nok\r\n"),
    ("no status line", b"hello\r\n\r\n"),
    ("HTTP/2", b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nok"),
    ("bare CR in a field", OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"),
    ("NUL in a field", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("a switch of protocols", b"HTTP/1.1 101 Switching\r\n\r\n"),
]  # fmt: skip


@ON_EACH_STORE
@LANES
@pytest.mark.parametrize(
    ("name", "wire"), [pytest.param(*row, id=row[0]) for row in UNCLEAR_ANSWERS]
)
async def test_an_unclear_answer_is_never_stored_nor_made_whole(
    name: str, wire: bytes, fast: bool
) -> None:
    storable = wire.replace(b"\r\n", b"\r\nCache-Control: max-age=600\r\n", 1)
    async with front(lambda asked: storable, fast=fast) as edge:

        async def once(origin: object, reader: asyncio.StreamReader, writer: object) -> None:
            assert isinstance(writer, asyncio.StreamWriter)
            await edge.origin.read(reader)
            writer.write(storable)
            await writer.drain()

        edge.origin.on_connection = once
        for count in (1, 2):
            client = await edge.client()
            client.send(get())
            client.stop_sending()
            got = await everything(client)
            whole = got.endswith((b"ok", b"0\r\n\r\n")) and b" 200 " in got[:20]
            assert not whole, got
            assert len(edge.origin.asked) >= count  # nothing was kept


@ON_EACH_STORE
@LANES
async def test_what_an_origin_says_unasked_reaches_nobody(fast: bool) -> None:
    evil = said(b"evil", b"Cache-Control: max-age=600")

    def chatty(asked: Asked) -> bytes:
        return said(asked.target, b"Cache-Control: no-store") + evil

    async with front(chatty, fast=fast) as edge:
        for number in range(5):
            target = b"/%d" % number
            assert (await edge.get(target)).body == target


@ON_EACH_STORE
@LANES
async def test_what_an_origin_says_later_unasked_ends_the_connection(fast: bool) -> None:
    evil = said(b"evil", b"Cache-Control: max-age=600")
    ended = asyncio.Event()

    async def chatty(origin: Origin, reader: asyncio.StreamReader, writer: object) -> None:
        assert isinstance(writer, asyncio.StreamWriter)
        asked = await origin.read(reader)
        if asked is None:
            return
        writer.write(said(asked.target, b"Cache-Control: no-store"))
        await writer.drain()
        await answered.wait()
        writer.write(evil)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""  # nobody asks here any more
        ended.set()

    async with front(fast=fast) as edge:
        edge.origin.on_connection = chatty
        for number in range(3):
            answered = asyncio.Event()
            ended.clear()
            target = b"/%d" % number
            assert (await edge.get(target)).body == target
            answered.set()
            await asyncio.wait_for(ended.wait(), 20)


@LANES
@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"])
async def test_no_redirect_moves_us(status: bytes, fast: bool) -> None:
    """The configured origin is the only place asked, wherever its answers point."""
    there = Origin()
    await there.start()
    try:
        location = b"Location: http://127.0.0.1:%d/latest/meta-data" % there.port
        pointing = said(b"", location, b"Cache-Control: max-age=600", status=status)
        async with front(lambda asked: pointing, fast=fast) as edge:
            for _ in range(3):
                answer = await edge.get()
                assert answer.status == int(status[:3])
                assert answer["location"].encode() == location[10:]
            absolute = b"GET http://127.0.0.1:%d/ HTTP/1.1" % there.port
            assert (await edge.ask(post(line=absolute))).status == 400
        assert there.connections == 0
    finally:
        await there.stop()
