"""Workers in front of one Redis: hits await nothing, and no worker believes what has changed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from tests.store.builders import KEY, Clock, Heard, body_of, bytes_of, found, put, stored
from tests.store.conftest import eventually
from tests.store.servers import MemcachedServer, RedisServer
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store import layout
from vary_proxy.store.base import BodyGone
from vary_proxy.store.bodies import BACKLOG
from vary_proxy.store.driver import Row
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.opening import open_store
from vary_proxy.tasks import Tasks

A, B = b"https://a.example", b"https://b.example"
HEARD = 0.1  # seconds within which every worker knows
Opened = Callable[..., LayeredStore]


@pytest.fixture
async def workers(opened: Opened, redis_url: str) -> tuple[LayeredStore, LayeredStore]:
    """Two workers on one Redis, both hearing each other."""
    pair = opened("redis", url=redis_url), opened("redis", url=redis_url)
    for one in pair:
        await one.load(b"somebody asks")
    await eventually(lambda: all(one.trusted for one in pair))
    return pair


async def test_what_one_worker_stores_the_other_finds_and_then_has_at_hand(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    published = await put(one, KEY, stored(A), b"body")
    assert one.peek(KEY) is not None
    assert other.peek(KEY) is None
    resource = await other.load(KEY)
    assert resource is not None
    assert resource.variants == (published,)
    assert await body_of(other, KEY, published) == b"body"
    await eventually(lambda: _at_hand(other, published))  # in a cluster the notice comes late
    assert other.peek(KEY) == resource


async def test_a_hit_in_memory_asks_redis_nothing(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, _ = workers
    published = await put(one, KEY, stored(A), b"body")
    asked: list[str] = []

    class Watcher:
        def operation(self, op: str, seconds: float, error: str | None) -> None:
            asked.append(op)

    one.shared.breaker._observer = Watcher()
    assert one.peek(KEY) is not None
    assert await one.load(KEY) is not None
    assert await body_of(one, KEY, published) == b"body"
    assert asked == []
    await one.load(b"never stored")
    await one.load(b"never stored")
    assert asked == ["load"], "that there is nothing is known as well"


async def _at_hand(store: LayeredStore, published: StoredResponse) -> bool:
    assert await store.load(KEY) is not None
    assert await body_of(store, KEY, published) is not None
    known, here = store.peek(KEY), store.chunks(KEY, published.body, 0, 4)
    return known is not None and here is not None


@pytest.mark.parametrize(
    "change", ["purge", "soft purge", "store", "freshen", "drop", "tag", "all"]
)
async def test_a_change_reaches_the_other_workers_memory_at_once(
    workers: tuple[LayeredStore, LayeredStore], change: str
) -> None:
    one, other = workers
    old = await put(one, KEY, stored(A, cache_tag="news, sport"), b"old")
    await eventually(lambda: _at_hand(other, old))  # in a cluster the notice of it may come late
    fresher = replace(old, born=old.born + 60)
    started = time.perf_counter()
    match change:
        case "purge":
            await one.purge(KEY)
        case "soft purge":
            await one.purge(KEY, soft=True)
        case "store":
            await put(one, KEY, stored(B), b"new")
        case "freshen":
            await one.replace(KEY, old, fresher, await one.since(KEY))
        case "drop":
            await one.drop(KEY, old)
        case "tag":
            assert await one.purge_tag(b"sport")
        case "all":
            assert await one.purge_all()
    await eventually(lambda: other.peek(KEY) is None, 2)
    assert time.perf_counter() - started < HEARD
    resource = await other.load(KEY)
    mine = await found(one, KEY)
    assert resource == mine
    if change in ("purge", "drop", "tag", "all"):
        assert resource is None
    else:
        assert resource is not None
    if change == "soft purge":
        assert resource is not None
        assert resource.variants[0].stale
    if change == "freshen":
        assert resource is not None
        assert resource.variants == (fresher,)


async def test_listeners_hear_of_every_change(workers: tuple[LayeredStore, LayeredStore]) -> None:
    one, other = workers
    heard = Heard(other)
    await put(one, KEY, stored(A))
    await eventually(lambda: KEY in heard.subjects)
    await one.purge_all()
    await eventually(lambda: None in heard.subjects)


async def test_a_worker_does_not_overlook_a_variant_that_another_stored(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    await put(one, KEY, stored(A), b"for a")
    await put(other, KEY, stored(B), b"for b")
    await eventually(lambda: one.peek(KEY) is None)
    for worker in workers:
        resource = await found(worker, KEY)
        assert resource is not None
        assert {item.selecting[0][1] for item in resource.variants} == {A, B}


async def test_what_is_read_while_it_changes_is_not_kept(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    """The answer of Redis from before a purge may arrive after the notice of the purge."""
    one, other = workers
    await put(one, KEY, stored(A), b"old")
    driver = other.shared.driver
    look, go_on, looked = driver.look, asyncio.Event(), asyncio.Event()

    async def slow(row: str) -> Row:
        result = await look(row)
        looked.set()
        await go_on.wait()
        return result

    driver.look = slow  # type: ignore[method-assign]
    load = asyncio.get_running_loop().create_task(other.load(KEY))
    await looked.wait()
    await one.purge(KEY)
    await asyncio.sleep(HEARD)
    go_on.set()
    await load
    driver.look = look  # type: ignore[method-assign]
    assert other.peek(KEY) is None
    assert await other.load(KEY) is None


async def test_what_was_fetched_before_a_purge_is_not_published_after_it(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    for purge in (lambda: other.purge(KEY), other.purge_all, lambda: other.purge_tag(b"news")):
        assert await one.load(KEY) is None
        writer = one.writer(KEY, None, 64, await one.since(KEY))
        assert writer is not None
        async with writer:
            await writer.write(b"fetched before")
            await purge()
            await writer.commit(stored(A, cache_tag="news"))
        await asyncio.sleep(0)
        await eventually(lambda: _finds_nothing(one, KEY), 1)
        assert await found(other, KEY) is None
        await put(other, KEY, stored(A), b"fetched after")
        assert await other.load(KEY) is not None
        await other.purge(KEY)


async def _commits(store: LayeredStore, before: StoredResponse) -> None:
    await put(store, KEY, stored(B), b"fetched before")


async def _freshens(store: LayeredStore, before: StoredResponse) -> None:
    await store.replace(KEY, before, replace(before, born=before.born + 60), await store.since(KEY))


async def _adds(store: LayeredStore, before: StoredResponse) -> None:
    await store.add(KEY, replace(before, selecting=((b"origin", B),)), 64, await store.since(KEY))


@pytest.mark.parametrize("change", [_commits, _freshens, _adds])
async def test_what_a_store_that_dies_did_not_take_is_not_kept_alone_behind_a_purge(
    workers: tuple[LayeredStore, LayeredStore],
    change: Callable[[LayeredStore, StoredResponse], Awaitable[None]],
) -> None:
    store, _ = workers
    before = await put(store, KEY, stored(A), b"old")
    asked, dies = asyncio.Event(), asyncio.Event()

    async def dead(*_: object, **__: object) -> NoReturn:
        raise ConnectionError("gone")

    async def dying(*_: object) -> NoReturn:
        asked.set()
        await dies.wait()
        await dead()

    driver = store.shared.driver
    driver.apply, driver.wipe, driver.ping = dying, dead, dead  # type: ignore[method-assign]
    under_way = asyncio.get_running_loop().create_task(change(store, before))
    await asked.wait()
    await store.purge(KEY)
    dies.set()
    await under_way
    assert not store.shared.breaker.writable
    assert store.peek(KEY) is None


async def _finds_nothing(store: LayeredStore, key: bytes) -> bool:
    return await found(store, key) is None


async def test_a_lost_subscription_empties_the_tier(opened: Opened, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        store = opened("redis", url=server.url, timeout=0.25)
        await store.load(KEY)
        await eventually(lambda: store.trusted)
        await put(store, KEY, stored(A))
        assert store.peek(KEY) is not None
        server.kill()
        await eventually(lambda: not store.trusted)
        assert store.peek(KEY) is None
        server.start()
        await eventually(lambda: store.trusted)
    finally:
        server.kill()


async def test_a_subscription_that_keeps_silent_is_lost(opened: Opened, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        store = opened("redis", url=server.url, timeout=0.25)
        await store.load(KEY)
        await eventually(lambda: store.trusted)
        await put(store, KEY, stored(A))
        server.pause()
        await eventually(lambda: not store.trusted, 3)
        assert store.peek(KEY) is None
        server.resume()
        await eventually(lambda: store.trusted, 6)
    finally:
        server.resume()
        server.kill()


async def test_a_body_too_large_for_memory_is_streamed_and_metadata_is_at_hand(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url, memory_max_object=1000)
    await store.load(KEY)
    await eventually(lambda: store.trusted)
    await store.load(KEY)
    body = os.urandom(700_000)
    published = await put(store, KEY, stored(A), body)
    assert store.peek(KEY) is not None
    assert store.chunks(KEY, published.body, 0, 10) is None
    assert await body_of(store, KEY, published) == body
    assert store.chunks(KEY, published.body, 0, 10) is None


async def test_a_reader_holds_two_blocks_whatever_the_body(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url, memory_max_object=1000).shared
    body = os.urandom(10 * layout.BLOCK)
    published = await put(store, KEY, stored(A), body)
    content = await store.read(KEY, published.body, 0, len(body))
    assert content is not None
    assert sum(map(len, content.chunks)) == 2 * layout.BLOCK
    assert await bytes_of(content) == body


async def test_a_block_that_goes_in_mid_stream_ends_the_stream_where_it_was(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url).shared
    body = os.urandom(10 * layout.BLOCK)
    published = await put(store, KEY, stored(A), body)
    content = await store.read(KEY, published.body, 100, len(body))
    assert content is not None
    assert content.stream is not None
    place = (await store.find(KEY)).places[published.body.digest]  # type: ignore[union-attr]
    await store.driver.drop_blocks(layout.block_names(layout.row(KEY), place, 5, 6))
    out = b"".join(content.chunks)
    gone = None
    try:
        async for chunk in content.stream:
            out += chunk
    except BodyGone as error:
        gone = error
    assert gone is not None
    assert out == body[100 : 100 + len(out)]
    assert gone.offset == 100 + len(out)


async def test_a_body_that_came_again_goes_on_where_it_now_is(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url).shared
    body = os.urandom(8 * layout.BLOCK)
    published = await put(store, KEY, stored(A), body)
    content = await store.read(KEY, published.body, 0, len(body))
    place = (await store.find(KEY)).places[published.body.digest]  # type: ignore[union-attr]
    await put(store, KEY, stored(B), body)
    await store.driver.drop_blocks(layout.block_names(layout.row(KEY), place))
    assert await bytes_of(content) == body


async def test_variants_share_one_body(opened: Opened, redis_server: RedisServer) -> None:
    store = opened("redis", url=redis_server.url).shared
    body = os.urandom(300_000)
    await put(store, KEY, stored(A), body)
    await put(store, KEY, stored(B), body)
    result = await store.find(KEY)
    assert result is not None
    assert len(result.resource.variants) == 2
    assert len(result.places) == 1


async def test_every_key_has_a_lifetime(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    store = opened("redis", url=redis_server.url)
    await put(store, KEY, stored(A, cache_control="max-age=604800"), os.urandom(300_000))
    await put(store, b"other", stored(B, status=404), b"not found")
    await store.purge(b"other")
    await store.purge_tag(b"news")
    client = store.shared.driver.client  # type: ignore[attr-defined]
    names = [name async for name in client.scan_iter(match=f"{namespace}:*")]
    assert len(names) >= 6
    for name in names:
        assert 0 < await client.ttl(name) <= layout.EPOCHS_KEPT
    (row,) = [name for name in names if layout.row(KEY).encode() in name]
    assert 608_000 < await client.ttl(row) <= 608_400  # seven days, and the margin
    for name in names:
        if layout.row(KEY)[:-1].encode() + b"b:" in name:
            assert 608_000 < await client.ttl(name) <= 608_400


@pytest.mark.parametrize(
    ("keep", "lives"),
    [
        pytest.param(0.0, layout.MINIMUM, id="its own fields say a minute"),
        pytest.param(7 * 86400.0, 7 * 86400 + layout.MARGIN, id="a rule made a week of it"),
        pytest.param(365 * 86400.0, layout.MAXIMUM, id="a year is over the bound"),
    ],
)
async def test_what_a_rule_keeps_long_lives_as_long_also_after_a_304_seen_elsewhere(
    opened: Opened,
    redis_server: RedisServer,
    namespace: str,
    clock: Clock,
    keep: float,
    lives: int,
) -> None:
    one, other = (opened("redis", url=redis_server.url) for _ in range(2))
    await put(one, KEY, replace(stored(A), keep=keep), b"body")
    client = one.shared.driver.client  # type: ignore[attr-defined]
    names = [name async for name in client.scan_iter(match=f"{namespace}:1:{{*}}:*")]
    assert len(names) == 2  # the row and its block
    for name in names:
        assert lives - 10 < await client.ttl(name) <= lives
        await client.expire(name, 100)  # as if most of that had passed
    resource = await other.load(KEY)
    assert resource is not None
    (old,) = resource.variants
    clock.now += 86400
    await other.replace(
        KEY, old, replace(old, born=clock.now, received=clock.now), await other.since(KEY)
    )
    for name in names:
        assert lives - 10 < await client.ttl(name) <= lives


async def test_an_abandoned_body_leaves_nothing_behind(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    store = opened("redis", url=redis_server.url)
    writer = store.writer(KEY, None, 64, await store.since(KEY))
    assert writer is not None
    client = store.shared.driver.client  # type: ignore[attr-defined]

    async def blocks() -> list[bytes]:
        return [name async for name in client.scan_iter(match=f"{namespace}:*:b:*")]

    async with writer:
        for _ in range(20):
            await writer.write(os.urandom(layout.BLOCK))
        await eventually(blocks)
        for name in await blocks():
            assert 0 < await client.ttl(name) <= layout.ABANDONED

    async def none() -> bool:
        return not await blocks()

    await eventually(none)


async def test_bodies_that_nothing_points_to_expire_soon(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    store = opened("redis", url=redis_server.url)
    await put(store, KEY, stored(A), b"old")
    await put(store, KEY, stored(A, etag='"2"'), b"new")
    client = store.shared.driver.client  # type: ignore[attr-defined]

    async def lives() -> list[int]:
        names = [name async for name in client.scan_iter(match=f"{namespace}:*:b:*")]
        return sorted([await client.ttl(name) for name in names])

    async def retired() -> bool:
        old, new = await lives()
        return old <= layout.GRACE < new

    await eventually(retired)


async def test_a_small_body_that_does_not_match_its_digest_is_gone(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    published = await put(one, KEY, stored(A), b"body")
    resource = await other.load(KEY)
    assert resource is not None
    lying = Body(bytes(20), published.body.length)
    assert await other.read(KEY, lying, 0, 4) is None


async def test_without_notices_metadata_is_asked_for_each_time_and_bodies_are_not(
    opened: Opened, memcached_server: MemcachedServer
) -> None:
    options = {"endpoint": "127.0.0.1", "port": memcached_server.port}
    one, other = (
        opened("aiocache", backend="aiocache.MemcachedCache", options=options) for _ in range(2)
    )
    published = await put(one, KEY, stored(A), b"body")
    assert one.peek(KEY) is None
    assert (await other.load(KEY)) is not None
    assert await body_of(other, KEY, published) == b"body"
    assert other.chunks(KEY, published.body, 0, 4) is not None
    await one.purge(KEY)
    assert await other.load(KEY) is None


async def test_five_hundred_at_once_ask_redis_once(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    heard = Heard(other)
    published = await put(one, KEY, stored(A), b"body")
    await eventually(lambda: KEY in heard.subjects)  # in a cluster the notice of it may come late
    asked: list[str] = []

    class Watcher:
        def operation(self, op: str, seconds: float, error: str | None) -> None:
            asked.append(op)

    other.shared.breaker._observer = Watcher()
    resources = await asyncio.gather(*(other.load(KEY) for _ in range(500)))
    assert all(resource is not None for resource in resources)
    bodies = await asyncio.gather(*(body_of(other, KEY, published) for _ in range(500)))
    assert set(bodies) == {b"body"}
    assert asked == ["load", "read"]


async def test_one_of_many_who_leaves_takes_nothing_from_the_others(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    await put(one, KEY, stored(A), b"body")
    loop = asyncio.get_running_loop()
    loads = [loop.create_task(other.load(KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    loads[0].cancel()
    assert await loads[1] is not None
    assert await loads[2] is not None


async def test_a_load_after_a_change_does_not_ride_on_one_before_it(
    workers: tuple[LayeredStore, LayeredStore],
) -> None:
    one, other = workers
    await put(one, KEY, stored(A), b"old")
    driver = other.shared.driver
    look, go_on, looked = driver.look, asyncio.Event(), asyncio.Event()

    async def slow(row: str) -> Row:
        result = await look(row)
        looked.set()
        await go_on.wait()
        return result

    driver.look = slow  # type: ignore[method-assign]
    early = asyncio.get_running_loop().create_task(other.load(KEY))
    await looked.wait()
    driver.look = look  # type: ignore[method-assign]
    await other.purge(KEY)
    assert await other.load(KEY) is None
    go_on.set()
    await early
    assert other.peek(KEY) is None


async def test_a_writer_holds_few_blocks_and_waits_for_a_slow_store(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url, max_object=1 << 30).shared
    put_block, go_on, most = store.driver.put_block, asyncio.Event(), 0

    async def slow(name: str, value: bytes, lifetime: float) -> None:
        await go_on.wait()
        await put_block(name, value, lifetime)

    store.driver.put_block = slow  # type: ignore[method-assign]
    body = os.urandom(40 * layout.BLOCK)
    writer = store.writer(KEY, len(body), 64, await store.since(KEY))
    assert writer is not None

    async def write() -> None:
        nonlocal most
        async with writer:
            for start in range(0, len(body), 3 * layout.BLOCK):
                await writer.write(body[start : start + 3 * layout.BLOCK])
                most = max(most, len(writer._queue))
            await writer.commit(stored(A))

    task = asyncio.get_running_loop().create_task(write())
    await eventually(lambda: len(writer._queue) >= BACKLOG)
    assert not task.done()
    go_on.set()
    await task
    assert most < BACKLOG + 3
    resource = await store.load(KEY)
    assert resource is not None
    assert await body_of(store, KEY, resource.variants[0]) == body


async def test_a_body_is_not_held_up_by_a_store_that_takes_nothing(
    opened: Opened, redis_server: RedisServer
) -> None:
    since = await opened("redis", url=redis_server.url).since(KEY)
    store = opened("redis", url=redis_server.url, timeout=0.1).shared
    writer = store.writer(KEY, None, 64, since)
    assert writer is not None

    async def stuck(name: str, value: bytes, lifetime: float) -> None:
        await asyncio.Event().wait()

    store.driver.put_block = stuck  # type: ignore[method-assign]
    started = time.perf_counter()
    async with writer:
        for _ in range(40):
            await writer.write(os.urandom(layout.BLOCK))
        await writer.commit(stored(A))
    assert time.perf_counter() - started < 2
    assert writer.resource is None


@pytest.mark.parametrize("pause", [0, 0.001, 0.002, 0.004, 0.01, 0.05])
async def test_the_subscription_ends_with_its_owner_whenever_that_is(
    redis_server: RedisServer, clock: Clock, namespace: str, pause: float
) -> None:
    for _ in range(5):
        tasks = Tasks()
        store = open_store(
            "redis",
            tasks=tasks,
            clock=clock,
            memory_max=1 << 20,
            memory_max_object=1 << 10,
            url=redis_server.url,
            namespace=namespace,
            timeout=5.0,
        )
        await store.load(KEY)
        await asyncio.sleep(pause)
        async with asyncio.timeout(3):
            await tasks.close()
            await store.close()
