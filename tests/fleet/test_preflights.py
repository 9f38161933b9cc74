"""Preflights that a rule lets be kept, in the processes of a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from tests.fleet.conftest import HOST, PATIENCE, Starter
from tests.serving import Listener
from tests.store.conftest import eventually
from vary_proxy.app import App
from vary_proxy.purges.purging import Purge, Purger

URL = "http://media.example/a"
KEEPING = 'rules: [{name: kept, match: {path: "/**"}, preflight: cache}]\n'
ASKED = {
    **HOST,
    "Origin": "https://a.example",
    "Access-Control-Request-Method": "PUT",
}


class Origin:
    """Allows what preflights ask for, for an hour."""

    def __init__(self) -> None:
        self.asked = 0
        self.listener = Listener(self.serve)

    @property
    def port(self) -> int:
        return self.listener.port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(
                b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://a.example\r\n"
                b"Access-Control-Allow-Methods: PUT\r\nAccess-Control-Max-Age: 3600\r\n\r\n"
            )


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    one = Origin()
    await one.listener.start()
    yield one
    await one.listener.stop()


PURGES: dict[str, Callable[[Purger], Awaitable[object]]] = {
    "url": lambda purger: purger.run(Purge("url", URL)),
    "tag": lambda purger: purger.run(Purge("tag", "news")),
    "all": lambda purger: purger.run(Purge("all")),
}


@pytest.mark.parametrize("purge", PURGES)
async def test_a_purge_takes_what_any_process_has_kept(
    origin: Origin, start: Starter, apps: list[App], session: aiohttp.ClientSession, purge: str
) -> None:
    bases = await start(more=KEEPING), await start(more=KEEPING)

    async def preflight(base: str) -> None:
        async with session.options(base + "/a", headers=ASKED) as response:
            assert response.status == 204

    for base, app in zip(bases, apps, strict=True):
        async with session.get(base + "/elsewhere", headers=HOST):
            await eventually(lambda app=app: app.store.trusted, PATIENCE)
    before = origin.asked
    for base in bases * 2:
        await preflight(base)
    assert origin.asked == before + 2
    await PURGES[purge](apps[0].purger)
    async with asyncio.timeout(PATIENCE):
        while origin.asked < before + 3:  # its notice is on its way
            await preflight(bases[1])
