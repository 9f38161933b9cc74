"""Those who are told what requests came to.

Most want to hear of each request: a log, somebody who watches. Some only count, and hear of
requests that were answered alike all at once, a moment later: they are Counting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from vary_proxy.core.message import Reply, Request

# Told at the end of a request: the request, the reply, bytes of content sent, and seconds.
Observer = Callable[[Request, Reply, int, float], None]

_log = logging.getLogger("vary_proxy")


@runtime_checkable
class Counting(Protocol):
    """An Observer that may be told of *count* requests at once: each sent *sent*, in no time."""

    def many(self, request: Request, reply: Reply, sent: int, count: int) -> None: ...


class Observers(list[Observer]):
    """In the order in which they are told. ``each`` are those who do not just count."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        super().__init__(observers)
        self._sort()

    def append(self, observer: Observer) -> None:
        super().append(observer)
        self._sort()

    def remove(self, observer: Observer) -> None:
        super().remove(observer)
        self._sort()

    def _sort(self) -> None:
        self.each: tuple[Observer, ...] = tuple(o for o in self if not isinstance(o, Counting))
        among: list[object] = list(self)
        self._counting = [one for one in among if isinstance(one, Counting)]

    def tell(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        """Tell everybody; who fails harms no other."""
        for observer in self:
            try:
                observer(request, reply, sent, seconds)
            except Exception:
                _log.exception("an observer failed")

    def tell_each(self, request: Request, reply: Reply, sent: int) -> None:
        """Tell those who do not just count."""
        for observer in self.each:
            try:
                observer(request, reply, sent, 0.0)
            except Exception:
                _log.exception("an observer failed")

    def tell_counting(self, request: Request, reply: Reply, sent: int, count: int) -> None:
        for observer in self._counting:
            try:
                observer.many(request, reply, sent, count)
            except Exception:
                _log.exception("an observer failed")
