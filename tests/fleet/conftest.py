"""Proxies on one Redis, before an origin whose bodies arrive as tests let them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from tests.serving import Listener
from tests.store.servers import RedisServer, running
from vary_proxy import config
from vary_proxy.app import App

HOST = {"Host": "media.example"}
PATIENCE = 30.0  # seconds: what a busy machine keeps


@dataclass
class Body:
    """One answer: its pieces, and what is waited for before each but the first.

    ``held`` is waited for before its head.
    """

    pieces: list[bytes]
    fields: bytes = b'Cache-Control: max-age=600\r\nETag: "1"\r\n'
    gates: list[asyncio.Event] = field(default_factory=list)
    chunked: bool = False
    breaks_off: bool = False  # behind the last piece
    held: asyncio.Event | None = None

    @property
    def whole(self) -> bytes:
        return b"".join(self.pieces)

    def wire(self) -> Iterator[bytes]:
        framing = b"Transfer-Encoding: chunked\r\n" if self.chunked else b""
        if not self.chunked:
            framing = b"Content-Length: %d\r\n" % (len(self.whole) + self.breaks_off)
        yield b"HTTP/1.1 200 OK\r\n" + self.fields + framing + b"\r\n"
        for piece in self.pieces:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece
        if self.chunked:
            yield b"0\r\n\r\n"


class Origin:
    """Gives one of ``bodies`` after the other, the last for ever."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.asked = 0
        self._listener = Listener(self._serve)

    @property
    def port(self) -> int:
        return self._listener.port

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        await self._listener.start()
        try:
            yield self
        finally:
            await self._listener.stop()

    async def is_asked(self, count: int = 1) -> None:
        """Wait until it has been asked *count* times."""
        async with asyncio.timeout(PATIENCE):
            while self.asked < count:
                await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            body = self.bodies[min(self.asked, len(self.bodies) - 1)]
            self.asked += 1
            if body.held is not None:
                await body.held.wait()
            for number, piece in enumerate(body.wire()):
                if 0 < number - 1 <= len(body.gates):
                    await body.gates[number - 2].wait()
                writer.write(piece)
                await writer.drain()
            if body.breaks_off:
                return


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin().serving() as one:
        yield one


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path)) as server:
        yield server


def text(
    origin: Origin, redis: RedisServer, more: str = "", store: str = "", timeout: str = "5s"
) -> str:
    """A configuration, but for its version and where it listens.

    *store*: more of its keys. Its *timeout* is one that a busy machine keeps.
    """
    return (
        f'origins: {{o: {{url: "http://127.0.0.1:{origin.port}"}}}}\n'
        f'store: {{type: redis, url: "{redis.url}", timeout: {timeout}{store}}}\n'
        f"log: {{access: off}}\n{more}"
    )


Starter = Callable[..., Awaitable[str]]


@pytest.fixture
def apps() -> list[App]:
    """The proxies that were started here, in this order."""
    return []


@pytest.fixture
async def start(origin: Origin, redis: RedisServer, apps: list[App]) -> AsyncIterator[Starter]:
    """Starts a proxy; its URL. *more* of its configuration; ``store`` and ``timeout`` as above."""
    async with AsyncExitStack() as stack:

        async def one(more: str = "", **store: str) -> str:
            first = 'version: 1\nlisten: [{address: "127.0.0.1:0"}]\n'
            said = text(origin, redis, first + more, **store)
            app = App(config.loads(said.encode(), "fleet.yaml", (), {}))
            apps.append(app)
            stack.push_async_callback(app.close)
            return f"http://{(await app.start())[0]}"

        yield one


class Reader:
    """One request, and its body as it comes."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.status = ""  # Cache-Status
        self.read = b""

    async def begin(self) -> Reader:
        self._response = await self._session.get(self._url, headers=HOST)
        _begun.append(self._response)
        self.status = self._response.headers["Cache-Status"]
        return self

    async def until(self, size: int) -> None:
        """Read until there are *size* bytes."""
        async with asyncio.timeout(PATIENCE):
            while len(self.read) < size:
                self.read += await self._response.content.readany()

    async def rest(self) -> bytes:
        """All of it. Raises aiohttp.ClientPayloadError when it is cut."""
        async with asyncio.timeout(PATIENCE):
            async for chunk in self._response.content.iter_any():
                self.read += chunk
        return self.read


_begun: list[aiohttp.ClientResponse] = []  # by the readers of this test


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as one:
        yield one
        while _begun:
            _begun.pop().close()
