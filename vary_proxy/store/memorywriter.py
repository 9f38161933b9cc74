"""Gathers one body in memory, and publishes it on commit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store.base import TooLarge

if TYPE_CHECKING:
    from vary_proxy.store.memory import MemoryStore

_DIGEST = 20


class MemoryWriter:
    """Gathers the chunks of one body; publishes them on commit."""

    def __init__(self, store: MemoryStore, key: bytes, limit: int, max_variants: int) -> None:
        self._store = store
        self._key = key
        self._limit = limit
        self._max_variants = max_variants
        self._chunks: list[bytes] = []
        self._length = 0

    async def __aenter__(self) -> MemoryWriter:
        self._digest = hashlib.sha256()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._chunks = []

    async def write(self, chunk: bytes) -> None:
        self._length += len(chunk)
        if self._length > self._limit:
            raise TooLarge
        self._digest.update(chunk)
        self._chunks.append(chunk)

    def publish(self, stored: StoredResponse, body: bytes) -> bool:
        """As ``write`` and ``commit`` at once, of a body not over its limit, without a wait.

        It becomes the body of *stored*, which nobody else may have. False when the resource does
        not take it in.
        """
        stored.hold(Body(hashlib.sha256(body).digest()[:_DIGEST], len(body)))
        return self._store.put(self._key, stored, (body,), self._max_variants)

    async def commit(self, stored: StoredResponse) -> StoredResponse:
        body = Body(self._digest.digest()[:_DIGEST], self._length)
        whole = replace(stored, body=body)
        self._store.put(self._key, whole, _gathered(self._chunks, body), self._max_variants)
        return whole


def _gathered(chunks: list[bytes], body: Body) -> tuple[bytes, ...]:
    """The chunks, joined where they are so small that their number would cost more."""
    if len(chunks) > 1 + body.length // 16384:
        return (b"".join(chunks),)
    return tuple(chunks)
