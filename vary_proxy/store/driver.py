"""What a shared store is driven through: rows of metadata, blocks of bodies, epochs of purges.

A driver moves opaque bytes and may raise whatever its client raises; ``shared.py`` gives
the bytes their meaning and ``breaker.py`` keeps the failures from everybody else. A change
to a row is optimistic: it names the version it was made for, and the generation, which a
purge replaces, so that what was fetched before a purge cannot be published after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Epochs:
    """Purges of many resources at once, as ever growing numbers; 0: there was none.

    ``latest`` numbers the last purge of any kind; ``hard`` and ``soft`` are the last purges of
    everything. A variant remembers the ``latest`` that was known before it was fetched.
    """

    latest: int = 0
    hard: int = 0
    soft: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The row of one resource, as found. Nothing in it has been checked."""

    index: bytes | None = None
    values: Mapping[bytes, bytes] = field(default_factory=dict)  # variant identifier -> value
    version: bytes = b""
    generation: bytes = b""
    epochs: Epochs = Epochs()


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a row: all of it, or nothing."""

    version: bytes  # the row must still have it
    generation: bytes  # likewise
    index: bytes
    values: Mapping[bytes, bytes]  # all variants that the index lists
    new: frozenset[bytes]  # identifiers among them that the row lacks
    gone: tuple[bytes, ...]  # identifiers that the row loses
    lifetime: float  # seconds
    message: bytes = b""  # published with it
    blocks: Sequence[tuple[str, bytes]] = ()  # written before it, in the same round trip
    kept: Sequence[str] = ()  # blocks whose lifetime is extended to the row's
    renewed: bytes = b""  # the generation from now on, where the change is a purge
    since: int | None = None  # the epoch in which what it publishes was asked for: see ``fence``
    needed: Sequence[str] = ()  # blocks without which there is nothing to publish


class Applied(Enum):
    DONE = "done"
    CHANGED = "changed"  # somebody else was first: look again
    PURGED = "purged"  # since the row was looked at
    BODILESS = "bodiless"  # the blocks it needs have gone


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows' indices out of all, and how far with it all has been looked at."""

    indices: Sequence[object]
    fraction: float | None = None  # None: not known


class Unsupported(Exception):
    """This store cannot do what was asked; nothing is wrong with it."""


class Driver(Protocol):
    label: str  # for logs: where the store is, without secrets

    async def look(self, row: str) -> Row: ...

    async def apply(self, row: str, change: Change) -> Applied: ...

    async def mark(self, row: str, generation: bytes, lifetime: float) -> bytes:
        """The generation of a row; if it had none, *generation* for *lifetime* seconds at least."""

    async def wipe(self, row: str, generation: bytes, message: bytes) -> Row:
        """Forget a row, leaving *generation* behind; what it was."""

    async def get_blocks(self, names: Sequence[str]) -> Sequence[object]: ...

    async def held(self, names: Sequence[str]) -> Sequence[bool]:
        """Which blocks are there. Where that cannot be asked for without them: the first few."""

    async def put_block(self, name: str, value: bytes, lifetime: float) -> None: ...

    async def keep_blocks(self, names: Sequence[str], lifetime: float) -> None: ...

    async def prolong_blocks(self, names: Sequence[str], lifetime: float) -> None:
        """As ``keep_blocks``, but of none is the life cut short."""

    async def drop_blocks(self, names: Sequence[str]) -> None: ...

    async def tag_epochs(self, tags: Sequence[bytes]) -> Sequence[Epochs]:
        """For each tag its last purges; ``latest`` is not filled in."""

    async def advance(self, tag: bytes | None, *, soft: bool, message: bytes) -> int:
        """Purge a tag, or everything for None, by a new epoch: its number."""

    async def fence(self, message: bytes) -> None:
        """Have no change applied any more whose ``since`` is before now.

        Whoever then scans overlooks nothing that appears behind him. Raises Unsupported.
        """

    def scan(self) -> AsyncIterator[Batch]:
        """The indices of all rows, in batches, empty ones too. Raises Unsupported."""

    async def ping(self, *, write: bool) -> None:
        """Return when the store answers (and takes writes of every kind); else raise."""

    def kind_of(self, error: BaseException) -> str:
        """timeout | refused | full | read-only | garbage | denied: a word for metrics.

        ``full`` and ``read-only`` stand in the way of writing alone; ``garbage`` of one value.
        """

    async def close(self) -> None: ...
