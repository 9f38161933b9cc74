"""Blocks of large objects are asked for once by all proxies that share a store."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fleet.conftest import HOST, PATIENCE, Origin, Starter
from vary_proxy.app import App
from vary_proxy.core.blocks import BLOCK
from vary_proxy.fetches import heralding

TOTAL = 24 * BLOCK + 100


class Large(Origin):
    """One object, whose ranges it gives. ``asked`` counts, ``ranges`` are what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 1
        self.ranges: list[tuple[int, int]] = []
        self.sent = 0
        self.gates: dict[int, asyncio.Event] = {}  # by number of request: waited for before a body
        self.upto = 0  # bytes of the body that go before the gate

    @property
    def whole(self) -> bytes:
        return random.Random(self.version).randbytes(TOTAL)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            number, self.asked = self.asked, self.asked + 1
            await self._answer(head, number, writer)

    async def _answer(self, head: str, number: int, writer: asyncio.StreamWriter) -> None:
        wanted = re.search(r"\r\nrange: bytes=(\d+)-(\d*)", head)
        tag = f'"v{self.version}"'
        if (condition := re.search(r"\r\nif-match: (\S+)", head)) and condition[1] != tag:
            writer.write(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n")
            return
        assert wanted is not None, head
        first, last = int(wanted[1]), min(int(wanted[2] or TOTAL - 1), TOTAL - 1)
        self.ranges.append((first, last))
        body = self.whole[first : last + 1]
        writer.write(
            f"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=600\r\nETag: {tag}\r\n"
            f"Content-Range: bytes {first}-{last}/{TOTAL}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        if (gate := self.gates.get(number)) is not None:
            writer.write(body[: self.upto])
            await gate.wait()
            body = body[self.upto :]
        self.sent += len(body)
        writer.write(body)
        await writer.drain()


@pytest.fixture
async def origin() -> AsyncIterator[Large]:
    async with Large().serving() as one:
        yield one


class Viewer:
    def __init__(self, session: aiohttp.ClientSession, url: str, origin: Large) -> None:
        self._session, self._url, self._origin = session, url, origin

    async def see(self, first: int, last: int) -> str:
        """Read a range, which must be exactly that; its Cache-Status."""
        fields = {**HOST, "Range": f"bytes={first}-{last}"}
        async with (
            asyncio.timeout(PATIENCE),
            self._session.get(self._url, headers=fields) as response,
        ):
            assert response.status == 206
            assert response.headers["Content-Range"] == f"bytes {first}-{last}/{TOTAL}"
            assert await response.read() == self._origin.whole[first : last + 1]
            return response.headers["Cache-Status"]


Pair = tuple[Viewer, Viewer]


@pytest.fixture
async def viewers(
    origin: Large, start: Starter, session: aiohttp.ClientSession
) -> tuple[Viewer, Viewer]:
    """One of each of two proxies."""
    one, other = [Viewer(session, await start() + "/v", origin) for _ in range(2)]
    return one, other


@pytest.fixture
async def begun(viewers: Pair, apps: list[App]) -> Pair:
    """As ``viewers``; the first block is stored."""
    await viewers[0].see(0, 9)
    await apps[0].tasks.settle()
    return viewers


async def test_what_nobody_has_is_asked_for_once(origin: Large, viewers: Pair) -> None:
    one, other = viewers
    await asyncio.gather(*(who.see(0, 6 * BLOCK - 1) for who in (one, other) * 4))
    assert origin.ranges == [(0, 6 * BLOCK - 1)]


async def test_a_gap_is_asked_for_once(origin: Large, begun: Pair) -> None:
    one, other = begun
    seen = await asyncio.gather(*(who.see(0, 8 * BLOCK - 1) for who in (one, other) * 4))
    assert origin.ranges == [(0, BLOCK - 1), (BLOCK, 8 * BLOCK - 1)]
    assert any("fwd=partial; fwd-status=206; stored" in status for status in seen)
    assert any("fwd=partial; collapsed" in status for status in seen)


async def test_who_comes_in_the_middle_waits_for_what_is_about_to_come(
    origin: Large, begun: Pair
) -> None:
    one, other = begun
    origin.gates[1], origin.upto = asyncio.Event(), 3 * BLOCK + 10
    first = asyncio.ensure_future(one.see(0, 12 * BLOCK - 1))
    await origin.is_asked(2)
    second = asyncio.ensure_future(other.see(2 * BLOCK, 9 * BLOCK - 1))
    far = await other.see(20 * BLOCK, 21 * BLOCK - 1)  # nobody is about to bring that
    assert "collapsed" not in far
    origin.gates[1].set()
    await asyncio.gather(first, second)
    assert origin.ranges[1:] == [(BLOCK, 12 * BLOCK - 1), (20 * BLOCK, 21 * BLOCK - 1)]


async def test_a_slow_reader_of_the_one_holds_nobody_at_the_other(
    origin: Large, begun: Pair, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that fetches goes on for them at the pace of the origin."""
    monkeypatch.setattr("vary_proxy.fetches.running.AHEAD", 1)
    one, other = begun
    fields = {**HOST, "Range": f"bytes=0-{TOTAL - 1}"}
    slow = await session.get(one._url, headers=fields)
    await origin.is_asked(2)
    await other.see(0, TOTAL - 1)
    assert await slow.read() == origin.whole
    assert origin.sent <= TOTAL + 2 * BLOCK


async def test_who_leaves_the_one_harms_nobody_at_the_other(
    origin: Large, begun: Pair, session: aiohttp.ClientSession
) -> None:
    one, other = begun
    origin.gates[1], origin.upto = asyncio.Event(), 2 * BLOCK
    fields = {**HOST, "Range": f"bytes=0-{TOTAL - 1}"}
    leaving = await session.get(one._url, headers=fields)
    await origin.is_asked(2)
    second = asyncio.ensure_future(other.see(0, TOTAL - 1))
    await asyncio.sleep(0.2)  # for it to be on its way; what is claimed does not depend on it
    leaving.close()
    origin.gates[1].set()
    await second


@pytest.mark.parametrize("how", ["stalls", "dies"])
async def test_a_fetch_that_does_not_go_on_is_replaced(
    origin: Large,
    begun: Pair,
    apps: list[App],
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(heralding, "RIDE_SECONDS", 0.6)
    monkeypatch.setattr(heralding, "_TICK", 0.2)
    one, other = begun
    origin.gates[1], origin.upto = asyncio.Event(), 10
    fields = {**HOST, "Range": f"bytes=0-{8 * BLOCK - 1}"}
    stalled = await session.get(one._url, headers=fields)
    await origin.is_asked(2)
    second = asyncio.ensure_future(other.see(0, 8 * BLOCK - 1))
    if how == "dies":
        await asyncio.sleep(0.1)
        await apps[0].close()
    await second
    assert origin.ranges[1:] == [(BLOCK, 8 * BLOCK - 1)] * 2
    stalled.close()


async def test_what_has_changed_meanwhile_is_never_mixed(origin: Large, begun: Pair) -> None:
    one, other = begun
    origin.version = 2
    await asyncio.gather(*(who.see(BLOCK, 5 * BLOCK - 1) for who in (one, other) * 3))


async def test_each_byte_comes_once_in_any_order(origin: Large, begun: Pair) -> None:
    dice = random.Random(7)

    async def view(who: Viewer) -> None:
        for _ in range(8):
            first = dice.randrange(TOTAL)
            await who.see(first, min(TOTAL - 1, first + dice.randrange(5 * BLOCK)))

    await asyncio.gather(*(view(who) for who in begun * 3))
    assert origin.sent <= 1.5 * TOTAL  # once, mostly; each for himself: 2.7 to 6.4 times
