"""The contract of every store.

A store holds Resources under primary keys, and bodies beside them. It publishes last: a
writer that is left without commit has aborted, and nobody can find a body that is not
whole. A store never makes a request fail: what cannot be loaded is a miss, what cannot be
written is not stored. Instants come from the caller's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store.slot import Slot


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes of a stored body: those at hand, then those still to come."""

    chunks: Sequence[Buffer] = ()
    stream: AsyncIterator[Buffer] | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """How a resource stood in a shared store before its origin was asked for it.

    What is purged later has another ``generation``, or meets a greater ``epoch``. ``doubts``
    counts how often this process has heard that any resource may have been purged.
    """

    generation: bytes
    epoch: int
    doubts: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    bytes: int = 0
    resources: int = 0
    stored_responses: int = 0
    evictions: int = 0
    available: bool = True  # False while the store behind the memory is not asked


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a purge that looks at every resource has come."""

    looked_at: int  # resources
    purged: int
    fraction: float | None = None  # of all there is to look at; None: not known


class TooLarge(Exception):
    """The body outgrew what this store takes."""


class BodyGone(Exception):
    """A body ended before its time: the store no longer has it, or no longer answers.

    ``offset`` is how far into the body the bytes delivered go.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(f"the stored body ended at byte {offset}")
        self.offset = offset


class StoreUnavailable(Exception):
    """The store does not answer, and was configured, or asked by an operator, to say so."""


class Writer(Protocol):
    """Takes one body. ``async with``: leaving without commit discards what was written."""

    async def __aenter__(self) -> Writer: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def write(self, chunk: bytes) -> None:
        """Raises TooLarge when the bound is passed; nothing more may be written then."""

    async def commit(self, stored: StoredResponse) -> StoredResponse:
        """Publish *stored* with the body written; the only step that makes it visible.

        Its ``body`` is replaced by the reference to what was written, and so returned.
        """


class Blocks(Protocol):
    """Bodies of which only some blocks are held (core/blocks.py). None of it raises."""

    async def publish(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        """Make *stored*, which is sparse, visible; its blocks follow, or are long here."""

    async def present(self, key: bytes, body: Body, numbers: range) -> Sequence[bool]:
        """Which of these blocks are there."""

    async def read(self, key: bytes, body: Body, numbers: range) -> Sequence[Buffer]:
        """The first of these blocks, up to one that is missing."""

    async def put(self, key: bytes, stored: StoredResponse, number: int, data: bytes) -> bool:
        """Hold one block; False when it was not taken."""


class Store(Protocol):
    @property
    def blocks(self) -> Blocks: ...

    def peek(self, key: bytes) -> Resource | None:
        """What is at hand without waiting; None says nothing about the rest of the store."""

    def slot(self, key: bytes) -> Slot | None:
        """Where ``peek`` finds its answer, to see at any moment whether that is still the same."""

    def look(self, key: bytes) -> Resource | None:
        """What was last seen of it, if recently: to tell what may become of it, not to answer."""

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> Sequence[Buffer] | None:
        """Bytes [start, stop) of a body that are at hand without waiting; else None."""

    async def load(self, key: bytes) -> Resource | None: ...

    async def since(self, key: bytes) -> Since | None:
        """How *key* stands now: to be asked before the origin is.

        What the origin then says is published under it, and is not when a purge came between.
        None where every purge is made in this process, which grounds its flights itself; or where
        the shared store does not say, and takes nothing that is fetched now.
        """

    def writer(
        self, key: bytes, length: int | None, max_variants: int, since: Since | None
    ) -> Writer | None:
        """A writer for one body of *length* bytes (None: unknown); None: such are not taken."""

    async def add(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        """Publish a variant whose body is already here; False when that body has gone."""

    async def replace(
        self, key: bytes, old: StoredResponse, new: StoredResponse, since: Since | None
    ) -> None:
        """Metadata only: *new* stands where *old* stood, if it still stands there."""

    async def drop(self, key: bytes, stored: StoredResponse) -> None:
        """Remove this one variant, if it still stands: the origin has another."""

    async def read(self, key: bytes, body: Body, start: int, stop: int) -> Content | None:
        """Bytes [start, stop) of a body; None when it has gone."""

    async def purge(self, key: bytes, *, soft: bool = False) -> int:
        """Drop (or mark stale) every variant; how many there were."""

    async def purge_one(self, key: bytes, stored: StoredResponse, *, soft: bool = False) -> None:
        """As ``purge``, of this one variant."""

    async def supersede(self, key: bytes, since: Since | None) -> Since | None:
        """Purge *key* for the sake of what is published next, under what is returned.

        None where that is None, or where the resource was purged by somebody else since *since*.
        """

    async def clear(self) -> int:
        """Drop everything; how many stored responses there were."""

    def stats(self) -> StoreStats: ...

    async def close(self) -> None: ...
