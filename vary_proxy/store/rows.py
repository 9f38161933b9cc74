"""Rows of a shared store: found, remembered for the change that follows, changed, wiped.

A change is made against the version that was found: whoever comes second looks again. How the
row stood before the origin was asked stays the measure: when that generation is gone the
resource was purged meanwhile, and nothing that was asked for before may be published.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import found, layout, notices
from vary_proxy.store.base import Since
from vary_proxy.store.breaker import Breaker
from vary_proxy.store.codec import Place
from vary_proxy.store.debts import Debts
from vary_proxy.store.driver import Applied, Change, Driver, Row
from vary_proxy.store.found import Found
from vary_proxy.store.turns import Turns
from vary_proxy.tasks import Tasks

Edit = Callable[[Resource], Resource | None]
_ATTEMPTS = 8  # times that a change is tried against a row that others change as well
_PAUSE = 0.01  # seconds, at random, so that those who collide do not do so again
_SLICE = 512  # blocks whose end is set at once
_RETIRED_MOST = 1 << 22  # blocks of one body: 512 GiB; an origin may say of any length
_REMEMBERED = 512  # rows
_REMEMBERED_FOR = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Written:
    """A body just written: all but its last block, which travels with the change."""

    place: Place
    last: Sequence[tuple[str, bytes]]
    sent: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a change is made on; see ``Rows.edit``."""

    since: Since
    body: Body | None
    written: Written | None
    fenced: bool
    renewed: bytes  # the new generation, where it purges


