"""Keeps a shared store's failures from everybody else.

Every group of operations runs under one deadline. The first that fails opens the breaker:
from then on nobody waits, every operation answers at once with what it would have found in
an empty store. A probe of our own, never a request, asks until the store answers again:
soon at first, then ever more seldom, at least every four seconds. What stands in the way of
writing alone (a full store, a replica) leaves reading open. An outage is one log line when
it begins and one when it ends; all else is counted.

Large bodies go through a narrow gate of their own: they keep this process busy, not the store, and
what is small would wait behind all of them. To wait there is no failure of the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from vary_proxy.store.remedies import remedy
from vary_proxy.tasks import Tasks

T = TypeVar("T")
_log = logging.getLogger("vary_proxy")

FIRST_PROBE = 0.25  # seconds
LAST_PROBE = 4.0
STEADY = 5.0  # seconds without failure after which the next outage is probed early again
WIDTH = 32  # groups of operations at once: as many as the pool has connections
_BULKY = 4  # of those, how many may move large bodies
_WRITES_ONLY = frozenset(("full", "read-only"))
_SILENT = 600.0  # seconds between two lines about values or answers that cannot be used


class Probed(Protocol):
    label: str

    async def ping(self, *, write: bool) -> None: ...

    def kind_of(self, error: BaseException) -> str: ...


class Observer(Protocol):
    """Told of every group of operations: for metrics."""

    def operation(self, op: str, seconds: float, error: str | None) -> None: ...


class Breaker:
    """``readable`` and ``writable`` say what is worth trying."""

    def __init__(
        self,
        store: Probed,
        tasks: Tasks,
        deadline: float,
        observer: Observer | None = None,
        repay: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.readable = True
        self.writable = True
        self.errors: Counter[str] = Counter()  # kind -> how often
        self.on_change: list[Callable[[bool], None]] = []  # told of ``readable``
        self._store = store
        self._tasks = tasks
        self._deadline = deadline
        self._observer = observer
        self._repay = repay
        self._width = asyncio.Semaphore(WIDTH)
        self._gate = asyncio.Semaphore(_BULKY)
        self._probe: asyncio.Task[None] | None = None
        self._wait = FIRST_PROBE
        self._since = 0.0
        self._steady_since = 0.0
        self._announced = False
        self._told_of_garbage = float("-inf")
        self._closed = False

    async def run(
        self,
        op: str,
        action: Callable[[], Awaitable[T]],
        otherwise: T,
        *,
        write: bool = False,
        owed: bool = False,
    ) -> T:
        """What *action* returns within the deadline; *otherwise* when it fails or may not try."""
        if self._closed or not (self.writable if write else self.readable):
            return otherwise  # closed: the client would open another connection
        started = time.perf_counter()
        kind: str | None = None
        try:
            async with asyncio.timeout(self._deadline), self._width:
                return await action()
        except Exception as error:  # whatever a client library or a foreign store comes up with
            kind = self.failed(error, owed=owed)
            return otherwise
        finally:
            if self._observer is not None:
                self._observer.operation(op, time.perf_counter() - started, kind)

    async def run_bulky(self, op: str, action: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """As ``run``, for what moves much and may wait for others that do, beyond the deadline."""
        async with self._gate:
            return await self.run(op, action, otherwise)

    async def run_owed(self, op: str, action: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """As ``run``, for what takes no room, so that a full store is asked too, and is made up for
        when it fails: the probe does that, so any failure starts it."""
        return await self.run(op, action, otherwise, owed=True)

    def failed(self, error: Exception, *, owed: bool = False) -> str:
        """Count *error* and open what it stands in the way of; its kind."""
        kind = self._count(error)
        if self._closed:
            return kind
        if kind == "garbage" and not owed:
            if time.monotonic() - self._told_of_garbage > _SILENT:
                self._told_of_garbage = time.monotonic()
                self._warn(kind, error, "what is concerned is a miss")
            return kind
        reading = kind not in _WRITES_ONLY and kind != "garbage"
        if self.readable if reading else self.writable:
            self._open(kind, error, reading=reading)
        return kind

    def deaf(self, error: Exception) -> None:
        """Notices of changes are lost; if it is for want of a right nobody else may tell of it."""
        if self._count(error) == "denied" and not self._closed:
            self._warn("denied", error, "changes are not heard of, and each request asks it")

    def _count(self, error: Exception) -> str:
        kind = "timeout" if isinstance(error, TimeoutError) else self._store.kind_of(error)
        self.errors[kind] += 1
        return kind

    def _warn(self, kind: str, error: Exception, effect: str) -> None:
        text = _first_line(error)
        advice = remedy(kind, text)
        _log.warning("store %s: %s (%s): %s; %s", self._store.label, kind, text, advice, effect)

    async def close(self) -> None:
        """Try nothing more; done when what is under way has ended, or should have."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
        with suppress(TimeoutError):  # a connection that opens while its pool closes stays open
            async with asyncio.timeout(self._deadline):
                for _ in range(WIDTH):
                    await self._width.acquire()

    def _open(self, kind: str, error: Exception, *, reading: bool) -> None:
        now = time.monotonic()
        if self.readable and self.writable:
            self._since = now
            self._announced = now - self._steady_since > STEADY or not self._steady_since
            if self._announced:  # a store that comes and goes is not worth a line each time
                self._wait = FIRST_PROBE
                effect = "memory and the origin answer" if reading else "nothing new is stored"
                self._warn(kind, error, f"{effect} until it is back")
        self.writable = False
        if reading:
            self._set_readable(False)
        if self._probe is None or self._probe.done():
            self._probe = self._tasks.spawn(self._watch(), "store probe", lasting=True)

    async def _watch(self) -> None:
        while not (self.readable and self.writable) and not self._closed:
            await asyncio.sleep(self._wait)
            self._wait = min(LAST_PROBE, self._wait * 2)
            if not self.readable and await self._answers(write=False):
                self._set_readable(True)
            if self.readable and await self._answers(write=True):
                self.writable = True
        self._steady_since = time.monotonic()
        if self._announced and not self._closed:
            _log.warning(
                "store %s: back after %.1f s", self._store.label, self._steady_since - self._since
            )

    async def _answers(self, *, write: bool) -> bool:
        try:
            async with asyncio.timeout(max(self._deadline, 0.25)):
                await self._store.ping(write=write)
            if write and self._repay is not None:
                await self._repay()
        except Exception as error:
            if self._count(error) == "full" and write and self._repay is not None:
                with suppress(Exception):  # purges take no room
                    await self._repay()
            return False
        return True

    def _set_readable(self, readable: bool) -> None:
        self.readable = readable
        for tell in self.on_change:
            tell(readable)


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in text.splitlines()[0])[:200]
