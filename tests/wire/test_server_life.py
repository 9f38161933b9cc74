"""The life of connections: pipelines, keep-alive, limits."""

from __future__ import annotations

import asyncio
import inspect
import os
import re

from aiohttp.web_protocol import RequestHandler

from tests.wire.rawclient import GET, Client, Gate, edge, head, ok, stream
from tests.wire.raworigin import on_both_loops, until
from vary_proxy.channel import Channel
from vary_proxy.clients.connection import Connection
from vary_proxy.core.message import Fields, Reply, Request


async def told(request: Request, channel: Channel) -> Reply:
    return ok(request.target)


@on_both_loops
async def test_pipelined_requests_are_answered_in_order() -> None:
    async def uneven(request: Request, channel: Channel) -> Reply:
        if request.target == b"/0":
            await asyncio.sleep(0.02)
        return ok(request.target)

    async with edge(uneven) as e:
        client = await e.client()
        client.send(*(head(b"GET /%d HTTP/1.1" % number) for number in range(100)))
        answers = [await client.answer() for _ in range(100)]
        assert [answer.body for answer in answers] == [b"/%d" % number for number in range(100)]


@on_both_loops
async def test_a_pipeline_behind_a_slow_answer_waits_in_the_clients_socket() -> None:
    gate = Gate()
    async with edge(gate) as e:
        client = await e.client()
        count = 1_000_000
        client.send(GET * count)
        await gate.entered.wait()
        await asyncio.sleep(0.1)
        unsent = client.writer.transport.get_write_buffer_size()  # type: ignore[attr-defined]
        assert len(e.asked) == 1
        assert unsent > count * len(GET) // 4
        gate.open.set()
        for _ in range(3000):
            assert (await client.answer()).body == b"/"


@on_both_loops
async def test_a_pipeline_whose_answers_nobody_reads_stops() -> None:
    async def large(request: Request, channel: Channel) -> Reply:
        return ok(bytes(100_000))

    async with edge(large, write_timeout=0.3) as e:
        client = await e.narrow_client()
        client.send(GET * 5000)
        await until(lambda: not e.server.connections)
        assert len(e.asked) < 200


