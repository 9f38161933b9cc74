"""What a process believes of a shared store: resources, for as long as nobody says otherwise.

What is on its way from the store, or is published there, is believed only if no change was
heard of meanwhile: answers and notices travel on different connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vary_proxy.core.stored import Resource
from vary_proxy.store.base import Since
from vary_proxy.store.known import Known
from vary_proxy.store.slot import Slot
from vary_proxy.store.underway import Pending, Together, UnderWay

if TYPE_CHECKING:
    from vary_proxy.store.shared import SharedStore


class Beliefs:
    """At most *max_bytes* of resources; 0: nothing, and every question is asked anew."""

    def __init__(self, max_bytes: int, shared: SharedStore) -> None:
        self.doubts = 0  # times that any resource may have been purged
        self._alone = not max_bytes
        self._known = Known(max_bytes)
        self._shared = shared
        self._under_way = UnderWay()
        self._loads: Together[Resource | None] = Together(shared.tasks)

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self._known.bytes

    def get(self, key: bytes) -> Resource | None:
        """An empty Resource: there is nothing stored."""
        return self._known.get(key)

    def slot(self, key: bytes) -> Slot | None:
        return self._known.slot(key)

    def take(self, key: bytes, resource: Resource | None) -> None:
        """Believe that this is what *key* has become; None: it is as it was."""
        self._under_way.spoil(key)
        if resource is not None:
            self._known.put(key, resource)

    def forget(self, key: bytes) -> None:
        self._known.pop(key)
        self._shared.rows.forget(key)
        self._under_way.spoil(key)
        self._loads.part(key)

    def forget_tagged(self, tag: bytes) -> None:
        for key in self._known.tagged(tag):
            self.forget(key)
        self.doubt()

    def forget_all(self) -> None:
        self._known.clear()
        self.doubt()

    def doubt(self) -> None:
        """Believe nothing of what is under way."""
        self.doubts += 1
        self._shared.rows.forget(None)
        self._under_way.spoil_all()
        self._loads.part_all()

    async def load(self, key: bytes) -> Resource | None:
        """What the store says, once for all who ask at the same time; None: it does not answer."""
        if self._alone:  # not what another heard a moment ago
            return await self._load(key)
        return await self._loads.call(key, lambda: self._load(key))

    @contextmanager
    def changing(self, key: bytes, since: Since | None) -> Iterator[Pending]:
        """Around a change of ours: ``resource`` is what it made of the resource, if it did.

        That is believed unless another change was heard of meanwhile, or a purge of many after
        *since*. When it could not be made, because the store is away, what was known stays.
        """
        change = Pending()
        try:
            with self._under_way.watch(key) as change:
                yield change
        finally:
            if change.resource is not None or self._shared.breaker.writable:
                self.forget(key)
            is_last = change.clean and since is not None and since.doubts == self.doubts
            if change.resource is not None and is_last:
                self._known.put(key, change.resource)

    async def _load(self, key: bytes) -> Resource | None:
        with self._under_way.watch(key) as load:
            found = await self._shared.find(key)
        if found is None:
            return None
        if load.clean:
            self._known.put(key, found.resource)
        return found.resource
