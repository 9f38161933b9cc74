"""A small origin that answers as AWS S3 does where no server here does, and that misbehaves.

It reads and writes raw bytes on asyncio streams, so that a test sees the target and the
fields exactly as they arrived, and can be answered with exactly the bytes it asked for.

Every path is an object (its body is made from its path) unless it starts with one of:

    /status/404           S3's answer of that status, in S3's own words (301 307 403 416 500 503 …)
    /missing/…            404 NoSuchKey
    /sized/N/…            N bytes, known length;  /chunked/N/…  the same in chunks
    /slow/head  /slow/body    nothing, or half of the body, until ``release`` is set
    /cut/length /cut/chunked  half of the body, then the end of the connection
    /cut/reset                half of a body that only the end would delimit, then a reset
    /echo/…               the request, as JSON: method, target and fields in order

What a request wants is in its query: ``vary=`` and ``cc=`` (Vary and Cache-Control lines),
``bare304`` (304s without CORS fields), ``nocors`` (a bucket without rules), ``status=``,
``etag=``. A query with ``X-Amz-Signature`` is a presigned URL: signed ``good``, else 403.

As S3 does: CORS fields and the three Vary names only on requests whose Origin a rule names,
nothing at all on others; Access-Control-Request-Method is looked at on GET as well.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.real.awsanswers import ALLOWED, Answer, Asked, Pairs, answer, content, representation

__all__ = ["ALLOWED", "BLOCK", "AwsStub", "aws_stub"]

BLOCK = bytes(range(256)) * 1024  # 256 KiB: large bodies repeat it
_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    304: "Not Modified",
    307: "Temporary Redirect",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    416: "Requested Range Not Satisfiable",
    500: "Internal Server Error",
    503: "Slow Down",
}


@dataclass
class AwsStub:
    """``asked`` holds every request in order; ``release`` lets the slow ones go on."""

    asked: list[Asked] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        self.release.set()
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                if not await self._answer(asked, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the loop ends; streams complain of a cancelled task
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        """Answer *asked*; whether the connection lives on."""
        kind, _, rest = asked.path[1:].partition("/")
        if kind == "slow":
            return await self._slow(rest, asked, writer)
        if kind == "cut":
            return await _cut(rest, asked, writer)
        if kind in ("sized", "chunked"):
            return await _large(int(rest.split("/")[0]), kind == "chunked", asked, writer)
        await _write(writer, asked, answer(asked))
        return True

    async def _slow(self, what: str, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        body = content(asked.path)
        head = _head(200, [("Content-Length", str(len(body))), *representation(asked, body)])
        half = len(body) // 2 if what == "body" else 0
        if half:
            writer.write(head + body[:half])
            await writer.drain()
        await self.release.wait()
        writer.write(body[half:] if half else head + body)
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    """The next request; None when the connection has ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    asked = Asked(method, target, fields)
    if (asked.get("transfer-encoding") or "").lower() == "chunked":
        return Asked(method, target, fields, await _read_chunks(reader))
    return Asked(method, target, fields, await reader.readexactly(_length(asked)))


def _length(asked: Asked) -> int:
    return int(asked.get("content-length") or 0)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readline() != b"\r\n":
        pass
    return body


def _head(status: int, fields: Pairs) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _write(writer: asyncio.StreamWriter, asked: Asked, answered: Answer) -> None:
    fields = list(answered.fields)
    if answered.status not in (204, 304):
        fields.append(("Content-Length", str(len(answered.body))))
    bodiless = asked.method == "HEAD" or answered.status in (204, 304)
    writer.write(_head(answered.status, fields) + (b"" if bodiless else answered.body))
    await writer.drain()


async def _cut(what: str, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    """Half of a body, and the end of the connection."""
    body = content(asked.path)
    half, fields = body[: len(body) // 2], representation(asked, body)
    if what == "length":
        writer.write(_head(200, [*fields, ("Content-Length", str(len(body)))]) + half)
    elif what == "chunked":
        head = _head(200, [*fields, ("Transfer-Encoding", "chunked")])
        writer.write(head + b"%x\r\n%s\r\n" % (len(half), half))
    else:
        writer.write(_head(200, [*fields, ("Connection", "close")]) + half)
    await writer.drain()
    if what == "reset":
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


async def _large(size: int, chunked: bool, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    """*size* bytes that repeat BLOCK, written no faster than they are taken."""
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))
    fields = [("Content-Type", "application/octet-stream"), ("ETag", f'"large-{size}"'), framing]
    fields += [("Cache-Control", line) for line in asked.wants("cc")]
    writer.write(_head(200, fields))
    for at in range(0, size if asked.method == "GET" else 0, len(BLOCK)):
        piece = BLOCK[: size - at]
        if chunked:
            writer.writelines([b"%x\r\n" % len(piece), piece, b"\r\n"])
        else:
            writer.write(piece)
        await writer.drain()
    if chunked and asked.method == "GET":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


@asynccontextmanager
async def aws_stub() -> AsyncIterator[AwsStub]:
    """A stub of its own, on a free loopback port."""
    stub = AwsStub()
    await stub.start()
    try:
        yield stub
    finally:
        await stub.close()


async def _main() -> None:
    async with aws_stub() as stub:
        print(stub.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())  # until its standard input is closed
