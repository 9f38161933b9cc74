"""Clients that read slowly, stop reading, or leave: little memory, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.wire.rawclient import GET, Client, edge, ok
from tests.wire.raworigin import on_both_loops, until
from vary_proxy.channel import Channel
from vary_proxy.core.message import Buffer, Fields, Reply, Request


async def endless(count: int, closed: asyncio.Event) -> AsyncIterator[Buffer]:
    """Chunks of 64 KiB, each its own memory."""
    try:
        for _ in range(count):
            yield b"x" * 65536
    finally:
        closed.set()


@on_both_loops
async def test_slow_readers_cost_little_memory() -> None:
    one_body = memoryview(bytes(8 * 1024 * 1024))

    async def handler(request: Request, channel: Channel) -> Reply:
        length = (b"content-length", b"%d" % (2 * len(one_body)))
        rest = endless(128, asyncio.Event())
        return Reply(200, Fields((length,)), chunks=(one_body,), stream=rest)

    async with edge(handler) as e:
        tracemalloc.start()
        try:
            for _ in range(20):
                (await e.narrow_client()).send(GET)
            await until(lambda: len(e.asked) == 20)
            await asyncio.sleep(0.2)
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert used < 20 * 512 * 1024


@on_both_loops
async def test_a_slow_reader_gets_everything() -> None:
    async def handler(request: Request, channel: Channel) -> Reply:
        return Reply(200, Fields(), chunks=(bytes(1000000),), stream=endless(16, asyncio.Event()))

    async with edge(handler, write_timeout=5.0) as e:
        client = await e.narrow_client()
        answer = await client.ask()
        assert answer.body == bytes(1000000) + b"x" * 65536 * 16


@pytest.mark.parametrize("streamed", [True, False], ids=["in the stream", "at the end"])
@on_both_loops
async def test_a_reader_that_stops_is_dropped(streamed: bool) -> None:
    closed = asyncio.Event()

    async def handler(request: Request, channel: Channel) -> Reply:
        if streamed:
            return Reply(200, Fields(), stream=endless(10**6, closed))
        closed.set()
        return ok(bytes(8 * 1024 * 1024), close=True)

    async with edge(handler, write_timeout=0.2) as e:
        client = await e.narrow_client()
        client.send(GET)
        await asyncio.wait_for(closed.wait(), 30)
        await until(lambda: not e.server.connections)


@on_both_loops
async def test_a_client_that_leaves_ends_the_stream() -> None:
    closed = asyncio.Event()

    async def handler(request: Request, channel: Channel) -> Reply:
        return Reply(200, Fields(), stream=endless(10**6, closed))

    async with edge(handler) as e:
        client = await e.client()
        client.send(GET)
        await client.reader.readexactly(100000)
        client.writer.transport.abort()  # type: ignore[attr-defined]
        await asyncio.wait_for(closed.wait(), 30)
        await until(lambda: bool(e.seen))
        assert e.seen[0][2] >= 65536


@on_both_loops
async def test_a_handler_outlives_its_client() -> None:
    release = asyncio.Event()
    gone: list[bool] = []

    async def handler(request: Request, channel: Channel) -> Reply:
        gone.append(channel.gone())
        await release.wait()
        gone.append(channel.gone())
        return ok()

    async with edge(handler) as e:
        client: Client = await e.client()
        client.send(GET)
        await until(lambda: bool(gone))
        await client.leave()
        await asyncio.sleep(0.02)
        release.set()
        await until(lambda: bool(e.seen))
        assert gone == [False, True]
