"""Who is blocked: responses that a browser keeps from the page that asked for them.

Each is one warning with its reason, but for repetitions: one line a minute for the same
reason and ``Origin``, ten lines a second in all. What was held back is counted in the next
line. The most recent ones are kept with their counts for whoever asks (``top``).
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from vary_proxy.core.message import Reply, Request
from vary_proxy.observation.accesslog import masked

_log = logging.getLogger("vary_proxy")
_SAME_SECONDS = 60.0
_LINES_A_SECOND = 10
_MOST_REMEMBERED = 512
_LONGEST = 200  # characters of a value that the client chose

Key = tuple[str, str, str]  # origin, reason, rule


@dataclass(slots=True, eq=False)
class Blocked:
    """One ``Origin`` that is refused for one reason by one rule."""

    origin: str
    reason: str
    rule: str
    count: int = 0
    method: str = ""  # the last of them
    path: str = ""
    at: float = 0.0
    told: float = float("-inf")  # when the last line was written
    held: int = 0  # since then


class BlockedRequests:
    """To be called as an observer. *clock* gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: OrderedDict[Key, Blocked] = OrderedDict()
        self._second = 0
        self._lines = 0
        self._crowded_out = 0

    def __call__(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        self.many(request, reply, sent, 1)

    def many(self, request: Request, reply: Reply, sent: int, count: int) -> None:
        """*count* of them, alike and at about the same time."""
        record = reply.record
        if not record.cors_reason:
            return
        now = self._clock()
        said = request.fields.combined(b"origin") or b""
        origin = said.decode("ascii", "backslashreplace")[:_LONGEST]
        one = self._one((origin, record.cors_reason, record.rule))
        one.count += count
        one.method = request.method.decode("ascii", "backslashreplace")[:_LONGEST]
        one.path = masked(request.target)[:_LONGEST]
        one.at = now
        if now - one.told < _SAME_SECONDS:
            one.held += count
        elif not self._may_write(now):
            one.held += count
            self._crowded_out += count
        else:
            one.held += count - 1
            self._write(one, now)

    def top(self, most: int = 50) -> list[Blocked]:
        """Those refused most often, among the most recent."""
        return sorted(self._known.values(), key=lambda one: -one.count)[:most]

    def _one(self, key: Key) -> Blocked:
        one = self._known.get(key)
        if one is None:
            one = self._known[key] = Blocked(*key)
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return one

    def _may_write(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        self._lines += 1
        return self._lines <= _LINES_A_SECOND

    def _write(self, one: Blocked, now: float) -> None:
        more = f"; {one.held} more like it since the last such line" if one.held else ""
        if self._crowded_out:
            more += f"; {self._crowded_out} lines held back in all"
        _log.warning(
            "blocked by CORS: reason=%s origin=%s method=%s path=%s rule=%s%s",
            one.reason,
            json.dumps(one.origin),
            one.method,
            json.dumps(one.path),
            one.rule,
            more,
        )
        one.told, one.held, self._crowded_out = now, 0, 0
