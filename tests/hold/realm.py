"""The world that the checker judges in: pages that change, an origin that fails, and its time.

Every response of the origin says of which version it is (X-Version), for what of the request
(X-For), when it was made (X-Made, seconds of this world), and which of all it is (X-Serial).
What a client was told of a change counts from then on for everybody: see ``Told``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from tests.hold.pages import AGED, Page, Said, mark, preflight_mark
from tests.hold.worlds import Asked, Clock, Origin, reset

LATE = 0.06  # seconds of ours
SPEED = 20.0  # seconds of the proxy's clock in one of ours
Key = tuple[bytes, bytes]  # host and target
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")
_OWN_CHANGES = 0.2  # of all moments, those at which a page changes by itself


@dataclass
class Told:
    """Versions that clients were told of: what is older was invalidated.

    *lane* is whatever answers with one memory. There it holds at once; elsewhere after *grace*
    seconds, which a notice may take.
    """

    grace: float = 0.0
    everywhere: int = 0
    here: dict[object, int] = field(default_factory=dict)
    _later: list[tuple[float, int]] = field(default_factory=list)

    def tell(self, version: int, lane: object) -> None:
        self.here[lane] = max(self.here.get(lane, 0), version)
        self._later.append((time.monotonic() + self.grace, version))

    def floor(self, lane: object) -> int:
        """The oldest version that *lane* may answer with."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self.everywhere = max(self.everywhere, self._later.pop(0)[1])
        return max(self.everywhere, self.here.get(lane, 0))


