"""Sparse bodies in a shared store: blocks that are found by their name alone.

The name of a body is drawn by lot when it is first published, so that no purge needs to look
for its blocks: without a variant that names them they cannot be found, and their lifetime ends
them. Which blocks are there is asked of the store, which may have evicted any of them; there is
no list that could be wrong. Each block carries a checksum over its name and its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vary_proxy.core import blocks
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import codec, layout
from vary_proxy.store.base import Since
from vary_proxy.store.codec import Place
from vary_proxy.store.rows import Written

if TYPE_CHECKING:
    from vary_proxy.store.layered import LayeredStore
    from vary_proxy.store.shared import SharedStore


class SharedBlocks:
    """Fulfils vary_proxy.store.base.Blocks."""

    def __init__(self, store: SharedStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def publish(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        return await self.published(key, stored, max_variants, since) is not None

    async def published(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> Resource | None:
        """As ``publish``, and what the resource is now."""
        written = Written(_place(stored.body), (), ())
        return await self._store.publish(key, stored, max_variants, since, written)

    async def present(self, key: bytes, body: Body, numbers: range) -> Sequence[bool]:
        names = _names(key, body, numbers)
        driver = self._store.driver
        found = await self._store.breaker.run("read", lambda: driver.held(names), None)
        return [False] * len(names) if found is None else found

    async def read(self, key: bytes, body: Body, numbers: range) -> Sequence[Buffer]:
        names = _names(key, body, numbers)
        values = await self._store.get_blocks(names)
        found: list[Buffer] = []
        for number, name, value in zip(numbers, names, values or (), strict=False):
            data = codec.decode_block(name, value, blocks.place(number, body.length).length)
            if data is None:
                break
            found.append(data)
        return found

    async def put(self, key: bytes, stored: StoredResponse, number: int, data: bytes) -> bool:
        if not await self._is_named(key, stored.body):
            return False  # purged meanwhile: nobody would find it
        name = _names(key, stored.body, range(number, number + 1))[0]
        lifetime = layout.lifetime(stored, self._clock())

        async def put() -> bool:
            await self._store.driver.put_block(name, codec.encode_block(name, data), lifetime)
            return True

        return await self._store.breaker.run("write", put, False, write=True)

    async def _is_named(self, key: bytes, body: Body) -> bool:
        """Whether a variant still has *body*; False also when the store does not say."""
        seen = self._look(key)
        if seen is None:
            found = await self._store.find(key)
            seen = None if found is None else found.resource
        return seen is not None and any(one.body == body for one in seen.variants)

    def _look(self, key: bytes) -> Resource | None:
        return self._store.look(key)


class LayeredBlocks(SharedBlocks):
    """As SharedBlocks; what the resource has become is known in memory at once."""

    def __init__(self, store: LayeredStore, clock: Callable[[], float]) -> None:
        super().__init__(store.shared, clock)
        self._layered = store

    async def publish(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        with self._layered.beliefs.changing(key, since) as change:
            change.resource = await self.published(key, stored, max_variants, since)
        return change.resource is not None

    def _look(self, key: bytes) -> Resource | None:
        return self._layered.look(key)


def _place(body: Body) -> Place:
    return Place(body.digest, body.length, body.digest[: codec.TOKEN], blocks.BLOCK)


def _names(key: bytes, body: Body, numbers: range) -> list[str]:
    if not numbers:
        return []
    return layout.block_names(layout.row(key), _place(body), numbers.start, numbers.stop)
