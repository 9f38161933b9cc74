"""What an origin was asked for before a purge is not published after it, whoever purges."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from tests.store.builders import KEY, Heard, found, put, stored
from tests.store.conftest import SHARED, eventually
from tests.store.servers import RedisServer
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store import layout
from vary_proxy.store.base import Since
from vary_proxy.store.driver import Epochs
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.shared import SharedStore

A, B = b"https://a.example", b"https://b.example"
Opened = Callable[..., LayeredStore]
Purge = Callable[[SharedStore, StoredResponse], Awaitable[object]]


async def matching(store: SharedStore, *, soft: bool = False) -> None:
    async for _ in store.purge_matching(lambda key: key == KEY, soft=soft):
        pass


PURGES: dict[str, Purge] = {
    "of the resource": lambda store, old: store.purge(KEY),
    "of the resource, soft": lambda store, old: store.purge(KEY, soft=True),
    "of one variant": lambda store, old: store.purge_one(KEY, old),
    "of one variant, soft": lambda store, old: store.purge_one(KEY, old, soft=True),
    "of a tag": lambda store, old: store.purge_tag(b"news"),
    "of a tag, soft": lambda store, old: store.purge_tag(b"news", soft=True),
    "of all": lambda store, old: store.purge_all(),
    "of all, soft": lambda store, old: store.purge_all(soft=True),
}


async def whole(store: SharedStore, since: Since | None) -> None:
    writer = store.writer(KEY, 300_000, 64, since)
    assert writer is not None
    async with writer:
        await writer.write(bytes(300_000))
        await writer.commit(stored(A, cache_tag="news"))


async def put_under(store: SharedStore, since: Since | None) -> None:
    writer = store.writer(b"elsewhere", 6, 64, since)
    assert writer is not None
    async with writer:
        await writer.write(b"<svg/>")
        await writer.commit(stored(A))


async def sparse(store: SharedStore, since: Since | None) -> None:
    body = Body(os.urandom(20), 300_000)
    one = replace(stored(A, cache_tag="news"), body=body, sparse=True)
    await store.blocks.publish(KEY, one, 64, since)


@pytest.fixture(params=SHARED)
def many(request: pytest.FixtureRequest, opened: Opened) -> Callable[[], SharedStore]:
    """Opens workers, without memory, on one store."""
    server = request.getfixturevalue(request.param)
    if request.param != "memcached_server":
        return lambda: opened("redis", url=server.url).shared
    options = {"endpoint": "127.0.0.1", "port": server.port}
    return lambda: opened("aiocache", backend="aiocache.MemcachedCache", options=options).shared


async def fresh(store: SharedStore) -> list[StoredResponse]:
    """What a request with the Origin A finds to be used as it is."""
    resource = await found(store, KEY)
    variants = () if resource is None else resource.variants
    return [one for one in variants if one.selecting == ((b"origin", A),) and not one.stale]


@pytest.mark.parametrize("publish", [whole, sparse])
async def test_what_nobody_purged_is_published(
    many: Callable[[], SharedStore], publish: Callable[..., Awaitable[None]]
) -> None:
    one, other = many(), many()
    await put(other, KEY, stored(B, cache_tag="sport"))
    since = await one.since(KEY)
    await other.purge_tag(b"sport")
    await put(other, KEY, stored(B))
    await publish(one, since)
    assert await fresh(many())


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("publish", [whole, sparse])
async def test_nor_after_a_purge_that_looked_at_all_there_was(
    redis_url: str, opened: Opened, publish: Callable[..., Awaitable[None]], soft: bool
) -> None:
    one, other, third = (opened("redis", url=redis_url).shared for _ in range(3))
    elsewhere = await one.since(b"elsewhere")
    since = await one.since(KEY)
    await matching(other, soft=soft)  # and found nothing
    await one.find(KEY)
    await publish(one, since)
    assert not await fresh(third)
    await publish(one, await one.since(KEY))
    assert await fresh(third)
    await put_under(one, elsewhere)
    assert not await found(third, b"elsewhere")  # of it nobody can tell


async def test_the_other_processes_hear_of_it(opened: Opened, redis_server: RedisServer) -> None:
    one, other = (opened("redis", url=redis_server.url) for _ in range(2))
    await one.load(KEY)
    await eventually(lambda: one.trusted)
    heard = Heard(one)
    before = await one.since(KEY)
    await matching(other.shared)
    await eventually(lambda: b"" in heard.subjects)
    assert await one.since(KEY) != before


@pytest.mark.parametrize("publish", [whole, sparse])
@pytest.mark.parametrize("purge", PURGES)
async def test_what_was_asked_for_before_a_purge_is_not_used_after_it(
    many: Callable[[], SharedStore], purge: str, publish: Callable[..., Awaitable[None]]
) -> None:
    one, other = many(), many()
    old = await put(other, KEY, stored(B, cache_tag="news"))
    since = await one.since(KEY)
    await PURGES[purge](other, old)
    await one.find(KEY)  # somebody looks at it here, and it is as it is now
    await publish(one, since)
    assert not await fresh(many())


@pytest.mark.parametrize("publish", [whole, sparse])
async def test_nor_where_the_trace_of_the_purge_was_evicted(
    opened: Opened, redis_url: str, publish: Callable[..., Awaitable[None]]
) -> None:
    one, other = opened("redis", url=redis_url).shared, opened("redis", url=redis_url).shared
    since = await one.since(KEY)
    await other.purge(KEY)
    await other.driver.drop_blocks([layout.row(KEY)])
    await one.find(KEY)
    await publish(one, since)
    assert not await fresh(opened("redis", url=redis_url).shared)


async def test_nor_where_that_trace_was_evicted_wherever_it_lies(
    many: Callable[[], SharedStore],
) -> None:
    one, other = many(), many()
    since = await one.since(KEY)
    await other.purge(KEY)
    await other.driver.drop_blocks([layout.row(KEY), layout.row(KEY)[:-1] + "g"])
    await whole(one, since)
    assert not await fresh(many())


async def test_the_purge_of_a_tag_counts_also_when_its_number_is_lost_while_it_is_asked_for(
    opened: Opened, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened("redis", url=redis_server.url).shared
    await put(one, KEY, stored(A, cache_tag="news"))
    await one.purge_tag(b"news")
    asked = one.driver.tag_epochs

    async def evicted(tags: Sequence[bytes]) -> Sequence[Epochs]:
        await one.driver.drop_blocks([layout.EPOCHS])
        return await asked(tags)

    monkeypatch.setattr(one.driver, "tag_epochs", evicted)
    assert await one.load(KEY) is None


async def test_a_body_that_comes_slowly_is_published_all_the_same(
    opened: Opened, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is of a generation for a while only, and that while is made longer."""
    monkeypatch.setattr(layout, "ABANDONED", 0.4)
    one = opened("redis", url=redis_server.url).shared
    writer = one.writer(KEY, 20, 64, await one.since(KEY))
    assert writer is not None
    async with writer:
        for _ in range(10):
            await asyncio.sleep(0.1)
            await writer.write(b"12")
        await writer.commit(stored(A))
    assert await fresh(one)


