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

_MOST = 8 * 2**20  # bytes of keys and tags; beyond these everything is owed
_LAG = 5.0  # seconds that replicas may be behind, and until a failure is seen
_MOST_TAKEN = 2 * 2**20  # bytes of the purges of that time; of more, everything is owed
_WEIGHT = 200  # bytes that one of them takes besides its name
_AT_ONCE = 16


class Debts:
    def __init__(self) -> None:
        self._keys: dict[bytes, int] = {}  # with the number that each was owed by, last
        self._tags: dict[bytes, int] = {}
        self._all = 0  # the number by which everything was owed last; 0: it is not
        self._number = 0
        self._size = 0
        self._taken: deque[tuple[float, bytes, bytes]] = deque()  # when, kind of notice, subject
        self._taken_size = 0
        self._crowded = float("-inf")  # when the last was taken that is not remembered

    def __bool__(self) -> bool:
        return bool(self._all) or bool(self._keys) or bool(self._tags)

    def __len__(self) -> int:
        return len(self._keys) + len(self._tags) + bool(self._all)

    def owe(self, key: bytes) -> None:
        self._note(self._keys, key)

    def owe_tag(self, tag: bytes) -> None:
        self._note(self._tags, tag)

    def owe_all(self) -> None:
        self._number += 1
        self._all = self._number

    def _note(self, owed: dict[bytes, int], name: bytes) -> None:
        self._number += 1
        self._size += 0 if name in owed else len(name) + _WEIGHT
        owed[name] = self._number
        if self._size > _MOST:
            self.owe_all()
            self._forget(self._number)

    def _forget(self, number: int) -> None:
        """Take keys and tags as paid that were last owed by *number* or before."""
        for owed in (self._keys, self._tags):
            for name in [name for name, last in owed.items() if last <= number]:
                self._paid(owed, name, number)

    def _paid(self, owed: dict[bytes, int], name: bytes, number: int) -> None:
        """*name* was purged as it was owed by *number*; if it was owed again since, it still is."""
        if owed.get(name, number + 1) <= number:
            del owed[name]
            self._size -= len(name) + _WEIGHT

    def settle(self, done: bool, kind: bytes, subject: bytes = b"") -> None:
        """The store did this purge, or else it is owed; named by the notice of it."""
        if done:
            self._remember(kind, subject)
        else:
            self._owe[kind](self, subject)

    def _remember(self, kind: bytes, subject: bytes) -> None:
        now = time.monotonic()
        self._taken.append((now, kind, subject))
        self._taken_size += len(subject) + _WEIGHT
        while self._taken[0][0] < now - _LAG:
            self._drop()
        while self._taken_size > _MOST_TAKEN:
            self._crowded = self._drop()

    def _drop(self) -> float:
        at, _, subject = self._taken.popleft()
        self._taken_size -= len(subject) + _WEIGHT
        return at

    def doubt(self) -> None:
        """The store failed: owe again what it may not have told its replicas."""
        since = time.monotonic() - _LAG
        if self._crowded >= since:
            self.owe_all()
        for at, kind, subject in self._taken:
            if at >= since:
                self._owe[kind](self, subject)
        self._taken.clear()
        self._taken_size = 0

    def cover(self, key: bytes) -> bool:
        """True when what is stored under *key* was purged, whatever the store still says."""
        return bool(self._all) or key in self._keys

    def cover_tags(self, stored: StoredResponse) -> bool:
        return bool(self._tags) and any(tag in self._tags for tag in tags.tags_of(stored.fields))

    async def repay(self, driver: Driver, message: Callable[[bytes, bytes], bytes]) -> None:
        """Purge what is owed; *message* makes the notice of it. Raises what the driver raises.

        What comes to be owed meanwhile stays owed, also if it is the same: another process may
        have stored it again in between.
        """
        if self._all:
            number = self._number
            await driver.advance(None, soft=False, message=message(notices.ALL, b""))
            self._forget(number)
            self._all = self._all if self._all > number else 0
        for tag, number in list(self._tags.items()):
            await driver.advance(tag, soft=False, message=message(notices.TAG, tag))
            self._paid(self._tags, tag, number)
        keys = list(self._keys.items())
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            await asyncio.gather(
                *(
                    driver.wipe(layout.row(key), layout.generation(), message(notices.PURGED, key))
                    for key, _ in some
                )
            )
            for key, number in some:
                self._paid(self._keys, key, number)

    _owe: ClassVar[dict[bytes, Callable[[Debts, bytes], None]]] = {
        notices.PURGED: owe,
        notices.TAG: owe_tag,
        notices.ALL: lambda debts, _: debts.owe_all(),
    }
