"""Counts what requests came to, for the metrics and the dashboard.

An observer of every request: a few look-ups in dictionaries, no lock, nothing formatted.
Whoever wants to know reads the dictionaries; ``metrics.py`` renders them. What a client can
choose freely (targets, values of ``Origin``, unknown methods) is never a key.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from vary_proxy.core.message import Record, Reply, Request
from vary_proxy.origin import Interim, Naming, Origin, OriginFailure, OriginResponse

BOUNDS = (
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
)  # fmt: skip
REMEMBERED = 180  # seconds of history, one Moment each
_MOST_PAIRS = 24  # of Vary, for one rule
_METHODS = {
    name.encode(): name
    for name in (
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "TRACE", "PROPFIND",
    )
}  # fmt: skip
FROM_CACHE = frozenset(("hit", "stale", "collapsed", "edge"))
_LOOKED_UP = {
    "hit": "hit",
    "stale": "stale",
    "validated": "validated",
    "miss": "miss",
    "collapsed": "miss",
}


@dataclass(slots=True, eq=False)
class Timed:
    """A histogram of seconds. ``buckets`` has one more than BOUNDS: what is beyond them."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    bytes: int = 0

    def add(self, seconds: float, count: int = 1) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += count
        self.seconds += seconds * count

    @property
    def count(self) -> int:
        return sum(self.buckets)


@dataclass(slots=True, eq=False)
class Moment:
    """One second of traffic."""

    second: int
    requests: int = 0
    from_cache: int = 0
    errors: int = 0
    blocked: int = 0
    origin: int = 0  # requests sent to origins
    seconds: float = 0.0  # that requests took, in sum
    bytes: int = 0


@dataclass(slots=True)
class Tally:
    """What was counted since the start; ``clock`` gives Unix seconds."""

    clock: Callable[[], float] = time.time
    tiers: bool = False  # there is a shared store behind the memory
    requests: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    timed: dict[tuple[str, str], Timed] = field(default_factory=dict)
    vary: Counter[tuple[str, str]] = field(default_factory=Counter)
    pairs: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    cors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    preflights: Counter[tuple[str, str]] = field(default_factory=Counter)
    lookups: Counter[tuple[str, str]] = field(default_factory=Counter)
    stores: Counter[tuple[str, str]] = field(default_factory=Counter)
    collapsed: Counter[str] = field(default_factory=Counter)
    purged: Counter[str] = field(default_factory=Counter)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    asked_timed: dict[str, Timed] = field(default_factory=dict)
    operations: dict[str, Timed] = field(default_factory=dict)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    history: deque[Moment] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __call__(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        self._count(request, reply, sent, seconds, 1)

    def many(self, request: Request, reply: Reply, sent: int, count: int) -> None:
        """*count* requests that were answered alike, each with *sent* bytes and in no time."""
        self._count(request, reply, sent, 0.0, count)

    def _count(self, request: Request, reply: Reply, sent: int, seconds: float, count: int) -> None:
        record = reply.record
        rule, cache = record.rule or "none", record.cache or "none"
        method = _METHODS.get(request.method, "other")
        self.requests[rule, method, reply.status, cache] += count
        timed = self.timed.get((rule, cache))
        if timed is None:
            timed = self.timed[rule, cache] = Timed()
        timed.add(seconds, count)
        timed.bytes += sent * count
        if record.cors:
            self.cors[rule, record.cors, record.cors_reason or "none"] += count
        if record.preflight:
            self.preflights[rule, record.preflight] += count
        if record.collapsed:
            self.collapsed[rule] += count
        self._cache(record, count)
        if record.vary_action and not record.collapsed and cache not in FROM_CACHE:
            self._repaired(rule, record, reply)
        moment = self._moment()
        moment.requests += count
        moment.from_cache += count * (cache in FROM_CACHE)
        moment.errors += count * (reply.status >= 500)
        moment.blocked += count * bool(record.cors_reason)
        moment.seconds += seconds * count
        moment.bytes += sent * count

    def _cache(self, record: Record, count: int) -> None:
        result = _LOOKED_UP.get(record.cache)
        if result is not None and not record.preflight:
            self.lookups[(self.tiers and record.tier) or "memory", result] += count
        if record.stored:
            self.stores["stored", "none"] += count
        elif record.cache == "pass" and record.reason:
            self.stores["refused", record.reason] += count

    def _repaired(self, rule: str, record: Record, reply: Reply) -> None:
        self.vary[rule, record.vary_action] += 1
        line = reply.fields.combined(b"vary")
        told = "" if line is None else line.decode("ascii", "backslashreplace")
        said = (record.vary_said or b"").decode("ascii", "backslashreplace")
        pair = (said, told)
        pairs = self.pairs.setdefault(rule, Counter())
        pairs[pair if pair in pairs or len(pairs) < _MOST_PAIRS else ("…", "…")] += 1

    def operation(self, op: str, seconds: float, error: str | None) -> None:
        """A group of operations on the shared store has ended (store.breaker.Observer)."""
        timed = self.operations.get(op)
        if timed is None:
            timed = self.operations[op] = Timed()
        timed.add(seconds)
        if error is not None:
            self.failures[op, error] += 1

    def origin_answered(self, origin: str, code: str, seconds: float) -> None:
        """*code* is a status, or why there was none (RFC 9209 §2.3)."""
        self.asked[origin, code] += 1
        timed = self.asked_timed.get(origin)
        if timed is None:
            timed = self.asked_timed[origin] = Timed()
        timed.add(seconds)
        self._moment().origin += 1

    def _moment(self) -> Moment:
        second = int(self.clock())
        if not self.history or self.history[-1].second != second:
            self.history.append(Moment(second))
        return self.history[-1]


class Watched:
    """An origin whose answers are counted: also those that no request waits for."""

    def __init__(
        self, name: str, origin: Origin, tally: Tally, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._origin = origin
        self._tally = tally
        self._timer = timer

    @property
    def naming(self) -> Naming:
        return self._origin.naming

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        began = self._timer()
        try:
            response = await self._origin.fetch(request, body, on_interim)
        except OriginFailure as failure:
            self._tally.origin_answered(self._name, failure.error, self._timer() - began)
            raise
        self._tally.origin_answered(self._name, str(response.head.status), self._timer() - began)
        return response

    async def close(self) -> None:
        await self._origin.close()
