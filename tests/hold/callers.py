"""The clients of the checker: what they ask at random, how they read, and how they leave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from tests.hold.pages import ORIGINS, Page
from tests.hold.realm import Realm
from tests.hold.verdicts import UNSAFE, Call, Got, Verdict
from tests.wire.rawclient import Client

LANGUAGES = (None, None, b"en", b"de", b"en, de;q=0.5")
CODINGS = (None, b"gzip", b"br", b"gzip, br", b"identity")
WHO = (None, None, None, None, None, b"Basic YTph", b"Basic YjpiCg==")
ASKS = (
    *(None,) * 16,
    *(b"no-cache", b"no-store", b"max-age=0", b"max-age=1", b"only-if-cached", b"max-stale=20"),
    *(b"min-fresh=1", b"min-fresh=30", b"max-age=5, max-stale=5"),
)
BLOCK = 131_072  # bytes
METHODS = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"POST", b"DELETE")
WEIGHTS = (86.0, 6.0, 4.0, 2.0, 1.5, 0.5)


class Door(Protocol):
    """Where a proxy is. ``lane`` is what of it answers with one memory; None: a connection."""

    clients: list[Client]
    lane: object

    async def client(self) -> Client: ...


@dataclass
class Callers:
    """What clients ask in a realm. ``losable``: connections may end for the proxy's own reasons."""

    realm: Realm
    losable: bool = False

    @property
    def failing(self) -> bool:
        return self.losable or self.realm.faults > 0

    def drawn(self) -> Page:
        """A page; some are popular."""
        dice, pages = self.realm.dice, self.realm.pages
        return dice.choice(pages[: len(pages) // 4 if dice.random() < 0.7 else None])

    def draw(self) -> Call:
        dice = self.realm.dice
        page = self.drawn()
        method = dice.choices(METHODS, WEIGHTS)[0]
        said = {
            b"origin": dice.choice(ORIGINS),
            b"accept-language": dice.choice(LANGUAGES),
            b"accept-encoding": dice.choice(CODINGS),
            b"authorization": dice.choice(WHO),
            b"cache-control": dice.choice(ASKS),
        }
        call = Call(method, page, {name: one for name, one in said.items() if one is not None})
        if method == b"OPTIONS":
            self._preflights(call)
        elif method in UNSAFE:
            self._changes(call)
        elif method == b"GET" and dice.random() < (0.8 if page.size > 200_000 else 0.2):
            call.said[b"range"] = self._range(page)
        if method in (b"GET", b"HEAD") and dice.random() < 0.3:
            self._condition(call)
        return call

    def _preflights(self, call: Call) -> None:
        dice = self.realm.dice
        for name in (b"authorization", b"cache-control"):
            call.said.pop(name, None)
        if dice.random() < 0.8:
            call.said[b"origin"] = dice.choice(ORIGINS[1:])
            call.said[b"access-control-request-method"] = dice.choice((b"GET", b"PUT"))
            if dice.random() < 0.5:
                names = dice.choice((b"content-type", b"content-type,range", b"range,content-type"))
                call.said[b"access-control-request-headers"] = names

    def _changes(self, call: Call) -> None:
        dice = self.realm.dice
        call.said.pop(b"cache-control", None)
        if call.method != b"DELETE":
            call.body = dice.randbytes(dice.choice((0, 3, 3000, 70_000)))

    def _range(self, page: Page) -> bytes:
        dice = self.realm.dice
        top = page.size + 2

        def at() -> int:
            if dice.random() < 0.5:
                return dice.randrange(top)
            edge = dice.randrange(0, top, BLOCK) + dice.randrange(-2, 3)
            return max(0, min(top, edge))

        one, two = sorted((at(), at()))
        two = two if dice.random() < 0.6 else one + dice.randrange(200)
        return dice.choice(
            (
                *(b"bytes=%d-%d" % (one, two),) * 4,
                b"bytes=%d-" % one,
                b"bytes=-%d" % dice.choice((0, 1, 7, 1000, 140_000)),
                b"bytes=0-0,%d-%d" % (one + 5, one + 90),
                b"bytes=%d-%d, -5" % (one, one + 9),
                b"bytes=999999999-",
                b"bytes=9-2",
                b"items=0-1",
            )
        )

    def _within(self, page: Page, block: int) -> bytes:
        first, last = sorted(block * BLOCK + self.realm.dice.randrange(BLOCK) for _ in range(2))
        return b"bytes=%d-%d" % (min(first, page.size), max(min(last, page.size), first))

    def _condition(self, call: Call) -> None:
        """One or two conditions, of this version, of the one before, or of none."""
        dice, page, said = self.realm.dice, call.page, call.said
        version = max(0, self.realm.reached(page) - dice.choice((0, 0, 0, 1)))
        tag, date = page.etag(version, said), page.modified(version)
        if b"range" in said:
            if_range = dice.choice((tag, date, b'"other"'))
            if if_range is not None and dice.random() < 0.7:
                said[b"if-range"] = if_range
            return
        drawn = dice.random()
        if tag is not None and drawn < 0.6:
            said[b"if-none-match"] = dice.choice(
                (
                    tag,
                    tag,
                    b'"other", ' + tag,
                    b'"other", "one"',
                    b"*",
                    b"W/" + tag.removeprefix(b"W/"),
                )
            )
        elif tag is not None and drawn < 0.75:
            said[b"if-match"] = dice.choice((tag, b'"other"'))
        if date is not None and drawn > 0.4:
            name = b"if-unmodified-since" if drawn > 0.9 else b"if-modified-since"
            said[name] = date

    # ── on the wire ───────────────────────────────────────────────────────────────────

    async def call(self, doors: list[Door], count: int) -> None:
        """Ask *count* times, on one connection after the other."""
        dice = self.realm.dice
        while count > 0:
            door = dice.choice(doors)
            try:
                made = await door.client()
            except ConnectionError:
                assert self.losable
                await asyncio.sleep(0.01)
                continue
            door.clients.remove(made)
            lane = made if door.lane is None else door.lane
            try:
                going = True
                while going and count > 0:
                    several = dice.randrange(2, 7) if dice.random() < 0.1 else 1
                    count -= several
                    calls = [self.draw() for _ in range(several)]
                    going = await self.ask(calls, made, lane)
            finally:
                made.writer.transport.abort()

    async def plainly(
        self, door: Door, page: Page, method: bytes = b"GET", *, block: int | None = None
    ) -> None:
        """One request for *page*, and nothing said but, perhaps, which range of one block."""
        said = {} if block is None else {b"range": self._within(page, block)}
        try:
            made = await door.client()
        except ConnectionError:
            assert self.losable
            return
        door.clients.remove(made)
        try:
            await self.ask([Call(method, page, said)], made, door.lane or made)
        finally:
            made.writer.transport.abort()

    async def ask(self, calls: list[Call], made: Client, lane: object) -> bool:
        """Send *calls* at once, and judge what comes; False when the connection is over."""
        dice, realm = self.realm.dice, self.realm
        for call in calls:
            key = (call.page.host, call.page.target)
            call.floor = realm.told[key].floor(lane)
            call.soft = realm.softly[key].floor(lane)
            call.begun = realm.time
            closes = dice.random() < 0.02
            made.writer.write(_wire(call, closes=closes, query=self._query(call.page)))
            if closes and call is not calls[-1]:
                calls = calls[: calls.index(call) + 1]
                break
        if self.failing and dice.random() < 0.01:
            realm.seen["vanished"] += 1
            return False
        for call in calls:
            try:
                got = await asyncio.wait_for(self._take(made.reader, call), 60)
            except TimeoutError:
                Verdict(realm, call, Got()).claim(False, "no end within a minute")
                raise
            self.judge(call, got, lane)
            if not got.persists:
                return False
        return True

    def _query(self, page: Page) -> bytes:
        return b"?_ctx=%d" % self.realm.dice.randrange(100) if page.rule == "v" else b""

    def judge(self, call: Call, got: Got, lane: object) -> None:
        realm = self.realm
        ended = "cut" if got.status else "no answer"
        realm.seen[str(got.status) if got.whole else "left" if got.left else ended] += 1
        Verdict(realm, call, got).judge(failing=self.failing)
        if call.method in UNSAFE and got.status in (200, 204, 303):
            key = (call.page.host, call.page.target)
            realm.told[key].tell(got.number(b"x-version"), lane)
            realm.seen[call.method.decode()] += 1
            if b"x-also" in got.fields:
                other = realm.partner(call.page)
                realm.told[other.host, other.target].tell(got.number(b"x-also"), lane)

    async def _take(self, reader: asyncio.StreamReader, call: Call) -> Got:
        dice = self.realm.dice
        got = Got()
        slowly = dice.random() < 0.02
        upto = dice.randrange(200_000) if dice.random() < 0.01 else None
        try:
            await _take_head(reader, got)
            if call.method != b"HEAD" and got.status not in (204, 304):
                await _take_body(reader, got, slowly=slowly, upto=upto)
            got.whole = not got.left
            ends = got.fields.get(b"connection", b"") == b"close"
            got.persists = got.whole and not ends
        except asyncio.IncompleteReadError as cut:
            if got.status:
                got.content += cut.partial
        except ConnectionError:
            pass
        return got


def _wire(call: Call, *, closes: bool, query: bytes) -> bytes:
    lines = [call.method + b" " + call.page.target + query + b" HTTP/1.1"]
    lines.append(b"Host: " + call.page.host)
    lines += [name + b": " + value for name, value in call.said.items()]
    if closes:
        lines.append(b"Connection: close")
    body = call.body
    if call.method in UNSAFE and len(body) % 2:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif call.method in UNSAFE:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*lines, b"", body))


