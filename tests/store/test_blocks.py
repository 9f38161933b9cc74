"""Sparse bodies, of which any block may be missing: the same promises by every store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.store.builders import KEY, Clock, found, stored
from tests.store.conftest import eventually
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store import codec, layout
from vary_proxy.store.base import Store
from vary_proxy.store.memory import MemoryStore

TOTAL = 5 * BLOCK + 100


def sparse(total: int = TOTAL, **fields: str) -> StoredResponse:
    body = Body(os.urandom(codec.DIGEST), total)
    return replace(stored(etag='"1"', **fields), body=body, sparse=True)


def data(number: int, size: int = BLOCK) -> bytes:
    return bytes([number]) * size


async def there(store: Store, one: StoredResponse, numbers: range) -> list[bool]:
    """Which blocks can be read, one by one."""
    return [bool(await store.blocks.read(KEY, one.body, range(n, n + 1))) for n in numbers]


async def test_what_is_put_can_be_read_and_the_rest_is_missing(store: Store) -> None:
    one = sparse()
    assert await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (one,)
    for number, size in ((1, BLOCK), (2, BLOCK), (5, 100)):
        assert await store.blocks.put(KEY, one, number, data(number, size))
    assert list(await store.blocks.present(KEY, one.body, range(3))) == [False, True, True]
    read = await store.blocks.read(KEY, one.body, range(1, 4))
    assert list(map(bytes, read)) == [data(1), data(2)]
    assert await there(store, one, range(6)) == [False, True, True, False, False, True]


async def test_the_last_block_is_as_long_as_the_rest(store: Store) -> None:
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 5, data(5, 100))
    (last,) = await store.blocks.read(KEY, one.body, range(5, 6))
    assert bytes(last) == data(5, 100)


async def test_blocks_are_of_one_body_alone(store: Store) -> None:
    old, new = sparse(), sparse(cache_control="max-age=5")
    await store.blocks.publish(KEY, old, 64, await store.since(KEY))
    await store.blocks.put(KEY, old, 0, data(1))
    await store.blocks.publish(KEY, new, 64, await store.since(KEY))
    assert await there(store, new, range(1)) == [False]


async def test_freshening_leaves_the_blocks(store: Store) -> None:
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(1))
    newer = replace(one, received=one.received + 1)
    await store.replace(KEY, one, newer, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (newer,)
    assert await there(store, newer, range(1)) == [True]


async def test_a_variant_for_another_requester_shares_the_blocks(store: Store) -> None:
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(1))
    other = replace(one, selecting=((b"origin", b"https://b.example"),))
    assert await store.add(KEY, other, 64, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert len(resource.variants) == 2
    assert await there(store, other, range(1)) == [True]


async def test_a_purge_leaves_nothing_to_be_found(store: Store) -> None:
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(1))
    await store.purge(KEY)
    assert await found(store, KEY) is None


async def test_what_comes_after_a_purge_is_not_put(store: Store) -> None:
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(1))
    await store.purge(KEY)
    assert not await store.blocks.put(KEY, one, 1, data(1))
    assert await there(store, one, range(1, 2)) == [False]


async def test_what_comes_after_a_purge_elsewhere_is_not_put(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    mine, theirs = (opened("redis", url=redis_server.url) for _ in range(2))
    one = sparse()
    await mine.blocks.publish(KEY, one, 64, await mine.since(KEY))
    await mine.load(KEY)
    await eventually(lambda: mine.trusted)
    await theirs.purge(KEY)

    async def refused() -> bool:
        return not await mine.blocks.put(KEY, one, 1, data(1))

    async with asyncio.timeout(10):
        while not await refused():  # until the notice has come
            await asyncio.sleep(0.01)


async def test_the_blocks_of_a_large_body_end_with_its_purge(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    """Also beyond two gibibytes, wherever they lie; who reads them has a minute to finish."""
    store = opened("redis", url=redis_server.url).shared
    total = 20_000 * BLOCK
    one = sparse(total)
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    numbers = (0, 511, 512, 9_999, 19_999)
    for number in numbers:
        assert await store.blocks.put(KEY, one, number, data(1))
    await store.purge(KEY)
    await store.tasks.settle()
    place = codec.Place(one.body.digest, total, one.body.digest[:12], BLOCK)
    for number in numbers:
        (name,) = layout.block_names(layout.row(KEY), place, number, number + 1)
        left = await store.driver.client.pttl(store.driver._key(name))
        assert 0 < left <= layout.GRACE * 1000


async def test_blocks_that_others_damaged_are_missing(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    store = opened("redis", url=redis_server.url).shared
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(1))
    names = layout.block_names(
        layout.row(KEY), codec.Place(one.body.digest, TOTAL, one.body.digest[:12], BLOCK), 0, 2
    )
    whole = (await store.driver.get_blocks(names))[0]
    await store.driver.put_block(names[1], whole, 60)  # under the name of another
    await store.driver.put_block(names[0], whole[:-1] + b"x", 60)
    assert await there(store, one, range(2)) == [False, False]


async def test_another_worker_reads_what_this_one_put(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    mine, theirs = (opened("redis", url=redis_server.url) for _ in range(2))
    one = sparse()
    await mine.blocks.publish(KEY, one, 64, await mine.since(KEY))
    await mine.blocks.put(KEY, one, 3, data(3))
    resource = await theirs.load(KEY)
    assert resource is not None
    assert [bytes(x) for x in await theirs.blocks.read(KEY, one.body, range(3, 5))] == [data(3)]


async def test_a_store_that_is_away_has_no_blocks_and_takes_none(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    store = opened("redis", url="redis://127.0.0.1:1/0", timeout=0.2)
    one = sparse()
    assert not await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    assert not await store.blocks.put(KEY, one, 0, data(0))
    assert await there(store, one, range(2)) == [False, False]
    assert list(await store.blocks.present(KEY, one.body, range(2))) == [False, False]


async def test_blocks_have_a_lifetime(opened: Callable[..., Any], redis_server: Any) -> None:
    store = opened("redis", url=redis_server.url).shared
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(0))
    client = store.driver.client
    keys = [key async for key in client.scan_iter(match=f"*{layout.row(KEY)[:-1]}*")]
    assert keys
    assert all([await client.pttl(key) > 0 for key in keys])


# ── in memory, room is shared ──────────────────────────────────────────────────────────


def memory(clock: Clock, most: int) -> MemoryStore:
    return MemoryStore(most, most, clock)


async def test_memory_is_bounded_in_bytes_and_what_is_used_stays(clock: Clock) -> None:
    store = memory(clock, 8 * BLOCK)
    one = sparse(100 * BLOCK)
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(0))
    for number in range(1, 100):
        assert store.peek(KEY) is not None  # as each request does
        assert await there(store, one, range(1)) == [True]
        await store.blocks.put(KEY, one, number, data(number))
        assert store.stats().bytes <= 8 * BLOCK
    assert store.stats().resources == 1


async def test_memory_gives_the_blocks_back_with_their_variant(clock: Clock) -> None:
    store = memory(clock, 64 * BLOCK)
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    for number in range(3):
        await store.blocks.put(KEY, one, number, data(number))
    assert store.stats().bytes > 3 * BLOCK
    await store.purge(KEY)
    assert store.stats().bytes == 0
    assert store.keys() == []
    assert not await store.blocks.put(KEY, one, 4, data(4))  # by a run that goes on
    assert store.stats().bytes == 0


@pytest.mark.parametrize("how", ["replaced", "evicted"])
async def test_memory_gives_them_back_whatever_ends_it(clock: Clock, how: str) -> None:
    store = memory(clock, 6 * BLOCK)
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(0))
    if how == "replaced":
        await store.blocks.publish(KEY, sparse(), 64, await store.since(KEY))
    else:
        for number in range(4):
            other = sparse(BLOCK)
            await store.blocks.publish(
                b"other%d" % number, other, 64, await store.since(b"other%d" % number)
            )
            for _ in range(2):
                store.peek(b"other%d" % number)
            await store.blocks.put(b"other%d" % number, other, 0, data(1))
        await store.purge(KEY)
    assert await there(store, one, range(1)) == [False]


async def test_memory_lists_no_blocks_as_resources(clock: Clock) -> None:
    store = memory(clock, 64 * BLOCK)
    one = sparse()
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 0, data(0))
    assert store.keys() == [KEY]
    assert store.stats().stored_responses == 1
    assert await store.clear() == 1
    assert store.stats().bytes == 0
    await eventually(lambda: store.stats().resources == 0)


async def test_an_object_of_terabytes_costs_no_list(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    """Nobody waits for more than the row, whatever the object's length."""
    store = opened("redis", url=redis_server.url).shared
    one = sparse(1 << 44)
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    await store.blocks.put(KEY, one, 1 << 26, data(7))
    newer = replace(one, received=one.received + 1)
    await asyncio.wait_for(store.replace(KEY, one, newer, await store.since(KEY)), 10)
    assert await there(store, newer, range(1 << 26, (1 << 26) + 2)) == [True, False]
    assert await asyncio.wait_for(store.purge(KEY), 10) == 1
