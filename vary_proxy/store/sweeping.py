"""Every kind of purge of a shared store. What the store could not do is owed (debts.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vary_proxy.core import variants
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.store import codec, layout, notices
from vary_proxy.store.base import Progress, Since
from vary_proxy.store.rows import Edit

if TYPE_CHECKING:
    from vary_proxy.store.shared import SharedStore

_AT_ONCE = 16  # purges of single resources


class Sweeper:
    """Purges *store*: what was asked for before is not published after it, in any process."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def resource(self, key: bytes, *, soft: bool) -> int:
        """Drop, or mark stale, every variant; how many there were."""
        rows = self._store.rows
        start = await rows.recall_or_find(key)
        count = 0 if start is None else len(start.resource.variants)
        marked = None
        if soft and start is not None and count:
            since = start.since()
            marked = await rows.edit(key, _all_stale, since, fenced=False, purges=True)
        if marked is None:  # or it could not be: a full server refuses that, and not this
            await self._wipe(key)
        else:
            self._store.debts.settle(True, notices.PURGED, key)
        return count

    async def variant(self, key: bytes, stored: StoredResponse, *, soft: bool) -> None:
        """Drop, or mark stale, this one, if it still stands."""

        def mark(resource: Resource) -> Resource | None:
            return variants.replaced(resource, stored, stored.marked_stale())

        await self._edit(key, mark if soft else _without(stored), purges=True)

    async def superseded(self, key: bytes, stored: StoredResponse) -> None:
        """Drop this one: the origin has another. What others ask for now is as good as before."""
        await self._edit(key, _without(stored), purges=False)

    async def anew(self, key: bytes, since: Since | None) -> Since | None:
        """Drop every variant; under what the next is published, unless another did so before."""
        generation = layout.generation()
        was = await self._wipe(key, generation)
        if was is None or since is None or was != since.generation:
            return None
        return replace(since, generation=generation)

    async def many(self, tag: bytes | None, *, soft: bool) -> bool:
        """All that bears *tag*, or everything for None; True when it is done, else it is owed."""
        store = self._store
        store.rows.forget(None)
        kind = notices.ALL if tag is None else notices.TAG
        message = store.rows.notice(kind, tag or b"")

        async def advance() -> int:
            return await store.driver.advance(tag, soft=soft, message=message)

        done = bool(await store.breaker.run_owed("purge", advance, 0))
        store.debts.settle(done, kind, tag or b"")
        return done

    async def matching(
        self, matches: Callable[[bytes], bool], *, soft: bool, dry_run: bool
    ) -> AsyncIterator[Progress]:
        """Purge every resource whose primary key *matches*, telling how far it has come.

        Raises Unsupported where keys cannot be listed, and what the client raises: whoever
        asked for this wants to know. Nothing else waits for it.
        """
        looked_at = purged = 0
        if not dry_run:  # what was asked for before now would appear where was looked already
            await self._store.driver.fence(self._store.rows.notice(notices.FENCE, b""))
            self._store.rows.forget(None)
        async for batch in self._store.driver.scan():
            looked_at += len(batch.indices)
            named = map(codec.key_of, batch.indices)
            keys = [key for key in named if key and matches(key)]
            purged += len(keys)
            if not dry_run:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    await asyncio.gather(*(self._each(key, soft=soft) for key in some))
            yield Progress(looked_at, purged, batch.fraction)

    async def _each(self, key: bytes, *, soft: bool) -> None:
        if soft:
            await self.resource(key, soft=True)
        else:
            await self._wipe(key)

    async def _wipe(self, key: bytes, generation: bytes | None = None) -> bytes | None:
        """Forget *key*; of which generation it was, None: the store does not answer."""
        row = await self._store.rows.wipe(key, generation or layout.generation())
        self._store.debts.settle(row is not None, notices.PURGED, key)
        return None if row is None else row.generation

    async def _edit(self, key: bytes, edit: Edit, *, purges: bool) -> None:
        rows = self._store.rows
        start = await rows.recall_or_find(key)
        now = None
        if start is not None:
            now = await rows.edit(key, edit, start.since(), fenced=False, purges=purges)
        if now is not None:
            self._store.debts.settle(True, notices.PURGED, key)
        elif not self._store.breaker.writable:
            # What must not be used any more is still there: better none of it than that.
            await self._wipe(key)


def _without(stored: StoredResponse) -> Edit:
    def edit(resource: Resource) -> Resource | None:
        kept = tuple(one for one in resource.variants if one != stored)
        return Resource(kept) if len(kept) < len(resource.variants) else None

    return edit


def _all_stale(resource: Resource) -> Resource:
    return Resource(tuple(one.marked_stale() for one in resource.variants))
