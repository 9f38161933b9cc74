"""Writes one Reply: framing for this connection, few writes, never far ahead of the reader.

What the fields promise is what is sent: a body that is longer is cut off and logged, one
that is shorter ends the connection, so that the client can see it (RFC 9112 §6.3, §8).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from vary_proxy.core.message import Buffer, Pair, Reply
from vary_proxy.core.wire import response_head

_log = logging.getLogger("vary_proxy")

PIECE = 256 * 1024  # most bytes that are handed to the transport at once

_CONNECTION_OWN = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_LAST_CHUNK = b"0\r\n\r\n"


class Cut(Exception):
    """The body ended before it was whole; ``__cause__`` says why when its source failed."""


class Out(Protocol):
    """Where bytes go."""

    def write(self, buffers: Sequence[Buffer]) -> None: ...

    async def drain(self) -> None:
        """Wait until more may be written. Raises ConnectionError once nobody reads."""


class Sender:
    """Writes one reply; ``sent`` counts the bytes of content, ``persistent`` is decided here."""

    __slots__ = ("_bodiless", "_chunked", "_left", "_out", "persistent", "sent")

    def __init__(self, out: Out, persistent: bool) -> None:
        self._out = out
        self._bodiless = False
        self._left: int | None = None  # bytes promised and not yet written
        self._chunked = False
        self.persistent = persistent
        self.sent = 0

    async def send(self, reply: Reply, method: bytes, version: tuple[int, int]) -> None:
        """Raises ValueError, before any byte, for a head that cannot be sent; Cut; ConnectionError.

        The stream is closed in every case.
        """
        try:
            head = self._head(reply, method, version)
            if self._bodiless:
                self._out.write((head,))
            else:
                await self._body(head, reply)
        finally:
            if reply.stream is not None:
                await _close(reply.stream)
        await self._out.drain()

    def _head(self, reply: Reply, method: bytes, version: tuple[int, int]) -> bytes:
        """The head, once it is settled how the body ends (RFC 9112 §6, §9.3)."""
        status = reply.status
        if not 200 <= status <= 999:  # 600 and above are invalid, and real (RFC 9110 §15)
            raise ValueError(f"{status} is not a final status")
        self._bodiless = reply.bodiless or status == 304 or status == 204 or method == b"HEAD"
        fields, length = _own_fields(reply.fields.items, status != 204)
        if not self._bodiless:
            if length is None and reply.stream is None:
                length = sum(map(len, reply.chunks))
                fields.append((b"content-length", b"%d" % length))
            self._left = length
            self._chunked = length is None and version == (1, 1)
            if self._chunked:
                fields.append((b"transfer-encoding", b"chunked"))
            elif length is None:
                self.persistent = False
        if not self.persistent or reply.close:
            self.persistent = False
            fields.append((b"connection", b"close"))
        elif version == (1, 0):
            fields.append((b"connection", b"keep-alive"))
        return response_head(status, reply.reason, fields)

    async def _body(self, head: bytes, reply: Reply) -> None:
        batch: list[Buffer] = [head]
        size = 0
        for chunk in reply.chunks:
            for piece in (chunk,) if len(chunk) <= PIECE else _pieces(chunk):
                size += self._frame_into(batch, piece)
                if size >= PIECE:
                    self._out.write(batch)
                    await self._out.drain()
                    batch, size = [], 0
        if reply.stream is not None:
            if batch:
                self._out.write(batch)
                batch = []
            await self._stream(reply.stream)
        if self._left:
            raise Cut(f"{self._left} bytes are missing")
        if self._chunked:
            batch.append(_LAST_CHUNK)
        if batch:
            self._out.write(batch)

    async def _stream(self, stream: AsyncIterator[Buffer]) -> None:
        """Write what *stream* yields and run it to its end, where its owner finishes his work."""
        while True:
            await self._out.drain()
            try:
                chunk = await stream.__anext__()
            except StopAsyncIteration:
                return
            except Exception as failure:
                if self._left == 0:
                    _log.warning("a body failed after its last byte: %r", failure)
                    return
                raise Cut("its source failed") from failure
            if self._left == 0 and len(chunk):
                _log.warning("a body is longer than its Content-Length; the rest is dropped")
                return
            for piece in _pieces(chunk):
                batch: list[Buffer] = []
                if self._frame_into(batch, piece):
                    self._out.write(batch)
                    await self._out.drain()

    def _frame_into(self, batch: list[Buffer], piece: Buffer) -> int:
        """Add *piece* to *batch*, framed; return how many bytes of it are sent."""
        size = len(piece)
        if self._left is not None:
            if size > self._left:
                _log.warning("a body is longer than its Content-Length; the rest is dropped")
                piece, size = piece[: self._left], self._left
            self._left -= size
        if not size:
            return 0
        if self._chunked:
            batch += (b"%x\r\n" % size, piece, b"\r\n")
        else:
            batch.append(piece)
        self.sent += size
        return size


async def _close(stream: AsyncIterator[Buffer] | None) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:
            _log.exception("a body's source failed while it was closed")


def _pieces(chunk: Buffer) -> Iterator[Buffer]:
    if len(chunk) <= PIECE:
        yield chunk
        return
    view = memoryview(chunk)
    for at in range(0, len(view), PIECE):
        yield view[at : at + PIECE]


def _own_fields(items: tuple[Pair, ...], lengthy: bool) -> tuple[list[Pair], int | None]:
    """*items* without what belongs to another connection, and the length that they promise.

    Not *lengthy* drops Content-Length. Raises ValueError for a length that is none.
    """
    length: int | None = None
    fields: list[Pair] = []
    for pair in items:
        if pair[0] == b"content-length":
            if length is not None or not pair[1].isdigit():
                raise ValueError("the reply has no single, plain Content-Length")
            length = int(pair[1])
            if not lengthy:
                continue
        elif pair[0] in _CONNECTION_OWN:
            continue
        fields.append(pair)
    return fields, length


def straight(fd: int, wire: bytes) -> bytes:
    """Write to the socket *fd*, before which nothing waits; what it did not take.

    uvloop's own way there, by a queue and a callback at the end of its turn, is a tenth of what
    a hit costs.
    """
    try:
        return wire[os.write(fd, wire) :]
    except OSError:
        return wire  # the transport meets it again, and knows what to do
