"""Who fetches, who rides along, and who validates in the background. RFC 9111 §4.

Whoever comes first opens a flight, and a task of its own flies it; others wait for its
landing and take it if it fits. Nobody's leaving harms anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from vary_proxy.core import blocks, reuse
from vary_proxy.core.stored import Resource, Selecting, StoredResponse
from vary_proxy.fetches import asking
from vary_proxy.fetches.asking import Ask
from vary_proxy.fetches.fetching import Fetcher
from vary_proxy.flights import (
    RIDE_SECONDS,
    Alone,
    Flights,
    Found,
    Landed,
    Landing,
    Opened,
    Validated,
)
from vary_proxy.origin import OriginFailure
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks


class Riding:
    def __init__(
        self,
        fetcher: Fetcher,
        store: Store,
        flights: Flights,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._flights = flights
        self._tasks = tasks
        self._clock = clock

    async def landing(
        self, ask: Ask, wanted: Selecting, *, ride: bool = True
    ) -> tuple[Landing, bool]:
        """What came of the fetch, and whether it was another's: never, unless we may *ride*."""
        now = self._clock()
        if not self._flights.is_unstorable(ask.key, now):
            ask = asking.in_blocks(ask)
        name = asking.flight_name(ask, wanted)
        joinable = asking.may_share(ask) and not self._flights.is_unstorable(ask.key, now)
        if joinable and ride:
            landing = await self._ride(ask, name)
            if landing is not None:
                return landing, True
        flight = self._flights.open(
            ask.key, name, joinable=joinable and self._flights.find(name) is None
        )
        if not flight.joinable:  # nobody else's: it needs no task that outlives this one
            await self._fetcher.run(ask, flight)
            landed = flight.landing.result()
            return landed, isinstance(landed, Landed) and landed.along
        self._tasks.spawn(self._fetcher.run(ask, flight), "fetch")
        try:
            landed = await asyncio.shield(flight.landing)
            return landed, isinstance(landed, Landed) and landed.along
        except asyncio.CancelledError:
            flight.landing.add_done_callback(self._close_unclaimed)
            if flight.landing.cancelled():
                raise OriginFailure("connection_terminated", "the fetch was ended") from None
            raise

    async def _ride(self, ask: Ask, name: bytes) -> Landing | None:
        """The landing of another's flight; None when there is none that fits."""
        flight = self._flights.find(name)
        if flight is None:
            return None
        since = await self._store.since(ask.key)
        if flight.since not in (None, since):  # it was asked for before a purge, or may have been
            return None
        late = flight.landing.done()
        if not late:
            await asyncio.wait((flight.landing,), timeout=RIDE_SECONDS)
        if not flight.landing.done() or flight.landing.cancelled():
            return None
        if flight.since != since:
            return None
        landing = flight.landing.result()
        match landing:
            case Landed(draft, _, spool):
                fits = ask.select(draft.names) == draft.selecting and spool.joinable
                fits = fits and asking.is_its_part(ask, draft, spool.length)
                return landing if fits and (not late or self._is_usable(ask, draft)) else None
            case Found(stored) | Opened(stored):
                return landing if ask.select(stored.names) == stored.selecting else None
            case Validated(stored):
                fits = ask.select(stored.names) == stored.selecting
                return landing if fits and landing.shared else None
            case _:
                return None

    def _is_usable(self, ask: Ask, draft: StoredResponse) -> bool:
        """True when a response still arriving may answer a request made after its head came."""
        decision = reuse.decide(
            ask.request, Resource((draft,)), draft.selecting, ask.policy, self._clock()
        )
        return isinstance(decision, reuse.Serve)

    def _close_unclaimed(self, flown: asyncio.Future[Landing]) -> None:
        """Nobody waits for this landing: let go of what it holds."""
        landing = None if flown.cancelled() else flown.result()
        if isinstance(landing, Alone):
            self._tasks.spawn(landing.response.close(), "close unclaimed")
        elif isinstance(landing, Opened):
            landing.anchor.close()
        elif isinstance(landing, Landed):
            self._tasks.spawn(landing.anchor.aclose(), "close unclaimed")

    def in_background(self, ask: Ask, stored: StoredResponse, wanted: Selecting) -> None:
        """Validate once, while the stale response is served (RFC 5861 §3)."""
        ask = replace(ask, candidates=asking.validatable(stored), stale=stored, interim=None)
        ask = replace(ask, request=asking.plain(ask.request))
        if stored.sparse:  # nobody waits for all of it, should it have changed
            ask = replace(ask, slot=blocks.slot(((0, 0),)) or b"")
        name = asking.flight_name(ask, wanted)
        if self._flights.find(name) is not None:
            return
        flight = self._flights.open(ask.key, name, joinable=True)
        flight.landing.add_done_callback(self._close_unclaimed)
        self._tasks.spawn(self._fetcher.run(ask, flight), "validate in background")
