"""Sees to it that a client which takes nothing for too long is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watch:
    """Over one connection. *unsent* gives the bytes that wait to be taken; *drop* ends it.

    ``written`` counts the bytes handed to the connection. *timeout* is in seconds.
    """

    __slots__ = (
        "_drop",
        "_loop",
        "_taken",
        "_taken_at",
        "_timeout",
        "_timer",
        "_unsent",
        "written",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: float,
        unsent: Callable[[], int],
        drop: Callable[[], None],
    ) -> None:
        self.written = 0
        self._loop = loop
        self._timeout = timeout
        self._unsent = unsent
        self._drop = drop
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0  # bytes that the client had taken at ``_taken_at``
        self._taken_at = 0.0

    def begin(self) -> None:
        """Watch until nothing waits any more."""
        unsent = self._unsent()
        if self._timer is None and unsent:
            self._taken_at = self._loop.time()
            self._taken = self.written - unsent
            self._timer = self._loop.call_later(self._timeout / 4, self._look)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        unsent = self._unsent()
        if not unsent:
            return
        taken, now = self.written - unsent, self._loop.time()
        if taken != self._taken:
            self._taken, self._taken_at = taken, now
        elif now - self._taken_at >= self._timeout:
            self._drop()
            return
        self._timer = self._loop.call_later(self._timeout / 4, self._look)