async def turns_during(client: Client, data: bytes, answers: int) -> int:
    """How often the event loop turned while *data* was answered."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    client.send(data)
    for _ in range(answers):
        await client.answer()
    counting.cancel()
    return turns


@on_both_loops
async def test_a_pipeline_does_not_keep_others_waiting() -> None:
    async with edge(told) as e:
        assert await turns_during(await e.client(), GET * 2000, 2000) > 1000


@on_both_loops
async def test_a_flood_of_small_chunks_does_not_keep_others_waiting() -> None:
    async def length(request: Request, channel: Channel) -> Reply:
        assert channel.body is not None
        return ok(b"%d" % sum([len(chunk) async for chunk in channel.body]))

    async with edge(length) as e:
        flood = head(b"PUT / HTTP/1.1", b"Transfer-Encoding: chunked") + b"1\r\na\r\n" * 100_000
        client = await e.client()
        assert await turns_during(client, flood + b"0\r\n\r\n" + flood + b"0\r\n\r\n", 2) > 80
        client.send(flood, b"0\r\n\r\n")
        assert (await client.answer()).body == b"100000"


@on_both_loops
async def test_a_client_that_leaves_amid_a_flood_harms_nobody() -> None:
    started = asyncio.Event()

    async def first(request: Request, channel: Channel) -> Reply:
        assert channel.body is not None
        async for _ in channel.body:
            started.set()
        return ok()

    async with edge(first) as e:
        client = await e.client()
        client.send(head(b"PUT / HTTP/1.1", b"Transfer-Encoding: chunked"))
        client.send(b"1\r\na\r\n" * 200_000)
        await started.wait()
        client.writer.transport.abort()  # type: ignore[attr-defined]
        await until(lambda: bool(e.seen))


@on_both_loops
async def test_close_ends_a_pipeline() -> None:
    async with edge(told) as e:
        client = await e.client()
        client.send(head(b"GET /1 HTTP/1.1", b"Connection: close"), head(b"GET /2 HTTP/1.1"))
        assert (await client.answer()).body == b"/1"
        assert await client.is_closed()
        assert len(e.asked) == 1


@on_both_loops
async def test_a_client_that_stops_sending_gets_its_answers() -> None:
    gate = Gate()
    async with edge(gate) as e:
        client = await e.client()
        client.send(GET)
        client.stop_sending()
        await gate.entered.wait()
        await asyncio.sleep(0.02)
        gate.open.set()
        assert (await client.answer()).body == b"/"
        assert await client.is_closed()


@on_both_loops
async def test_an_idle_connection_is_closed() -> None:
    async with edge(idle_timeout=0.1) as e:
        client = await e.client()
        assert (await client.ask()).status == 200
        assert (await client.ask()).status == 200
        assert await client.rest() == b""


@on_both_loops
async def test_idleness_does_not_cut_an_answer_or_a_head() -> None:
    gate = Gate()
    async with edge(gate, idle_timeout=0.05) as e:
        client = await e.client()
        client.send(GET[:20])
        await asyncio.sleep(0.15)
        client.send(GET[20:])
        await gate.entered.wait()
        await asyncio.sleep(0.15)
        gate.open.set()
        assert (await client.answer()).status == 200


@on_both_loops
async def test_connections_over_the_limit_are_told() -> None:
    async with edge(connections=2) as e:
        first, second, third = [await e.client() for _ in range(3)]
        assert (await first.ask()).status == 200
        assert (await second.ask()).status == 200
        answer = await third.answer()
        assert (answer.status, answer["connection"], answer["retry-after"]) == (503, "close", "1")
        assert answer["cache-control"] == "no-store"
        assert "access-control-request-method" in answer["vary"].lower()
        assert await third.is_closed()
        await first.leave()
        await until(lambda: e.server.connections == 1)
        assert (await e.ask()).status == 200


@on_both_loops
async def test_a_flood_of_connections_is_bounded() -> None:
    async with edge(connections=1) as e:
        kept = await e.client()
        assert (await kept.ask()).status == 200
        flood = [await e.client() for _ in range(400)]
        ends = await asyncio.gather(
            *(client.is_closed() for client in flood), return_exceptions=True
        )
        assert len(ends) == 400
        assert e.server.connections == 1
        assert (await kept.ask()).status == 200


@on_both_loops
async def test_observations() -> None:
    async def streamed(request: Request, channel: Channel) -> Reply:
        return Reply(200, Fields(), chunks=(b"ab",), stream=stream(b"cde"))

    async with edge(streamed) as e:
        client = await e.client()
        await client.ask()
        await client.ask(head(b"HEAD /x HTTP/1.1"))
        assert [(seen[0].method, seen[1].status, seen[2]) for seen in e.seen] == [
            (b"GET", 200, 5),
            (b"HEAD", 200, 0),
        ]


@on_both_loops
async def test_descriptors_do_not_leak() -> None:
    async with edge(told) as e:
        await e.ask()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            client = await e.client()
            await client.ask(GET if _ % 2 else b"\0")
            await client.leave()
        await until(lambda: e.server.connections <= 1)
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_the_private_names_of_aiohttp_exist() -> None:
    """Whatever Connection uses of aiohttp beyond the documented is there; adapt it when it goes."""
    used = set(re.findall(r"self\.(_\w+)", inspect.getsource(Connection)))
    borrowed = used - set(Connection.__slots__)
    borrowed -= {name for name in vars(Connection) if not hasattr(RequestHandler, name)}
    assert {"_messages", "_waiter", "_paused", "_drain_helper", "_parser"} <= borrowed
    assert [name for name in borrowed if not hasattr(RequestHandler, name)] == []
    assert {"start", "force_close", "connection_made"} <= vars(RequestHandler).keys()
