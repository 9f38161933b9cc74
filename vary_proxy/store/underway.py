"""Loads and changes under way, so that what another change has overtaken is not believed.

The answer of a shared store and the notice of a change travel on different connections: an
answer from before a purge may arrive after the notice of it. And where many ask for the same
at once, one asks the store for all of them, unless what was asked for has changed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from vary_proxy.core.stored import Resource
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.store.breaker import Breaker

T = TypeVar("T")


class Pending:
    """A load or a change; ``clean`` until a change was made or heard of meanwhile."""

    __slots__ = ("clean", "resource")

    def __init__(self) -> None:
        self.clean = True
        self.resource: Resource | None = None  # what it came to

    def was_away(self, breaker: Breaker) -> bool:
        """True when it failed for want of the shared store, and of nothing else.

        What was purged meanwhile must not be made up for in memory.
        """
        return self.resource is None and self.clean and not breaker.writable


class UnderWay:
    def __init__(self) -> None:
        self._pending: dict[bytes, list[Pending]] = {}

    @contextmanager
    def watch(self, key: bytes) -> Iterator[Pending]:
        one = Pending()
        pending = self._pending.setdefault(key, [])
        pending.append(one)
        try:
            yield one
        finally:
            pending.remove(one)
            if not pending:
                self._pending.pop(key, None)

    def spoil(self, key: bytes) -> None:
        """*key* has changed."""
        for one in self._pending.get(key, ()):
            one.clean = False

    def spoil_all(self) -> None:
        for key in self._pending:
            self.spoil(key)


class Together(Generic[T]):
    """One call for all who want its result at the same time."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._calls: dict[Hashable, asyncio.Task[T]] = {}

    async def call(self, what: Hashable, action: Callable[[], Awaitable[T]]) -> T:
        """What *action*, or the same call by somebody else under way, returns."""
        task = self._calls.get(what)
        if task is None:
            task = self._calls[what] = self._tasks.spawn(self._run(what, action), "store call")
        return await asyncio.shield(task)

    def part(self, what: Hashable) -> None:
        """Who asks from now on makes a call of his own."""
        self._calls.pop(what, None)

    def part_all(self) -> None:
        self._calls.clear()

    async def _run(self, what: Hashable, action: Callable[[], Awaitable[T]]) -> T:
        try:
            return await action()
        finally:
            if self._calls.get(what) is asyncio.current_task():
                del self._calls[what]
