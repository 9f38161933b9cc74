"""Owns every background task, and ends them.

The only place where a task is created. A task that fails is logged once; none is ever lost
to the garbage collector, and none outlives ``close``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger("vary_proxy")


class Tasks:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._lasting: set[asyncio.Task[Any]] = set()  # of those

    def __len__(self) -> int:
        return len(self._running)

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], name: str, *, lasting: bool = False
    ) -> asyncio.Task[T]:
        """Start *coroutine*; its failure, unless somebody awaits it, is logged under *name*.

        One that is *lasting* goes on for as long as there is something to watch, maybe for ever.
        """
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._running.add(task)
        if lasting:
            self._lasting.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        self._lasting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %s failed: %r", task.get_name(), error, exc_info=error)

    async def settle(self) -> None:
        """Wait until nothing runs but what is lasting: for tests, and for a drain."""
        while passing := self._running - self._lasting:
            await asyncio.wait(passing)

    async def close(self) -> None:
        """Cancel what runs, and what that starts, until nothing does.

        More than once, for a task may lose a cancellation that meets another on its way.
        """
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=1.0)
