"""Turns the bytes of one client into requests with bodies, one at a time.

Heads are read by core.framing, which both lanes share, which bounds a head as a whole and
which leaves an upgrade that nobody honours alone. Bodies go to aiohttp's StreamReader, whose
marks pause the socket. What is pipelined behind a request waits as bytes until that request
is answered. After anything doubtful no byte means anything any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from vary_proxy.channel import BodyFailed
from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.wire import Head, HeadLimits, Refused

if TYPE_CHECKING:
    from aiohttp.base_protocol import BaseProtocol

AHEAD = 64 * 1024  # bytes of body, or of pipelined requests, that wait before reading pauses
SKIPPED = 8 * 1024 * 1024  # bytes thrown away while a client reads our last word


class Taker(Protocol):
    """Who is told of what has been read."""

    def take(self, head: Head | None, payload: StreamReader, refused: Refused | None) -> None: ...

    def begin_head(self) -> None:
        """Part of a head is there: its deadline runs."""

    def hold(self) -> None:
        """Enough is waiting: read no more for now."""

    def release(self) -> None:
        """What was waiting is done: read again if nothing else forbids it."""

    def enough(self) -> None:
        """Enough was thrown away."""


class Intake:
    __slots__ = (
        "_backlog",
        "_body",
        "_dechunker",
        "_loop",
        "_missing",
        "_most",
        "_protocol",
        "_skipped",
        "_taker",
        "ended",
        "heads",
        "serving",
        "skipping",
    )

    def __init__(
        self,
        taker: Taker,
        protocol: BaseProtocol,
        loop: asyncio.AbstractEventLoop,
        limits: HeadLimits,
        most: int,
        scheme: bytes = b"http",
        client: str = "",
    ) -> None:
        """*most* is the limit of a body, in bytes."""
        self._taker = taker
        self._protocol = protocol
        self._loop = loop
        self._most = most
        self.heads = HeadReader(limits, scheme, client)
        self._body: StreamReader | None = None  # the body that arriving bytes belong to
        self._missing = 0  # bytes of it still to come, unless it is chunked
        self._dechunker: Dechunker | None = None
        self._backlog = b""  # of a body whose chunks are too many to be decoded at once
        self._skipped = 0
        self.ended = False  # the client will send no more
        self.serving = False  # from a request's head to the end of its reply
        self.skipping = False  # bytes mean nothing any more

    @property
    def pending(self) -> int:
        """Bytes that have arrived and are not read yet."""
        return len(self.heads.buffer) + len(self._backlog)

    @property
    def idle(self) -> bool:
        return not self.serving and not self.heads.buffer

    @property
    def exhausted(self) -> bool:
        """The client will send no more, and all that it sent has been taken (RFC 9112 §9.6)."""
        return self.ended and not self.pending

    def receive(self, data: bytes) -> None:
        if self.skipping:
            self._skipped += len(data)
            if self._skipped > SKIPPED:
                self._taker.enough()
            return
        if self._body is not None and data:
            data = self._fill(self._body, data)
        if not data:
            return
        self.heads.feed(data)
        if not self.serving:
            self.advance()
        elif len(self.heads.buffer) > AHEAD:
            self._taker.hold()

    def advance(self) -> None:
        """Hand over the next request if its head is whole."""
        head: Head | None = None
        try:
            head = self.heads.read()
            if head is None:
                if self.heads.buffer:
                    self._await_head()
                return
            length = head.request.body_length
            if length is not None and length > self._most:
                raise self._too_large()
        except Refused as refused:
            self.refuse(refused, head)
            return
        self.serving = True
        if not head.request.has_body:
            self._taker.take(head, EMPTY_PAYLOAD, None)
            return
        self._body = payload = StreamReader(self._protocol, AHEAD, loop=self._loop)
        self._missing = length or 0
        self._dechunker = Dechunker() if length is None else None
        self._taker.take(head, payload, None)
        if self.heads.buffer:
            self.receive(self.heads.rest())
        if self.ended:
            self.end()

    def refuse(self, refused: Refused, head: Head | None = None) -> None:
        self.skipping = self.serving = True
        self._taker.take(head, EMPTY_PAYLOAD, refused)

    def _await_head(self) -> None:
        if self.ended:
            self.refuse(Refused(400, "The head ended early; send it whole.", "cut-head"))
        else:
            self._taker.begin_head()

    def end(self) -> None:
        """The client will send no more; what it sent before is still answered."""
        self.ended = True
        if self._body is not None and not self._backlog:
            self._fail(self._body, BodyFailed(400, "The body ended early; send it whole."))
        elif not self.serving and self.heads.buffer:
            self._await_head()

    def skip(self) -> None:
        """Throw away what is still to come."""
        self.skipping = True
        self._body = None

    def _fill(self, body: StreamReader, data: bytes) -> bytes:
        """Feed *body*; return what follows it."""
        if self._dechunker is None:
            content, rest = data[: self._missing], data[self._missing :]
            self._missing -= len(content)
            whole = not self._missing
        else:
            try:
                content, rest = self._dechunker.feed(data)
                if body.total_bytes + len(content) > self._most:
                    raise self._too_large()
            except Refused as refused:
                self._fail(body, BodyFailed(refused.status, refused.message, refused.detail))
                return b""
            whole = self._dechunker.done
        if content:
            body.feed_data(content)
        if whole:
            self._body = None
            body.feed_eof()
        elif rest:
            self._backlog, rest = rest, b""
            self._taker.hold()
            self._loop.call_soon(self._go_on)
        return rest

    def _go_on(self) -> None:
        """Decode more of the backlog, now that others had their turn."""
        data, self._backlog = self._backlog, b""
        self.receive(data)
        if not self._backlog:
            self._taker.release()
            if self.ended:
                self.end()

    def _fail(self, body: StreamReader, failure: BodyFailed) -> None:
        self.skip()
        body.set_exception(failure)

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is over {self._most} bytes.", "body-too-large")


class NoParser:
    """Stands where aiohttp keeps its parser, for a protocol that Intake reads for."""

    def pause_reading(self) -> None: ...


NO_PARSER = NoParser()
