"""An origin of one large object, which answers ranges as RFC 9110 says, or as it should not."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.exchange.conftest import Edge, Said
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Request
from vary_proxy.core.syntax import format_date
from vary_proxy.origin import OriginFailure

_RANGE = re.compile(rb"bytes=(\d*)-(\d*)\Z")
PIECE = 50_000  # bytes of a chunk: blocks and chunks do not coincide


def content(total: int, version: int) -> bytes:
    return random.Random(version * 1_000_003 + total).randbytes(total)


@dataclass
class Large:
    """``asked`` are the ranges asked for, ``sent`` the bytes sent, in all."""

    edge: Edge
    total: int = 10 * BLOCK + 100
    version: int = 1
    weak: bool = False
    cache_control: bytes = b"max-age=60"
    ranges: bool = True  # else it answers 200 to every Range
    most: int | None = None  # bytes of one answer
    shift: int = 0  # bytes by which its answers are displaced
    conditions: bool = True  # else it knows no If-Match
    down: bool = False
    cut: int | None = None  # bytes after which the next body breaks off
    gate: asyncio.Event | None = None  # waited for before the head
    fields: tuple[tuple[bytes, bytes], ...] = ()
    asked: list[bytes | None] = field(default_factory=list)
    sent: int = 0
    content: Callable[[int, int], bytes] = content

    def __post_init__(self) -> None:
        self.edge.origin.handler = self.answer

    @property
    def whole(self) -> bytes:
        return self.content(self.total, self.version)

    @property
    def etag(self) -> bytes:
        return b'%b"v%d"' % (b"W/" if self.weak else b"", self.version)

    def answer(self, request: Request) -> Said:
        if self.down:
            return Said(failure=OriginFailure("connection_refused"))
        said = request.fields
        self.asked.append(said.get(b"range"))
        given = [
            (b"date", format_date(self.edge.clock())),
            (b"cache-control", self.cache_control),
            (b"etag", self.etag),
            (b"content-type", b"video/mp4"),
            *self.fields,
        ]
        if self.conditions and said.get(b"if-match") not in (None, self.etag):
            return Said(412, tuple(given[:1]))
        if said.get(b"if-none-match") == self.etag:
            return Said(304, tuple(given))
        if_range = said.get(b"if-range")
        span = self._span(said.get(b"range"))
        if span is None or not self.ranges or if_range not in (None, self.etag):
            return self._said(200, given, 0, self.total, request)
        start, stop = span
        if start >= min(stop, self.total):
            return Said(416, (*given[:1], (b"content-range", b"bytes */%d" % self.total)))
        start = min(start + self.shift, self.total - 1)
        stop = max(start + 1, min(stop + self.shift, self.total))
        if self.most is not None:
            stop = min(stop, start + self.most)
        given.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, self.total)))
        return self._said(206, given, start, stop, request)

    def _span(self, value: bytes | None) -> tuple[int, int] | None:
        found = _RANGE.match(value or b"")
        if found is None:
            return None
        if not found[1]:
            return max(0, self.total - int(found[2])), self.total
        return int(found[1]), int(found[2]) + 1 if found[2] else self.total

    def _said(
        self, status: int, given: Sequence[tuple[bytes, bytes]], start: int, stop: int, _: Request
    ) -> Said:
        body = self.whole[start:stop]
        given = [*given, (b"content-length", b"%d" % len(body))]
        self.sent += len(body)
        pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
        if self.cut is None:
            return Said(status, tuple(given), pieces, gate=self.gate)
        kept, self.cut = body[: self.cut], None
        failure = OriginFailure("http_response_incomplete")
        return Said(status, tuple(given), [kept], length=len(body), cut=failure)


def blocks(first: int, last: int) -> bytes:
    """The Range of whole blocks *first* to *last*."""
    return b"bytes=%d-%d" % (first * BLOCK, (last + 1) * BLOCK - 1)
