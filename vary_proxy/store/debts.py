"""Purges that a shared store could not take: owed, and made up for when it answers again.

Until then what is owed reads as gone. A debt dies with its process; the lifetime of what
it was about does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

from vary_proxy.core.stored import StoredResponse
from vary_proxy.store import layout, notices, tags
from vary_proxy.store.driver import Driver

_MOST = 100_000  # beyond these everything is owed


class Debts:
    def __init__(self) -> None:
        self._keys: dict[bytes, None] = {}
        self._tags: dict[bytes, None] = {}
        self._all = False

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
        for key in list(self._keys):
            await driver.wipe(layout.row(key), message(notices.PURGED, key))
            self._keys.pop(key, None)
