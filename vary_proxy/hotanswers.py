"""What hot.py knows: answers, by the values that they depend on, and what one of them gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from vary_proxy.core.message import Buffer, Reply, Request
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.core.syntax import entity_tag, http_date
from vary_proxy.hotheads import Edge, Head, Heads
from vary_proxy.hotjudges import ALLOWED, Judge
from vary_proxy.store.slot import Slot

Told = tuple[str, bytes | None, bytes | None, tuple[int, int]]  # of a request, to observers


class Answer:
    """What one set of values gets: whole, unchanged, or a single range."""

    __slots__ = (
        "body", "born", "ends", "key", "modified", "part", "records", "resource", "slot", "tag",
        "unchanged", "whole",
    )  # fmt: skip

    def __init__(
        self,
        key: bytes,
        slot: Slot,
        resource: Resource,
        stored: StoredResponse,
        heads: Heads,
        ends: float,
        reply: Reply,
    ) -> None:
        self.key = key
        self.slot = slot
        self.resource = resource
        self.body = stored.body
        self.born = stored.born
        self.ends = ends
        self.whole, self.unchanged, self.part = heads
        tag, since = stored.fields.get(b"etag"), stored.fields.get(b"last-modified")
        self.tag = None if entity_tag(tag) is None else tag
        self.modified = None if http_date(since or b"", stored.received) is None else since
        # For the log: what 200, 304 and 206 were, without their bodies; no other tier was asked.
        record = replace(reply.record, tier="")
        self.records = tuple(
            Reply(status, reply.fields, record=record) for status in (reply.status, 304, 206)
        )

    @property
    def used(self) -> float:
        """When it was given last, to a second; 0.0: never."""
        return max(head.until for head in (self.whole, self.unchanged, self.part) if head)


class Line:
    """All answers known for one first line and Host, by the values of ``names``.

    Where there is a ``judge``, what it says of ``Origin`` stands for it. Those in *crossing* have
    a say only where there is an ``Origin`` that is not simply allowed.
    """

    __slots__ = ("_few", "answers", "asked", "bodiless", "judge", "names", "request")

    def __init__(
        self,
        names: tuple[bytes, ...],
        request: Request,
        judge: Judge | None,
        crossing: frozenset[bytes] = frozenset(),
    ) -> None:
        self.names = names
        self._few = tuple(b"" if name in crossing else name for name in names)
        self.request = request
        self.judge = judge
        self.bodiless = request.method == b"HEAD"
        self.asked: dict[Told, Request] = {}  # for observers
        self.answers: dict[tuple[bytes | None, ...], Answer | Edge] = {}

    def values(self, found: dict[bytes, bytes]) -> tuple[bytes | None, ...]:
        """What an answer to a request with the values *found* is known by."""
        origin = found.get(b"origin")
        names = self.names
        if origin is None:
            names = self._few
        elif self.judge is not None:
            stands = self.judge[origin]
            found = {**found, b"origin": stands}
            if stands is ALLOWED:
                names = self._few
        return tuple(map(found.get, names))


class Given(NamedTuple):
    """What to write: a head, in two where the request's ``Origin`` comes between, and *chunks*.

    ``made`` is what the head came from, where others get the same one; else None.
    """

    before: bytes
    after: bytes | None
    chunks: Sequence[Buffer]
    reply: Reply  # for the log
    length: int  # bytes of content
    answer: Answer | Edge
    made: Head | Edge | None
    until: float

    def buffers(self, origin: bytes | None, more: bytes = b"") -> Sequence[Buffer]:
        """All of it; *more* is a line of the head that concerns this connection alone."""
        if self.after is None:
            return (_plus(self.before, more), *self.chunks)
        return (self.before, origin or b"", _plus(self.after, more), *self.chunks)


def _plus(head: bytes, line: bytes) -> bytes:
    return b"%b%b\r\n" % (head[:-2], line) if line else head


def given(
    known: Answer | Edge, head: Head | Edge, chunks: Sequence[Buffer], reply: Reply, length: int
) -> Given:
    """*head*, as it was made last, and *chunks*."""
    return Given(head.before, head.after, chunks, reply, length, known, head, head.until)
