"""A server under test, and a client made of raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vary_proxy.channel import Channel
from vary_proxy.core.message import Buffer, Fields, Pair, Reply, Request
from vary_proxy.server import Server, ServerOptions

Handler = Callable[[Request, Channel], Awaitable[Reply]]

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def head(line: bytes, *fields: bytes) -> bytes:
    """A request head with a Host field."""
    return b"\r\n".join((line, b"Host: a.example", *fields, b"", b""))


def ok(body: bytes = b"ok", *fields: Pair, **more: Any) -> Reply:
    length = (b"content-length", b"%d" % len(body))
    return Reply(200, Fields((length, *fields)), chunks=(body,), **more)


async def stream(*chunks: Buffer | Exception | asyncio.Event) -> AsyncIterator[Buffer]:
    """A body: yields bytes, waits for events, raises exceptions."""
    for chunk in chunks:
        if isinstance(chunk, Exception):
            raise chunk
        if isinstance(chunk, asyncio.Event):
            await chunk.wait()
        else:
            yield chunk


class Gate:
    """A handler that answers once it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, request: Request, channel: Channel) -> Reply:
        self.entered.set()
        await self.open.wait()
        return ok(request.target)


@dataclass
class Answer:
    status: int
    fields: list[tuple[str, str]]
    body: bytes
    head: bytes

    def __getitem__(self, name: str) -> str:
        """The one line of *name*."""
        (value,) = [value for key, value in self.fields if key.lower() == name]
        return value

    def has(self, name: str) -> bool:
        return any(key.lower() == name for key, _ in self.fields)


class Client:
    """One connection of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def drip(self, data: bytes) -> None:
        """Send byte by byte, each in a packet of its own."""
        for byte in data:
            self.send(bytes((byte,)))
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self, method: bytes = b"GET") -> Answer:
        """The next response, interim ones too."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields = [(name, value) for name, _, value in (text.partition(": ") for text in lines)]
        answer = Answer(int(line.split(" ")[1]), fields, b"", head)
        if method == b"HEAD" or answer.status < 200 or answer.status in (204, 304):
            return answer
        if answer.has("transfer-encoding"):
            answer.body = b"".join([chunk async for chunk in self._chunks()])
        elif answer.has("content-length"):
            answer.body = await self.reader.readexactly(int(answer["content-length"]))
        else:
            answer.body = await self.reader.read()
        return answer

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"

    async def ask(self, data: bytes = GET) -> Answer:
        self.send(data)
        return await self.answer(data.partition(b" ")[0])

    async def rest(self) -> bytes:
        """All that comes until the server closes in order."""
        return await self.reader.read()

    async def is_closed(self) -> bool:
        """True when the server has ended the connection, in order or by a reset."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def stop_sending(self) -> None:
        self.writer.write_eof()

    async def leave(self) -> None:
        """Close; at once when the server has not taken all that was sent."""
        transport: Any = self.writer.transport
        if not transport.is_closing():
            transport.abort() if transport.get_write_buffer_size() else self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Edge:
    """A server, what it was asked, and what its observer was told."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.seen: list[tuple[Request, Reply, int, float]] = []
        self.server: Server
        self.bound: list[str] = []
        self._clients: list[Client] = []

    async def client(self, at: int = 0, **more: Any) -> Client:
        host, _, port = self.bound[at].rpartition(":")
        if host == "unix":
            pair = await asyncio.open_unix_connection(port)
        else:
            pair = await asyncio.open_connection(host.strip("[]"), int(port), **more)
        self._clients.append(Client(*pair))
        return self._clients[-1]

    async def narrow_client(self) -> Client:
        """A client whose socket takes little at a time."""
        host, _, port = self.bound[0].rpartition(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        self._clients.append(Client(*await asyncio.open_connection(sock=sock, limit=4096)))
        return self._clients[-1]

    async def ask(self, data: bytes = GET) -> Answer:
        """One request on a connection of its own."""
        return await (await self.client()).ask(data)

    async def leave(self) -> None:
        for client in self._clients:
            await client.leave()


@contextlib.asynccontextmanager
async def edge(
    handler: Handler | None = None,
    listeners: Sequence[Any] = ("127.0.0.1:0",),
    **options: Any,
) -> AsyncIterator[Edge]:
    """A running server whose handler is *handler*; by default everything is ``ok``."""
    made = Edge()

    async def recorded(request: Request, channel: Channel) -> Reply:
        made.asked.append(request)
        return ok() if handler is None else await handler(request, channel)

    made.server = Server(recorded, ServerOptions(**options), lambda *told: made.seen.append(told))
    made.bound = await made.server.start(listeners)
    try:
        yield made
    finally:
        await made.leave()
        await made.server.close()