@dataclass
class Realm:
    """Everything that is true, whatever the proxy says."""

    pages: list[Page]
    dice: random.Random
    faults: float = 0.0
    clock: Clock = field(default_factory=Clock)  # the proxy's, which may be wrong
    speed: float = SPEED
    grace: float = 0.0  # seconds of ours until other processes have heard of a change
    astray: float = 0.0  # seconds that the clock may be behind of what it was
    dated: bool = True  # the origin says Date
    lossy: bool = False  # the store may lose what somebody reads
    time: float = 0.0  # seconds since the world began
    seen: Counter[str] = field(default_factory=Counter)
    lacking: list[float] = field(default_factory=list)  # seconds, each time a worker was killed
    slow: set[Key] = field(default_factory=set)  # answered late, as they were when asked for
    serials: set[bytes] = field(default_factory=set)  # those that were for one client alone

    def __post_init__(self) -> None:
        self.by_key = {(page.host, page.target): page for page in self.pages}
        self.born: dict[Key, list[float]] = {key: [0.0] for key in self.by_key}
        self.gone: set[tuple[Key, int]] = set()
        self.told = {key: Told(self.grace) for key in self.by_key}
        self.softly = {key: Told(self.grace) for key in self.by_key}
        self._serial = itertools.count()

    def reached(self, page: Page) -> int:
        """The newest version."""
        return len(self.born[page.host, page.target]) - 1

    def change(self, page: Page, *, gone: bool = False) -> int:
        key = (page.host, page.target)
        self.born[key].append(self.time)
        if gone:
            self.gone.add((key, self.reached(page)))
        return self.reached(page)

    def is_gone(self, page: Page, version: int) -> bool:
        return ((page.host, page.target), version) in self.gone

    def was(self, page: Page, version: int, moment: float) -> bool:
        """True when *version* was the one at *moment*, to the millisecond."""
        born = self.born[page.host, page.target]
        after = born[version + 1] if version + 1 < len(born) else float("inf")
        return born[version] - 0.002 <= moment <= after + 0.002

    def partner(self, page: Page) -> Page:
        """Another page of that host: what a POST to this one changes too."""
        at = self.pages.index(page)
        same = [one for one in self.pages[at + 1 :] + self.pages if one.host == page.host]
        return same[0]

    async def live(self) -> None:
        """Time goes by, faster than ours, and content changes."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            # A machine that was busy elsewhere makes no world go faster.
            gone_by = (now - last if self.speed == 1.0 else 0.01) * self.speed
            last = now
            self.clock.now += gone_by
            self.time += gone_by
            if self.dice.random() < _OWN_CHANGES:
                self.change(self.dice.choice(self.pages))

    # ── the origin ────────────────────────────────────────────────────────────────────

    async def connection(self, origin: Origin, reader: Any, writer: Any) -> None:
        while (asked := await origin.read(reader)) is not None:
            origin.asked.clear()
            kind = self.dice.random() / self.faults if self.faults else 9.0
            if kind < 0.15:  # before it knew of anything
                reset(writer)
                return
            if kind < 0.25:
                await asyncio.sleep(0.4)  # beyond the deadline for a first byte
                return
            wire, framing = self.wire(asked)
            if self._is_late(asked):
                await asyncio.sleep(LATE)
            if kind < 0.4:
                wire, framing = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", "length"
            elif kind < 0.8:
                await self._break_off(writer, wire, framing, resets=kind < 0.6)
                return
            await self._say(writer, wire)
            if framing in ("end", "old", "old-end") or 0.8 < kind < 1:
                return  # without having said so

    def _is_late(self, asked: Asked) -> bool:
        key = asked.get(b"host") or b"", asked.target.partition(b"?")[0]
        return key in self.slow and asked.method in (b"GET", b"POST")

    async def _break_off(self, writer: Any, wire: bytes, framing: str, *, resets: bool) -> None:
        writer.write(wire[: self.dice.randrange(len(wire))])
        await writer.drain()
        if resets or "end" in framing:
            reset(writer)

    async def _say(self, writer: Any, wire: bytes) -> None:
        if self.dice.random() < 0.1:
            at = self.dice.randrange(len(wire))
            writer.write(wire[:at])
            await writer.drain()
            if self.dice.random() < 0.3:
                await asyncio.sleep(self.dice.uniform(0, 0.05))
            wire = wire[at:]
        writer.write(wire)
        await writer.drain()

    def wire(self, asked: Asked) -> tuple[bytes, str]:
        """The response, and how its end is told."""
        wire, framing = self._answer(asked)
        if asked.method != b"HEAD":
            return wire, framing
        # It ends with its head, and so does the connection, where that is what HTTP/1.0 says.
        return wire[: wire.index(b"\r\n\r\n") + 4], "old" if wire[7:8] == b"0" else "length"

    def _answer(self, asked: Asked) -> tuple[bytes, str]:
        said = dict(asked.fields)
        page = self.by_key[said[b"host"], asked.target.partition(b"?")[0]]
        if asked.method in (b"PUT", b"DELETE", b"POST"):
            return self._changed(page, asked, said), "length"
        version = self.reached(page)
        lines = self._lines(page, version, said)
        if asked.method == b"OPTIONS":
            return _head(b"204 No Content", *lines, *_preflight(said)), "length"
        status = self._status(page, version, said)
        if status in (b"304 Not Modified", b"412 Precondition Failed"):
            short = lines if status[:1] == b"3" else [*lines, b"Content-Length: 0"]
            return _head(status, *short), "length"
        first, last, more = self._span(page, version, said, status)
        if status[:3] in (b"404", b"416") or more[:1] == [b"416"]:
            return self._refused(page, version, said, status, lines), "length"
        body = page.slice(version, said, first, last)
        status = b"206 Partial Content" if more else status
        return self._framed(page, asked, status, [*lines, *more], body)

    def _refused(
        self, page: Page, version: int, said: Said, status: bytes, lines: list[bytes]
    ) -> bytes:
        body = gone(page, version)
        if status[:3] != b"404":
            status, body = b"416 Range Not Satisfiable", b""
            lines = [*lines, b"Content-Range: bytes */%d" % page.length(version)]
        return _head(status, *lines, b"Content-Length: %d" % len(body)) + body

    def _framed(
        self, page: Page, asked: Asked, status: bytes, lines: list[bytes], body: bytes
    ) -> tuple[bytes, str]:
        framing = page.framing
        if framing in ("length", "old") or (asked.method == b"HEAD" and page.number % 2):
            lines.append(b"Content-Length: %d" % len(body))
        elif framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        head = _head(status, *lines, old=framing.startswith("old"))
        return head + (_chunks(body) if framing == "chunked" else body), framing

    def _lines(self, page: Page, version: int, said: Said) -> list[bytes]:
        lines = page.lines(version, said)
        lines.append(b"X-Made: %.3f" % self.time)
        lines.append(b"X-Serial: %d" % next(self._serial))
        if page.keep == "aged":
            lines.append(b"Age: %d" % AGED)
        now = (1_800_000_000 if self.speed != 1.0 else 0.0) + self.time
        now = now if self.speed != 1.0 else time.time()
        if self.dated:
            lines.append(b"Date: " + formatdate(int(now), usegmt=True).encode())
        if page.keep == "expires":
            lines.append(
                b"Expires: " + formatdate(int(now) + 5, usegmt=True).encode()
                if self.dated
                else b"Cache-Control: max-age=5"
            )
        if page.keep == "cookie":
            lines.append(b"Set-Cookie: who=%d" % next(self._serial))
        return lines

    def _status(self, page: Page, version: int, said: Said) -> bytes:
        """By the conditions of the request (RFC 9110 §13.2.2)."""
        gone = self.is_gone(page, version)
        if refuses(page, version, said, gone=gone):
            return b"412 Precondition Failed"
        if gone:
            return b"404 Not Found"
        return b"304 Not Modified" if has_already(page, version, said) else b"200 OK"

    def _span(
        self, page: Page, version: int, said: Said, status: bytes
    ) -> tuple[int, int, list[bytes]]:
        """First byte, the one behind the last, and Content-Range; 416 instead of it."""
        total = page.length(version)
        found = _RANGE.fullmatch(said.get(b"range", b""))
        if page.ranges == "ignored" or found is None or status != b"200 OK":
            return 0, total, []
        if not if_range_holds(page, version, said):
            return 0, total, []
        if unreadable(found[1], found[2]):
            return 0, total, []
        span = resolved(found[1], found[2], total)
        if span is None:
            return 0, 0, [b"416"]
        first, last = span
        if page.ranges == "short" and last - first > 2 and self.dice.random() < 0.5:
            last = first + self.dice.randrange(1, last - first)
        return first, last, [b"Content-Range: bytes %d-%d/%d" % (first, last - 1, total)]

    def _changed(self, page: Page, asked: Asked, said: Said) -> bytes:
        version = self.change(page, gone=asked.method == b"DELETE")
        told = [b"X-Version: %d" % version, b"X-Got: " + mark(asked.body)]
        if asked.method != b"POST":
            return _head(b"204 No Content", *told)
        if page.number % 3 == 0:  # the response to POST stands for a later GET too
            body = page.body(version, said)
            lines = self._lines(page, version, said)
            lines += [told[1], b"Content-Location: " + page.target]
            return _head(b"200 OK", *lines, b"Content-Length: %d" % len(body)) + body
        other = self.partner(page)
        told.append(b"X-Also: %d" % self.change(other))
        name = b"Location" if page.number % 3 == 1 else b"Content-Location"
        where = other.target if page.number % 2 else b"http://" + other.host + other.target
        told += [name + b": " + where, b"Content-Length: 4"]
        return _head(b"303 See Other" if name == b"Location" else b"200 OK", *told) + b"done"


def gone(page: Page, version: int) -> bytes:
    return b"%b is gone since %d" % (page.target, version)


def _head(status: bytes, *lines: bytes, old: bool = False) -> bytes:
    return b"\r\n".join((b"HTTP/1.%d " % (not old) + status, *lines, b"", b""))


def _chunks(body: bytes) -> bytes:
    pieces = [body[at : at + 7000] for at in range(0, len(body), 7000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def _preflight(said: Said) -> list[bytes]:
    if b"access-control-request-method" not in said:
        return [b"Allow: GET, HEAD, PUT, POST, DELETE, OPTIONS"]
    lines = [b"X-Preflight: " + preflight_mark(said), b"Access-Control-Max-Age: 30"]
    lines.append(b"Access-Control-Allow-Methods: " + said[b"access-control-request-method"])
    if (names := said.get(b"access-control-request-headers")) is not None:
        lines.append(b"Access-Control-Allow-Headers: " + names)
    return lines


def unreadable(first: bytes, last: bytes) -> bool:
    """True for what is no range, which is ignored."""
    return not (first or last) or bool(first and last and int(last) < int(first))


def resolved(first: bytes, last: bytes, total: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that ``first-last`` asks of *total*; None: there are none."""
    if not first:
        if not last or not int(last) or not total:
            return None
        return max(0, total - int(last)), total
    stop = min(int(last) + 1, total) if last else total
    return (int(first), stop) if int(first) < stop else None


