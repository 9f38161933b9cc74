"""Purges that a shared store could not take: owed, and made up for when it answers again.

Until then what is owed reads as gone. A debt dies with its process; the lifetime of what
it was about does not depend on it. What a store took last is owed once more when it fails: it
copies its changes to its replicas a little later, so whoever takes its place may lack them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from vary_proxy.core.stored import StoredResponse
from vary_proxy.store import layout, notices, tags
from vary_proxy.store.driver import Driver

_MOST = 100_000  # beyond these everything is owed
_LAG = 5.0  # seconds that replicas may be behind, and until a failure is seen
_MOST_TAKEN = 10_000  # purges of that time; of more, everything is owed
_AT_ONCE = 16


class Debts:
    def __init__(self) -> None:
        self._keys: dict[bytes, None] = {}
        self._tags: dict[bytes, None] = {}
        self._all = False
        self._taken: deque[tuple[float, bytes, bytes]] = deque()  # when, kind of notice, subject
        self._crowded = float("-inf")  # when the last was taken that is not remembered

    def __bool__(self) -> bool:
        return self._all or bool(self._keys) or bool(self._tags)

    def __len__(self) -> int:
        return len(self._keys) + len(self._tags) + self._all

    def owe(self, key: bytes) -> None:
        self._keys[key] = None
        self._all = self._all or len(self._keys) > _MOST

    def owe_tag(self, tag: bytes) -> None:
        self._tags[tag] = None
        self._all = self._all or len(self._tags) > _MOST

    def owe_all(self) -> None:
        self._all = True

    def settle(self, done: bool, kind: bytes, subject: bytes = b"") -> None:
        """The store did this purge, or else it is owed; named by the notice of it."""
        if done:
            self._remember(kind, subject)
        else:
            self._owe[kind](self, subject)

    def _remember(self, kind: bytes, subject: bytes) -> None:
        now = time.monotonic()
        self._taken.append((now, kind, subject))
        while self._taken[0][0] < now - _LAG:
            self._taken.popleft()
        if len(self._taken) > _MOST_TAKEN:
            self._crowded = self._taken.popleft()[0]

    def doubt(self) -> None:
        """The store failed: owe again what it may not have told its replicas."""
        since = time.monotonic() - _LAG
        self._all = self._all or self._crowded >= since
        for at, kind, subject in self._taken:
            if at >= since:
                self._owe[kind](self, subject)
        self._taken.clear()

    def cover(self, key: bytes) -> bool:
        """True when what is stored under *key* was purged, whatever the store still says."""
        return self._all or key in self._keys

    def cover_tags(self, stored: StoredResponse) -> bool:
        return bool(self._tags) and any(tag in self._tags for tag in tags.tags_of(stored.fields))

    async def repay(self, driver: Driver, message: Callable[[bytes, bytes], bytes]) -> None:
        """Purge what is owed; *message* makes the notice of it. Raises what the driver raises."""
        if self._all:
            await driver.advance(None, soft=False, message=message(notices.ALL, b""))
            self._keys.clear()
            self._tags.clear()
            self._all = False
        for tag in list(self._tags):
            await driver.advance(tag, soft=False, message=message(notices.TAG, tag))
            self._tags.pop(tag, None)
        keys = list(self._keys)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            await asyncio.gather(
                *(driver.wipe(layout.row(key), message(notices.PURGED, key)) for key in some)
            )
            for key in some:
                self._keys.pop(key, None)

    _owe: ClassVar[dict[bytes, Callable[[Debts, bytes], None]]] = {
        notices.PURGED: owe,
        notices.TAG: owe_tag,
        notices.ALL: lambda debts, _: debts.owe_all(),
    }
