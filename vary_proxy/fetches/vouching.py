"""Whether an origin's 304s can be believed about CORS.

A 304 to a new requester that has no Access-Control-* field is either a refusal or a bare
304, of an origin that leaves the family out of every 304. What has once carried the family
for a resource is believed about that resource. An origin found to send bare ones is not
asked to fill variants by validation for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from vary_proxy.core.message import Fields

_MOST = 16384
_BARE_SECONDS = 3600.0


def has_family(fields: Fields) -> bool:
    """True when *fields* have any of Access-Control-*."""
    return any(name.startswith(b"access-control-") for name, _ in fields.items)


class Vouching:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._carry: OrderedDict[int, None] = OrderedDict()  # hashes: keys may be long
        self._bare: dict[str, float] = {}

    def carries(self, key: bytes) -> None:
        """A 304 for this resource had the family."""
        self._carry[hash(key)] = None
        self._carry.move_to_end(hash(key))
        if len(self._carry) > _MOST:
            self._carry.popitem(last=False)

    def is_believed(self, key: bytes) -> bool:
        """True when a 304 for this resource without the family is a refusal."""
        return hash(key) in self._carry

    def is_bare(self, origin: str, key: bytes) -> None:
        """A 304 left out the family that the whole answer to the same question had."""
        self._bare[origin] = self._clock() + _BARE_SECONDS
        self._carry.pop(hash(key), None)

    def fills(self, origin: str) -> bool:
        """True unless this origin's 304s are known to leave out the family."""
        return self._clock() >= self._bare.get(origin, 0.0)
