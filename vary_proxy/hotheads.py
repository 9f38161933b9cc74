"""Response heads made once, with marks where Age, ttl, Date and a range are filled in.

They are made by the functions that dress every reply, so that they cannot say anything else.
"""

from __future__ import annotations

import os

from vary_proxy.core import delivery
from vary_proxy.core.corspolicy import ALLOW_ORIGIN
from vary_proxy.core.delivery import CacheStatus, Plan
from vary_proxy.core.message import Fields, Reply, Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.syntax import format_date
from vary_proxy.core.wire import response_head
from vary_proxy.store.slot import Slot

# Drawn by lot: whoever could put a mark into a field of his would have a length filled in there.
AGE, TTL, DATE, SPAN, SIZE, ORIGIN = (b"@%b@" % os.urandom(12).hex().encode() for _ in range(6))


class Made:
    """A head as it goes out from ``since`` until ``until``: the instants of one second or less.

    ``before`` is all of it; where the request's ``Origin`` is echoed, ``after`` is what follows
    that, else None. ``shot`` is for whoever gives it again and again.
    """

    __slots__ = ("after", "before", "echoes", "parts", "shot", "since", "until")

    def __init__(self, head: bytes, marks: tuple[bytes, ...]) -> None:
        self.echoes = ORIGIN in head
        self.parts: list[bytes] = []
        for mark in marks:
            before, _, head = head.partition(mark)
            self.parts.append(before)
        self.parts.append(head)
        self.before = b""
        self.after: bytes | None = None
        self.since = self.until = 0.0
        self.shot: object = None

    def _fill(self, whole: bytes) -> None:
        self.before, self.after = whole, None
        if self.echoes:
            self.before, _, self.after = whole.partition(ORIGIN)


class Head(Made):
    """A response head with Age and ttl to be filled in."""

    __slots__ = ()

    def __init__(self, status: int, reason: bytes, fields: Fields) -> None:
        super().__init__(response_head(status, reason, fields.items), (AGE, TTL))

    def at(self, now: float, born: float, ends: float) -> None:
        """Make it what it is *now*. RFC 9111 §4.2.3"""
        if not self.since <= now < self.until:
            age = max(0.0, now - born)
            ttl = ends - max(now, born)
            before, middle, after = self.parts
            self._fill(b"%b%d%b%d%b" % (before, age, middle, ttl, after))
            # A clock that was stepped back is followed.
            self.since, self.until = now, now + min(1.0 - age % 1.0, ttl % 1.0)


class Edge(Made):
    """An answer that the rule gives by itself, and no resource: its head around Date.

    Where nobody is blocked by it, it is the same for all targets of its *policy*.
    """

    __slots__ = ("content", "policy", "record")

    slot = Slot(None)
    resource = None
    key = b""
    born = ends = used = 0.0

    def __init__(self, policy: Policy, reply: Reply, *, echoes: bool) -> None:
        fields = reply.fields.replaced(b"date", DATE)
        if echoes:
            fields = fields.replaced(ALLOW_ORIGIN, ORIGIN)
        self.content = b"".join(bytes(chunk) for chunk in reply.chunks)
        super().__init__(response_head(reply.status, reply.reason, fields.items), (DATE,))
        self.policy = policy
        self.record = reply

    def at(self, now: float, born: float, ends: float) -> None:
        """Make it what it is *now*; *born* and *ends* are of no interest here."""
        if not self.since <= now < self.until:
            self.since = float(int(now))
            self.until = self.since + 1.0
            self._fill(b"%b%b%b" % (self.parts[0], format_date(now), self.parts[1]))


Heads = tuple[Head, Head | None, Head | None]


def heads(request: Request, stored: StoredResponse, fields: Fields, *, echoes: bool) -> Heads:
    """The heads of 200, 304 and 206, made by delivery and marked.

    *echoes*: what Access-Control-Allow-Origin says is what the request's ``Origin`` said.
    """
    length = stored.body.length
    if echoes:
        fields = fields.replaced(ALLOW_ORIGIN, ORIGIN)

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
