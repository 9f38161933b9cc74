"""Collapsed requests: one fetch, many readers. RFC 9111 §4.

A Flight is a fetch that others may ride on. Whoever comes first opens it; its Landing says
what came of it. Riders that the response does not fit (another variant, not storable, an
error) go their own way at once. What proved not to be storable is remembered briefly, so
that requests for it never queue. An invalidation grounds the flights of a resource: what
they bring is delivered to those aboard, and neither stored nor joined.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from vary_proxy.core.message import Fields
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.values import immutable
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.fetches.running import RunReader
from vary_proxy.fetches.spool import Spool, SpoolReader
from vary_proxy.origin import OriginFailure, OriginResponse
from vary_proxy.store.base import Since, Writer

RIDE_SECONDS = 5.0  # nobody waits longer for the head of another's fetch
_REMEMBERED_SECONDS = 10.0
_REMEMBERED_MOST = 16384


@immutable
class Landed:
    """A storable response whose body is on its way through *spool*.

    ``anchor`` holds the spool for whoever opened the flight until its own reader is there.
    ``own`` is the response as its requester gets it: with the fields that are for it alone.
    ``detail`` says why it will not be stored all the same; empty: it will. ``along``: another
    process of the fleet fetches and stores it.
    """

    draft: StoredResponse
    own: StoredResponse
    spool: Spool
    vary: EffectiveVary
    anchor: SpoolReader
    detail: str = ""
    along: bool = False

    @property
    def answered(self) -> int:
        """The status that the origin answered with; 0: it did not."""
        return self.draft.status


@immutable
class Validated:
    """The origin said 304: *stored* is up to date. ``filled``: it is a new variant, now stored.

    ``detail`` says why it is a new one and not stored.
    """

    stored: StoredResponse
    vary: EffectiveVary
    filled: bool = False
    shared: bool = True  # False: for its requester this once, and to be dropped then
    detail: str = ""

    @property
    def answered(self) -> int:
        """The status that the origin answered with; 0: it did not."""
        return 304


@immutable
class Alone:
    """A response for its requester alone; ``fields`` are end-to-end, Vary not yet dressed."""

    response: OriginResponse
    fields: Fields
    reason: str

    @property
    def answered(self) -> int:
        """The status that the origin answered with; 0: it did not."""
        return self.response.head.status


@immutable
class Failed:
    """No usable answer: the origin failed, or said 5xx while something stale may stand in."""

    error: OriginFailure | None
    status: int = 0

    @property
    def answered(self) -> int:
        """The status that the origin answered with; 0: it did not."""
        return self.status


@immutable
class Found:
    """Another process of the fleet fetched it: *stored* is what it left in the store."""

    stored: StoredResponse
    answered: int = 0


@immutable
class Opened:
    """A range of a large whole: *stored* is sparse, and its first blocks are on their way.

    ``anchor`` holds these until whoever opened the flight reads them; ``own`` is the response
    as its requester gets it.
    """

    stored: StoredResponse
    own: StoredResponse
    vary: EffectiveVary
    anchor: RunReader
    answered: int = 206


Landing = Landed | Validated | Alone | Failed | Found | Opened


@dataclass(slots=True, eq=False)
class Flight:
    key: bytes  # primary key
    name: bytes  # what tells flights apart
    landing: asyncio.Future[Landing]
    joinable: bool = False
    grounded: bool = False
    since: Since | None = None  # how a shared store stood before the origin was asked
    on_close: Callable[[], None] | None = None
    on_load: Callable[[StoredResponse, Spool, Writer], None] | None = None  # a body comes


@dataclass(slots=True)
class Flights:
    """The flights under way, and the memory of what was not storable."""

    _by_name: dict[bytes, Flight] = field(default_factory=dict)
    _by_key: dict[bytes, set[Flight]] = field(default_factory=dict)
    _unstorable: OrderedDict[int, float] = field(default_factory=OrderedDict)  # by hash of key

    def find(self, name: bytes) -> Flight | None:
        return self._by_name.get(name)

    def open(self, key: bytes, name: bytes, *, joinable: bool) -> Flight:
        """A new flight; found by others under *name* when *joinable*."""
        flight = Flight(key, name, asyncio.get_running_loop().create_future(), joinable)
        if joinable:
            self._by_name[name] = flight
        self._by_key.setdefault(key, set()).add(flight)
        return flight

    def close(self, flight: Flight) -> None:
        """Nobody can join any more."""
        if flight.on_close is not None:
            flight.on_close()
            flight.on_close = None
        self.unlist(flight)
        flights = self._by_key.get(flight.key)
        if flights is not None:
            flights.discard(flight)
            if not flights:
                del self._by_key[flight.key]

    def unlist(self, flight: Flight) -> None:
        if self._by_name.get(flight.name) is flight:
            del self._by_name[flight.name]

    def ground(self, key: bytes, but: Flight | None = None) -> None:
        """What is under way for *key*, *but* one, was asked before it became invalid."""
        for flight in self._by_key.get(key, ()):
            if flight is not but:
                flight.grounded = True
                self.unlist(flight)

    def supersede(self, key: bytes, landing: Landing) -> None:
        """The origin has something else by now than what *landing* brings for *key*."""
        for flight in self._by_key.get(key, ()):
            if _came_to(flight) is landing:
                flight.grounded = True
                self.unlist(flight)

    def keys(self) -> tuple[bytes, ...]:
        """The primary keys for which something is under way."""
        return tuple(self._by_key)

    def remember_unstorable(self, key: bytes, now: float) -> None:
        self._unstorable[hash(key)] = now + _REMEMBERED_SECONDS
        self._unstorable.move_to_end(hash(key))
        if len(self._unstorable) > _REMEMBERED_MOST:
            self._unstorable.popitem(last=False)

    def forget_unstorable(self, key: bytes) -> None:
        self._unstorable.pop(hash(key), None)

    def is_unstorable(self, key: bytes, now: float) -> bool:
        until = self._unstorable.get(hash(key))
        return until is not None and now < until

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))


def _came_to(flight: Flight) -> Landing | None:
    landing = flight.landing
    return landing.result() if landing.done() and not landing.cancelled() else None
