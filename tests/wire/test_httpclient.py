"""What the origin gets: exactly the request, on the wire, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.wire.raworigin import (
    OK,
    Peer,
    ask,
    client,
    keeps,
    on_both_loops,
    read,
    replies,
    serving,
    until,
)
from vary_proxy.origin import Naming, OriginFailure
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions, naming

PRESIGNED = (
    b"/bucket/a%20b.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261122%2F"
    b"us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261122T000000Z&X-Amz-Expires=900"
    b"&X-Amz-SignedHeaders=host%3Borigin&X-Amz-Signature=0a1b2c"
)
TARGETS = [
    b"/",
    b"//",
    b"///",
    b"//evil.example/path",
    b"/a//b",
    b"/a///b/",
    b"/.",
    b"/..",
    b"/./a",
    b"/../a",
    b"/a/./b",
    b"/a/../b",
    b"/a/%2e%2e/b",
    b"/a/%2E%2e/b",
    b"/a/..%2fb",
    b"/%2F",
    b"/%2f",
    b"/a%2Fb",
    b"/a%2fb",
    b"/%",
    b"/%zz",
    b"/%2",
    b"/%00",
    b"/%0d%0a",
    b"/%41",
    b"/%7Euser",
    b"/~user",
    b"/%7euser",
    b"/a%20b",
    b"/a+b",
    b"/a%2Bb",
    b"/a;b",
    b"/a;jsessionid=1?x",
    b"/a%3Bb",
    b"/a:b",
    b"/a@b",
    b"/a,b",
    b"/a=b&c",
    b"/a!$&'()*+,;=:@b",
    b"/a|b",
    b'/a"b',
    b"/a<b>",
    b"/a\\b",
    b"/a^b`c",
    b"/{id}",
    b"/[1]",
    b"/caf\xc3\xa9",
    b"/caf\xe9",
    b"/\xff\xfe",
    b"/caf%C3%A9",
    b"/caf%c3%a9",
    b"/%E2%82%AC",
    b"/?",
    b"/??",
    b"/?a",
    b"/?a=",
    b"/?=",
    b"/?&",
    b"/?a=1&a=2",
    b"/?a=1&&b=2",
    b"/?a+b",
    b"/?a%20b",
    b"/?a=%2B",
    b"/?q=a/b?c",
    b"/?q=http://x.example/?y",
    b"/?x=\xe9",
    b"/#fragment",
    b"/?a#b",
    b"*",
    b"http://absolute.example/form",
    b"/http://x/y",
    b"/" + b"a" * 20000,
    PRESIGNED,
]


@on_both_loops
async def test_every_target_reaches_the_origin_byte_for_byte() -> None:
    async with serving(keeps(*[OK] * len(TARGETS))) as origin, client(origin) as http:
        for target in TARGETS:
            await read(await http.fetch(ask(target=target)))
        assert [head.split(b"\r\n")[0] for head in origin.heads] == [
            b"GET %s HTTP/1.1" % target for target in TARGETS
        ]
        assert origin.connections == 1


@on_both_loops
async def test_the_head_is_host_then_the_fields_and_nothing_invented() -> None:
    fields = (
        (b"accept-encoding", b"gzip, br"),
        (b"etag", b'"x"'),
        (b"te", b"trailers"),
        (b"www-authenticate", b"Basic"),
        (b"dnt", b"1"),
        (b"cookie", b"a=1"),
        (b"x-empty", b""),
        (b"accept", b"a"),
        (b"accept", b"b"),
        (b"x-latin", b"caf\xe9 \xff\x80"),
        (b"x-utf8", "€".encode()),
        (b"x-tab", b"a\tb"),
        (b"x-" + b"long" * 20, b"1"),
    )
    async with serving(replies(OK)) as origin, client(origin) as http:
        await read(await http.fetch(ask(target=b"/x", fields=fields)))
        assert origin.heads == [
            b"GET /x HTTP/1.1\r\n"
            b"Host: origin.example\r\n"
            b"Accept-Encoding: gzip, br\r\n"
            b'ETag: "x"\r\n'
            b"TE: trailers\r\n"
            b"WWW-Authenticate: Basic\r\n"
            b"DNT: 1\r\n"
            b"Cookie: a=1\r\n"
            b"X-Empty: \r\n"
            b"Accept: a\r\n"
            b"Accept: b\r\n"
            b"X-Latin: caf\xe9 \xff\x80\r\n"
            b"X-Utf8: \xe2\x82\xac\r\n"
            b"X-Tab: a\tb\r\n"
            b"X-L%s: 1\r\n"
            b"\r\n" % (b"long" * 20)[1:]
        ]


@pytest.mark.parametrize("authority", [b"", b"a.example:8443", b"[::1]:80", b"caf\xe9"])
@on_both_loops
async def test_host_is_the_authority_of_the_request(authority: bytes) -> None:
    async with serving(replies(OK)) as origin, client(origin) as http:
        await read(await http.fetch(ask(authority=authority, fields=[(b"host", b"other")])))
        assert origin.heads == [b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % authority]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ask(target=b"/\r\nX: 1"), id="CR LF in the target"),
        pytest.param(ask(target=b"/a b"), id="space in the target"),
        pytest.param(ask(target=b"/\0"), id="NUL in the target"),
        pytest.param(ask(target=b""), id="no target"),
        pytest.param(ask(b"GET /x", b"/"), id="space in the method"),
        pytest.param(ask(fields=[(b"x", b"1\r\ny: 2")]), id="CR LF in a value"),
        pytest.param(ask(fields=[(b"x", b"1\n2")]), id="LF in a value"),
        pytest.param(ask(fields=[(b"x", b"1\r")]), id="CR at the end of a value"),
        pytest.param(ask(fields=[(b"x", b"\0")]), id="NUL in a value"),
        pytest.param(ask(fields=[(b"x\r\ny", b"1")]), id="CR LF in a name"),
        pytest.param(ask(fields=[(b"x:y", b"1")]), id="colon in a name"),
        pytest.param(ask(fields=[(b"x y", b"1")]), id="space in a name"),
        pytest.param(ask(fields=[(b"", b"1")]), id="no name"),
        pytest.param(ask(authority=b"a\r\nx: y"), id="CR LF in the authority"),
    ],
)
async def test_what_would_not_be_one_request_is_never_sent(request_) -> None:
    async with serving(replies(OK)) as origin, client(origin) as http:
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(request_)
        assert (failure.value.error, failure.value.sent) == ("http_request_error", False)
        assert origin.connections == 0


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"PROPFIND"])
async def test_without_body_nothing_is_said_about_one(method: bytes) -> None:
    async with serving(replies(OK)) as origin, client(origin) as http:
        await read(await http.fetch(ask(method)))
        assert origin.heads == [b"%s / HTTP/1.1\r\nHost: origin.example\r\n\r\n" % method]


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
async def test_a_method_that_expects_a_body_says_that_it_has_none(method: bytes) -> None:
    async with serving(replies(OK)) as origin, client(origin) as http:
        await read(await http.fetch(ask(method)))
        assert origin.heads[0].endswith(b"\r\nContent-Length: 0\r\n\r\n")


async def test_an_empty_body_that_the_client_declared_stays_declared() -> None:
    async with serving(replies(OK)) as origin, client(origin) as http:
        await read(await http.fetch(ask(b"DELETE", body_length=0)))
        assert origin.heads[0].endswith(b"\r\nContent-Length: 0\r\n\r\n")


async def chunks_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def takes(size: int, reply: bytes, body: list[bytes]):
    async def script(peer: Peer) -> None:
        await peer.head()
        body.append(await peer.reader.readexactly(size))
        await peer.send(reply)
        await peer.left()

    return script


@pytest.mark.parametrize(
    "method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"GET", b"M-SEARCH", b"x"]
)
@on_both_loops
async def test_a_body_of_known_length(method: bytes) -> None:
    got: list[bytes] = []
    async with serving(takes(7, OK, got)) as origin, client(origin) as http:
        request = ask(method, has_body=True, body_length=7, fields=[(b"content-length", b"99")])
        response = await http.fetch(request, chunks_of(b"abc", b"", b"defg"))
        assert await read(response) == b"ok"
        assert origin.heads == [
            b"%s / HTTP/1.1\r\nHost: origin.example\r\nContent-Length: 7\r\n\r\n" % method
        ]
        assert got == [b"abcdefg"]


@on_both_loops
async def test_a_body_of_unknown_length_is_chunked() -> None:
    got: list[bytes] = []
    wire = b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    async with serving(takes(len(wire), OK, got)) as origin, client(origin) as http:
        body = chunks_of(b"abc", b"", b"0123456789abcdef")
        await read(await http.fetch(ask(b"POST", has_body=True), body))
        assert origin.heads[0].endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert got == [wire]


@on_both_loops
async def test_an_exchange_with_a_body_leaves_the_connection_usable() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(3):
            await peer.head()
            await peer.reader.readexactly(3)
            await peer.send(OK)
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        for _ in range(3):
            request = ask(b"POST", has_body=True, body_length=3)
            assert await read(await http.fetch(request, chunks_of(b"abc"))) == b"ok"
        assert origin.connections == 1


@pytest.mark.parametrize("pieces", [[b"ab"], [b"abcd"], [b"abc", b"d"], []])
@on_both_loops
async def test_a_body_of_another_length_than_said_fails(pieces: list[bytes]) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        seen.append(await peer.left())

    async with serving(script) as origin, client(origin) as http:
        request = ask(b"PUT", has_body=True, body_length=3)
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(request, chunks_of(*pieces))
        assert failure.value.error == "http_request_error"
        await until(lambda: seen)
        assert len(seen[0]) <= 3


@on_both_loops
async def test_an_upload_goes_no_faster_than_the_origin_reads() -> None:
    produced = 0
    go = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while produced < 64 * 2**20:
            produced += 65536
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        for _ in range(64):
            await peer.reader.readexactly(2**20)
        await peer.send(OK)

    async with serving(script) as origin, client(origin) as http:
        request = ask(b"PUT", has_body=True, body_length=64 * 2**20)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(http.fetch(request, endless()))
            before = -1
            while before != produced:
                before = produced
                await asyncio.sleep(0.05)
            stalled = produced
            go.set()
        assert stalled < 12 * 2**20  # what the kernel's buffers take, not the body
        assert await read(task.result()) == b"ok"
        assert produced == 64 * 2**20


@on_both_loops
async def test_an_origin_that_stops_reading_is_given_up() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with serving(script) as origin, client(origin, idle_timeout=0.05) as http:
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(ask(b"PUT", has_body=True), endless())
        assert (failure.value.error, failure.value.status) == ("connection_write_timeout", 504)


@pytest.mark.parametrize("paced", [True, False], ids=["paced", "as fast as it goes"])
@pytest.mark.parametrize("close", [True, False], ids=["closes", "stays"])
@on_both_loops
async def test_an_early_refusal_is_returned_and_the_connection_ended(
    close: bool, paced: bool
) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large"
    sent = 0
    left: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 16384
            if paced:
                await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(10000)
        await peer.send(refusal)
        if not close:
            left.append(len(await peer.left()))

    async with serving(script, replies(OK)) as origin, client(origin) as http:
        response = await http.fetch(ask(b"PUT", has_body=True), endless())
        assert response.head.status == 413
        before = sent
        for _ in range(20):
            await asyncio.sleep(0)
        assert sent <= before + 1
        assert await read(response) == b"too large"
        await until(lambda: close or left)
        assert await read(await http.fetch(ask())) == b"ok"
        assert origin.connections == 2


@on_both_loops
async def test_a_response_may_stream_while_the_request_still_does() -> None:
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await more.wait()
        yield b"def"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        await peer.send(await peer.reader.readexactly(3))
        await peer.send(await peer.reader.readexactly(3))
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        request = ask(b"POST", has_body=True, body_length=6)
        response = await http.fetch(request, body())
        chunks = response.chunks()
        assert await anext(chunks) == b"abc"
        more.set()
        assert await anext(chunks) == b"def"
        await response.close()


@on_both_loops
async def test_an_early_response_may_outlast_the_first_byte_deadline() -> None:
    later = asyncio.Event()
    whole: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await later.wait()
        yield b"def"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        whole.append(await peer.reader.readexactly(6))
        await asyncio.sleep(0.6)
        await peer.send(b"ok")
        await peer.left()

    request = ask(b"POST", has_body=True, body_length=6)
    async with serving(script) as origin, client(origin, first_byte_timeout=0.3) as http:
        response = await http.fetch(request, body())
        later.set()
        assert await read(response) == b"ok"
        assert whole == [b"abcdef"]


@on_both_loops
async def test_a_client_that_leaves_mid_upload_ends_the_exchange() -> None:
    class ClientLeft(Exception):
        pass

    got: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await until(lambda: got)
        raise ClientLeft

    async def script(peer: Peer) -> None:
        await peer.head()
        got.append(await peer.reader.readexactly(3))
        got.append(await peer.left())

    async with serving(script) as origin, client(origin) as http:
        with pytest.raises(ClientLeft):
            await http.fetch(ask(b"PUT", has_body=True, body_length=10), body())
        await until(lambda: len(got) == 2)
        assert got == [b"abc", b""]


async def test_the_first_byte_deadline_begins_when_the_upload_has_ended() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.2)
            yield b"x"

    got: list[bytes] = []
    request = ask(b"PUT", has_body=True, body_length=3)
    async with serving(takes(3, OK, got)) as origin, client(origin, first_byte_timeout=0.5) as http:
        assert await read(await http.fetch(request, slow())) == b"ok"


async def test_the_first_byte_deadline_holds_after_an_upload() -> None:
    got: list[bytes] = []
    request = ask(b"PUT", has_body=True, body_length=3)
    async with (
        serving(takes(3, b"", got)) as origin,
        client(origin, first_byte_timeout=0.1) as http,
    ):
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(request, chunks_of(b"abc"))
        assert failure.value.error == "http_response_timeout"


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        ("http://minio:9000", "upstream", Naming(b"minio:9000", b"http", b"", b"minio:9000")),
        ("http://minio:9000/", "preserve", Naming(b"minio:9000", b"http", b"", None)),
        ("https://s3.example/b/", "b.s3", Naming(b"s3.example", b"https", b"/b", b"b.s3")),
        (
            "http://[::1]:81/a%2Fb//",
            "upstream",
            Naming(b"[::1]:81", b"http", b"/a%2Fb", b"[::1]:81"),
        ),
        (
            "http://b\u00fccher.example",
            "upstream",
            Naming(*(b"xn--bcher-kva.example", b"http", b""), b"xn--bcher-kva.example"),
        ),
    ],
)
def test_naming(url: str, host: str, expected: Naming) -> None:
    options = OriginOptions(url, host=host)
    assert naming(options) == expected
    assert HttpOrigin(options).naming == expected


@pytest.mark.parametrize("url", ["minio:9000", "ftp://x", "http://", "http://x/?q", "http://u@x/"])
def test_a_url_that_names_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        HttpOrigin(OriginOptions(url))
