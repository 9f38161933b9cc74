"""Sees to it that a client which asks for nothing for too long is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Idling:
    """Of one connection. *leave* ends it unless it is busy: then ``from_now`` is called again."""

    __slots__ = ("_leave", "_loop", "seconds", "timer", "until")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, leave: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._leave = leave
        self.seconds = seconds
        self.until = 0.0  # by the loop's clock
        self.timer: asyncio.TimerHandle | None = None

    def from_now(self) -> None:
        # A timer that is due before this begins anew; to move it each time would cost more.
        self.until = self._loop.time() + self.seconds
        if self.timer is None:
            self.timer = self._loop.call_at(self.until, self._look)

    def end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def _look(self) -> None:
        self.timer = None
        if self._loop.time() < self.until:
            self.timer = self._loop.call_at(self.until, self._look)
        else:
            self._leave()