def if_range_holds(page: Page, version: int, said: Said) -> bool:
    asked = said.get(b"if-range")
    if asked is None:
        return True
    tag = page.etag(version, said)
    return asked in (tag, page.modified(version)) and not asked.startswith(b"W/")


def has_already(page: Page, version: int, said: Said) -> bool:
    """True when the conditions say that this is what the client has: 304."""
    asked, tag = said.get(b"if-none-match"), page.etag(version, said)
    if asked is not None:
        opaque = [one.strip().removeprefix(b"W/") for one in asked.split(b",")]
        return asked == b"*" or (tag is not None and tag.removeprefix(b"W/") in opaque)
    since, date = said.get(b"if-modified-since"), page.modified(version)
    return since is not None and date is not None and _seconds(date) <= _seconds(since)


def refuses(page: Page, version: int, said: Said, *, gone: bool) -> bool:
    """True when a precondition fails: 412."""
    asked = said.get(b"if-match")
    if asked is not None:
        tag = page.etag(version, said)
        strong = tag is not None and not tag.startswith(b"W/") and not gone
        return not (strong and tag in asked.split(b", "))
    since, date = said.get(b"if-unmodified-since"), page.modified(version)
    return since is not None and date is not None and _seconds(date) > _seconds(since)


def _seconds(date: bytes) -> float:
    return parsedate_to_datetime(date.decode()).timestamp()
