"""What a large object costs in memory, read by many at different speeds through a whole proxy.

    python -m bench.bigbody [--size 1GiB] [--readers 64] [--store memory|redis] [--ask get|range]
                            [--kind strong|weak|chunked] [--seconds 120] [--most 64MiB] [--verbose]

Every byte is looked at. A quarter of the readers takes what it can get, the others are ever
slower, and the slowest takes hardly anything; after SECONDS those who have not come to the end
leave. Prints by how much the proxy's memory has grown at its peak, and what the origin sent; exits
with 1 when it was more than MOST, or when a byte was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bigorigin import content
from tests.ports import free_port
from tests.real.proxy import Proxy, configured, running_proxy
from tests.store.servers import RedisServer
from vary_proxy.configuration.quantities import size

MIB = 1 << 20
_RECEIVE = 256 << 10  # bytes that the system may hold for a reader
_TAKE = 256 << 10

CONFIG = """
version: 1
origins: {{o: {{url: "http://127.0.0.1:{port}"}}}}
store: {store}
defaults: {{origin: o}}
log: {{access: off}}
"""
MEMORY = "{type: memory, memory: {max: 32MiB}}"
REDIS = (
    '{{type: redis, url: "{url}", max_object: 2GiB, timeout: {timeout}, '
    "memory: {{max: 8MiB, max_object: 1MiB}}}}"
)


@contextlib.contextmanager
def big_origin() -> Iterator[int]:
    """The port of an origin in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bigorigin", str(port)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the origin did not start")
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def big_proxy(directory: Path, port: int, store: str) -> Iterator[Proxy]:
    text = CONFIG.format(port=port, store=store)
    with running_proxy(directory, *configured(directory, text)) as proxy:
        yield proxy


async def told(port: int) -> dict[str, Any]:
    """What the origin was asked, and how many bytes it sent, since it was last asked this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(b"GET /asked HTTP/1.1\r\nHost: o\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    found: dict[str, Any] = json.loads(await reader.readexactly(length))
    writer.close()
    return found


@dataclass
class Got:
    """What a reader was given: ``count`` right bytes, from *first* on."""

    status: int = 0
    head: str = ""
    count: int = 0
    expected: int | None = None  # bytes announced; None: chunked
    wrong: bool = False
    ended: bool = False  # as its framing says


@dataclass
class Reader:
    """One client. *rate* is in bytes a second; None: as fast as it goes."""

    url: str
    target: str
    fields: tuple[str, ...] = ()
    rate: float | None = None
    first: int = 0
    version: int = 1
    got: Got = field(default_factory=Got)
    on_bytes: Any = None  # awaited after every take, with the count

    async def run(self) -> Got:
        host, _, port = self.url.removeprefix("http://").partition(":")
        sock = socket.socket()
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE if self.rate is None else 8192
        )
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        limit = _TAKE if self.rate is None else 16384
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        try:
            lines = (f"GET {self.target} HTTP/1.1", "Host: o", "Connection: close", *self.fields)
            writer.write("\r\n".join((*lines, "", "")).encode())
            await self._head(reader)
            if self.got.expected is None:
                await self._chunks(reader)
            else:
                await self._take(reader, self.got.expected)
                self.got.ended = self.got.count == self.got.expected
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
        return self.got

    async def _head(self, reader: asyncio.StreamReader) -> None:
        self.got.head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.got.status = int(self.got.head[9:12])
        for line in self.got.head.split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "content-length":
                self.got.expected = int(value)
            if name.lower() == "content-range":
                self.first = int(value.removeprefix("bytes ").split("-")[0])

    async def _chunks(self, reader: asyncio.StreamReader) -> None:
        while length := int(await reader.readuntil(b"\r\n"), 16):
            await self._take(reader, length)
            await reader.readexactly(2)
        self.got.ended = True

    async def _take(self, reader: asyncio.StreamReader, length: int) -> None:
        while length:
            data = await reader.read(min(length, _TAKE if self.rate is None else 65536))
            if not data:
                raise ConnectionError
            at = self.first + self.got.count
            self.got.wrong |= data != content(self.version, at, at + len(data))
            self.got.count += len(data)
            length -= len(data)
            if self.on_bytes is not None:
                await self.on_bytes(self.got.count)
            if self.rate is not None:
                await asyncio.sleep(len(data) / self.rate)


def readers(url: str, target: str, count: int, ask: str) -> list[Reader]:
    """Of ever less speed; the ranges begin at ever other places."""
    total = int(target.rpartition("/")[2].partition("?")[0])
    made = []
    for number in range(count):
        rate = None if number % 4 == 0 else 64 * MIB / 1.2 ** (40 * number / count)
        begin = (number * 7919 * 1000) % (total // 2) if ask == "range" else 0
        fields = (f"Range: bytes={begin}-",) if ask == "range" else ()
        made.append(Reader(url, target, fields, rate, begin))
    return made


@dataclass(frozen=True)
class Outcome:
    grown: int  # bytes at the peak
    got: list[Got]
    told: dict[str, Any]
    seconds: float

    @property
    def wrong(self) -> int:
        return sum(1 for one in self.got if one.wrong or one.status not in (200, 206))


async def measure(
    proxy: Proxy, port: int, made: list[Reader], seconds: float, least: int = 0
) -> Outcome:
    """What *made* get in *seconds*; a slow machine is given more, until it is *least* bytes."""
    warm = Reader(proxy.url, "/strong/300000")
    await warm.run()
    await Reader(proxy.url, "/strong/300001", ("Range: bytes=0-99",)).run()
    await told(port)
    before, began = proxy.memory("VmRSS"), time.monotonic()
    tasks = [asyncio.ensure_future(one.run()) for one in made]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    while late and sum(one.got.count for one in made) <= least:
        _, late = await asyncio.wait(tasks, timeout=1)
    took = time.monotonic() - began
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
    grown = proxy.memory("VmHWM") - before
    return Outcome(grown, [one.got for one in made], await told(port), took)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=size, default=size("1GiB"))
    parser.add_argument("--readers", type=int, default=64)
    parser.add_argument("--store", choices=("memory", "redis"), default="redis")
    parser.add_argument("--ask", choices=("get", "range"), default="get")
    parser.add_argument("--kind", choices=("strong", "weak", "chunked"), default="strong")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--most", type=size, default=size("64MiB"))
    parser.add_argument("--verbose", action="store_true", help="what the origin was asked")
    asked = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = MEMORY
        if asked.store == "redis":
            server = RedisServer(directory, "--maxmemory", "3gb")
            server.start()
            stack.callback(server.kill)
            store = REDIS.format(url=server.url, timeout="250ms")
        port = stack.enter_context(big_origin())
        proxy = stack.enter_context(big_proxy(directory, port, store))
        made = readers(proxy.url, f"/{asked.kind}/{asked.size}", asked.readers, asked.ask)
        found = asyncio.run(measure(proxy, port, made, asked.seconds))
    if asked.verbose:
        print(*found.told["asked"], sep="\n")
    whole = sum(1 for one in found.got if one.ended)
    sent = sum(one.count for one in found.got)
    print(
        f"{asked.readers} readers of {asked.size / MIB:.0f} MiB ({asked.kind}, {asked.ask}, "
        f"{asked.store}): memory grew by {found.grown / MIB:.1f} MiB; {whole} read to the end, "
        f"{sent / MIB:.0f} MiB in {found.seconds:.0f} s; the origin was asked "
        f"{len(found.told['asked'])} times and sent {found.told['sent'] / MIB:.0f} MiB; "
        f"wrong: {found.wrong}"
    )
    return 0 if found.grown <= asked.most and not found.wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
