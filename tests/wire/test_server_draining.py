"""How the server ends: requests at hand finish, idle connections close, time runs out."""

from __future__ import annotations

import asyncio

import pytest

from tests.wire.rawclient import GET, Gate, edge
from tests.wire.raworigin import on_both_loops, until
from vary_proxy.channel import Channel
from vary_proxy.core.message import Fields, Reply, Request
from vary_proxy.server import Server


@on_both_loops
async def test_draining_lets_running_requests_end() -> None:
    gate = Gate()
    async with edge(gate) as e:
        idle, busy, half = [await e.client() for _ in range(3)]
        await until(lambda: e.server.connections == 3)
        half.send(GET[:10])
        busy.send(GET, GET)
        await gate.entered.wait()
        draining = asyncio.ensure_future(e.server.drain(10))
        assert await idle.is_closed()
        with pytest.raises(OSError, match="Conne"):
            await e.client()
        half.send(GET[10:])
        gate.open.set()
        for client in (busy, half):
            answer = await client.answer()
            assert (answer.status, answer["connection"]) == (200, "close")
            assert await client.is_closed()
            await client.leave()
        assert await draining is True
        assert e.server.connections == 0


@on_both_loops
async def test_a_drain_that_takes_too_long_cuts() -> None:
    gate = Gate()
    async with edge(gate) as e:
        client = await e.client()
        client.send(GET)
        await gate.entered.wait()
        assert await e.server.drain(0.05) is False
        assert await client.is_closed()
        assert e.server.connections == 0


@on_both_loops
async def test_a_drain_can_be_cut_short() -> None:
    gate = Gate()
    async with edge(gate) as e:
        client = await e.client()
        client.send(GET)
        await gate.entered.wait()
        draining = asyncio.ensure_future(e.server.drain(60))
        await asyncio.sleep(0)
        await e.server.close()
        await draining
        assert e.server.connections == 0


@on_both_loops
async def test_closing_ends_streams_at_once() -> None:
    closed = asyncio.Event()

    async def handler(request: Request, channel: Channel) -> Reply:
        async def body():  # type: ignore[no-untyped-def]
            try:
                yield b"begun"
                await asyncio.Event().wait()
            finally:
                closed.set()

        return Reply(200, Fields(), stream=body())

    async with edge(handler) as e:
        client = await e.client()
        client.send(GET)
        await client.reader.readuntil(b"begun\r\n")
        await e.server.close()
        assert closed.is_set()
        assert await client.is_closed()


@on_both_loops
async def test_a_server_that_never_started_can_be_ended() -> None:
    server = Server(Gate())
    assert await server.drain(1) is True
    await server.close()
