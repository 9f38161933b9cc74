"""Writes one body to the shared store and, while it is small, to memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store import codec
from vary_proxy.store.base import Since, TooLarge
from vary_proxy.store.bodies import SharedWriter, SoFar

if TYPE_CHECKING:
    from vary_proxy.store.layered import LayeredStore


class TeeWriter:
    """Fulfils vary_proxy.store.base.Writer. *shared* None: memory goes on alone."""

    def __init__(
        self,
        store: LayeredStore,
        key: bytes,
        max_variants: int,
        shared: SharedWriter | None,
        limit: int,
        since: Since | None,
    ) -> None:
        self._store = store
        self._key = key
        self._max_variants = max_variants
        self._shared = shared
        self._since = since
        self._limit = limit  # bytes that memory takes; below 0: this body is not for it
        self._chunks: list[bytes] | None = [] if limit >= 0 else None
        self._length = 0
        self._digest = hashlib.sha256() if shared is None else None

    async def __aenter__(self) -> TeeWriter:
        if self._shared is not None:
            await self._shared.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._chunks = None
        if self._shared is not None:
            await self._shared.__aexit__(kind, error, trace)

    def lent(self) -> int | None:
        """How many bytes ``back`` gives from now on; None when no more will be stored."""
        return 0 if self._shared is None else self._shared.lent()

    async def back(self, start: int, stop: int) -> Sequence[Buffer] | None:
        """Some of bytes [start, stop) that were lent; None: they have gone."""
        return None if self._shared is None else await self._shared.back(start, stop)

    def lend(self) -> None:
        """Others read what was sent: it stays for a while, also when it is not published."""
        if self._shared is not None:
            self._shared.lend()

    async def finish(self) -> None:
        """That was all, and it is not to be published: for those alone who read it already."""
        if self._shared is not None:
            await self._shared.finish()

    async def keep(self) -> None:
        """What was lent is read still: it stays for a while longer."""
        if self._shared is not None:
            await self._shared.keep()

    def so_far(self) -> SoFar | None:
        """What others can read of it already; None: nothing."""
        return None if self._shared is None else self._shared.so_far()

    async def write(self, chunk: bytes) -> None:
        self._length += len(chunk)
        if self._chunks is not None:
            if self._length > self._limit:
                self._chunks = None
            else:
                self._chunks.append(chunk)
        if self._shared is not None:
            await self._shared.write(chunk)
        elif self._chunks is None:
            raise TooLarge
        if self._digest is not None:
            self._digest.update(chunk)

    async def commit(self, stored: StoredResponse) -> StoredResponse:
        store, shared = self._store, self._shared
        if shared is not None:
            with store.beliefs.changing(self._key, self._since) as change:
                stored = await shared.commit(stored)
                change.resource = shared.resource
            published, alone = change.resource is not None, change.was_away(store.shared.breaker)
        else:
            assert self._digest is not None
            digest = self._digest.digest()[: codec.DIGEST]
            stored = replace(stored, body=Body(digest, self._length))
            published, alone = False, not store.shared.breaker.writable
        if not published:
            if not alone:
                return stored  # refused by a store that is well, or purged meanwhile
            store.learn_alone(self._key, stored, self._max_variants)
        if self._chunks is not None:
            store.hold(self._key, stored, self._chunks, self._max_variants)
        return stored
