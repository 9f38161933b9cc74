"""A judge over real sockets: an origin whose every answer can be computed again from the
request, clients that ask at random while both sides fail at random, and a reading of each
answer, byte by byte, against all that this origin could have said to that request.

Content has a version, which PUT raises. An answer may be of any version between the one that
was settled when the request began and the one reached when the answer ended: what is older was
invalidated, and to serve it is an error. Some content also changes by itself; it may be
served for as long as its origin allowed. Nothing here knows how the proxy decides.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.hold.verdicts import Got
from tests.hold.worlds import HOST, Asked, Clock, Origin, reset
from tests.wire.rawclient import Client

ORIGINS = (None, b"https://a.example", b"https://b.example", b"https://evil.example", b"null")
LANGUAGES = (None, b"en", b"de", b"en, de;q=0.5")
WHO = (None, None, None, None, b"Basic YTph", b"Basic YjpiCg==")
RANGES = (
    *(None,) * 12,
    *(b"bytes=0-9", b"bytes=5-", b"bytes=-7", b"bytes=0-0", b"bytes=100-5000", b"bytes=0-4,10-14"),
    *(b"bytes=999999-", b"bytes=9-2", b"items=0-1"),
)
ASKS = (*(None,) * 14, b"no-cache", b"no-store", b"max-age=0", b"only-if-cached", b"max-stale")
_SLICE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Page:
    """One resource, and how its origin treats it; the target says all of it."""

    number: int
    cors: str  # none | star | reflect | listed
    vary: str  # none | silent | origin | language
    keep: str  # fresh | short | must | private | no-store | none | personal
    framing: str  # length | chunked | end
    tagged: bool
    size: int

    @property
    def target(self) -> bytes:
        return f"/{self.number}/{self.cors}/{self.vary}/{self.keep}/{self.framing}.bin".encode()

    def allow(self, origin: bytes | None) -> bytes | None:
        if origin is None or self.cors == "none":
            return None
        if self.cors == "star":
            return b"*"
        return origin if self.cors == "reflect" or origin in ORIGINS[1:3] else None

    def selected(self, said: dict[bytes, bytes]) -> bytes:
        """What of a request the content depends on."""
        if self.keep == "personal":
            return b"who " + said.get(b"authorization", b"-")
        if self.vary == "origin":
            return b"origin " + said.get(b"origin", b"-")
        return b"language " + said.get(b"accept-language", b"-") if self.vary == "language" else b""

    def body(self, version: int, said: dict[bytes, bytes]) -> bytes:
        seed = hashlib.sha256(b"%b#%d#%b" % (self.target, version, self.selected(said))).digest()
        return (seed * (self.size // 32 + 1))[: self.size]

    def etag(self, version: int, said: dict[bytes, bytes]) -> bytes:
        return b'"%d-%s"' % (version, hashlib.sha256(self.selected(said)).hexdigest()[:6].encode())


def pages(count: int, dice: random.Random) -> list[Page]:
    return [
        Page(
            number,
            dice.choice(("none", "star", "reflect", "reflect", "listed")),
            dice.choice(("none", "silent", "origin", "language")),
            dice.choice(
                ("fresh",) * 4 + ("short", "must", "private", "no-store", "none", "personal")
            ),
            dice.choice(("length", "length", "chunked", "end")),
            dice.random() < 0.7,
            dice.choice((0, 1, 40, 1000, 20_000, 200_000)),
        )
        for number in range(count)
    ]


_CONTROL = {
    "fresh": b"max-age=600",
    "short": b"max-age=1",
    "must": b"max-age=1, must-revalidate",
    "private": b"private, max-age=600",
    "no-store": b"no-store",
    "personal": b"max-age=600",
}
_PATIENCE = {"no-store": 0.0, "private": 0.0, "must": 1.0}  # seconds that they may be old
SPEED = 20.0  # seconds of the proxy's clock in one of ours
RIDE = 12.0  # seconds, by that clock, that a fetch may have taken which others rode on


class Door(Protocol):
    """Where the proxy is."""

    clients: list[Client]

    async def client(self) -> Client: ...


@dataclass
class World:
    """The pages, their versions, and what goes wrong."""

    pages: list[Page]
    dice: random.Random
    faults: float = 0.05
    by_target: dict[bytes, Page] = field(default_factory=dict)
    reached: Counter[bytes] = field(default_factory=Counter)  # versions that the origin has
    settled: Counter[bytes] = field(default_factory=Counter)  # and those that a client was told of
    seen: Counter[str] = field(default_factory=Counter)
    changed: dict[bytes, list[tuple[float, int]]] = field(default_factory=dict)  # by themselves
    clock: Clock = field(default_factory=Clock)  # the proxy's, which may be wrong
    time: float = 0.0  # seconds since the world began, at the clock's pace
    speed: float = SPEED
    astray: float = 0.0  # seconds that the clock may run behind of what it was
    puts: float = 2.0  # percent of the requests
    losable: bool = False  # connections may end for reasons of the proxy's own

    def __post_init__(self) -> None:
        self.by_target = {page.target: page for page in self.pages}

    async def live(self) -> None:
        """Time goes by, faster than ours, and content changes."""
        while True:
            await asyncio.sleep(0.01)
            self.clock.now += 0.01 * self.speed
            self.time += 0.01 * self.speed
            page = self.dice.choice(self.pages)
            if page.keep in _PATIENCE and self.dice.random() < 0.2:
                self.reached[page.target] += 1
                history = self.changed.setdefault(page.target, [])
                history.append((self.time, self.reached[page.target]))

    def oldest(self, page: Page) -> int:
        """The oldest version that an answer to a request of now may be of."""
        patience = _PATIENCE.get(page.keep, 0.0) + RIDE + self.astray
        history = self.changed.get(page.target, ())
        by_time = [version for at, version in history if at + patience < self.time]
        return max(self.settled[page.target], *by_time[-1:], 0)

    # The origin's side

    async def connection(self, origin: Origin, reader: Any, writer: Any) -> None:
        while (asked := await origin.read(reader)) is not None:
            origin.asked.clear()
            wire, framing = self.wire(asked)
            kind = self.dice.random() / self.faults if self.faults else 9
            if kind < 0.15:
                reset(writer)
                return
            if kind < 0.3:
                await asyncio.sleep(0.4)  # beyond the deadline for a first byte
                return
            if kind < 0.45:
                wire, framing = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", "length"
            elif kind < 0.8:
                writer.write(wire[: self.dice.randrange(len(wire))])
                await writer.drain()
                if kind < 0.6 or framing == "end":
                    reset(writer)
                return
            for piece in self.pieces(wire):
                writer.write(piece)
                await writer.drain()
            if framing == "end" or 0.8 < kind < 1:
                return  # without having said so

    def pieces(self, wire: bytes) -> list[bytes]:
        if self.dice.random() > 0.1:
            return [wire]
        at = self.dice.randrange(len(wire))
        return [wire[:at], wire[at:]]

    def wire(self, asked: Asked) -> tuple[bytes, str]:
        page = self.by_target[asked.target]
        said = dict(asked.fields)
        if asked.method == b"PUT":
            self.reached[page.target] += 1
            return b"HTTP/1.1 204 No Content\r\n\r\n", "length"
        version = self.reached[page.target]
        lines = self.lines(page, version, said)
        if asked.method == b"OPTIONS":
            head = (b"HTTP/1.1 204 No Content", *lines, b"", b"")
            return b"\r\n".join(head), "length"
        condition = said.get(b"if-none-match", b"")
        if page.tagged and page.etag(version, said) in condition.split(b", "):
            return b"\r\n".join((b"HTTP/1.1 304 Not Modified", *lines, b"", b"")), "length"
        body = page.body(version, said)
        if page.framing == "length":
            lines.append(b"Content-Length: %d" % len(body))
        elif page.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        head = b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b""))
        if asked.method == b"HEAD":
            return head, "length"
        if page.framing == "chunked":
            body = b"".join(
                b"%x\r\n%b\r\n" % (len(body[at : at + 7000]), body[at : at + 7000])
                for at in range(0, len(body), 7000)
            )
            body += b"0\r\n\r\n"
        return head + body, page.framing

    def lines(self, page: Page, version: int, said: dict[bytes, bytes]) -> list[bytes]:
        lines = [b"X-Version: %d" % version]
        if page.keep in _CONTROL:
            lines.append(b"Cache-Control: " + _CONTROL[page.keep])
        if page.tagged:
            lines.append(b"ETag: " + page.etag(version, said))
        allow = page.allow(said.get(b"origin"))
        if allow is not None:
            lines.append(b"Access-Control-Allow-Origin: " + allow)
        if page.vary in ("origin", "language"):
            lines.append(b"Vary: " + (b"Origin" if page.vary == "origin" else b"accept-language"))
        return lines

    # The clients' side

    def draw(self) -> tuple[bytes, Page, dict[bytes, bytes]]:
        dice = self.dice
        page = dice.choice(self.pages[: len(self.pages) // 4 if dice.random() < 0.7 else None])
        weights = (90 - self.puts, 7, self.puts, 3)
        method = dice.choices((b"GET", b"HEAD", b"PUT", b"OPTIONS"), weights)[0]
        drawn = {
            b"origin": dice.choice(ORIGINS),
            b"accept-language": dice.choice(LANGUAGES),
            b"authorization": dice.choice(WHO),
            b"range": dice.choice(RANGES) if method == b"GET" else None,
            b"cache-control": dice.choice(ASKS),
        }
        said = {name: value for name, value in drawn.items() if value is not None}
        version = max(0, self.reached[page.target] - dice.choice((0, 0, 0, 1)))
        if page.tagged and dice.random() < 0.2:
            said[b"if-none-match"] = dice.choice((page.etag(version, said), b'"other", "one"'))
        elif page.tagged and b"range" in said and dice.random() < 0.3:
            said[b"if-range"] = page.etag(version, said)
        return method, page, said

    async def client(self, edge: Door, count: int) -> None:
        """Ask *count* times, on one connection after the other."""
        while count > 0:
            try:
                made = await edge.client()
            except ConnectionError:
                assert self.losable
                await asyncio.sleep(0.01)
                continue
            edge.clients.remove(made)
            try:
                while count > 0:
                    count -= 1
                    if not await self.once(made.reader, made.writer):
                        break
            finally:
                made.writer.transport.abort()

    async def once(self, reader: Any, writer: Any) -> bool:
        method, page, said = self.draw()
        lines = [method + b" " + page.target + b" HTTP/1.1", b"Host: " + HOST]
        lines += [name + b": " + value for name, value in said.items()]
        if method == b"PUT":
            lines.append(b"Content-Length: 0")
        settled, told = self.oldest(page), self.settled[page.target]
        writer.write(b"\r\n".join((*lines, b"", b"")))
        if self.faults and self.dice.random() < 0.01:
            self.seen["vanished"] += 1
            return False
        got = await asyncio.wait_for(_read(reader, method), 30)
        where = f"{method!r} {page} {said} got {got.status} {got.head!r}"
        self.judge(method, page, said, got, settled, where)
        if method == b"PUT" and got.status == 204:
            self.settled[page.target] = max(self.settled[page.target], told + 1)
        return got.persists

    def judge(
        self,
        method: bytes,
        page: Page,
        said: dict[bytes, bytes],
        got: Got,
        settled: int,
        where: str,
    ) -> None:
        self.seen[str(got.status) if got.whole else "cut"] += 1
        if got.status == 0 or got.status in (502, 503, 504):
            alone = b"only-if-cached" in said.get(b"cache-control", b"") and got.status == 504
            assert self.faults or self.losable or alone, where
            return
        assert got.whole or self.faults or self.losable, where
        if method == b"PUT":
            assert got.status == 204, where
            return
        version = int(got.fields[b"x-version"]) if b"x-version" in got.fields else -1
        if got.status != 416:
            assert settled <= version <= self.reached[page.target], f"version of {settled}: {where}"
        self.judge_fields(page, said, got, where)
        if method != b"OPTIONS":
            self.judge_content(method, page, said, got, version, where)

    def judge_fields(self, page: Page, said: dict[bytes, bytes], got: Got, where: str) -> None:
        vary = {name.strip().lower() for name in got.fields.get(b"vary", b"").split(b",")}
        assert b"origin" in vary, where
        assert page.vary != "language" or b"accept-language" in vary, where
        if got.status in (200, 206, 204, 304):
            allow = got.fields.get(b"access-control-allow-origin")
            assert allow == page.allow(said.get(b"origin")), where
        if page.tagged and b"etag" in got.fields:
            version = int(got.fields[b"x-version"])
            assert got.fields[b"etag"] == page.etag(version, said), where

    def judge_content(
        self,
        method: bytes,
        page: Page,
        said: dict[bytes, bytes],
        got: Got,
        version: int,
        where: str,
    ) -> None:
        body = page.body(version, said)
        if got.status == 304:
            assert got.fields[b"etag"] in said[b"if-none-match"].split(b", "), where
        elif got.status == 416:
            assert b"range" in said, where
        elif method == b"HEAD":
            assert got.status == 200, where
            assert int(got.fields.get(b"content-length", b"%d" % len(body))) == len(body), where
        elif got.status == 200:
            assert got.content == (body if got.whole else body[: len(got.content)]), where
        else:
            assert got.status == 206, where
            self.judge_parts(body, got, where)

    def judge_parts(self, body: bytes, got: Got, where: str) -> None:
        kind = got.fields.get(b"content-type", b"")
        if not kind.startswith(b"multipart/byteranges"):
            wanted = _slice(body, got.fields[b"content-range"], where)
            assert got.content == (wanted if got.whole else wanted[: len(got.content)]), where
            return
        if not got.whole:
            return
        boundary = b"--" + kind.partition(b"boundary=")[2].strip(b'"')
        parts = got.content.split(boundary)[1:-1]
        assert parts, where
        for part in parts:
            head, _, content = part.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-range: ([^\r]+)", head)
            assert found, where
            assert content == _slice(body, found[1], where) + b"\r\n", where


def _slice(body: bytes, content_range: bytes, where: str) -> bytes:
    found = _SLICE.fullmatch(content_range.decode())
    assert found, where
    first, last, total = map(int, found.groups())
    assert total == len(body), where
    assert first <= last < total, where
    return body[first : last + 1]


async def _read(reader: asyncio.StreamReader, method: bytes) -> Got:
    got = Got()
    try:
        got.head = await reader.readuntil(b"\r\n\r\n")
        got.status = int(got.head[9:12])
        for line in got.head[:-4].split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            assert name.lower() not in got.fields or name.lower() == b"via", got.head
            got.fields[name.lower()] = value
        if method == b"HEAD" or got.status in (204, 304):
            pass
        elif b"transfer-encoding" in got.fields:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                got.content += await _some(reader, size, got)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            got.content = await _some(reader, int(got.fields[b"content-length"]), got)
        got.whole = True
        got.persists = got.fields.get(b"connection", b"") != b"close"
    except asyncio.IncompleteReadError as cut:
        if got.status and b"transfer-encoding" not in got.fields:
            got.content += cut.partial
    except ConnectionError:
        pass
    return got


async def _some(reader: asyncio.StreamReader, size: int, got: Got) -> bytes:
    return await reader.readexactly(size)