async def test_who_first_asks_for_a_url_does_so_once(
    opened: Opened, redis_server: RedisServer
) -> None:
    """Two who ask at the same time are of one generation, and both may publish."""
    one, other = (opened("redis", url=redis_server.url).shared for _ in range(2))
    await asyncio.gather(one.load(KEY), other.load(KEY))
    since = await asyncio.gather(one.since(KEY), other.since(KEY))
    assert since[0] == since[1]
    await asyncio.gather(
        *(whole(store, when) for store, when in zip((one, other), since, strict=True))
    )
    assert await fresh(one)


async def test_nor_where_nothing_was_stored_to_be_marked_stale(
    many: Callable[[], SharedStore],
) -> None:
    one, other = many(), many()
    since = await one.since(KEY)
    await other.purge(KEY, soft=True)
    await one.find(KEY)
    await whole(one, since)
    assert not await fresh(many())


async def test_a_validation_asked_for_before_another_soft_purge_freshens_nothing(
    many: Callable[[], SharedStore],
) -> None:
    one, other = many(), many()
    old = await put(other, KEY, stored(A))
    await other.purge(KEY, soft=True)
    since = await one.since(KEY)
    await other.purge(KEY, soft=True)
    await one.find(KEY)
    await one.replace(KEY, old.marked_stale(), replace(old, born=old.born + 9), since)
    assert not await fresh(many())


async def test_a_change_publishes_its_own_answer_unless_another_came_between(
    many: Callable[[], SharedStore],
) -> None:
    one, other = many(), many()
    since = await one.supersede(KEY, await one.since(KEY))
    await whole(one, since)
    assert await fresh(many())
    before = await one.since(KEY)
    await other.purge(KEY)  # another's change
    since = await one.supersede(KEY, before)
    assert since is None
    await whole(one, since)
    assert not await fresh(many())


async def test_memory_does_not_believe_what_was_purged_before_it_was_there(
    opened: Opened, redis_server: RedisServer
) -> None:
    one, other = (opened("redis", url=redis_server.url) for _ in range(2))
    await one.load(KEY)
    await eventually(lambda: one.trusted)
    since = await one.since(KEY)
    await other.purge_tag(b"news")
    await eventually(lambda: one.beliefs.doubts > 1)  # that is heard, and only then
    async with one.writer(KEY, 6, 64, since) as writer:  # type: ignore[union-attr]
        await writer.write(b"<svg/>")
        await writer.commit(stored(A, cache_tag="news"))
    assert await one.load(KEY) is None


async def test_without_memory_nothing_is_old(opened: Opened, redis_server: RedisServer) -> None:
    options = {"url": redis_server.url, "memory_max": 0, "memory_max_object": 0}
    one, other = (opened("redis", **options) for _ in range(2))
    await one.load(b"somebody asks")
    await eventually(lambda: one.trusted)
    assert await one.load(KEY) is None
    await put(other, KEY, stored(A))
    assert await one.load(KEY) is not None
    await other.purge(KEY)
    assert await one.load(KEY) is None
