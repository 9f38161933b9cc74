"""A worker's memory in front of a shared store: what is known here is answered without waiting.

Two things are kept: whole resources (metadata), so that a variant that another worker stored
is never overlooked; and bodies that are small enough, in the memory store. Resources are
believed as long as every notice of a change arrives; when the subscription is lost they are
forgotten, and until it is back the shared store is asked each time. Bodies go by their
digest: one that is here cannot be out of date.

While the shared store does not answer, the memory goes on alone with what it gets to see,
and forgets that again when the store is back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from vary_proxy.core import variants
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import bodies, notices
from vary_proxy.store.base import Content, Progress, Since, StoreStats, Writer
from vary_proxy.store.believing import Beliefs
from vary_proxy.store.fleet import FleetFlights
from vary_proxy.store.memory import MemoryStore
from vary_proxy.store.notices import Notices
from vary_proxy.store.shared import SharedStore
from vary_proxy.store.slot import Slot
from vary_proxy.store.sparse import LayeredBlocks
from vary_proxy.store.tee import TeeWriter
from vary_proxy.store.underway import Together

_KNOWN_SHARE = 8  # one byte of so many is for metadata
_PLENTY = 1024  # variants: the shared store has bounded them already


class LayeredStore:
    """Fulfils vary_proxy.store.base.Store. *notices* None: nobody tells us of changes."""

    def __init__(
        self,
        shared: SharedStore,
        notices: Notices | None,
        max_bytes: int,
        max_object: int,
        clock: Callable[[], float],
        flights: FleetFlights | None = None,
    ) -> None:
        self.shared = shared
        self.flights = flights  # None: everybody fetches for himself
        self.blocks = LayeredBlocks(self, clock)
        self.memory = MemoryStore(max_bytes - max_bytes // _KNOWN_SHARE, max_object, clock)
        self._notices = notices
        self.beliefs = Beliefs(max_bytes // _KNOWN_SHARE, shared)
        self._max_object = max_object
        self._clock = clock
        self._bodies: Together[bytes | None] = Together(shared.tasks)
        shared.breaker.on_change.append(self._reachable)
        if notices is not None:
            notices.add(self)

    @property
    def trusted(self) -> bool:
        """True while every change that others make is heard of here."""
        return self._notices is not None and self._notices.sure

    def peek(self, key: bytes) -> Resource | None:
        resource = self._recall(key)
        if resource is None or not resource.variants:
            return None
        self.memory.peek(key)  # so that it counts as used
        return resource

    def slot(self, key: bytes) -> Slot | None:
        return None if self._recall(key) is None else self.beliefs.slot(key)

    def look(self, key: bytes) -> Resource | None:
        return self.beliefs.get(key) or self.shared.look(key)

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> Sequence[Buffer] | None:
        """Bytes [start, stop) of a body if they are at hand."""
        return self.memory.chunks(key, body, start, stop)

    async def load(self, key: bytes) -> Resource | None:
        if self._notices is not None:
            self._notices.start()
        resource = self._recall(key)
        if resource is None:
            resource = await self.beliefs.load(key)
            resource = self._recall(key) if resource is None else resource
        if resource is None:
            self.shared.require()
        return resource if resource is not None and resource.variants else None

    async def since(self, key: bytes) -> Since | None:
        doubts = self.beliefs.doubts
        since = await self.shared.since(key)
        return None if since is None else replace(since, doubts=doubts)

    def writer(
        self, key: bytes, length: int | None, max_variants: int, since: Since | None
    ) -> Writer | None:
        small = length is None or length <= self._max_object
        shared = self.shared.writer(key, length, max_variants, since)
        if shared is None and (
            self.shared.breaker.writable or self.memory.writer(key, length, 1) is None
        ):
            return None
        limit = self._max_object if small else -1
        return TeeWriter(self, key, max_variants, shared, limit, since)

    async def add(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        here = self.memory.chunks(key, stored.body, 0, stored.body.length)
        with self.beliefs.changing(key, since) as change:
            change.resource = await self.shared.publish(key, stored, max_variants, since)
        if change.resource is None:
            if here is None or not change.was_away(self.shared.breaker):
                return False
            self.learn_alone(key, stored, max_variants)
        if here is not None:
            self.hold(key, stored, here, max_variants)
        return True

    async def replace(
        self, key: bytes, old: StoredResponse, new: StoredResponse, since: Since | None
    ) -> None:
        known = self.beliefs.get(key)
        with self.beliefs.changing(key, since) as change:
            change.resource = await self.shared.replaced(key, old, new, since)
        if known is not None and change.was_away(self.shared.breaker):
            self.beliefs.take(key, variants.replaced(known, old, new))
        await self.memory.replace(key, old, new)

    async def drop(self, key: bytes, stored: StoredResponse) -> None:
        self.beliefs.forget(key)
        await self.memory.drop(key, stored)
        await self.shared.drop(key, stored)
        self.beliefs.forget(key)

    async def purge_one(self, key: bytes, stored: StoredResponse, *, soft: bool = False) -> None:
        await self._drop(key)
        await self.shared.purge_one(key, stored, soft=soft)
        await self._drop(key)

    async def supersede(self, key: bytes, since: Since | None) -> Since | None:
        await self._drop(key)
        doubts = self.beliefs.doubts
        now = await self.shared.supersede(key, since)
        await self._drop(key)
        return None if now is None or since is None or since.doubts != doubts else now

    async def read(self, key: bytes, body: Body, start: int, stop: int) -> Content | None:
        chunks = self.memory.chunks(key, body, start, stop)
        if chunks is not None:
            return Content(chunks)
        if body.length > self._max_object or not self._bearers(key, body):
            return await self.shared.read(key, body, start, stop)
        whole = await self._bodies.call((key, body.digest), lambda: self._whole(key, body))
        if whole is None:
            return None
        return Content((memoryview(whole)[start:stop],))

    async def purge(self, key: bytes, *, soft: bool = False) -> int:
        known = self.beliefs.get(key)
        await self._drop(key)
        count = await self.shared.purge(key, soft=soft)
        await self._drop(key)
        return max(count, 0 if known is None else len(known.variants))

    async def purge_tag(self, tag: bytes, *, soft: bool = False) -> bool:
        """True when it is done everywhere; else it is owed to the shared store."""
        done = await self.shared.purge_tag(tag, soft=soft)
        self.heard(notices.TAG, tag)
        return done

    async def purge_all(self, *, soft: bool = False) -> bool:
        """True when it is done everywhere; else it is owed to the shared store."""
        done = await self.shared.purge_all(soft=soft)
        self.heard(notices.ALL, b"")
        return done

    async def purge_matching(
        self, matches: Callable[[bytes], bool], *, soft: bool = False, dry_run: bool = False
    ) -> AsyncIterator[Progress]:
        """As in the shared store; its notices empty every memory but ours, which goes first."""
        if not dry_run:
            self.forget()
            await self.memory.clear()
        async for progress in self.shared.purge_matching(matches, soft=soft, dry_run=dry_run):
            yield progress
        if not dry_run:
            self.forget()

    async def clear(self) -> int:
        count = await self.memory.clear()
        await self.purge_all()
        return count

    def stats(self) -> StoreStats:
        held, available = self.memory.stats(), self.shared.breaker.readable
        return replace(held, bytes=held.bytes + self.beliefs.size, available=available)

    async def close(self) -> None:
        if self._notices is not None:
            await self._notices.close()
        await self.shared.close()
        await self.memory.close()

    def heard(self, kind: bytes, subject: bytes) -> None:
        """A notice from another worker, or as if from one."""
        if kind == notices.CHANGED:
            self.beliefs.forget(subject)
        elif kind == notices.PURGED:
            self.beliefs.forget(subject)
            self.shared.tasks.spawn(self.memory.purge(subject), "memory purge")
        elif kind == notices.TAG:
            self.beliefs.forget_tagged(subject)
        elif kind == notices.FENCE:  # what goes is told one by one
            self.beliefs.doubt()
        elif kind == notices.ALL:
            self.forget()
            self.shared.tasks.spawn(self.memory.clear(), "memory clear")

    def listening(self, sure: bool) -> None:
        self.forget()
        self.shared.doubt()

    def forget(self) -> None:
        """Believe nothing any more; bodies stay, they are only found through the shared store."""
        self.beliefs.forget_all()

    def hold(
        self, key: bytes, stored: StoredResponse, chunks: Sequence[Buffer], max_variants: int
    ) -> None:
        """Keep a body that was published."""
        self.memory.put(key, stored, tuple(map(bytes, chunks)), max_variants)

    def learn_alone(self, key: bytes, stored: StoredResponse, max_variants: int) -> None:
        """*stored* could not be published: the shared store is away, so memory goes on alone."""
        known = self.beliefs.get(key)
        if known is None and self.shared.breaker.readable:
            return  # what else there is of this resource is not known, but could be
        resource = variants.joined(known, stored, max_variants, self._clock())
        self.beliefs.take(key, resource)

    def _recall(self, key: bytes) -> Resource | None:
        """What is known of *key*, if it may be believed; an empty Resource: there is nothing."""
        if self.trusted or not self.shared.breaker.readable:
            return self.beliefs.get(key)
        return None

    async def _whole(self, key: bytes, body: Body) -> bytes | None:
        """A small body, checked against its digest, and kept."""
        whole = await bodies.whole(await self.shared.read(key, body, 0, body.length), body)
        if whole is None:
            return None
        for one in self._bearers(key, body):
            self.memory.put(key, one, (whole,), _PLENTY)
        return whole

    def _bearers(self, key: bytes, body: Body) -> tuple[StoredResponse, ...]:
        known = self.beliefs.get(key)
        return () if known is None else tuple(one for one in known.variants if one.body == body)

    async def _drop(self, key: bytes) -> None:
        self.beliefs.forget(key)
        await self.memory.purge(key)

    def _reachable(self, readable: bool) -> None:
        if readable or self._notices is None:
            self.forget()
