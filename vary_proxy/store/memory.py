"""The store in memory: bounded in bytes, readable without waiting.

Room is made as queues.py says. Size is counted in bytes, metadata included. Bodies are kept
once per resource and digest, as the chunks in which they arrived. Blocks of sparse bodies stand
in the same queues, each by itself, so that what nobody asks for of a large object goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vary_proxy.core import variants
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store.base import Content, Since, StoreStats
from vary_proxy.store.known import fields_cost
from vary_proxy.store.memoryblocks import MemoryBlocks
from vary_proxy.store.memorywriter import MemoryWriter
from vary_proxy.store.queues import Queues
from vary_proxy.store.slot import Slot

_OVERHEAD = 700  # bytes that a stored response costs beside its fields and body
_BLOCK_COST = 300  # bytes beside those of a block


@dataclass(slots=True)
class _Held:
    """A resource with its bodies, and what they cost; a block, where ``block`` is its bytes.

    A sparse body is None here: its blocks stand for themselves.
    """

    resource: Resource
    bodies: dict[bytes, tuple[bytes, ...] | None] = field(default_factory=dict)
    cost: int = 0
    block: bytes | None = None
    slot: Slot | None = None  # once somebody has asked for it
    uses: int = 0

    def become(self, resource: Resource) -> None:
        self.resource = resource
        if self.slot is not None:
            self.slot.resource = resource

    def end(self) -> None:
        if self.slot is not None:
            self.slot.resource = None


class MemoryStore:
    """Fulfils vary_proxy.store.base.Store. *clock* gives Unix seconds."""

    def __init__(self, max_bytes: int, max_object: int, clock: Callable[[], float]) -> None:
        self._max_object = min(max_object, max_bytes)
        self._clock = clock
        self._queues: Queues[_Held] = Queues(max_bytes)
        self._responses = 0
        self._evictions = 0
        self.blocks = MemoryBlocks(self)

    def peek(self, key: bytes) -> Resource | None:
        held = self._queues.use(key)
        return None if held is None else held.resource

    def slot(self, key: bytes) -> Slot | None:
        held = self._queues.get(key)
        if held is None:
            return None
        if held.slot is None:
            held.slot = Slot(held.resource)
        return held.slot

    async def load(self, key: bytes) -> Resource | None:
        return self.peek(key)

    async def since(self, key: bytes) -> None:
        """Who purges is in this process, and grounds its flights."""

    def writer(
        self, key: bytes, length: int | None, max_variants: int, since: Since | None = None
    ) -> MemoryWriter | None:
        if length is not None and length > self._max_object:
            return None
        # What does not say its length is gathered before it is known to be too large.
        limit = self._max_object if length is not None else self._max_object // 4
        return MemoryWriter(self, key, limit, max_variants)

    def keys(self) -> list[bytes]:
        """The primary keys of all that is held, as of now."""
        return [key for key, held in self._queues.items() if held.block is None]

    def look(self, key: bytes) -> Resource | None:
        """As ``peek``, but it does not count as a use."""
        held = self._queues.get(key)
        return None if held is None else held.resource

    async def add(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None = None
    ) -> bool:
        held = self._queues.get(key)
        if held is None or stored.body.digest not in held.bodies:
            return False
        return self.put(key, stored, held.bodies[stored.body.digest], max_variants)

    async def replace(
        self, key: bytes, old: StoredResponse, new: StoredResponse, since: Since | None = None
    ) -> None:
        held = self._queues.get(key)
        if held is None:
            return
        resource = variants.replaced(held.resource, old, new)
        if resource is not None:
            self._settle(key, held, resource)

    async def drop(self, key: bytes, stored: StoredResponse) -> None:
        held = self._queues.get(key)
        if held is None or stored not in held.resource.variants:
            return
        kept = tuple(one for one in held.resource.variants if one != stored)
        if kept:
            self._settle(key, held, Resource(kept))
        else:
            self._remove(key)

    async def read(self, key: bytes, body: Body, start: int, stop: int) -> Content | None:
        chunks = self.chunks(key, body, start, stop)
        return None if chunks is None else Content(chunks)

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> Sequence[Buffer] | None:
        """Bytes [start, stop) of a body, at hand and uncopied; None when it has gone."""
        held = self._queues.get(key)
        found = None if held is None else held.bodies.get(body.digest)
        if found is None:
            return None
        return found if start == 0 and stop >= body.length else _cut(found, start, stop)

    async def purge(self, key: bytes, *, soft: bool = False) -> int:
        held = self._queues.get(key)
        if held is None:
            return 0
        count = len(held.resource.variants)
        if soft:
            marked = tuple(one.marked_stale() for one in held.resource.variants)
            held.become(Resource(marked))
        else:
            self._remove(key)
        return count

    async def purge_one(self, key: bytes, stored: StoredResponse, *, soft: bool = False) -> None:
        if soft:
            await self.replace(key, stored, stored.marked_stale())
        else:
            await self.drop(key, stored)

    async def supersede(self, key: bytes, since: Since | None) -> None:
        await self.purge(key)

    async def clear(self) -> int:
        count = self._responses
        for _, held in self._queues.items():
            held.end()
        self._queues.clear()
        self.blocks.clear()
        self._responses = 0
        return count

    def stats(self) -> StoreStats:
        return StoreStats(
            bytes=self._queues.bytes,
            resources=len(self._queues) - len(self.blocks),
            stored_responses=self._responses,
            evictions=self._evictions,
        )

    async def close(self) -> None:
        await self.clear()

    def block(self, name: bytes) -> bytes | None:
        """What ``hold_block`` put there, if it is there still."""
        held = self._queues.use(name)
        return None if held is None else held.block

    def holds(self, name: bytes) -> bool:
        """Whether a block is there; that does not count as a use."""
        return self._queues.get(name) is not None

    def hold_block(self, name: bytes, data: bytes) -> None:
        held = _Held(Resource(), block=data)
        self._queues.enter(name, held)
        self._queues.weigh(name, held, len(data) + _BLOCK_COST)
        self._make_room(name)

    def drop_block(self, name: bytes) -> None:
        if self.holds(name):
            self._remove(name)

    def put(
        self,
        key: bytes,
        stored: StoredResponse,
        chunks: tuple[bytes, ...] | None,
        max_variants: int,
    ) -> bool:
        """Publish *stored* with its body; False when the resource does not take it in.

        *chunks* is None for a sparse body.
        """
        held = self._queues.get(key)
        resource = variants.joined(
            None if held is None else held.resource, stored, max_variants, self._clock()
        )
        if resource is None:
            return False
        if held is None:
            held = _Held(Resource())
            self._queues.enter(key, held)
        held.bodies.setdefault(stored.body.digest, chunks)
        stored.fields.forget()
        self._settle(key, held, resource)
        self._make_room(key)
        return True

    def _settle(self, key: bytes, held: _Held, resource: Resource) -> None:
        """Take *resource* as what *held* holds: drop bodies without a variant, count anew."""
        self._responses += len(resource.variants) - len(held.resource.variants)
        held.become(resource)
        used = {one.body.digest for one in resource.variants}
        if len(used) < len(held.bodies):
            self.blocks.gone(held.bodies.keys() - used)
            held.bodies = {name: body for name, body in held.bodies.items() if name in used}
        cost = len(key) + sum(map(_cost, resource.variants))
        for body in held.bodies.values():
            cost += sum(map(len, body or ()))
        self._queues.weigh(key, held, cost)

    def _make_room(self, newest: bytes) -> None:
        while (key := self._queues.victim(newest)) is not None:
            self._evictions += len(self._remove(key).resource.variants)

    def _remove(self, key: bytes) -> _Held:
        held = self._queues.leave(key)
        self._responses -= len(held.resource.variants)
        held.end()
        if held.block is not None:
            self.blocks.lost(key)
        elif None in held.bodies.values():
            self.blocks.gone(held.bodies.keys())
        return held


def _cost(stored: StoredResponse) -> int:
    return _OVERHEAD + fields_cost(stored, 120)


def _cut(chunks: Sequence[bytes], start: int, stop: int) -> list[Buffer]:
    out: list[Buffer] = []
    begin = 0
    for chunk in chunks:
        end = begin + len(chunk)
        if end > start and begin < stop:
            low, high = max(0, start - begin), min(len(chunk), stop - begin)
            out.append(chunk if high - low == len(chunk) else memoryview(chunk)[low:high])
        if end >= stop:
            break
        begin = end
    return out
