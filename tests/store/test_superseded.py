"""Blocks of a body that nothing points to any more give their room back, whatever ended it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.store.builders import KEY, put, stored
from tests.store.conftest import eventually
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store import codec, layout
from vary_proxy.store.shared import SharedStore

A, B = b"https://a.example", b"https://b.example"
TOTAL = 3 * BLOCK


def sparse(origin: bytes = A, **fields: str) -> StoredResponse:
    body = Body(os.urandom(codec.DIGEST), TOTAL)
    return replace(stored(origin, **fields), body=body, sparse=True)


async def publish(store: SharedStore, one: StoredResponse) -> None:
    """*one*, and its first two blocks."""
    await store.blocks.publish(KEY, one, 64, await store.since(KEY))
    for number in (0, 1):
        assert await store.blocks.put(KEY, one, number, bytes([number]) * BLOCK)


async def by_another(store: SharedStore, one: StoredResponse) -> None:
    await publish(store, sparse(etag='"2"'))


async def by_a_whole(store: SharedStore, one: StoredResponse) -> None:
    await put(store, KEY, stored(A, etag='"2"'), b"new")


async def dropped(store: SharedStore, one: StoredResponse) -> None:
    await store.drop(KEY, one)


async def dropped_beside_another(store: SharedStore, one: StoredResponse) -> None:
    await publish(store, sparse(B, etag='"b"'))
    await store.drop(KEY, one)


async def purged(store: SharedStore, one: StoredResponse) -> None:
    await store.purge(KEY)


async def softly_purged_and_then_another(store: SharedStore, one: StoredResponse) -> None:
    await store.purge(KEY, soft=True)
    await publish(store, sparse(etag='"2"'))


async def purged_by_tag_and_then_another(store: SharedStore, one: StoredResponse) -> None:
    assert await store.purge_tag(b"news")
    await publish(store, sparse(etag='"2"'))


ENDS = [
    by_another,
    by_a_whole,
    dropped,
    dropped_beside_another,
    purged,
    softly_purged_and_then_another,
    purged_by_tag_and_then_another,
]


@pytest.mark.parametrize("made", [sparse, stored], ids=["sparse", "whole"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_its_blocks_end_soon(
    opened: Callable[..., Any],
    redis_server: Any,
    made: Callable[..., StoredResponse],
    end: Callable[[SharedStore, StoredResponse], Awaitable[None]],
) -> None:
    store: SharedStore = opened("redis", url=redis_server.url).shared
    one = made(A, etag='"1"', cache_tag="news")
    if one.sparse:
        await publish(store, one)
    else:
        await put(store, KEY, one, b"\0" * TOTAL)
        one = (await store.load(KEY)).variants[0]  # type: ignore[union-attr]
    names = await _blocks(store)
    await end(store, one)
    await eventually(lambda: _retired(store, names))
    assert names, "it has blocks"


async def test_what_another_variant_shares_stays(
    opened: Callable[..., Any], redis_server: Any
) -> None:
    store: SharedStore = opened("redis", url=redis_server.url).shared
    one = sparse(etag='"1"')
    await publish(store, one)
    other = replace(one, selecting=((b"origin", B),))
    assert await store.add(KEY, other, 64, await store.since(KEY))
    await store.drop(KEY, one)
    await store.tasks.settle()
    assert all([await _left(store, name) > layout.MINIMUM - 100 for name in await _blocks(store)])


async def _blocks(store: SharedStore) -> list[bytes]:
    client = store.driver.client  # type: ignore[attr-defined]
    pattern = store.driver._key(layout.row(KEY)[:-1]) + "b:*"  # type: ignore[attr-defined]
    return [name async for name in client.scan_iter(match=pattern)]


async def _left(store: SharedStore, name: bytes) -> int:
    return int(await store.driver.client.ttl(name))  # type: ignore[attr-defined]


async def _retired(store: SharedStore, names: list[bytes]) -> bool:
    return all([await _left(store, name) <= layout.GRACE for name in names])
