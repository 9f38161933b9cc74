"""A whole proxy between raw sockets: an origin that reads strictly and keeps every byte, and
clients that send whatever they like.

The origin shares no line of code with the proxy: what it takes for a request is written
here once more, so that two readings meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wire.rawclient import Answer, Client
from vary_proxy import config
from vary_proxy.app import App
from vary_proxy.config import Loaded
from vary_proxy.store.layered import LayeredStore

HOST = b"front.example"
MAX_AGE = b"Cache-Control: max-age=600"


PATIENT = "timeouts: {connect: 30s, first_byte: 30s}"  # on a machine that does much else
MEMORY = "{type: memory, memory: {max: 16MiB}}"


def default_store() -> str:
    """Where conftest.py puts another store."""
    return MEMORY


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


@dataclass
class Asked:
    """One request as the origin read it."""

    head: bytes
    body: bytes = b""

    @property
    def method(self) -> bytes:
        return self.head.split(b" ", 2)[0]

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:-2]
        pairs = (line.partition(b":") for line in lines)
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    def get(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.fields if key == name]
        return b", ".join(values) if values else None


class Unclear(Exception):
    """Bytes that are not exactly one request after the other."""


Respond = Callable[[Asked], "bytes | Awaitable[bytes]"]
_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


def said(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A response whose length is given."""
    lines = [b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body), b"", b""]
    return b"\r\n".join(lines) + body


def echo(asked: Asked) -> bytes:
    """Storable, and shows everything that arrived, but for what names this very hop."""
    shown = asked.head + b"\n" + asked.body
    return said(b"" if asked.method == b"HEAD" else shown, MAX_AGE, b"Content-Type: text/plain")


