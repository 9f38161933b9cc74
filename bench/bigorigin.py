"""An origin of objects of any size, whose bytes are made up as they are sent.

    python -m bench.bigorigin PORT

``/strong/N`` has N bytes under a strong entity tag, ``/weak/N`` under a weak one, ``/chunked/N``
says no length. Ranges, If-Match, If-Range and If-None-Match are obeyed. ``/asked`` tells of every
request since it was last asked, ``/change/V`` makes version V of everything.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import struct
import sys
from dataclasses import dataclass, field

PIECE = 64 << 10  # bytes; each begins with its version and number, the rest is the same
_STAMP = struct.Struct(">QQ")
_REST = random.Random(1).randbytes(PIECE - _STAMP.size)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


def content(version: int, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of any object of *version*."""
    numbers = range(start // PIECE, -(-stop // PIECE))
    whole = b"".join(_STAMP.pack(version, number) + _REST for number in numbers)
    base = start - start % PIECE
    return whole[start - base : stop - base]


@dataclass
class BigOrigin:
    version: int = 1
    asked: list[dict[str, str | None]] = field(default_factory=list)
    sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await self._answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        line, *lines = head.split("\r\n")[:-2]
        said = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        method, target, _ = line.split(" ")
        _, kind, number = target.split("?")[0].split("/") + ([""] if target == "/asked" else [])
        if kind in ("asked", "change"):
            await self._control(kind, number, writer)
            return
        names = ("range", "if-match", "if-range", "if-none-match")
        self.asked.append({"target": target, **{name: said.get(name) for name in names}})
        total = int(number)
        tag = f'{"W/" if kind == "weak" else ""}"v{self.version}"'
        fields = ["Cache-Control: max-age=600", f"ETag: {tag}", "Content-Type: video/mp4"]
        status, start, stop = _chosen(said, tag, total)
        if status in (304, 412, 416):
            start = stop = 0
        if status == 416:
            fields.append(f"Content-Range: bytes */{total}")
        if status == 206:
            fields.append(f"Content-Range: bytes {start}-{stop - 1}/{total}")
        chunked = kind == "chunked" and status == 200
        fields.append(
            "Transfer-Encoding: chunked" if chunked else f"Content-Length: {stop - start}"
        )
        writer.write("\r\n".join((f"HTTP/1.1 {status} .", *fields, "", "")).encode())
        if method == "GET" and status in (200, 206):
            await self._body(writer, start, stop, chunked=chunked)

    async def _body(
        self, writer: asyncio.StreamWriter, start: int, stop: int, *, chunked: bool
    ) -> None:
        version, at = self.version, start
        while at < stop:
            piece = content(version, at, min(stop, at - at % PIECE + PIECE))
            at += len(piece)
            self.sent += len(piece)
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")

    async def _control(self, kind: str, number: str, writer: asyncio.StreamWriter) -> None:
        if kind == "change":
            self.version = int(number)
        told = json.dumps({"asked": self.asked, "sent": self.sent}).encode()
        if kind == "asked":
            self.asked, self.sent = [], 0
        writer.write(b"HTTP/1.1 200 .\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        await writer.drain()


def _chosen(said: dict[str, str], tag: str, total: int) -> tuple[int, int, int]:
    """Status, and which bytes."""
    if said.get("if-match", tag) != tag:
        return 412, 0, 0
    if said.get("if-none-match") == tag:
        return 304, 0, 0
    found = _RANGE.match(said.get("range", ""))
    if found is None or said.get("if-range", tag) != tag:
        return 200, 0, total
    if not found[1]:
        return 206, max(0, total - int(found[2])), total
    start, stop = int(found[1]), min(total, int(found[2]) + 1 if found[2] else total)
    return (206, start, stop) if start < stop else (416, 0, 0)


async def main(port: int) -> None:
    server = await asyncio.start_server(BigOrigin().serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
