"""Response heads made once, with marks where Age, ttl, Date and a range are filled in.

They are made by the functions that dress every reply, so that they cannot say anything else.
"""

from __future__ import annotations

import os

from vary_proxy.core import delivery
from vary_proxy.core.delivery import CacheStatus, Plan
from vary_proxy.core.message import Fields, Reply, Request
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.syntax import format_date
from vary_proxy.core.wire import response_head
from vary_proxy.store.slot import Slot

# Drawn by lot: whoever could put a mark into a field of his would have a length filled in there.
AGE, TTL, DATE, SPAN, SIZE = (b"@%b@" % os.urandom(12).hex().encode() for _ in range(5))


class Head:
    """A response head with Age and ttl to be filled in; the result holds for a second or less."""

    __slots__ = ("_made", "parts", "until")

    def __init__(self, status: int, reason: bytes, fields: Fields) -> None:
        head = response_head(status, reason, fields.items)
        before, _, rest = head.partition(AGE)
        middle, _, after = rest.partition(TTL)
        self.parts = (before, middle, after)
        self._made = b""
        self.until = 0.0

    def at(self, now: float, born: float, ends: float) -> bytes:
        if now >= self.until:
            age, ttl = max(0.0, now - born), ends - now
            before, middle, after = self.parts
            self._made = b"%b%d%b%d%b" % (before, age, middle, ttl, after)
            self.until = now + min(1.0 - age % 1.0, ttl % 1.0 or 1.0)
        return self._made


class Edge:
    """An answer that the rule gives by itself, and no resource: its head around Date."""

    __slots__ = ("_made", "content", "parts", "record", "until")

    slot = Slot(None)
    resource = None
    key = b""
    born = ends = 0.0

    def __init__(self, reply: Reply) -> None:
        marked = reply.fields.replaced(b"date", DATE)
        before, _, after = response_head(reply.status, reply.reason, marked.items).partition(DATE)
        self.content = b"".join(bytes(chunk) for chunk in reply.chunks)
        self.parts = (before, after + self.content)
        self.record = reply
        self.until = 0.0
        self._made = b""

    def at(self, now: float, born: float, ends: float) -> bytes:
        """Head and content; *born* and *ends* are of no interest here."""
        if not self.until - 1.0 <= now < self.until:
            self.until = int(now) + 1.0
            self._made = self.parts[0] + format_date(now) + self.parts[1]
        return self._made


def heads(
    request: Request, stored: StoredResponse, fields: Fields
) -> tuple[Head, Head | None, Head | None]:
    """The heads of 200, 304 and 206, made by delivery and marked."""
    length = stored.body.length

    def plan(**asked: bytes) -> Plan:
        pairs = tuple((name.replace("_", "-").encode(), value) for name, value in asked.items())
        one = Request(request.method, request.target, Fields(pairs))
        status = CacheStatus(hit=True, ttl=_MARK)
        return delivery.compose(one, stored, fields, status, stored.born, length=length)

    whole = plan()
    unchanged = part = None
    if stored.status == 200 and (tag := stored.fields.get(b"etag")) is not None:
        unchanged = _head_if(plan(if_none_match=tag), 304)
    elif stored.status == 200 and (since := stored.fields.get(b"last-modified")) is not None:
        unchanged = _head_if(plan(if_modified_since=since), 304)
    if length and request.method == b"GET":
        part = _part_head(plan(range=b"bytes=0-0"))
    return Head(whole.status, whole.reason, _marked(whole.fields)), unchanged, part


_MARK = 9e11 + int.from_bytes(os.urandom(4), "big")  # a ttl that no response has


def _marked(fields: Fields) -> Fields:
    status = fields.get(b"cache-status") or b""
    marked = status.replace(b"ttl=%d" % int(_MARK), b"ttl=" + TTL)
    return fields.replaced(b"age", AGE).replaced(b"cache-status", marked)


def _head_if(plan: Plan, status: int) -> Head | None:
    return Head(status, plan.reason, _marked(plan.fields)) if plan.status == status else None


def _part_head(plan: Plan) -> Head | None:
    if plan.status != 206 or len(plan.pieces) != 1 or not isinstance(plan.pieces[0], Span):
        return None
    said = plan.fields.get(b"content-range") or b""
    fields = plan.fields.replaced(b"content-range", said.replace(b"0-0", SPAN, 1))
    return Head(206, plan.reason, _marked(fields.replaced(b"content-length", SIZE)))
