"""What a CORS policy made of each ``Origin``, so that all whom it allows share one answer.

Where a rule writes the CORS fields itself, an answer depends on an ``Origin`` that it allows by
nothing but the echo of it. One that it refuses stays itself: who is blocked is told by name.
"""

from __future__ import annotations

from vary_proxy.core import cors
from vary_proxy.core.corspolicy import CorsPolicy, Kind

ALLOWED = b"\r"  # no field has this value
_MOST = 4096
_LONGEST = 256  # bytes of an ``Origin`` that is worth remembering


class Judge(dict[bytes, bytes]):
    """What stands for an ``Origin`` among the values that an answer is found by."""

    def __init__(self, policy: CorsPolicy) -> None:
        super().__init__()
        self.policy = policy
        self.echoes = not policy.is_constant  # what it says to the allowed is their ``Origin``

    def __missing__(self, origin: bytes) -> bytes:
        allowed = cors.verdict(self.policy, origin).kind is Kind.ALLOWED
        found = ALLOWED if allowed else origin
        if len(origin) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[origin] = found
        return found
