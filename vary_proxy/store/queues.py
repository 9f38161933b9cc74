"""Who has to go when there is no room: S3-FIFO (Yang and others, SOSP 2023), by bytes.

What is new enters a small queue, a tenth of all bytes. What was asked for again by the time it
comes to the end of it goes over to the main one; the rest leaves, so that a scan over many
things, each asked for once, passes through without flushing what is in use. At the end of the
main queue whatever was asked for since gets another round. What left the small queue is
remembered by name alone, and enters the main one if it comes back soon. A hit moves nothing, it
only counts. bench/evictions.py compares this with others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

_SMALL_SHARE = 0.1
_MOST_USES = 3  # that count: so many rounds through the main queue without another


class Kept(Protocol):
    cost: int  # bytes, as the queues were told
    uses: int  # since it entered its queue, or since its last round


T = TypeVar("T", bound=Kept)


class Queues(Generic[T]):
    """``bytes`` is what all that is kept costs; ``victim`` says who is to go for *most* to hold."""

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self._most = most
        self._small: OrderedDict[bytes, T] = OrderedDict()
        self._main: OrderedDict[bytes, T] = OrderedDict()
        self._ghosts: OrderedDict[int, int] = OrderedDict()  # hash of a name -> what it cost
        self._small_bytes = self._ghost_bytes = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def items(self) -> Iterator[tuple[bytes, T]]:
        yield from self._small.items()
        yield from self._main.items()

    def get(self, name: bytes) -> T | None:
        return self._main.get(name) or self._small.get(name)

    def use(self, name: bytes) -> T | None:
        """As ``get``; it counts as a use."""
        one = self._main.get(name) or self._small.get(name)
        if one is not None and one.uses < _MOST_USES:
            one.uses += 1
        return one

    def enter(self, name: bytes, one: T) -> None:
        """Keep *one*, which weighs nothing yet."""
        cost = self._ghosts.pop(hash(name), None)
        if cost is None:
            self._small[name] = one
        else:
            self._ghost_bytes -= cost
            self._main[name] = one

    def weigh(self, name: bytes, one: T, cost: int) -> None:
        self.bytes += cost - one.cost
        if name in self._small:
            self._small_bytes += cost - one.cost
        one.cost = cost

    def leave(self, name: bytes) -> T:
        one = self._main.pop(name, None)
        if one is None:
            one = self._small.pop(name)
            self._small_bytes -= one.cost
        self.bytes -= one.cost
        return one

    def clear(self) -> None:
        for queue in (self._small, self._main, self._ghosts):
            queue.clear()
        self.bytes = self._small_bytes = self._ghost_bytes = 0

    def victim(self, newest: bytes) -> bytes | None:
        """Who is to leave next, None: nobody has to; *newest* only when it is alone."""
        if self.bytes <= self._most:
            return None
        is_long = self._small_bytes > self._most * _SMALL_SHARE
        found = self._end_of_small(newest) if is_long else None
        if found is None:
            found = self._end_of_main(newest)
        if found is None and not is_long:
            found = self._end_of_small(newest) or self._end_of_main(newest)
        return newest if found is None else found

    def _end_of_small(self, newest: bytes) -> bytes | None:
        """What is to leave the small queue for good; None: nothing, or nothing but *newest*."""
        if newest in self._small:  # it may have been there for long, and only have grown
            self._small.move_to_end(newest)
        while self._small:
            name = next(iter(self._small))
            if name == newest:
                return None
            one = self._small[name]
            if not one.uses:
                self._remember(name, one.cost)
                return name
            del self._small[name]
            self._small_bytes -= one.cost
            one.uses = 0
            self._main[name] = one
        return None

    def _end_of_main(self, newest: bytes) -> bytes | None:
        """What is to leave the main queue; None: nothing, or nothing but *newest*."""
        for _ in range((_MOST_USES + 1) * len(self._main)):
            name = next(iter(self._main))
            one = self._main[name]
            if not one.uses and name != newest:
                return name
            one.uses = max(0, one.uses - 1)
            self._main.move_to_end(name)
        return None

    def _remember(self, name: bytes, cost: int) -> None:
        ghost = hash(name)
        self._ghost_bytes += cost - self._ghosts.pop(ghost, 0)
        self._ghosts[ghost] = cost
        bound = self._most * (1 - _SMALL_SHARE)
        while self._ghost_bytes > bound or len(self._ghosts) > len(self):
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
