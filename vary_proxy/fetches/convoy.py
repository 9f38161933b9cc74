"""One fetch per variant for the whole fleet, where processes share a store.

Before it asks the origin, a flight that others may ride on asks the fleet. Where another
process is on its way already, this one follows: as soon as the other has told what it brings
and that fits, its body is read along as it arrives (along.py); else what it left in the store
is taken. Nobody waits longer than riders would; what does not fit, or was not stored, is
fetched as if nobody had gone before. A leader that died is replaced when its lock expires, and
a store that does not answer lets everybody fetch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from vary_proxy.core import reuse
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.fetches import asking
from vary_proxy.fetches.along import Along, Followed
from vary_proxy.fetches.asking import Ask
from vary_proxy.fetches.heralding import Heralds
from vary_proxy.fetches.leading import Lead
from vary_proxy.fetches.spool import Spool
from vary_proxy.flights import RIDE_SECONDS, Flight, Flights, Found, Landed, Landing
from vary_proxy.store.base import Since, Store
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.store.codec import Headway
    from vary_proxy.store.fleet import Ears

Fetch = Callable[[Ask, Flight], Awaitable[None]]
_LOOK = 0.5  # seconds: news may have been lost


class Fleet(Protocol):
    """A lock for every variant that is being fetched somewhere, and how far that has come."""

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool: ...

    async def lead(
        self, key: bytes, variant: bytes, owner: bytes, seconds: float, headway: Headway | None
    ) -> int: ...

    async def release(
        self, key: bytes, variant: bytes, owner: bytes, seconds: float, headway: Headway | None
    ) -> None: ...

    async def follow(
        self, key: bytes, variant: bytes
    ) -> tuple[bytes, tuple[Headway, StoredResponse] | None] | None: ...

    async def read(
        self, key: bytes, headway: Headway, start: int, stop: int
    ) -> Sequence[Buffer] | None: ...

    async def keep(self, key: bytes, headway: Headway) -> None: ...

    def ears(self, key: bytes, variant: bytes) -> AbstractContextManager[Ears]: ...


def _era(since: Since | None) -> bytes:
    return b"" if since is None else b"%b %d " % (since.generation, since.epoch)


class Convoy:
    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        flights: Flights,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self.heralds = Heralds(fleet, store, tasks)
        self._fleet = fleet
        self._store = store
        self._flights = flights
        self._tasks = tasks
        self._clock = clock

    async def joined(self, ask: Ask, flight: Flight, fetch: Fetch) -> Landing | None:
        """What another process's flight brings for *ask*; None: this one is to go.

        Should the other fail on its way, *fetch* begins again.
        """
        began = self._clock()
        # Who asks after a purge does not follow what was asked for before it.
        variant = hashlib.sha256(_era(flight.since) + flight.name).digest()[:16]
        if not await self._leads(ask, flight, variant):
            followed = await self._followed(ask.key, variant)
            if followed is not None:
                return self._along(ask, flight, followed, fetch, began)
            found = await self._stored(ask)
            if found is not None:
                return Found(found)
            await self._leads(ask, flight, variant)  # if not, nothing is lost by going beside
        return None

    async def _leads(self, ask: Ask, flight: Flight, variant: bytes) -> bool:
        """True when it is ours to fetch."""
        owner = os.urandom(16)
        if not await self._fleet.acquire(ask.key, variant, owner, RIDE_SECONDS):
            return False
        lead = Lead(self._fleet, self._tasks, ask.key, variant, owner)
        flight.on_load, flight.on_close = lead.load, lead.land
        return True

    async def _followed(self, key: bytes, variant: bytes) -> Followed | None:
        """The flight under way, once it has told what it brings; None: it is over, or too slow."""
        # By the clock: a client of Redis can lose a cancellation, and with it a timeout.
        until = time.monotonic() + RIDE_SECONDS
        with self._fleet.ears(key, variant) as ears:
            while (left := until - time.monotonic()) > 0:
                told = await self._fleet.follow(key, variant)
                if told is None or not told[0]:
                    return None
                owner, found = told
                if found is not None and found[0].owner == owner:
                    return Followed(variant, *found)
                await ears.wait(min(_LOOK, left))
        return None

    def _along(
        self, ask: Ask, flight: Flight, followed: Followed, fetch: Fetch, began: float
    ) -> Landing | None:
        """The flight followed, as one of ours; None: it does not fit *ask*."""
        draft = followed.draft
        if ask.select(draft.names) != draft.selecting:
            return None
        if not asking.is_its_part(ask, draft, followed.headway.length):
            return None
        if draft.received < began and not self._is_usable(ask, Resource((draft,))):
            return None
        spool = Spool(followed.headway.length)
        landed = Landed(
            draft,
            draft,
            spool,
            ask.vary(draft.fields),
            spool.reader(),
            along=True,
        )

        async def again() -> Landing:
            found = await self._stored(ask)
            return Found(found) if found is not None else await self._again(ask, flight, fetch)

        along = Along(self._fleet, self._store, self._tasks, ask.key, followed, landed, again)
        self._tasks.spawn(self._run(along, flight), "read along")
        return landed

    async def _run(self, along: Along, flight: Flight) -> None:
        try:
            await along.run()
        finally:
            self._flights.close(flight)

    async def _again(self, ask: Ask, flight: Flight, fetch: Fetch) -> Landing:
        """What comes of a new flight in the place of *flight*."""
        self._flights.unlist(flight)
        free = self._flights.find(flight.name) is None
        anew = self._flights.open(ask.key, flight.name, joinable=free)
        self._tasks.spawn(fetch(replace(ask, interim=None), anew), "fetch again")  # type: ignore[arg-type]
        return await asyncio.shield(anew.landing)

    async def _stored(self, ask: Ask) -> StoredResponse | None:
        resource = await self._store.load(ask.key)
        return None if resource is None else self._usable(ask, resource)

    def _is_usable(self, ask: Ask, resource: Resource) -> bool:
        return self._usable(ask, resource) is not None

    def _usable(self, ask: Ask, resource: Resource) -> StoredResponse | None:
        """The stored response that answers *ask* as if it came now; None: there is none."""
        wanted = replace(ask, names=resource.names()).select(())
        decision = reuse.decide(ask.request, resource, wanted, ask.policy, self._clock())
        fresh = isinstance(decision, reuse.Serve) and not decision.revalidate
        return decision.stored if fresh and isinstance(decision, reuse.Serve) else None
