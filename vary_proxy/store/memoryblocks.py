"""Sparse bodies in memory: blocks under the name of their body and their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vary_proxy.core import blocks
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, StoredResponse

if TYPE_CHECKING:
    from vary_proxy.store.base import Since
    from vary_proxy.store.memory import MemoryStore

_MARK = b"\0block\0"  # no primary key begins so
_NUMBER = 8  # bytes


class MemoryBlocks:
    """Fulfils vary_proxy.store.base.Blocks."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._held: dict[bytes, set[bytes]] = {}  # digest -> names

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    async def publish(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        return self._store.put(key, stored, None, max_variants)

    async def present(self, key: bytes, body: Body, numbers: range) -> Sequence[bool]:
        return [self._store.holds(_name(body, number)) for number in numbers]

    async def read(self, key: bytes, body: Body, numbers: range) -> Sequence[Buffer]:
        found: list[Buffer] = []
        for number in numbers:
            data = self._store.block(_name(body, number))
            if data is None:
                break
            found.append(data)
        return found

    async def put(self, key: bytes, stored: StoredResponse, number: int, data: bytes) -> bool:
        body = stored.body
        held = self._store.look(key)
        if held is None or all(one.body != body for one in held.variants):
            return False  # purged meanwhile: nobody would find it, and nobody drop it
        name = _name(body, number)
        if not self._store.holds(name):
            self._held.setdefault(body.digest, set()).add(name)
            self._store.hold_block(name, data)
        return True

    def gone(self, digests: Iterable[bytes]) -> None:
        """No variant points to these bodies any more."""
        for digest in digests:
            for name in self._held.pop(digest, ()):
                self._store.drop_block(name)

    def lost(self, name: bytes) -> None:
        """This block was evicted."""
        digest = name[len(_MARK) : -_NUMBER]
        names = self._held.get(digest)
        if names is not None:
            names.discard(name)
            if not names:
                del self._held[digest]

    def clear(self) -> None:
        self._held.clear()


def _name(body: Body, number: int) -> bytes:
    assert 0 <= number < blocks.count(body.length)
    return _MARK + body.digest + number.to_bytes(_NUMBER, "big")
