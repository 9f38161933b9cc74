"""Request bodies: streamed with back-pressure, bounded, and never believed when broken."""

from __future__ import annotations

import asyncio

import pytest

from tests.wire.rawclient import GET, edge, head, ok
from tests.wire.raworigin import on_both_loops, until
from vary_proxy.channel import BodyFailed, Channel
from vary_proxy.core.message import Reply, Request


async def echo(request: Request, channel: Channel) -> Reply:
    """Answers with the body it was sent."""
    if channel.body is None:
        return ok(b"none")
    return ok(b"".join([chunk async for chunk in channel.body]))


def put(body: bytes, *fields: bytes) -> bytes:
    return head(b"PUT / HTTP/1.1", b"Content-Length: %d" % len(body), *fields) + body


CHUNKED = head(b"PUT / HTTP/1.1", b"Transfer-Encoding: chunked")


@on_both_loops
async def test_bodies_arrive_whole() -> None:
    large = bytes(range(256)) * 8192
    async with edge(echo) as e:
        client = await e.client()
        assert (await client.ask(put(b"hello"))).body == b"hello"
        assert (await client.ask(put(b""))).body == b"none"
        assert (await client.ask(put(large))).body == large
        assert (await client.ask(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).body == b"abcde"
        assert (await client.ask(CHUNKED + b"0\r\n\r\n")).body == b""
        coded = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
        assert (await client.ask(CHUNKED + coded)).body == large
        assert (
            await client.ask(head(b"GET / HTTP/1.1", b"Content-Length: 2") + b"hi")
        ).body == b"hi"
        assert [request.has_body for request in e.asked] == [True, False] + [True] * 5
        assert [request.body_length for request in e.asked][:3] == [5, 0, len(large)]


@on_both_loops
async def test_bodies_drip_and_pipeline() -> None:
    async with edge(echo) as e:
        client = await e.client()
        await client.drip(put(b"hello") + CHUNKED + b"3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n" + GET)
        assert [(await client.answer()).body for _ in range(3)] == [b"hello", b"abc", b"none"]


BROKEN = [
    ("no size", b"\r\n"),
    ("bad size", b"x\r\nabc\r\n"),
    ("signed size", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("endless size", b"fffffffffffffffff\r\nabc"),
    ("bare LF", b"3\nabc\n0\n\n"),
    ("space after", b"3 \r\nabc\r\n0\r\n\r\n"),
    ("too much data", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("LF in extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("bad trailer", b"3\r\nabc\r\n0\r\nbad\r\n\r\n"),
    ("late break", b"3\r\nabc\r\nzz"),
]


@pytest.mark.parametrize("coded", [pytest.param(row[1], id=row[0]) for row in BROKEN])
@on_both_loops
async def test_a_broken_coding_is_a_400_and_the_end(coded: bytes) -> None:
    async with edge(echo) as e:
        client = await e.client()
        client.send(CHUNKED, coded, GET)
        answer = await client.answer()
        assert (answer.status, answer["connection"]) == (400, "close")
        assert await client.is_closed()
        assert len(e.asked) == 1


@on_both_loops
async def test_a_body_that_is_cut_off_never_looks_whole() -> None:
    for begun in (CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"3\r\nab", put(b"hello")[:-1]):
        async with edge(echo) as e:
            client = await e.client()
            client.send(begun)
            client.stop_sending()
            assert (await client.answer()).status == 400


@on_both_loops
async def test_a_body_fails_when_its_client_leaves() -> None:
    failed: list[BodyFailed] = []

    async def read(request: Request, channel: Channel) -> Reply:
        try:
            return await echo(request, channel)
        except BodyFailed as failure:
            failed.append(failure)
            assert channel.gone()
            raise

    async with edge(read) as e:
        client = await e.client()
        client.send(put(b"hello")[:-1])
        await until(lambda: bool(e.asked))
        await client.leave()
        await until(lambda: bool(e.seen))
        assert [failure.status for failure in failed] == [400]


@on_both_loops
async def test_a_known_length_over_the_limit_is_refused_unread() -> None:
    async with edge(echo, body=10) as e:
        assert (await e.ask(put(b"x" * 10))).status == 200
        client = await e.client()
        client.send(head(b"PUT / HTTP/1.1", b"Content-Length: 11"))
        answer = await client.answer()
        assert (answer.status, answer["connection"]) == (413, "close")
        assert len(e.asked) == 1
        assert e.seen[1][0].method == b"PUT"


@on_both_loops
async def test_a_client_that_goes_on_sending_can_read_the_413() -> None:
    async with edge(echo, body=10) as e:
        client = await e.client()
        client.send(head(b"PUT / HTTP/1.1", b"Content-Length: 3000000"), b"x" * 3000000)
        assert (await client.answer()).status == 413
        assert await client.is_closed()
        assert e.asked == []


@on_both_loops
async def test_a_chunked_body_is_refused_where_it_passes_the_limit() -> None:
    async with edge(echo, body=10) as e:
        assert (await e.ask(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n")).status == 200
        assert (await e.ask(CHUNKED + b"b\r\n01234567890\r\n0\r\n\r\n")).status == 413


@on_both_loops
async def test_a_stalled_body_is_a_408() -> None:
    async with edge(echo, body_timeout=0.05) as e:
        client = await e.client()
        client.send(put(b"hello")[:-1])
        answer = await client.answer()
        assert (answer.status, answer["connection"]) == (408, "close")
        assert await client.is_closed()


@on_both_loops
async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    async with edge(echo) as e:
        client = await e.client()
        client.send(put(b"hello", b"Expect: 100-continue")[:-5])
        interim = await client.answer()
        assert interim.head == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(b"hello")).body == b"hello"
        assert (await client.ask(GET)).body == b"none"


@on_both_loops
async def test_100_continue_is_not_sent_when_the_body_came_or_is_not_wanted() -> None:
    async def unread(request: Request, channel: Channel) -> Reply:
        return ok(b"no thanks")

    async with edge(echo) as e:
        assert (await e.ask(put(b"hello", b"Expect: 100-continue"))).body == b"hello"
    async with edge(unread) as e:
        client = await e.client()
        client.send(put(b"hello", b"Expect: 100-continue")[:-5])
        answer = await client.answer()
        assert (answer.status, answer["connection"]) == (200, "close")
        assert await client.is_closed()


@on_both_loops
async def test_http_1_0_never_gets_an_interim_response() -> None:
    async with edge(echo) as e:
        data = b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        client = await e.client()
        client.send(data)
        await asyncio.sleep(0.05)
        assert (await client.ask(b"hi")).body == b"hi"


@on_both_loops
async def test_an_unread_body_ends_the_connection() -> None:
    async def unread(request: Request, channel: Channel) -> Reply:
        return ok(b"unread")

    async with edge(unread) as e:
        client = await e.client()
        client.send(put(b"x" * 2000000 + GET)[:-1000])
        answer = await client.answer()
        assert (answer.body, answer["connection"]) == (b"unread", "close")
        assert await client.is_closed()
        assert len(e.asked) == 1


@on_both_loops
async def test_an_unread_body_that_came_whole_harms_nobody() -> None:
    async def unread(request: Request, channel: Channel) -> Reply:
        return ok(request.method)

    async with edge(unread) as e:
        client = await e.client()
        client.send(put(GET), GET)
        assert [(await client.answer()).body for _ in range(2)] == [b"PUT", b"GET"]
        assert len(e.asked) == 2


@on_both_loops
async def test_a_body_that_nobody_reads_is_held_back() -> None:
    release = asyncio.Event()

    async def later(request: Request, channel: Channel) -> Reply:
        await release.wait()
        return await echo(request, channel)

    async with edge(later) as e:
        client = await e.client()
        body = b"x" * (32 * 1024 * 1024)
        client.send(put(body))
        await until(lambda: bool(e.asked))
        await asyncio.sleep(0.1)
        unsent = client.writer.transport.get_write_buffer_size()  # type: ignore[attr-defined]
        assert unsent > 16 * 1024 * 1024  # the rest is in socket buffers, not in the server
        release.set()
        assert (await client.answer()).body == body


@on_both_loops
async def test_a_body_is_given_once() -> None:
    async def twice(request: Request, channel: Channel) -> Reply:
        assert channel.body is channel.body
        assert channel.body is not None
        first = [chunk async for chunk in channel.body]
        return ok(b"".join(first + [chunk async for chunk in channel.body]))

    async with edge(twice) as e:
        assert (await e.ask(put(b"once"))).body == b"once"