class Origin:
    """``asked`` are the whole requests; ``unclear`` is what could not be read in one way."""

    def __init__(self, respond: Respond = echo) -> None:
        self.respond = respond
        self.asked: list[Asked] = []
        self.unclear: list[bytes] = []
        self.broken_off: list[bytes] = []  # beginnings of requests whose sender left
        self.connections = 0
        self.port = 0
        self.on_connection: Callable[[Origin, Any, Any], Awaitable[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hang_up(self) -> None:
        """End every connection, so that the next request comes on a new one."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self.on_connection is not None:
                await self.on_connection(self, reader, writer)
            else:
                await self.talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (asked := await self.read(reader)) is not None:
            answer = self.respond(asked)
            writer.write(answer if isinstance(answer, bytes) else await answer)
            await writer.drain()

    async def read(self, reader: asyncio.StreamReader) -> Asked | None:
        """The next request, strictly; None when there is none."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as left:
            if left.partial:
                self.broken_off.append(left.partial)
            return None
        asked = Asked(head)
        try:
            asked.body = await _body(reader, asked)
        except asyncio.IncompleteReadError:
            self.broken_off.append(head)
            return None
        except Unclear:
            self.unclear.append(head)
            return None
        self.asked.append(asked)
        return asked


async def _body(reader: asyncio.StreamReader, asked: Asked) -> bytes:
    line, *lines = asked.head[:-4].split(b"\r\n")
    if not _LINE.fullmatch(line) or not all(map(_FIELD.fullmatch, lines)):
        raise Unclear
    names = [name for name, _ in asked.fields]
    if names.count(b"host") != 1 or names.count(b"content-length") > 1:
        raise Unclear
    length, coding = asked.get(b"content-length"), asked.get(b"transfer-encoding")
    if coding is not None:
        if coding != b"chunked" or length is not None:
            raise Unclear
        return await _chunked(reader)
    if length is None:
        return b""
    if not re.fullmatch(rb"[0-9]+", length):
        raise Unclear
    return await reader.readexactly(int(length))


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    out = b""
    while True:
        size = (await reader.readuntil(b"\r\n"))[:-2]
        if not re.fullmatch(rb"[0-9a-f]+", size):
            raise Unclear
        out += await reader.readexactly(int(size, 16))
        if await reader.readexactly(2) != b"\r\n":
            raise Unclear
        if size == b"0":
            return out


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a RST, without what is still unsent."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


CONFIG = """\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
server: {{trusted_proxies: {trusted}{server}}}
origins: {{o: {{url: "http://{at}:{port}", host: {host}{origin}}}}}
store: {store}
defaults: {{origin: o}}
log: {{access: off}}
{rules}
"""


@dataclass
class Front:
    """A running proxy and the clients that were made for it."""

    app: App
    address: str
    origin: Origin
    clock: Clock
    clients: list[Client] = field(default_factory=list)
    lane: object = field(default_factory=object)  # what answers with this one memory

    async def client(self, receive: int = 0) -> Client:
        """A connection; *receive* bounds what the system buffers for it."""
        host, _, port = self.address.rpartition(":")
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        more: dict[str, Any] = {"limit": receive} if receive else {"limit": 1 << 20}
        self.clients.append(Client(*await asyncio.open_connection(sock=sock, **more)))
        return self.clients[-1]

    async def ask(self, data: bytes) -> Answer:
        """The answer on a connection of its own."""
        client = await self.client()
        try:
            return await client.ask(data)
        finally:
            self.clients.remove(client)
            await client.leave()

    async def get(self, target: bytes = b"/", *fields: bytes) -> Answer:
        return await self.ask(get(target, *fields))

    async def primed(self, target: bytes = b"/", *fields: bytes) -> None:
        """Three times, so that both lanes have it, and until it is stored."""
        for _ in range(3):
            await self.get(target, *fields)
            async with asyncio.timeout(20):
                while len(self.app.exchange.flights):
                    await asyncio.sleep(0.001)

    async def settle(self) -> None:
        """Until nothing goes on in the background."""
        await self.app.tasks.settle()


def get(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = HOST) -> bytes:
    return b"\r\n".join(
        (method + b" " + target + b" HTTP/1.1", b"Host: " + host, *fields, b"", b"")
    )


@contextlib.asynccontextmanager
async def front(
    respond: Respond = echo,
    *,
    fast: bool = True,
    trusted: str = "[]",
    server: str = "",
    host: str = "preserve",
    at: str = "127.0.0.1",
    origin: str = "",
    store: str = "",
    rules: str = "",
    log: str = "access: off",
    clock: Clock | None = None,
    reloads: Sequence[dict[str, str]] = (),
    shared: Origin | None = None,
) -> AsyncIterator[Front]:
    """A proxy in front of a new origin; nobody is trusted unless said.

    *reloads* are what its configuration says instead, in turn, each time it is read again:
    keyword arguments of this function. *shared* is an origin that is there already, for several.
    """
    behind = shared or Origin(respond)
    said = {"trusted": trusted, "host": host, "store": store or default_store(), "rules": rules}
    said |= {"server": server, "origin": origin or PATIENT, "at": at, "log": log}
    if shared is None:
        await behind.start()
    try:
        loaded = _loaded(behind.port, said)
    except BaseException:
        if shared is None:
            await behind.stop()
        raise
    ticking = clock or Clock()
    turns = itertools.cycle(({}, *reloads))
    next(turns)
    again = lambda: _loaded(behind.port, said | next(turns))  # noqa: E731
    app = App(loaded, ticking, fast=fast, reread=again)
    made = Front(app, (await app.start())[0], behind, ticking)
    try:
        await _connected(app)
        yield made
    finally:
        for client in made.clients:
            await client.leave()
        await app.close()
        if shared is None:
            await behind.stop()


def _loaded(port: int, said: dict[str, str]) -> Loaded:
    more = {name: ", " + said[name] if said[name] else "" for name in ("server", "origin")}
    text = CONFIG.format(**said | more, port=port)
    text = text.replace("log: {access: off}", f"log: {{{said['log']}}}")
    return config.loads(text.encode(), "hold.yaml", (), {})


async def _connected(app: App) -> None:
    """Until the memory in front of a shared store hears of its changes, and may answer."""
    if isinstance(app.store, LayeredStore):
        async with asyncio.timeout(20):
            while not app.store.trusted:
                await app.store.load(b"somebody asks")
                await asyncio.sleep(0.002)


def responses(data: bytes, methods: tuple[bytes, ...] = ()) -> list[Answer]:
    """Every response in all that a client was sent; *methods* are those of its requests."""
    out: list[Answer] = []
    asked = list(methods)
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark, f"not a response: {head[:200]!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        assert line.startswith("HTTP/1.1 "), line
        fields = [(name, value) for name, _, value in (text.partition(": ") for text in lines)]
        answer = Answer(int(line.split(" ")[1]), fields, b"", head)
        method = (asked.pop(0) if asked else b"GET") if answer.status >= 200 else b""
        bodiless = method == b"HEAD" or answer.status in (204, 304) or answer.status < 200
        if not bodiless:
            if answer.has("Transfer-Encoding"):
                answer.body, data = _dechunked(data)
            else:
                length = int(answer["content-length"])
                answer.body, data = data[:length], data[length:]
                assert len(answer.body) == length, "cut"
        out.append(answer)
    return out


def _dechunked(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        body += data[:count]
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
        if not count:
            return body, data


def resident() -> int:
    """Bytes of memory that this process has, here and now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