class Rows:
    def __init__(
        self,
        driver: Driver,
        breaker: Breaker,
        debts: Debts,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self.sender = os.urandom(notices.SENDER)
        self._driver = driver
        self._breaker = breaker
        self._debts = debts
        self._tasks = tasks
        self._clock = clock
        self._found: OrderedDict[bytes, tuple[float, Found]] = OrderedDict()
        self._turns = Turns()

    async def find(self, key: bytes) -> Found | None:
        """The row of *key*; None when the store does not answer, or a purge of it is owed."""
        if self._debts.cover(key):
            return None
        name = layout.row(key)
        row = await self._breaker.run("load", lambda: self._driver.look(name), None)
        if row is None:
            return None
        result = await self._less_purged_tags(found.read(key, row))
        if result is not None:
            self._remember(key, result)
        return result

    def _remember(self, key: bytes, result: Found) -> None:
        self._found[key] = (time.monotonic(), result)
        self._found.move_to_end(key)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)

    def recall(self, key: bytes) -> Found | None:
        """What was found a moment ago."""
        if key not in self._found or self._debts.cover(key):
            return None
        since, result = self._found[key]
        return result if time.monotonic() - since < _REMEMBERED_FOR else None

    def forget(self, key: bytes | None) -> None:
        """Forget what was found of *key*; of all for None."""
        if key is None:
            self._found.clear()
        else:
            self._found.pop(key, None)

    async def recall_or_find(self, key: bytes) -> Found | None:
        return self.recall(key) or await self.find(key)

    async def since(self, key: bytes) -> Since | None:
        """How the row stands, which is of some generation from now on; None: it is not known.

        Purges leave another generation, and eviction leaves none: a row that has it still when
        something is published was neither purged nor lost with the trace of a purge.
        """
        found = await self.recall_or_find(key)
        if found is None or found.row.generation:
            return None if found is None else found.since()
        name, mark = layout.row(key), layout.generation()
        now = await self._breaker.run(
            "mark", lambda: self._driver.mark(name, mark, layout.ABANDONED), None, write=True
        )
        if now is None:
            return None
        if now == mark:
            found = replace(found, row=replace(found.row, generation=mark))
            self._remember(key, found)
        else:  # somebody else was first
            found = await self.find(key)
        return found.since() if found is not None and found.row.generation == now else None

    async def edit(
        self,
        key: bytes,
        edit: Edit,
        since: Since,
        body: Body | None = None,
        written: Written | None = None,
        *,
        fenced: bool = True,
        purges: bool = False,
    ) -> Resource | None:
        """Change the row of *key*; what it holds now, None: it was not changed.

        It is not where the row was purged after *since*, or, if *fenced*, where any may have been
        by a purge that looks at all; and if it *purges*, what others were asking for before is not
        published either. *body* must be there, or be the one *written*.
        """
        terms = _Terms(since, body, written, fenced, layout.generation() if purges else b"")
        async with self._turns.of(key):  # within one process nobody need come second
            return await self._edit(key, edit, terms)

    async def _edit(self, key: bytes, edit: Edit, terms: _Terms) -> Resource | None:
        result = await self.recall_or_find(key)
        for attempt in range(_ATTEMPTS):
            if result is None or result.row.generation != terms.since.generation:
                return None
            resource = edit(result.resource)
            place = _place(result, terms)
            if resource is None or (terms.body is not None and place is None):
                return None
            change, orphans = self._change(key, result, resource, place, terms)
            applied = await self._apply(key, change)
            if applied is Applied.DONE:
                self._retire(layout.row(key), orphans)
                return resource
            if applied is not Applied.CHANGED:
                return None
            if attempt:
                await asyncio.sleep(random.random() * _PAUSE * attempt)  # noqa: S311
            result = await self.find(key)
        return None

    async def wipe(self, key: bytes, generation: bytes) -> Row | None:
        """Purge one row, which is of *generation* then; what it was, None: there is no answer."""
        name, message = layout.row(key), self.notice(notices.PURGED, key)
        self.forget(key)
        row = await self._breaker.run_owed(
            "purge", lambda: self._driver.wipe(name, generation, message), None
        )
        if row is not None:
            self._retire(name, list(found.read(key, row).places.values()))
        return row

    async def tidy(self, key: bytes, spoiled: Found) -> None:
        """Remove what nobody can use: it was corrupt, foreign, or of another version."""
        if spoiled.resource.variants:
            await self.edit(key, lambda resource: resource, spoiled.since())
        else:
            await self.wipe(key, layout.generation())

    def notice(self, kind: bytes, subject: bytes) -> bytes:
        return notices.notice(self.sender, kind, subject)

    def _change(
        self,
        key: bytes,
        result: Found,
        resource: Resource,
        place: Place | None,
        terms: _Terms,
    ) -> tuple[Change, list[Place]]:
        written = terms.written
        if written is not None:
            kept: Sequence[str] = written.sent
        elif place is None or any(one.sparse for one in resource.variants if _is_at(one, place)):
            kept = ()  # each block of a sparse body has a lifetime of its own, and no list
        else:
            kept = layout.block_names(layout.row(key), place)
        change, orphans = found.change(
            key,
            result,
            resource,
            self._clock(),
            terms.since.epoch,
            place,
            self.notice(notices.PURGED if terms.renewed else notices.CHANGED, key),
            () if written is None else written.last,
            kept,
        )
        asked = terms.since.epoch if terms.fenced else None
        return replace(change, renewed=terms.renewed, since=asked), orphans

    async def _apply(self, key: bytes, change: Change) -> Applied | None:
        self.forget(key)
        name = layout.row(key)
        return await self._breaker.run(
            "publish", lambda: self._driver.apply(name, change), None, write=True
        )

    async def _less_purged_tags(self, result: Found) -> Found | None:
        names = result.tags()
        if not names:
            return result
        epochs = await self._breaker.run("tags", lambda: self._driver.tag_epochs(names), None)
        if epochs is None:
            return None
        return found.less_tags(result, dict(zip(names, epochs, strict=True)), self._debts)

    def _retire(self, row: str, places: Sequence[Place]) -> None:
        """Bodies that nothing points to any more: those who read them may finish."""
        if any(layout.blocks(place) for place in places):
            self._tasks.spawn(self._grace(row, places), "store retire")

    async def _grace(self, row: str, places: Sequence[Place]) -> None:
        for place in places:
            count = min(layout.blocks(place), _RETIRED_MOST)
            for first in range(0, count, _SLICE):
                names = layout.block_names(row, place, first, min(count, first + _SLICE))
                if not await self._end(names):
                    return  # the store is away, and their lifetime ends them

    async def _end(self, names: Sequence[str]) -> bool:
        async def end() -> bool:
            await self._driver.keep_blocks(names, layout.GRACE)
            return True

        return await self._breaker.run("retire", end, False, write=True)


def _is_at(stored: StoredResponse, place: Place) -> bool:
    return stored.body.digest == place.digest


def _place(result: Found, terms: _Terms) -> Place | None:
    if terms.written is not None:
        return terms.written.place
    return None if terms.body is None else result.places.get(terms.body.digest)
