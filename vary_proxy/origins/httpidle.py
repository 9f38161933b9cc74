"""Connections to an origin that are at rest, in front of aiohttp's pool.

To that pool they count as in use, so that its limit bounds both. The one that was used last is
taken first: what a quieter time does not need grows old and is closed. Nothing is taken that
may not carry a request any more (httplink). One timer serves all.
"""

from __future__ import annotations

import asyncio
from collections import deque

from vary_proxy.origins.httplink import Link


class Idle:
    """*keepalive* is how many seconds a connection may be at rest."""

    def __init__(self, loop: asyncio.AbstractEventLoop, keepalive: float) -> None:
        self._loop = loop
        self._keepalive = keepalive
        self._resting: deque[Link] = deque()  # longest at rest first
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._resting)

    def put(self, link: Link) -> None:
        """Keep *link*, whose exchange is over and which can take another."""
        self._resting.append(link)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keepalive, self._sweep)

    def take(self, idle: float) -> Link | None:
        """One that may carry a request and was at rest for less than *idle* seconds, or None.

        Those that can carry none any more are closed on the way; those that were at rest for too
        long for this request stay for others.
        """
        while self._resting:
            link = self._resting[-1]
            if link.is_fit(self._keepalive):
                if self._loop.time() - link.rested >= idle:
                    return None  # and so were all others
                return self._resting.pop()
            self._resting.pop().end()
        return None

    def make_room(self) -> None:
        """Close the one that was at rest longest."""
        if self._resting:
            self._resting.popleft().end()

    def clear(self) -> None:
        """Close them all."""
        while self._resting:
            self._resting.pop().end()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _sweep(self) -> None:
        self._sweeper = None
        while self._resting:
            oldest = self._resting[0]
            left = oldest.rested + self._keepalive - self._loop.time()
            if left > 0 and oldest.is_connected():
                self._sweeper = self._loop.call_later(left, self._sweep)
                return
            self._resting.popleft().end()
