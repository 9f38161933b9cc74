"""One request on its connection: the Channel of its handler, and the way to its reply."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from vary_proxy.channel import BodyFailed, Channel
from vary_proxy.clients.sending import Cut, Sender
from vary_proxy.core.errors import error_reply
from vary_proxy.core.forwarding import end_to_end
from vary_proxy.core.message import Buffer, Reply, Request, Response
from vary_proxy.core.syntax import format_date
from vary_proxy.core.wire import DEFAULT_LIMITS, Head, HeadLimits, Refused, response_head

_log = logging.getLogger("vary_proxy")

Handler = Callable[[Request, Channel], Awaitable[Reply]]
Observer = Callable[[Request, Reply, int, float], None]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OF_CONTENT = frozenset((b"content-length",))


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits in bytes, but for ``connections``; deadlines in seconds."""

    head: HeadLimits = DEFAULT_LIMITS
    body: int = 5 * 1024**3
    connections: int = 4096
    head_timeout: float = 10.0  # for a whole head, from its first byte or the connection's start
    idle_timeout: float = 75.0  # between requests
    body_timeout: float = 75.0  # without a byte of a request body that is being read
    write_timeout: float = 60.0  # without the client taking a byte
    error_vary: bytes = b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


class Wire(Protocol):
    """What a request needs of its connection."""

    def write(self, buffers: Sequence[Buffer]) -> None: ...

    async def drain(self) -> None: ...

    def is_gone(self) -> bool: ...

    def reset(self) -> None:
        """End the connection so that what was sent cannot be taken for whole."""


class Asked:
    """A Channel, and all that its connection knows of the request."""

    __slots__ = (
        "_body",
        "_options",
        "expects",
        "keep_alive",
        "payload",
        "refused",
        "request",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        options: ServerOptions,
        request: Request,
        head: Head | None,
        payload: StreamReader,
        refused: Refused | None = None,
    ) -> None:
        self.wire = wire
        self._options = options
        self._body: AsyncIterator[bytes] | None = None
        self.request = request
        self.expects = head is not None and head.expects
        self.keep_alive = head is not None and head.persistent
        self.payload = payload
        self.refused = refused

    def _cancel(self, failure: BaseException) -> None:
        """aiohttp calls this when the connection is lost under a running handler."""
        self.payload.set_exception(_left())

    @property
    def body(self) -> AsyncIterator[bytes] | None:
        if self._body is None and self.payload is not EMPTY_PAYLOAD:
            self._body = self._chunks()
        return self._body

    async def _chunks(self) -> AsyncIterator[bytes]:
        payload = self.payload
        if self.expects and not payload.total_bytes and not self.gone():
            self.wire.write((_CONTINUE,))
        while True:
            if chunk := payload.read_nowait():
                yield chunk  # without a deadline to set: it is here
                continue
            if payload.at_eof() and payload.exception() is None:
                return
            try:
                async with asyncio.timeout(self._options.body_timeout):
                    chunk = await payload.readany()
            except TimeoutError:
                stalled = BodyFailed(408, "The body stopped arriving; send it again.", "slow-body")
                payload.set_exception(stalled)
                raise stalled from None
            except RuntimeError:  # aiohttp's word for a connection that is lost
                raise _left() from None
            if not chunk:
                return
            yield chunk

    async def interim(self, response: Response) -> None:
        if self.request.version == (1, 0) or not 102 <= response.status <= 199 or self.gone():
            return
        # What is said of another connection, or of content that it has none of, ends here.
        fields = end_to_end(response.fields).without(_OF_CONTENT)
        head = response_head(response.status, response.reason, fields.items)
        self.wire.write((head,))
        with contextlib.suppress(ConnectionError):  # the reply will find out
            await self.wire.drain()

    def gone(self) -> bool:
        return self.wire.is_gone()

    async def answer(
        self, handler: Handler, may_persist: Callable[[], bool], observe: Observer | None
    ) -> None:
        """Have the reply made and write it; ``keep_alive`` then says if another may follow."""
        started = time.monotonic()
        try:
            if self.refused is None:
                reply = await handler(self.request, self)
            else:
                reply = self._refusal(self.refused)
        except BodyFailed as failed:
            reply = _error(self._options, failed.status, failed.reason, failed.detail)
        except (Exception, asyncio.CancelledError):
            if _is_cancelled():
                raise
            _log.exception("the answer to %r %r failed", self.request.method, self.request.target)
            reply = _mistake(self._options)
        sender = Sender(self.wire, self.keep_alive and may_persist() and self.payload.is_eof())
        try:
            reply = await self._send(sender, reply)
        finally:
            self.keep_alive = sender.persistent and self.payload.is_eof()
            if observe is not None:
                observe(self.request, reply, sender.sent, time.monotonic() - started)

    def _refusal(self, refused: Refused) -> Reply:
        reply = _error(self._options, refused.status, refused.message, refused.detail)
        reply.bodiless = refused.bodiless
        return reply

    async def _send(self, sender: Sender, reply: Reply) -> Reply:
        """Write *reply*; return what was written in fact."""
        request = self.request
        try:
            await sender.send(reply, request.method, request.version)
        except ValueError as unfit:
            _log.error("the reply to %r %r is unfit: %s", request.method, request.target, unfit)
            reply = _mistake(self._options)
            await self._send(sender, reply)
        except ConnectionError:
            sender.persistent = False
        except Cut as cut:
            why = f"{cut}: {cut.__cause__!r}" if cut.__cause__ else str(cut)
            _log.warning("%r %r was cut: %s", request.method, request.target, why)
            sender.persistent = False
            self.wire.reset()
        except BaseException:
            sender.persistent = False
            self.wire.reset()
            raise
        return reply


class Last(Asked):
    """Of a connection: one that the fast lane has answered, and whose answer is on its way."""

    __slots__ = ()

    def __init__(self, wire: Wire, options: ServerOptions) -> None:
        super().__init__(wire, options, Request(b"", b""), None, EMPTY_PAYLOAD)

    async def answer(
        self, handler: Handler, may_persist: Callable[[], bool], observe: Observer | None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            await self.wire.drain()


def _is_cancelled() -> bool:
    """Whether this task is to end; a CancelledError may also come from work it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _left() -> BodyFailed:
    return BodyFailed(400, "The client left.", "client-left")


def _error(options: ServerOptions, status: int, message: str, detail: str) -> Reply:
    return error_reply(
        status,
        message,
        proxy_error="proxy_internal_error" if status == 500 else "http_request_error",
        cache_detail=detail,
        vary=options.error_vary,
        date=format_date(time.time()),
    )


def _mistake(options: ServerOptions) -> Reply:
    return _error(options, 500, "The proxy failed at this request; its log says why.", "failed")
