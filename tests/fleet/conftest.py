"""Proxies on one Redis, before an origin whose bodies arrive as tests let them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.store.servers import RedisServer, running
from vary_proxy import config
from vary_proxy.app import App

HOST = {"Host": "media.example"}


@dataclass
class Body:
    """One answer: its pieces, and what is waited for before each but the first."""

    pieces: list[bytes]
    fields: bytes = b'Cache-Control: max-age=600\r\nETag: "1"\r\n'
    gates: list[asyncio.Event] = field(default_factory=list)
    chunked: bool = False
    breaks_off: bool = False  # behind the last piece

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
        self.port = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                body = self.bodies[min(self.asked, len(self.bodies) - 1)]
                self.asked += 1
                for number, piece in enumerate(body.wire()):
                    if 0 < number - 1 <= len(body.gates):
                        await body.gates[number - 2].wait()
                    writer.write(piece)
                    await writer.drain()
                if body.breaks_off:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    one = Origin()
    await one.start()
    yield one
    assert one.server is not None
    one.server.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path)) as server:
        yield server


def text(origin: Origin, redis: RedisServer, more: str = "", store: str = "") -> str:
    """A configuration, but for its version and where it listens; *store*: more of its keys."""
    return (
        f'origins: {{o: {{url: "http://127.0.0.1:{origin.port}"}}}}\n'
        f'store: {{type: redis, url: "{redis.url}"{store}}}\n'
        f"log: {{access: off}}\n{more}"
    )


Starter = Callable[..., Awaitable[str]]


@pytest.fixture
def apps() -> list[App]:
    """The proxies that were started here, in this order."""
    return []


@pytest.fixture
async def start(origin: Origin, redis: RedisServer, apps: list[App]) -> AsyncIterator[Starter]:
    """Starts a proxy; its URL. ``store``: more keys of its store."""
    async with AsyncExitStack() as stack:

        async def one(store: str = "") -> str:
            said = text(origin, redis, 'version: 1\nlisten: [{address: "127.0.0.1:0"}]\n', store)
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
        self.status = self._response.headers["Cache-Status"]
        return self

    async def until(self, size: int) -> None:
        """Read until there are *size* bytes; they must come within ten seconds."""
        async with asyncio.timeout(10):
            while len(self.read) < size:
                self.read += await self._response.content.readany()

    async def rest(self) -> bytes:
        """All of it. Raises aiohttp.ClientPayloadError when it is cut."""
        async with asyncio.timeout(30):
            async for chunk in self._response.content.iter_any():
                self.read += chunk
        return self.read


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as one:
        yield one