async def _take_head(reader: asyncio.StreamReader, got: Got) -> None:
    got.head = await reader.readuntil(b"\r\n\r\n")
    got.status = int(got.head[9:12])
    for line in got.head[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        assert name.lower() not in got.fields or name.lower() == b"via", got.head
        got.fields[name.lower()] = value


async def _take_body(
    reader: asyncio.StreamReader, got: Got, *, slowly: bool, upto: int | None
) -> None:
    if b"transfer-encoding" in got.fields:
        while size := int(await _line(reader), 16):
            await _some(reader, size, got, slowly, upto)
            if got.left or await _exactly(reader, 2, got) != b"\r\n":
                return
        await reader.readexactly(2)
    else:
        await _some(reader, int(got.fields[b"content-length"]), got, slowly, upto)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError as cut:
        raise asyncio.IncompleteReadError(b"", None) from cut


async def _exactly(reader: asyncio.StreamReader, size: int, got: Got) -> bytes:
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as cut:
        raise asyncio.IncompleteReadError(b"", None) from cut


async def _some(
    reader: asyncio.StreamReader, size: int, got: Got, slowly: bool, upto: int | None
) -> None:
    if upto is not None and len(got.content) + size > upto:
        got.content += await reader.readexactly(upto - len(got.content))
        got.left = True
        return
    if not slowly:
        got.content += await reader.readexactly(size)
        return
    step = size // 5 + 1
    while size:
        await asyncio.sleep(0.02)
        got.content += await reader.readexactly(min(step, size))
        size -= min(step, size)
