"""A store that is slow, refusing, restarting, full, read-only or lying harms nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.store.builders import KEY, body_of, found, put, stored
from tests.store.conftest import eventually
from tests.store.servers import RedisServer
from vary_proxy.store import breaker as breaker_module
from vary_proxy.store import layout
from vary_proxy.store.base import StoreUnavailable
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.shared import SharedStore

A, B = b"https://a.example", b"https://b.example"
DEADLINE = 0.25
Opened = Callable[..., LayeredStore]


@asynccontextmanager
async def no_longer_than(seconds: float) -> AsyncIterator[None]:
    started = time.perf_counter()
    yield
    taken = time.perf_counter() - started
    assert taken <= seconds, f"took {taken:.3f} s"


async def exercise(store: SharedStore | LayeredStore, key: bytes = KEY) -> None:
    """Everything that a request may ask of a store: nothing here may raise."""
    await store.load(key)
    writer = store.writer(key, None, 64, await store.since(key))
    if writer is not None:
        async with writer:
            for _ in range(3):
                await writer.write(os.urandom(200_000))
            await writer.commit(stored(A))
    response = stored(A)
    await store.add(key, response, 64, await store.since(key))
    await store.replace(key, response, response.marked_stale(), await store.since(key))
    await store.read(key, response.body, 0, 10)
    await store.drop(key, response)


async def test_a_stopped_server_costs_one_deadline_and_then_nothing(
    server: RedisServer, opened: Opened
) -> None:
    await put(opened("redis", url=server.url), KEY, stored(A))
    store = opened("redis", url=server.url, timeout=DEADLINE).shared
    await eventually(lambda: store.load(KEY))
    server.pause()
    try:
        async with no_longer_than(DEADLINE + 0.75):
            assert await store.load(KEY) is None
        async with no_longer_than(1.0):
            for number in range(50):
                await exercise(store, b"%d" % number)
    finally:
        server.resume()
    await eventually(lambda: store.breaker.writable, 6)
    await eventually(lambda: store.load(KEY))


async def test_an_answer_that_came_too_late_is_nobody_elses(
    server: RedisServer, opened: Opened
) -> None:
    """The connection of an operation given up must not hand its answer to the next one."""
    patient = opened("redis", url=server.url)
    keys = [b"%d" % number for number in range(20)]
    for key in keys:
        await put(patient, key, stored(A), b"body of " + key)
    store = opened("redis", url=server.url, timeout=DEADLINE).shared
    for _ in range(3):
        server.pause()
        await asyncio.gather(*(store.load(key) for key in keys))
        server.resume()
        await eventually(lambda: store.breaker.writable, 6)
        for key in reversed(keys):
            resource = await store.load(key)
            if resource is not None:  # else the machine is slow, and this came too late again
                body = await body_of(store, key, resource.variants[0])
                assert body in (b"body of " + key, None)
    assert store.breaker.errors["garbage"] == 0


async def test_a_killed_server_is_used_again_within_six_seconds_of_its_return(
    server: RedisServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened("redis", url=server.url)
    await put(store, KEY, stored(A), b"before")
    with caplog.at_level(logging.WARNING, logger="vary_proxy"):
        server.kill()
        async with no_longer_than(1.0):
            for number in range(20):
                await exercise(store, b"%d" % number)
        await asyncio.sleep(1)  # the probes become more seldom
        server.start()
        async with no_longer_than(6.0):
            await eventually(lambda: store.shared.breaker.writable, 6)
    await put(store, KEY, stored(A), b"after")
    resource = await store.shared.load(KEY)
    assert resource is not None
    lines = [one.getMessage() for one in caplog.records if one.name == "vary_proxy"]
    assert len(lines) == 2
    assert "refused" in lines[0]
    assert f"127.0.0.1:{server.port}" in lines[0]
    assert "back after" in lines[1]


async def test_a_server_that_restarts_between_two_requests_is_not_even_noticed(
    server: RedisServer, opened: Opened
) -> None:
    store = opened("redis", url=server.url).shared
    await put(store, KEY, stored(A))
    server.kill()
    server.start()
    await asyncio.sleep(0.05)  # the loop hears that the connections have ended
    assert await store.load(KEY) is None
    await put(store, KEY, stored(A))
    assert await store.load(KEY) is not None
    assert store.breaker.writable


async def test_memory_goes_on_alone_while_the_server_is_away(
    server: RedisServer, opened: Opened
) -> None:
    store = opened("redis", url=server.url)
    server.kill()
    assert await store.load(KEY) is None
    published = await put(store, KEY, stored(A), b"held here")
    resource = store.peek(KEY)
    assert resource is not None
    assert resource.variants == (published,)
    assert await body_of(store, KEY, published) == b"held here"
    server.start()
    await eventually(lambda: store.shared.breaker.writable, 6)
    assert store.peek(KEY) is None, "what others changed meanwhile is not known"


async def test_a_full_server_is_read_and_not_written(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    store = opened("redis", url=server.url).shared
    await put(store, KEY, stored(A), b"from before")
    await direct.config_set("maxmemory-policy", "noeviction")
    await direct.config_set("maxmemory", 1)
    assert await store.since(b"other") is None
    assert not store.breaker.writable
    assert store.breaker.readable
    assert store.breaker.errors["full"] > 0
    resource = await store.load(KEY)
    assert resource is not None
    assert await body_of(store, KEY, resource.variants[0]) == b"from before"
    assert await store.load(b"other") is None
    await direct.config_set("maxmemory", 0)
    await eventually(lambda: store.breaker.writable, 6)
    await put(store, b"other", stored(A), b"room")
    assert await store.load(b"other") is not None


async def test_a_server_that_was_full_from_the_start_leaves_memory_to_work(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    await direct.config_set("maxmemory-policy", "noeviction")
    await direct.config_set("maxmemory", 1)
    store = opened("redis", url=server.url)
    await store.load(KEY)
    await eventually(lambda: store.trusted)
    assert await store.load(KEY) is None
    published = await put(store, KEY, stored(A), b"held here")
    resource = store.peek(KEY)
    assert resource is not None
    assert resource.variants == (published,)
    assert await body_of(store, KEY, published) == b"held here"


async def test_a_full_server_still_takes_purges(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    store = opened("redis", url=server.url).shared
    await put(store, KEY, stored(A))
    await direct.config_set("maxmemory-policy", "noeviction")
    await direct.config_set("maxmemory", 1)
    assert await store.purge(KEY) == 1
    assert await store.load(KEY) is None
    await direct.config_set("maxmemory", 0)
    assert not await direct.hexists(f"{_space(store)}:{layout.row(KEY)}", "i")


def _space(store: SharedStore) -> str:
    return str(store.driver.cache.namespace)  # type: ignore[attr-defined]


async def test_a_replica_is_read_and_not_written_and_what_is_purged_there_reads_as_gone(
    server: RedisServer, opened: Opened, direct: Redis, tmp_path: Path
) -> None:
    store = opened("redis", url=server.url).shared
    await put(store, KEY, stored(A), b"replicated")
    await put(store, b"purged", stored(A), b"to be purged")
    replica = RedisServer(tmp_path / "replica")
    replica.start()
    try:
        async with Redis(port=replica.port) as client:
            await client.replicaof("127.0.0.1", server.port)
            other = opened("redis", url=replica.url).shared
            await eventually(lambda: client.exists(f"{_space(store)}:{layout.row(KEY)}"))
            assert await other.since(b"new") is None
            assert not other.breaker.writable
            assert other.breaker.readable
            resource = await other.load(KEY)
            assert resource is not None
            assert await body_of(other, KEY, resource.variants[0]) == b"replicated"
            await other.purge(b"purged")
            assert await other.load(b"purged") is None
            await client.replicaof("NO", "ONE")  # promoted: what is owed is made up for
            await eventually(lambda: other.breaker.writable, 6)
            assert not other.debts
            assert await other.load(b"purged") is None
            assert await other.load(KEY) is not None
    finally:
        replica.kill()


async def test_a_purge_while_the_server_is_away_is_made_up_for(
    server: RedisServer, opened: Opened
) -> None:
    store = opened("redis", url=server.url, timeout=DEADLINE)
    patient = opened("redis", url=server.url)
    for key in (b"kept", b"purged", b"tagged"):
        await put(patient, key, stored(A, cache_tag="news" if key == b"tagged" else "other"))
    server.pause()
    await store.purge(b"purged")
    assert not await store.purge_tag(b"news")
    server.resume()
    await eventually(lambda: store.shared.breaker.readable, 6)
    assert await found(store, b"purged") is None
    assert await found(store, b"tagged") is None
    await eventually(lambda: store.shared.breaker.writable, 6)
    assert not store.shared.debts
    other = opened("redis", url=server.url)
    assert await found(other, b"purged") is None
    assert await found(other, b"tagged") is None
    assert await found(other, b"kept") is not None


async def test_garbage_in_place_of_a_row_is_a_miss_and_is_removed(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    store = opened("redis", url=server.url).shared
    name = f"{_space(store)}:{layout.row(KEY)}"
    await direct.set(name, b"a foreign string")
    assert await store.load(KEY) is None
    assert not await direct.exists(name)
    await direct.hset(name, mapping={"i": b"\x01garbage", "v12345678": b"garbage", "n": b"1"})
    assert await store.load(KEY) is None
    await eventually(lambda: _lacks(direct, name, "i"))
    await put(store, KEY, stored(A), b"fine again")
    assert await store.load(KEY) is not None
    assert store.breaker.writable


async def _lacks(direct: Redis, name: str, field: str) -> bool:
    return not await direct.hexists(name, field)


async def test_one_spoiled_variant_is_removed_and_the_others_stay(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    store = opened("redis", url=server.url).shared
    await put(store, KEY, stored(A), b"for a")
    good = await put(store, KEY, stored(B), b"for b")
    name = f"{_space(store)}:{layout.row(KEY)}"
    fields = [field for field in await direct.hkeys(name) if field[:1] == b"v"]
    values = {field: await direct.hget(name, field) for field in fields}
    for field, value in values.items():
        if b"https://a.example" in value:
            await direct.hset(name, field, value.replace(b"a.example", b"c.example"))
            spoiled = field
    resource = await store.load(KEY)
    assert resource is not None
    assert resource.variants == (good,)
    await eventually(lambda: _lacks(direct, name, spoiled))


async def test_a_spoiled_or_swapped_or_missing_block_is_a_body_that_has_gone(
    server: RedisServer, opened: Opened, direct: Redis
) -> None:
    store = opened("redis", url=server.url).shared
    body = os.urandom(3 * layout.BLOCK)
    published = await put(store, KEY, stored(A), body)
    names = sorted(await direct.keys(f"{_space(store)}:*:b:*"))
    first, second, third = [await direct.get(name) for name in names]
    assert await body_of(store, KEY, published) == body
    await direct.set(names[0], second)
    await direct.set(names[1], first)
    assert await store.read(KEY, published.body, 0, 10) is None
    await direct.set(names[0], first[:-1] + b"x" if first[-1:] != b"x" else b"y")
    assert await store.read(KEY, published.body, 0, 10) is None
    await direct.unlink(names[0])
    assert await store.read(KEY, published.body, 0, 10) is None
    assert await store.read(KEY, published.body, len(body) - 5, len(body)) is not None
    assert third is not None


async def test_where_it_is_wanted_an_absent_store_is_an_error(
    server: RedisServer, opened: Opened
) -> None:
    store = opened("redis", url=server.url, on_error="fail")
    assert await store.load(KEY) is None
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.load(b"other")
    with pytest.raises(StoreUnavailable):
        await store.load(b"other")


async def test_nobody_there_from_the_start(opened: Opened, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)  # its port, and nobody on it
    store = opened("redis", url=server.url)
    async with no_longer_than(3.0):
        for number in range(20):
            await exercise(store, b"%d" % number)
    server.start()
    try:
        await eventually(lambda: store.trusted, 6)
        await eventually(lambda: store.shared.breaker.writable, 6)
        await put(store, KEY, stored(A))
        assert await found(store, KEY) is not None
    finally:
        server.kill()


async def test_a_server_that_speaks_something_else_harms_nobody(opened: Opened) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1000):
                writer.write(os.urandom(50) + b"\r\n*3\r\n$-7\r\n:x\r\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = opened("redis", url=f"redis://127.0.0.1:{port}", timeout=DEADLINE)
    async with no_longer_than(3.0):
        for number in range(10):
            await exercise(store, b"%d" % number)
    assert not store.shared.breaker.writable
    server.close()


async def test_a_server_without_the_password_is_one_that_is_away(
    opened: Opened, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path, "--requirepass", "secret word")
    server._pong = b"-NOAUTH"
    server.start()
    try:
        store = opened("redis", url=server.url)
        await exercise(store)
        assert store.shared.breaker.errors["denied"] > 0
        url = f"redis://:secret%20word@127.0.0.1:{server.port}/0"
        store = opened("redis", url=url)
        await put(store, KEY, stored(A))
        assert await store.shared.load(KEY) is not None
        assert "secret" not in store.shared.driver.label
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def _probe_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule of the probes is tested by test_breaker; here it only costs time."""
    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.5)
