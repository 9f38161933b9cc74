"""Loads and changes under way, so that what another change has overtaken is not believed.

The answer of a shared store and the notice of a change travel on different connections: an
answer from before a purge may arrive after the notice of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vary_proxy.core.stored import Resource


class Pending:
    """A load or a change; ``clean`` until a change was made or heard of meanwhile."""

    __slots__ = ("clean", "resource")

    def __init__(self) -> None:
        self.clean = True
        self.resource: Resource | None = None  # what it came to


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
