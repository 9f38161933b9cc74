"""What one process knows of a shared store: resources, bounded in bytes, findable by tag.

That a resource has no stored response is known too (an empty Resource), so that misses cost
the shared store nothing; these are bounded by themselves, so that a scan for what is not
there pushes nothing out. Least recently used goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain

from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.store import tags
from vary_proxy.store.slot import Slot

_OVERHEAD = 250  # bytes that an entry costs, and each of its variants
_FIELD = 110
_MOST_NOTHING = 20_000
_NOTHING_BYTES = 4 << 20
_NOTHING = Resource()


class Known:
    def __init__(self, max_bytes: int) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._resources: OrderedDict[bytes, tuple[Resource, int]] = OrderedDict()
        self._slots: dict[bytes, Slot] = {}  # those that somebody has asked for
        self._nothing: OrderedDict[bytes, None] = OrderedDict()
        self._nothing_bytes = 0  # of these keys
        self._tagged: dict[bytes, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, key: bytes) -> bool:
        return key in self._resources or key in self._nothing

    def get(self, key: bytes) -> Resource | None:
        held = self._resources.get(key)
        if held is None:
            return _NOTHING if key in self._nothing else None
        self._resources.move_to_end(key)
        return held[0]

    def slot(self, key: bytes) -> Slot | None:
        held = self._resources.get(key)
        if held is None:
            return None
        return self._slots.setdefault(key, Slot(held[0]))

    def put(self, key: bytes, resource: Resource) -> None:
        self.pop(key)
        if not self._max_bytes:
            return  # the store is asked each time, so that what it says is never old
        if not resource.variants:
            self._nothing[key] = None
            self._nothing_bytes += len(key)
            while len(self._nothing) > _MOST_NOTHING or self._nothing_bytes > _NOTHING_BYTES:
                self._nothing_bytes -= len(self._nothing.popitem(last=False)[0])
            return
        cost = _cost(key, resource)
        self._resources[key] = (resource, cost)
        self.bytes += cost
        for tag in _tags(resource):
            self._tagged.setdefault(tag, set()).add(key)
        while self.bytes > self._max_bytes and self._resources:
            self.pop(next(iter(self._resources)))

    def pop(self, key: bytes) -> None:
        if key in self._nothing:
            del self._nothing[key]
            self._nothing_bytes -= len(key)
        held = self._resources.pop(key, None)
        if held is None:
            return
        self._end(key)
        resource, cost = held
        self.bytes -= cost
        for tag in _tags(resource):
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]

    def _end(self, key: bytes) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            slot.resource = None

    def tagged(self, tag: bytes) -> list[bytes]:
        """The keys of which one stored response bears *tag*."""
        return list(self._tagged.get(tag, ()))

    def clear(self) -> None:
        for key in list(self._slots):
            self._end(key)
        self._resources.clear()
        self._nothing.clear()
        self._nothing_bytes = 0
        self._tagged.clear()
        self.bytes = 0


def _cost(key: bytes, resource: Resource) -> int:
    cost = _OVERHEAD + len(key)
    for one in resource.variants:
        cost += _OVERHEAD + fields_cost(one, _FIELD)
    return cost


def fields_cost(stored: StoredResponse, each: int) -> int:
    """Bytes that the fields of *stored* take, at *each* beside their content.

    The selecting values count too: a client may make them as long as a head may be.
    """
    items = stored.fields.items
    told = each * len(items) + sum(map(len, chain.from_iterable(items)))
    return told + sum([len(value) for _, value in stored.selecting if value])


def _tags(resource: Resource) -> set[bytes]:
    return {tag for one in resource.variants for tag in tags.tags_of(one.fields)}
