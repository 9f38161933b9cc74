"""Large objects through a whole proxy: what the store loses, slow readers, and memory.

The proxy, Redis and the origin are processes of their own; every byte is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from bench.bigbody import MEMORY, MIB, REDIS, Reader, big_origin, big_proxy, measure, readers, told
from tests.real.proxy import Proxy
from tests.store.servers import RedisServer, running

SIZE = 12 * MIB
BLOCK = 128 << 10
OPEN = "Range: bytes=0-"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="module")
def origin() -> Iterator[int]:
    with big_origin() as port:
        yield port


def on(server: RedisServer) -> str:
    """The configuration of a store there, patient with a busy machine."""
    return REDIS.format(url=server.url, timeout="5s")


@pytest.fixture(scope="module")
def shared(
    redis_server: RedisServer, origin: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with big_proxy(tmp_path_factory.mktemp("shared"), origin, on(redis_server)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def alone(origin: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with big_proxy(tmp_path_factory.mktemp("alone"), origin, MEMORY) as proxy:
        yield proxy


async def change(port: int, version: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /change/%d HTTP/1.1\r\nHost: o\r\n\r\n" % version)
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def stored(proxy: Proxy, target: str, first: int) -> None:
    """Return once byte *first* is a hit: what ends a body is published a moment after its end."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        got = await Reader(proxy.url, target, (f"Range: bytes={first}-{first}",)).run()
        if "; hit" in got.head:
            return
        assert asyncio.get_running_loop().time() < deadline, got.head
        await asyncio.sleep(0.05)


class Eviction:
    """Drops blocks from Redis once a reader has *after* bytes: every *nth* of them."""

    def __init__(self, server: RedisServer, after: int, nth: int = 1) -> None:
        self.dropped = 0
        self._client = redis.Redis.from_url(server.url)
        self._after = after
        self._nth = nth

    async def __call__(self, count: int) -> None:
        if self.dropped or count < self._after:
            return
        names: list[Any] = sorted(self._client.scan_iter(match="*:b:*", count=1000))
        self.dropped = self._client.delete(*names[:: self._nth])  # type: ignore[assignment]  # not awaited


@pytest.mark.parametrize("nth", [1, 3], ids=["all blocks", "every third"])
@pytest.mark.parametrize("ask", ["range", "get"])
async def test_blocks_that_redis_loses_in_mid_stream_are_fetched_unseen(
    shared: Proxy, redis_server: RedisServer, origin: int, ask: str, nth: int
) -> None:
    fields = (OPEN,) if ask == "range" else ()
    target = f"/strong/{SIZE}?{ask}{nth}"
    assert (await Reader(shared.url, target, fields).run()).ended
    await stored(shared, target, SIZE - 1)
    await told(origin)
    evict = Eviction(redis_server, 4 * MIB, nth)
    got = await Reader(shared.url, target, fields, rate=60 * MIB, on_bytes=evict).run()
    assert evict.dropped > 10
    assert (got.ended, got.wrong, got.count) == (True, False, SIZE)
    asked = (await told(origin))["asked"]
    assert asked
    for one in asked:
        assert one["range"]
        assert '"v1"' in (one["if-match"], one["if-range"])


@pytest.mark.parametrize("ask", ["range", "get"])
async def test_what_has_changed_meanwhile_is_a_cut_and_never_a_mixture(
    shared: Proxy, redis_server: RedisServer, origin: int, ask: str
) -> None:
    fields = (OPEN,) if ask == "range" else ()
    target = f"/strong/{SIZE}?{ask}"
    await Reader(shared.url, target, fields).run()
    await stored(shared, target, SIZE - 1)
    evict = Eviction(redis_server, 4 * MIB)

    async def evict_and_change(count: int) -> None:
        await evict(count)
        if evict.dropped:
            await change(origin, 2)

    try:
        got = await Reader(shared.url, target, fields, 60 * MIB, on_bytes=evict_and_change).run()
        assert (got.ended, got.wrong) == (False, False)  # what came is all of the old one
        assert got.count < SIZE
        if ask == "range":  # the proxy has seen it: the next one gets the new one
            new = await Reader(shared.url, target, fields, version=2).run()
            assert (new.ended, new.wrong) == (True, False)
    finally:
        await change(origin, 1)


@pytest.mark.parametrize("ask", ["range", "get"])
@pytest.mark.parametrize("store", ["shared", "alone"])
async def test_a_slow_reader_holds_neither_others_nor_the_store(
    store: str, ask: str, origin: int, request: pytest.FixtureRequest
) -> None:
    proxy: Proxy = request.getfixturevalue(store)
    size = SIZE if store == "shared" else 6 * MIB  # what the memory store takes
    fields = (OPEN,) if ask == "range" else ()
    target = f"/strong/{size}?slow{ask}"
    begun = asyncio.Event()

    async def note(count: int) -> None:
        begun.set()

    await told(origin)
    slow = Reader(proxy.url, target, fields, rate=MIB // 16, on_bytes=note)
    slowly = asyncio.ensure_future(slow.run())
    try:
        await begun.wait()
        fast = [Reader(proxy.url, target, fields).run() for _ in range(4)]
        for got in await asyncio.wait_for(asyncio.gather(*fast), 120):
            assert (got.ended, got.wrong) == (True, False)
        assert slow.got.count < size // 2
        await stored(proxy, target, size - 1)
        assert (await told(origin))["sent"] < 2 * size
    finally:
        slowly.cancel()
        await asyncio.wait({slowly})
    assert not slow.got.wrong


@pytest.mark.parametrize(
    ("store", "ask", "kind"),
    [("shared", "get", "weak"), ("shared", "range", "strong"), ("alone", "range", "strong")],
)
async def test_many_readers_at_different_speeds_in_bounded_memory(
    store: str, ask: str, kind: str, origin: int, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The figures for a gibibyte and 64 readers are those of bench.bigbody."""
    where, held = (MEMORY, 32 * MIB) if store == "alone" else (on(redis_server), 8 * MIB)
    with big_proxy(tmp_path, origin, where) as proxy:  # whose peak is of this alone
        made = readers(proxy.url, f"/{kind}/{64 * MIB}?{store}{ask}", 32, ask)
        found = await measure(proxy, origin, made, 4.0, least=64 * MIB)
    assert found.wrong == 0
    assert sum(one.count for one in found.got) > 64 * MIB
    assert found.grown < 64 * MIB + held, f"grew by {found.grown / MIB:.1f} MiB"
