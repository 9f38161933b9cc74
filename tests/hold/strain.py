"""What strangers cost the others, as figures: used small by the tests, large by bench.strain."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import resource
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hold.worlds import MAX_AGE, Asked, Front, Origin, get, resident, said
from tests.wire.rawclient import Client

LARGE = bytes(1 << 20)
TURN = 0.25  # seconds in which each slow client sends or takes a little


def site(asked: Asked) -> bytes:
    """Pages, one of them large; what is posted is read to its end first."""
    return said(LARGE if asked.target == b"/large" else b"page", MAX_AGE)


@dataclass(frozen=True)
class Felt:
    """Seconds within which 99 of 100 requests of the others were answered."""

    alone: float
    among: float

    @property
    def added(self) -> float:
        return self.among - self.alone


Seconds = Callable[[], float]


async def felt(
    edge: Front, count: int, requests: int, seconds: Seconds = time.perf_counter
) -> Felt:
    """What *count* slow clients are to four others: a third send heads, bodies, and take nothing.

    *requests* of the others are looked at, half of them hits, alone first and then among them.
    Taken by *seconds*: ``time.process_time`` leaves out what other programs on the machine take.
    """
    await edge.primed()
    await edge.primed(b"/large")
    numbers = itertools.count()
    alone = await _p99(edge, requests, numbers, seconds)
    async with _slow(edge, count):
        await asyncio.sleep(2 * TURN)
        among = await _p99(edge, requests, numbers, seconds)
    return Felt(alone, among)


async def _p99(
    edge: Front, requests: int, numbers: itertools.count[int], seconds: Seconds
) -> float:
    took: list[float] = []

    async def one() -> None:
        client = await edge.client()
        for _ in range(requests // 8):
            for target in (b"/", b"/missed/%d" % next(numbers)):
                begun = seconds()
                assert (await client.ask(get(target))).status == 200
                took.append(seconds() - begun)
                await asyncio.sleep(0.002)

    await asyncio.gather(*(one() for _ in range(4)))
    return statistics.quantiles(took, n=100)[98]


@contextlib.asynccontextmanager
async def _slow(edge: Front, count: int) -> AsyncIterator[None]:
    heads = [await edge.client() for _ in range(count // 3)]
    bodies = [await edge.client() for _ in range(count // 3)]
    readers = [await edge.client(receive=4096) for _ in range(count - 2 * (count // 3))]
    for client in bodies:
        client.send(get(b"/posted", b"Content-Length: 100000", method=b"POST"))
    for client in readers:
        client.send(get(b"/large"))
    for client in readers:  # that so many come at once is not what being slow costs
        await client.reader.read(512)
    dripping = asyncio.create_task(_drip(heads, bodies, readers))
    try:
        yield
        assert not dripping.done(), "a slow client was ended, or failed"
    finally:
        dripping.cancel()
        await asyncio.wait((dripping,))
        for client in (*heads, *bodies, *readers):
            client.writer.transport.abort()


async def _drip(heads: list[Client], bodies: list[Client], readers: list[Client]) -> None:
    """A byte or two of each in every turn, evenly over it."""
    head = get(b"/slow", *(b"X-%d: slowly" % number for number in range(60)))
    everyone = [*heads, *bodies, *readers]
    taking = set(map(id, readers))
    slices = 25
    for at in itertools.count():
        for part in range(slices):
            for client in everyone[part::slices]:
                if id(client) in taking:
                    await client.reader.read(512)  # there is always more of it
                else:
                    client.send(head[at : at + 1] if at < len(head) - 4 else b"")
            await asyncio.sleep(TURN / slices)


def streaming(size: int, control: bytes) -> Callable[..., Awaitable[None]]:
    """What an origin does with a connection: *size* bytes, as fast as they are taken."""
    piece = bytes(64 * 1024)
    head = b"HTTP/1.1 200 OK\r\n" + control + b"\r\nContent-Length: %d\r\n\r\n" % size

    async def serve(origin: Origin, reader: Any, writer: Any) -> None:
        while await origin.read(reader) is not None:
            writer.write(head)
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()

    return serve


async def readers(edge: Front, count: int) -> int:
    """Bytes that *count* clients cost who take nothing of a large answer."""
    before = resident()
    for _ in range(count):
        client = await edge.client(receive=4096)
        client.send(get(b"/large"))
        await client.reader.read(1000)
    return resident() - before


def varying(asked: Asked) -> bytes:
    """Another content for every client program; CORS fields for every Origin."""
    lines = [MAX_AGE, b"Vary: User-Agent", b'ETag: "v1"']
    if (origin := asked.get(b"origin")) is not None:
        lines.append(b"Access-Control-Allow-Origin: " + origin)
    if asked.get(b"if-none-match") == b'"v1"' and asked.target.startswith(b"/cors"):
        return b"\r\n".join((b"HTTP/1.1 304 Not Modified", *lines, b"", b""))
    return said(b"page", *lines)


@dataclass(frozen=True)
class Tried:
    """Seconds of a hit in the middle, before and after, on the URL that was tried and another."""

    before: float
    after: float
    other_before: float
    other_after: float


async def tried(edge: Front, target: bytes, field: bytes, count: int) -> Tried:
    """*count* values of *field* for one URL, while real clients have theirs."""
    await edge.primed(target)
    await edge.primed(b"/other")
    before, other_before = await hit(edge, target), await hit(edge, b"/other")
    client = await edge.client()
    for number in range(count):
        line = field + b": https://stranger-%d.example" % number
        assert (await client.ask(get(target, line))).status == 200
        edge.origin.asked.clear()
    edge.origin.asked.clear()
    result = Tried(before, await hit(edge, target), other_before, await hit(edge, b"/other"))
    assert edge.origin.asked == []  # what was stored for the real ones is there still
    return result


async def hit(edge: Front, target: bytes, count: int = 400) -> float:
    client = await edge.client()
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        answer = await client.ask(get(target))
        took.append(time.perf_counter() - begun)
        assert "; hit;" in answer["cache-status"]
    return statistics.median(took)


def resident_of(pid: int) -> int:
    """Bytes of memory that the process *pid* has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def allow_files(count: int) -> None:
    """Lets this process, and those that it starts, have *count* descriptors open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard not in (-1, resource.RLIM_INFINITY) and hard < count:
            raise RuntimeError(f"{count} descriptors are needed, and {hard} allowed: ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


_WHOLE = re.compile(rb"(?s)\r\nContent-Length: (\d+)\r\n(?:.*?\r\n)?\r\n")


class Idle:
    """Plain connections that ask once, or nothing at all, and then only are there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: list[socket.socket] = []

    def connect(self, count: int, *, asking: bool) -> None:
        for _ in range(count):
            made = socket.create_connection(("127.0.0.1", self.port), 20)
            self.open.append(made)
            if asking:
                assert self.status(made) == 200

    def status(self, link: socket.socket) -> int:
        """What *link* is answered; 0 when its connection ends without an answer."""
        answer = b""
        with contextlib.suppress(ConnectionError):
            link.sendall(get())
            while more := link.recv(4096):
                answer += more
                if (found := _WHOLE.search(answer)) and len(answer) >= found.end() + int(found[1]):
                    break
        return int(answer[9:12]) if answer else 0

    def close(self) -> None:
        for link in self.open:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.close()


ONE_PROXY = """\
version: 1
listen: ["127.0.0.1:0"]
server: {{limits: {{connections: {connections}}}, drain: {{delay: 0s}}}}
origins: {{o: {{url: "http://127.0.0.1:{port}", host: preserve}}}}
defaults: {{origin: o}}
probes: {{address: "127.0.0.1:0"}}
log: {{access: off}}
"""


@contextlib.asynccontextmanager
async def an_origin(respond: Callable[[Asked], bytes] = site) -> AsyncIterator[Origin]:
    origin = Origin(respond)
    await origin.start()
    try:
        yield origin
    finally:
        await origin.stop()
