"""A change that one proxy has told its client of, while notices of it are late to the other.

Redis alone, without memory before it: there is one store, so what was changed has changed for
everybody, also for what was asked for before and is answered, followed or published after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fleet.conftest import HOST, Starter
from tests.serving import Listener
from tests.store.conftest import eventually
from vary_proxy.app import App
from vary_proxy.fetches import convoy, riding

ALONE = ", memory: {max: 0, max_object: 0}"
ONLY = {"Cache-Control": "only-if-cached"}
SIZE = 300_000  # bytes: three blocks
Started = tuple[str, str]


class Origin:
    """Says which version there is; a GET is answered when ``late`` lets it, as it was asked."""

    def __init__(self) -> None:
        self.version = 0
        self.asked = 0
        self.late: asyncio.Event | None = None
        self.listener = Listener(self.serve)

    @property
    def port(self) -> int:
        return self.listener.port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            if head.startswith(b"PUT"):
                self.version += 1
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                continue
            answer = self.answer(head.lower())
            if self.late is not None:
                await self.late.wait()
            writer.write(answer)

    def answer(self, head: bytes) -> bytes:
        body = b"%d" % self.version * SIZE
        fields = b'Cache-Control: max-age=600\r\nETag: "%d"\r\n' % self.version
        status = b"200 OK"
        if b"\r\nrange: bytes=0-131071\r\n" in head:
            status, body = b"206 Partial Content", body[:131_072]
            fields += b"Content-Range: bytes 0-131071/%d\r\n" % SIZE
        fields += b"Content-Length: %d\r\n" % len(body)
        return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, fields, body)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    one = Origin()
    await one.listener.start()
    yield one
    await one.listener.stop()


@pytest.fixture
async def two(
    start: Starter,
    apps: list[App],
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> Started:
    """Two proxies, of which the first hears nothing of the other for now, and riders have time."""
    for module in (convoy, riding):
        monkeypatch.setattr(module, "RIDE_SECONDS", 60.0)
    bases = await start(store=ALONE), await start(store=ALONE)
    for base, app in zip(bases, apps, strict=True):
        (await session.get(base + "/elsewhere", headers={**HOST, **ONLY})).release()
        await eventually(lambda app=app: app.store.trusted)
    monkeypatch.setattr(apps[0].store._notices, "_dispatch", lambda data: None)  # type: ignore[attr-defined]
    return bases


async def first_byte(session: aiohttp.ClientSession, base: str, **fields: str) -> bytes:
    async with session.get(base + "/a", headers={**HOST, **fields}) as response:
        return (await response.read())[:1]


async def changed(session: aiohttp.ClientSession, base: str) -> None:
    async with session.put(base + "/a", headers=HOST) as response:
        assert response.status == 204


async def asked(origin: Origin, count: int) -> None:
    async with asyncio.timeout(30):
        while origin.asked < count:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("ranged", [{}, {"Range": "bytes=0-131071"}])
async def test_what_was_asked_for_before_is_not_stored(
    origin: Origin, two: Started, session: aiohttp.ClientSession, ranged: dict[str, str]
) -> None:
    here, there = two
    origin.late = asyncio.Event()
    first = asyncio.create_task(first_byte(session, here, **ranged))
    await asked(origin, 1)
    await changed(session, there)
    async with session.get(here + "/a", headers={**HOST, **ONLY}) as response:
        assert response.status == 504  # the row was looked at, and is new
    origin.late.set()
    assert await first == b"0"
    for base in two:
        assert await first_byte(session, base, **ranged) == b"1"


@pytest.mark.parametrize("asking", [0, 1], ids=["rides on", "follows"])
async def test_nobody_joins_what_was_asked_for_before(
    origin: Origin, two: Started, session: aiohttp.ClientSession, asking: int
) -> None:
    """Neither in the process that had asked, nor in another that knew the row as it was."""
    here, there = two
    assert await first_byte(session, here, **ONLY) != b"0"
    origin.late = asyncio.Event()
    first = asyncio.create_task(first_byte(session, two[asking]))
    await asked(origin, 1)
    await changed(session, there)
    second = asyncio.create_task(first_byte(session, here))
    await asked(origin, 3)
    origin.late.set()
    assert [await first, await second] == [b"0", b"1"]
