"""Bounded: what slow, many, large and odd clients cost, and that others do not feel it.

Memory is what the whole process has, origin and clients of the test included.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from tests.hold import strain, troubles
from tests.hold.worlds import front, get, resident, said
from tests.wire.raworigin import until

WITH_MEMORY = pytest.mark.usefixtures("each_memory")
ON_EACH_STORE = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
MIB = 1 << 20


@ON_EACH_STORE
@LANES
@pytest.mark.parametrize("kept", [True, False], ids=["stored", "not stored"])
async def test_slow_readers_cost_little(kept: bool, fast: bool) -> None:
    """40 clients take nothing of 8 MiB each; one other is served all the while."""
    control = FRESH if kept else b"Cache-Control: no-store"
    async with front(fast=fast) as edge:
        edge.origin.on_connection = strain.streaming(8 * MIB, control)
        if kept:
            await edge.primed(b"/large")
        assert await strain.readers(edge, 40) < 200 * MIB
        assert len((await edge.get(b"/large")).body) == 8 * MIB


@WITH_MEMORY
@LANES
async def test_slow_clients_are_not_felt_by_others(fast: bool) -> None:
    """500 clients drip heads and bodies and take answers by the byte; p99 of the others' is
    within 100 ms of what it is without them."""
    for last in (False, False, True):
        async with front(strain.site, fast=fast, server="limits: {connections: 1000}") as edge:
            found = await strain.felt(edge, 500, 160)
        if found.added < 0.1:  # on a busy machine something else may be felt: three tries
            return
        assert not last, found


@pytest.mark.usefixtures("redis_alone")
@LANES
async def test_slow_clients_are_not_felt_by_others_where_all_is_in_redis(fast: bool) -> None:
    """By this process's own time: each answer takes several turns there, and on a busy machine
    each turn waits for other programs. What it does for the slow first is what others wait for."""
    for last in (False, True):
        async with front(strain.site, fast=fast, server="limits: {connections: 1000}") as edge:
            found = await strain.felt(edge, 500, 160, time.process_time)
        if found.added < 0.1:
            return
        assert not last, found


@LANES
async def test_slow_heads_are_ended_in_all(fast: bool) -> None:
    """Dripping does not put a head's deadline off."""
    async with front(fast=fast, server="timeouts: {head: 200ms}") as edge:
        await edge.primed()
        client = await edge.client()
        client.send(get())
        assert (await client.answer()).status == 200
        begun = time.monotonic()
        dripping = asyncio.create_task(_drip(client.send))
        try:
            assert (await client.answer()).status == 408
        finally:
            dripping.cancel()
        assert time.monotonic() - begun < 5


async def _drip(send: object) -> None:
    for byte in get(b"/" + b"x" * 5000):
        send(bytes((byte,)))  # type: ignore[operator]
        await asyncio.sleep(0.02)


