"""How much may be asked again: a share of what is asked, so that trouble is not multiplied."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Budget:
    """Of the requests in a sliding window, the share that may be sent again.

    Every one of them may, once, ``elsewhere``: from a URL that died to one that stands.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        share: float = 0.2,
        least: int = 3,
        window: float = 10.0,
    ) -> None:
        self._clock = clock
        self._share = share
        self._least = least
        self._window = window
        self._seconds: deque[list[int]] = deque()  # [second, requests, retries]
        self._requests = self._retries = 0

    def request(self) -> None:
        self._now()[1] += 1
        self._requests += 1

    def retry(self, *, elsewhere: bool = False) -> bool:
        """True, and spent, when another one is within the budget."""
        second = self._now()
        share = 1.0 if elsewhere else self._share
        if self._retries >= max(self._least, int(self._requests * share)):
            return False
        second[2] += 1
        self._retries += 1
        return True

    def _now(self) -> list[int]:
        now = self._clock()
        while self._seconds and self._seconds[0][0] <= now - self._window:
            _, requests, retries = self._seconds.popleft()
            self._requests -= requests
            self._retries -= retries
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append([int(now), 0, 0])
        return self._seconds[-1]
