"""What these tests share: an origin that names itself, and clients that keep their connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving import listening
from vary_proxy.app import App
from vary_proxy.config import load


@dataclass
class NamedOrigin:
    """Answers every request with its name; ``/slow…`` when ``go`` is set."""

    name: str
    url: str = ""
    more: bytes = b""  # lines of fields
    asked: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    clients: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                self.asked.append(path)
                body = self.name.encode() * 2
                writer.write(
                    b"HTTP/1.1 200 OK\r\nCache-Control: %b\r\nContent-Length: %d\r\n%b\r\n"
                    % (b"no-store" if "live" in path else b"max-age=1000", len(body), self.more)
                )
                writer.write(body[:1])
                if path.startswith("/slow"):
                    self.begun.set()
                    await self.go.wait()
                writer.write(body[1:])
        finally:
            self.clients -= 1


@contextlib.asynccontextmanager
async def origin(name: str) -> AsyncIterator[NamedOrigin]:
    made = NamedOrigin(name)
    async with listening(made) as port:
        made.url = f"http://127.0.0.1:{port}"
        try:
            yield made
        finally:
            _leave()


@contextlib.asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[App, int]]:
    """An app by the file at *path*, and its first port."""
    app = App(load(path, {}, {}), reread=lambda: load(path, {}, {}))
    bound = await app.start()
    try:
        yield app, int(bound[0].rpartition(":")[2])
    finally:
        _leave()
        await app.close()


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """One connection, asked again and again. The end of an origin or of an app closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        _clients.append(self)

    @classmethod
    async def at(
        cls, port: int, secure: ssl.SSLContext | None = None, first: bytes = b""
    ) -> Client:
        name = "localhost" if secure is not None else None
        client = cls(
            *await asyncio.open_connection("127.0.0.1", port, ssl=secure, server_hostname=name)
        )
        client.writer.write(first)
        return client

    async def get(self, path: str, *lines: str) -> Answer:
        fields = "".join(f"{line}\r\n" for line in lines)
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n".encode())
        return await self.answer()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *said = head.strip().split("\r\n")
        fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in said)}
        body = await self.reader.readexactly(int(fields["content-length"]))
        return Answer(int(line.split()[1]), fields, body)

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


_clients: list[Client] = []


def _leave() -> None:
    while _clients:
        _clients.pop().close()


async def asked(port: int, path: str, *lines: str) -> Answer:
    """The answer to one request on a connection of its own."""
    client = await Client.at(port)
    try:
        return await client.get(path, *lines)
    finally:
        client.close()


async def until(claim: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for *claim* to hold. Fails when it does not."""
    async with asyncio.timeout(seconds):
        while not claim():
            await asyncio.sleep(0.005)
