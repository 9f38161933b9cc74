"""Replies on the wire: exact bytes, one framing, cuts that show, readers that are slow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.wire.rawclient import GET, Client, edge, head, ok, stream
from tests.wire.raworigin import on_both_loops, until
from vary_proxy.channel import Channel
from vary_proxy.core.message import Buffer, Fields, Reply, Request, Response
from vary_proxy.server import Handler

GET_10 = b"GET / HTTP/1.0\r\n\r\n"
KEEP_10 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


def answering(status: int, *fields: tuple[bytes, bytes], **more: object) -> Handler:
    async def handler(request: Request, channel: Channel) -> Reply:
        return Reply(status, Fields(fields), **more)  # type: ignore[arg-type]

    return handler


async def wire(reply: Handler, data: bytes) -> bytes:
    """All bytes that come back for *data*; what is no request follows it and ends them."""
    async with edge(reply) as e:
        client = await e.client()
        client.send(data, b"\0")
        return (await client.rest()).partition(b"HTTP/1.1 400")[0]


CLOSE = b"Connection: close\r\n"


@on_both_loops
async def test_exact_bytes() -> None:
    fields = ((b"etag", b'"x"'), (b"content-length", b"4"), (b"vary", b"Origin"))
    reply = answering(200, *fields, chunks=(b"ab", memoryview(b"cd")), reason=b"Fine")
    assert await wire(reply, head(b"GET / HTTP/1.1", b"Connection: close")) == (
        b'HTTP/1.1 200 Fine\r\nETag: "x"\r\nContent-Length: 4\r\nVary: Origin\r\n'
        + CLOSE
        + b"\r\nabcd"
    )


@on_both_loops
async def test_an_unknown_length_is_chunked_or_ends_with_the_connection() -> None:
    async def reply(request: Request, channel: Channel) -> Reply:
        return Reply(200, Fields(), chunks=(b"one",), stream=stream(b"two", b"", b"x" * 16))

    coded = b"3\r\none\r\n3\r\ntwo\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    start = b"HTTP/1.1 200 OK\r\n"
    assert await wire(reply, GET) == start + b"Transfer-Encoding: chunked\r\n\r\n" + coded
    plain = start + CLOSE + b"\r\nonetwo" + b"x" * 16
    assert await wire(reply, GET_10) == plain
    assert await wire(reply, KEEP_10) == plain


@on_both_loops
async def test_a_body_without_stream_gets_its_length() -> None:
    assert await wire(answering(301, (b"location", b"/")), GET) == (
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "data", "kept"),
    [
        pytest.param(200, GET.replace(b"GET", b"HEAD"), b"Content-Length: 5\r\n", id="HEAD"),
        pytest.param(304, GET, b"Content-Length: 5\r\n", id="304"),
        pytest.param(204, GET, b"", id="204"),
    ],
)
@on_both_loops
async def test_replies_without_body(status: int, data: bytes, kept: bytes) -> None:
    closed = asyncio.Event()

    async def body() -> AsyncIterator[Buffer]:
        try:
            yield b"hello"
        finally:
            closed.set()

    started = body()
    await started.__anext__()

    async def handler(request: Request, channel: Channel) -> Reply:
        return Reply(status, Fields(((b"content-length", b"5"),)), stream=started)

    received = await wire(handler, data)
    line, _, rest = received.partition(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert rest == kept + b"\r\n"
    assert closed.is_set()


@on_both_loops
async def test_bodiless_sends_no_body() -> None:
    reply = answering(200, (b"content-length", b"5"), chunks=(b"hello",), bodiless=True)
    assert await wire(reply, GET) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert await wire(answering(200, bodiless=True), GET) == b"HTTP/1.1 200 OK\r\n\r\n"


@on_both_loops
async def test_framing_fields_of_a_reply_are_ours() -> None:
    reply = answering(
        200,
        (b"transfer-encoding", b"gzip, chunked"),
        (b"connection", b"x"),
        (b"keep-alive", b"timeout=5"),
        (b"content-length", b"2"),
        chunks=(b"ok",),
    )
    assert await wire(reply, GET) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@on_both_loops
async def test_keep_alive_of_http_1_0() -> None:
    async with edge() as e:
        client = await e.client()
        answer = await client.ask(KEEP_10)
        assert (answer.body, answer["connection"]) == (b"ok", "keep-alive")
        answer = await client.ask(GET_10)
        assert (answer.body, answer["connection"]) == (b"ok", "close")
        assert await client.is_closed()


@on_both_loops
async def test_a_reply_may_end_the_connection() -> None:
    async def closing(request: Request, channel: Channel) -> Reply:
        return ok(close=True)

    async with edge(closing) as e:
        client = await e.client()
        answer = await client.ask()
        assert answer["connection"] == "close"
        assert await client.is_closed()


async def ends_in_order(client: Client) -> bool:
    """True when the connection ends by FIN, False when by a reset."""
    try:
        await client.rest()
    except ConnectionResetError:
        return False
    return True


@pytest.mark.parametrize("data", [GET, GET_10], ids=["1.1", "1.0"])
@pytest.mark.parametrize("length", [None, b"100"], ids=["unknown", "known"])
@pytest.mark.parametrize("how", ["raises", "ends"])
@on_both_loops
async def test_a_cut_body_shows(data: bytes, length: bytes | None, how: str) -> None:
    if how == "ends" and length is None:
        return  # then it is whole
    seen = asyncio.Event()

    async def cut(request: Request, channel: Channel) -> Reply:
        fields = () if length is None else ((b"content-length", length),)
        end = [ValueError("the origin died")] if how == "raises" else []
        return Reply(200, Fields(fields), stream=stream(b"begun", seen, *end))

    async with edge(cut) as e:
        client = await e.client()
        client.send(data)
        await client.reader.readuntil(b"begun")
        seen.set()
        assert not await ends_in_order(client)
        await until(lambda: bool(e.seen))
        assert e.seen[0][2] == 5


@on_both_loops
async def test_a_body_that_is_too_long_is_cut_at_its_length() -> None:
    ran_on = asyncio.Event()

    async def long(request: Request, channel: Channel) -> Reply:
        async def body() -> AsyncIterator[Buffer]:
            yield b"hello"
            yield b" world"
            ran_on.set()

        return Reply(200, Fields(((b"content-length", b"5"),)), chunks=(), stream=body())

    async with edge(long) as e:
        client = await e.client()
        assert (await client.ask()).body == b"hello"
        assert (await client.ask()).body == b"hello"
        assert not ran_on.is_set()
    chunks = answering(200, (b"content-length", b"3"), chunks=(b"ab", b"cd", b"ef"))
    assert (await wire(chunks, GET)).endswith(b"\r\n\r\nabc")


@on_both_loops
async def test_a_stream_is_run_to_its_end() -> None:
    committed = asyncio.Event()

    async def handler(request: Request, channel: Channel) -> Reply:
        async def body() -> AsyncIterator[Buffer]:
            yield b"hello"
            committed.set()

        return Reply(200, Fields(((b"content-length", b"5"),)), stream=body())

    async with edge(handler) as e:
        assert (await e.ask()).body == b"hello"
        await asyncio.wait_for(committed.wait(), 30)


@pytest.mark.parametrize(
    "fields",
    [
        ((b"x", b"a\r\nb: c"),),
        ((b"content-length", b"1"), (b"content-length", b"2")),
        ((b"content-length", b"-1"),),
    ],
)
@on_both_loops
async def test_a_reply_that_cannot_be_sent_is_a_500(
    fields: tuple[tuple[bytes, bytes], ...],
) -> None:
    async with edge(answering(200, *fields)) as e:
        answer = await e.ask()
        assert (answer.status, answer["cache-control"]) == (500, "no-store")
        assert e.seen[0][1].status == 500


@pytest.mark.parametrize(
    "failure",
    [KeyError("secret"), ConnectionResetError(), TimeoutError(), asyncio.CancelledError()],
)
@on_both_loops
async def test_a_handler_that_fails_leaks_nothing(failure: BaseException) -> None:
    async def failing(request: Request, channel: Channel) -> Reply:
        raise failure

    records: list[logging.LogRecord] = []
    keep = logging.Handler()
    keep.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("vary_proxy").addHandler(keep)
    try:
        async with edge(failing) as e:
            answer = await e.ask()
            assert answer.status == 500
            assert b"secret" not in answer.body
            assert answer["proxy-status"] == "vary-proxy; error=proxy_internal_error"
    finally:
        logging.getLogger("vary_proxy").removeHandler(keep)
    assert [record.exc_info is not None for record in records] == [True]


@on_both_loops
async def test_interim_responses() -> None:
    said = (
        (b"link", b"</a.css>"),
        (b"connection", b"close, x-hop"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
    )

    async def hinting(request: Request, channel: Channel) -> Reply:
        for status in (103, 100, 101, 200):
            await channel.interim(Response(status, Fields(said)))
        return ok()

    async with edge(hinting) as e:
        client = await e.client()
        hint = await client.ask()
        assert hint.head == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        assert (await client.answer()).status == 200
        assert (await e.ask(GET_10)).status == 200
