"""An origin made of raw sockets: each connection follows a script, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
import uvloop

from vary_proxy.core.message import Fields, Request
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions
from vary_proxy.origins.httpresponse import HttpResponse

LIMIT = 2**20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One connection, seen from the origin."""

    def __init__(
        self, origin: RawOrigin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.origin = origin
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request head, recorded; b"" when the client has left instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.origin.heads.append(head)
        return head

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self, *replies: bytes) -> None:
        """One reply for each request, on this connection."""
        for reply in replies:
            if not await self.head():
                return
            await self.send(reply)

    async def left(self) -> bytes:
        """Wait for the client to leave; what it still sent before that."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""

    def reset(self) -> None:
        """End the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


def replies(*wire: bytes) -> Script:
    """Answer with *wire*, one for each request, then close."""

    async def script(peer: Peer) -> None:
        await peer.answer(*wire)

    return script


def keeps(*wire: bytes) -> Script:
    """Answer with *wire*, one for each request, then wait for the client to leave."""

    async def script(peer: Peer) -> None:
        await peer.answer(*wire)
        await peer.left()

    return script


class RawOrigin:
    """A listening socket; the nth connection follows the nth script, later ones the last."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.connections = 0
        self.heads: list[bytes] = []
        self.port = 0
        self._scheme = "http"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors: list[BaseException] = []

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self._scheme = "https" if tls else "http"
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=LIMIT, ssl=tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(self, reader, writer))
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        assert not self.errors, self.errors


@contextlib.asynccontextmanager
async def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawOrigin]:
    origin = RawOrigin(*scripts)
    await origin.start(tls)
    try:
        yield origin
    finally:
        await origin.stop()


@contextlib.asynccontextmanager
async def client(origin: RawOrigin | str, **options: Any) -> AsyncIterator[HttpOrigin]:
    url = origin if isinstance(origin, str) else origin.url
    http = HttpOrigin(OriginOptions(url, **options))
    try:
        yield http
    finally:
        await http.close()


def ask(
    method: bytes = b"GET",
    target: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (),
    **more: Any,
) -> Request:
    more.setdefault("authority", b"origin.example")
    return Request(method, target, Fields(tuple(fields)), **more)


def rested(http: HttpOrigin, seconds: float) -> None:
    """Make every idle connection of *http* have rested for *seconds*."""
    assert http._idle is not None
    for link in http._idle._resting:
        link.rested -= seconds


async def read(response: HttpResponse) -> bytes:
    """The whole body."""
    try:
        return b"".join([chunk async for chunk in response.chunks()])
    finally:
        await response.close()


async def outcome(http: HttpOrigin, request: Request) -> tuple[int, bytes] | str:
    """Status and body, or the error of the failure, wherever it came up."""
    try:
        response = await http.fetch(request)
        return response.head.status, await read(response)
    except OriginFailure as failure:
        return failure.error if failure.sent else f"{failure.error} before sending"


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until *condition* holds; the test's own timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the coroutine *test* on asyncio's loop and on uvloop; nothing may leak or be logged."""

    @pytest.mark.parametrize(
        "loop_factory",
        [
            pytest.param(asyncio.new_event_loop, id="asyncio"),
            pytest.param(uvloop.new_event_loop, id="uvloop"),
        ],
    )
    @functools.wraps(test)
    def run(loop_factory: Any, **arguments: Any) -> None:
        reported: list[str] = []

        async def guarded() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: reported.append(str(context)))
            async with asyncio.timeout(30):
                await test(**arguments)
            for _ in range(3):
                await asyncio.sleep(0)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(guarded())
            gc.collect(0)
        reported += [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)]
        assert not reported, reported

    loop = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    known = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(test).parameters.values()]
    run.__signature__ = inspect.Signature([*known, loop])  # type: ignore[attr-defined]
    del run.__wrapped__  # type: ignore[attr-defined]  # or it would be taken for a coroutine
    return run