async def test_thousands_of_idle_connections_cost_little(tmp_path: Path) -> None:
    """5000 of them, half after a hit; one more is told so, and those that are there are served."""
    count = 5000
    strain.allow_files(count + 1000)
    async with strain.an_origin() as origin:
        text = strain.ONE_PROXY.format(connections=count, port=origin.port)
        async with troubles.outside(tmp_path / "idle.yaml", text, workers=1) as proxy:
            idle = strain.Idle(proxy.port)
            try:
                for asking in (True, True, False):
                    await asyncio.to_thread(idle.connect, 100, asking=asking)
                pid = proxy.command.serving()
                before, already = strain.resident_of(pid), len(idle.open)
                await asyncio.to_thread(idle.connect, count // 2 - already, asking=True)
                await asyncio.to_thread(idle.connect, count - len(idle.open), asking=False)
                assert await asyncio.to_thread(idle.status, idle.open[-1]) == 200
                each = (strain.resident_of(pid) - before) / (count - already)
                assert each < 16 * 1024
                more = strain.Idle(proxy.port)
                await asyncio.to_thread(more.connect, 100, asking=False)
                told = [await asyncio.to_thread(more.status, link) for link in more.open]
                assert set(told) <= {503, 0}
                assert told.count(503) > 50
                more.close()
                for link in idle.open[:: count // 50]:
                    assert await asyncio.to_thread(idle.status, link) == 200
            finally:
                idle.close()


@LANES
async def test_connections_over_the_limit_are_told_and_harm_nobody(fast: bool) -> None:
    async with front(fast=fast, server="limits: {connections: 20}") as edge:
        await edge.primed()
        await until(lambda: not edge.app.server._hub.live)
        held = [await edge.client() for _ in range(20)]
        for client in held:
            assert (await client.ask(get())).status == 200
        for _ in range(50):
            assert (await edge.get()).status == 503
        for client in held:
            assert (await client.ask(get())).status == 200


@LANES
@pytest.mark.parametrize(
    ("size", "count", "limit"),
    [(100, 1500, MIB), (100_000, 1500, 4 * MIB)],
    ids=["small", "larger"],
)
async def test_distinct_urls_fill_the_cache_and_no_more(
    size: int, count: int, limit: int, fast: bool
) -> None:
    """Small ones cost more than their bodies; larger ones, all together, twice what is allowed."""
    body = bytes(size)
    store = f"{{type: memory, memory: {{max: {limit // MIB}MiB}}}}"
    async with front(lambda asked: said(body, FRESH), fast=fast, store=store) as edge:
        client = await edge.client()
        for number in range(100):
            await client.ask(get(b"/warm/%d" % number))
        before = resident()
        for number in range(count):
            assert (await client.ask(get(b"/%d" % number))).status == 200
            del edge.origin.asked[:]
        assert resident() - before < 1.5 * limit + 64 * MIB
        assert (await client.ask(get(b"/%d" % (count - 1)))).body == body
        asked = len(edge.origin.asked)
        assert (await client.ask(get(b"/1"))).body == body
        assert len(edge.origin.asked) == asked + 1  # room had to be made: it is full


@ON_EACH_STORE
@LANES
async def test_many_ranges_cost_the_whole_and_a_few_heads(fast: bool) -> None:
    body = bytes(range(256)) * 256
    async with front(lambda asked: said(body, FRESH, b'ETag: "v"'), fast=fast) as edge:
        await edge.primed()
        many = b",".join(b"%d-%d" % (at, at + 1) for at in range(0, 4000, 4))
        overlapping = b",".join([b"0-"] * 200)
        end = len(body) - 1
        nested = b",".join(b"%d-%d" % (at, end - at) for at in range(16))
        aside = b",".join(b"%d-%d" % (at, at + 4094) for at in range(0, end, 4096))
        halves = b"0-30000,30001-"
        sixteen = (b",".join([b"0-"] * 16), b"0-,-1", nested, aside, halves)
        for specs in (many, overlapping, b"-1," * 500 + b"-1", b"0-0," * 1000, *sixteen):
            for _ in range(3):
                answer = await edge.get(b"/", b"Range: bytes=" + specs)
                assert answer.status in (200, 206, 416)
                parts = answer.body.count(b"\r\nContent-Range: ")
                assert parts <= 16
                assert len(answer.body) - 80 * (parts + 1) <= len(body)  # less their heads
        assert len(edge.origin.asked) == 1


@ON_EACH_STORE
@LANES
async def test_nothing_is_decompressed(fast: bool) -> None:
    bomb = gzip.compress(bytes(64 * MIB), 9)
    answer = said(bomb, FRESH, b"Content-Encoding: gzip")
    async with front(lambda asked: answer, fast=fast) as edge:
        before = resident()
        for _ in range(3):
            assert (await edge.get()).body == bomb
        assert resident() - before < 32 * MIB


@ON_EACH_STORE
@LANES
async def test_a_pipeline_that_is_not_read_stops(fast: bool) -> None:
    body = bytes(100_000)
    async with front(lambda asked: said(body, FRESH), fast=fast) as edge:
        await edge.primed()
        before = resident()
        client = await edge.client(receive=4096)
        client.send(get() * 5000)  # 500 MB of answers
        for _ in range(50):
            assert (await edge.get()).status == 200
        assert resident() - before < 64 * MIB


@WITH_MEMORY
@LANES
@pytest.mark.parametrize(
    ("target", "field"),
    [(b"/page", b"User-Agent"), (b"/cors", b"Origin")],
    ids=["variants", "origins"],
)
async def test_many_variants_slow_no_hit(target: bytes, field: bytes, fast: bool) -> None:
    """bench.strain tries 100 000; what each of them costs shows with fewer."""
    for last in (False, False, True):
        async with front(strain.varying, fast=fast) as edge:
            found = await strain.tried(edge, target, field, 300)
        slower = found.after / found.before, found.other_after / found.other_before
        if max(slower) < 2:
            return
        assert not last, found
