"""A connection to an origin: aiohttp connects, secures and pools it, a Link reads and writes.

A Link is a pipe of bytes with back-pressure and a deadline, and it knows whether another
request may travel on it. Whoever sends requests alternates ``begin`` and ``rest``; any byte
that arrives in between was asked for by nobody, and would be read as the answer to the next
client's request: the connection is ended instead (RFC 9112 §9.3, §11.2).
"""

from __future__ import annotations

import asyncio
import math
import select
from collections import deque
from typing import cast

from aiohttp.connector import Connection

from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpear import Ear, ear

_HIGH = 128 * 1024  # bytes held before reading pauses; one read may come on top
_LOW = 32 * 1024
_JOINED = 64 * 1024  # small pieces are joined up to about this


class Link(asyncio.Protocol):
    """One connection. ``is_connected`` to ``closed`` are what aiohttp's pool asks of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport | None = None
        self.address: object = None  # what it was asked of the pool for
        self.connection: Connection | None = None  # the pool's own handle, while it is in use
        self.exchanges = 0  # begun on this connection
        self.answered = False  # True once this exchange brought a byte
        self.awaited = False  # True until the final response head has been read
        self._loop = loop
        self._busy = False  # between begin and rest
        self._spoiled = False
        self.rested = 0.0  # loop time at which the last exchange was over
        self._patience = math.inf  # seconds that the origin keeps it open when idle
        self._pieces: deque[bytes] = deque()
        self._held = 0  # bytes in _pieces
        self._reading_paused = False
        self._ended = False  # nothing more will come
        self._failure: Exception | None = None  # why, unless the origin just ended the stream
        self._reader: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._writer: asyncio.Future[None] | None = None
        self._deadline = math.inf  # loop time
        self._late = ""  # the error when the deadline passes
        self._alarm: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None
        self._poller = select.poll()
        self._ear: Ear | None = None

    # The life of the connection, told by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()
            return
        self.answered = True
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _HIGH and not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._salvage()
        if not self._ended:
            self._ended = True
            why = str(exc or "the connection is closed")
            self._failure = OriginFailure("connection_terminated", why, sent=True)
        self.transport = None
        if self._alarm is not None:
            self._alarm.cancel()
        for future in (self._reader, self._writer, self._closed):
            if future is not None and not future.done():
                future.set_result(None)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def is_connected(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def should_close(self) -> bool:
        return self._busy or self._spoiled or self._ended

    def abort(self) -> None:
        """End the connection now: nothing that was written is worth waiting for."""
        self._spoiled = True
        if self.transport is not None:
            self.transport.abort()

    close = abort

    def end(self) -> None:
        """End the connection, and tell the pool."""
        if self.connection is not None:
            self.connection.close()

    def leave(self) -> None:
        """Give the connection back to the pool."""
        if self.connection is not None:
            self.connection.release()

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """Done once the connection has ended; None when it already had."""
        if self._closed is None and self.transport is not None:
            self._closed = self._loop.create_future()
        return self._closed

    # One exchange after another

    def is_fit(self, idle: float) -> bool:
        """True when a request may be sent: fresh, or idle for less than *idle* seconds and quiet.

        What the kernel holds counts: bytes or an end that the event loop has yet to read.
        """
        if not self.exchanges:
            return True
        if self._loop.time() - self.rested >= min(idle, self._patience):
            return False
        return self.is_connected() and not self._poller.poll(0)

    def begin(self) -> None:
        self._busy = True
        self.answered = False
        self.awaited = True
        self.exchanges += 1

    def rest(self, *, persistent: bool, patience: float | None = None) -> bool:
        """The exchange is over; True when the connection, if *persistent*, can take another.

        *patience* is how long the origin said it would wait; a second is kept for the way.
        """
        self._busy = False
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        self.rested = self._loop.time()
        self._patience = math.inf if patience is None else patience - 1.0
        if self._pieces or not persistent:
            self._spoiled = True
        return not (self._spoiled or self._ended) and self.is_connected()

    def fail(self, failure: Exception) -> None:
        """End the connection; whoever reads gets *failure*, unless there already was one."""
        if not self._ended:
            self._ended = True
            self._failure = failure
        self.abort()
        self._wake()

    # Reading

    async def receive(self, seconds: float | None = None) -> bytes:
        """What has arrived, waiting for it up to *seconds* if need be; b"" at a clean end.

        Raises OriginFailure when the connection was lost, or a deadline passed.
        """
        while not self._pieces:
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                return b""
            if seconds is not None:
                self.arm(seconds, "connection_read_timeout")
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
                if seconds is not None:
                    self.disarm()
        return self._take()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces.popleft()
        if pieces and len(data) < _JOINED:
            some, size = [data], len(data)
            while pieces and size < _JOINED:
                some.append(pieces.popleft())
                size += len(some[-1])
            data = b"".join(some)
        self._held -= len(data)
        if self._reading_paused and self._held < _LOW and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()
        return data

    def unread(self, data: bytes) -> None:
        """Put *data* back in front of what is to be received."""
        if data:
            self._pieces.appendleft(data)
            self._held += len(data)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Deadlines: one timer for many, moved only when it must ring earlier, as most are met.

    def arm(self, seconds: float, late: str) -> None:
        """Fail the exchange with the error *late* unless disarmed within *seconds*."""
        self._late = late
        self._deadline = self._loop.time() + seconds
        if self._alarm is None or self._deadline < self._alarm.when():
            self._set_alarm()

    def disarm(self) -> None:
        self._deadline = math.inf

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._deadline == math.inf or self.transport is None:
            return
        if self._loop.time() < self._deadline:
            self._set_alarm()
        else:
            self.fail(OriginFailure(self._late, status=504, sent=True))

    # Writing

    def write(self, data: bytes) -> None:
        """Send *data*; it vanishes when the connection has ended, as the reader will learn."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def prick_up(self) -> None:
        """Be ready to hear an answer that a failed write cuts off."""
        self._ear = ear(self.transport)

    def _salvage(self) -> None:
        if self._ear is None:
            return
        if not self._ended and not self._spoiled and (data := self._ear.hear()):
            self._pieces.append(data)
            self._held += len(data)
        self._ear.close()
        self._ear = None

    async def listen(self) -> None:
        """Let what has arrived be read before more is written."""
        for _ in range(4):
            quiet = not (self._pieces or self._poller.poll(0))
            if quiet or not self.is_connected() or self._reading_paused:
                return
            await asyncio.sleep(0)

    async def drain(self, seconds: float) -> None:
        """Wait until the origin has taken most of what was written; it has *seconds* for that."""
        while self._writing_paused and self.transport is not None:
            self._writer = self._loop.create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._writer
            except TimeoutError:
                self.fail(OriginFailure("connection_write_timeout", status=504, sent=True))
            finally:
                self._writer = None
