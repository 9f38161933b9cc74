"""One fetch per variant for the whole fleet, where processes share a store.

Before it asks the origin, a flight that others may ride on asks the fleet. Where another
process is on its way already, this one waits for it to land and looks into the store. It
waits no longer than its own riders would; what does not fit, or was not stored, is fetched
as if nobody had gone before. A leader that died is replaced when its lock expires, and a
store that does not answer lets everybody fetch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vary_proxy.asking import Ask
from vary_proxy.core import reuse
from vary_proxy.core.stored import StoredResponse
from vary_proxy.flights import RIDE_SECONDS, Flight
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks


class FleetFlights(Protocol):
    """A lock for every variant that is being fetched somewhere."""

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool: ...

    async def release(self, key: bytes, variant: bytes, owner: bytes) -> None: ...

    async def watch(self, key: bytes, variant: bytes, seconds: float) -> bool: ...


class Convoy:
    def __init__(
        self, fleet: FleetFlights, store: Store, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._owner = os.urandom(8)

    async def joined(self, ask: Ask, flight: Flight) -> StoredResponse | None:
        """What another process's flight has stored for *ask*; None: this one is to go."""
        variant = hashlib.sha256(flight.name).digest()[:16]
        if not await self._fleet.acquire(ask.key, variant, self._owner, RIDE_SECONDS):
            await self._fleet.watch(ask.key, variant, RIDE_SECONDS)
            found = await self._stored(ask)
            if found is not None:
                return found
            if not await self._fleet.acquire(ask.key, variant, self._owner, RIDE_SECONDS):
                return None  # somebody else goes too; nothing is lost by going beside him
        flight.on_close = lambda: self._release(ask.key, variant)
        return None

    def _release(self, key: bytes, variant: bytes) -> None:
        self._tasks.spawn(self._fleet.release(key, variant, self._owner), "release flight")

    async def _stored(self, ask: Ask) -> StoredResponse | None:
        resource = await self._store.load(ask.key)
        if resource is None:
            return None
        wanted = replace(ask, names=resource.names()).select(())
        decision = reuse.decide(ask.request, resource, wanted, ask.policy, self._clock())
        fresh = isinstance(decision, reuse.Serve) and not decision.revalidate
        return decision.stored if fresh and isinstance(decision, reuse.Serve) else None
