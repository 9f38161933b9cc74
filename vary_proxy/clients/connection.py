"""One client connection: aiohttp's protocol, with our reader in and our writer out.

aiohttp's low-level server keeps the connection: transport, flow control, keep-alive, the task
of each client. Its parser is not asked, for it takes trailer fields for the fields of the next
request and bounds no head as a whole: Intake reads, Asked answers, and here they meet the
socket and the clock. Every private name of aiohttp that we rely on is used in this class and
nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from vary_proxy.clients.asked import Asked, Last
from vary_proxy.clients.ending import LINGER, cut, end_sending
from vary_proxy.clients.idling import Idling
from vary_proxy.clients.intake import AHEAD, NO_PARSER, Intake
from vary_proxy.clients.sending import straight
from vary_proxy.clients.watching import Watch
from vary_proxy.core.message import Buffer, Request
from vary_proxy.core.wire import Head, Refused

if TYPE_CHECKING:
    from vary_proxy.server import Hub

_JOINED = 16 * 1024  # bytes; what is smaller is cheaper to copy than to gather from its parts


class Connection(RequestHandler):
    __slots__ = (
        "_begun", "_client", "_fd", "_head_timer", "_hub", "_idling", "_intake", "_lane",
        "_lingering", "_options", "_scheme", "_watch", "_wire",
    )  # fmt: skip

    def __init__(
        self, hub: Hub, loop: asyncio.AbstractEventLoop, client: str | None = None
    ) -> None:
        options = hub.options
        super().__init__(
            hub,
            loop=loop,
            keepalive_timeout=0.0,  # Idling ends who is idle
            lingering_time=0.0,
            tcp_keepalive=False,  # idle and write timeouts end sooner than the kernel would ask
            access_log=cast(Any, None),
        )
        self._parser = cast(Any, NO_PARSER)
        self._hub = hub
        self._begun = False  # its task is there, or was
        self._options = options
        self._idling = Idling(loop, options.idle_timeout, self.leave_if_idle)
        self._lane = hub.lane
        self._scheme = b"http"
        self._fd: int | None = None  # of a socket whose bytes nobody encrypts
        self._intake: Intake
        self._client = client or ""  # as it was announced, or its peer's address
        self._lingering: asyncio.Future[None] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None  # outlives aiohttp's ``transport``
        self._watch = Watch(loop, options.write_timeout, self._unsent, self.reset)

    # The connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = self._client or (str(peer[0]) if isinstance(peer, tuple) else "")
        self._scheme = b"http" if transport.get_extra_info("sslcontext") is None else b"https"
        sock = transport.get_extra_info("socket")
        if sock is not None and self._scheme == b"http":
            self._fd = sock.fileno()
        options, said = self._options, (self._scheme, self._client)
        self._intake = Intake(self, self, self._loop, options.head, options.body, *said)
        if not self._hub.admit(self):
            self._intake.skip()
            self._hub.turn_away(self._wire)
            return
        self.transport = self._wire
        self.begin_head()

    def _begin(self) -> None:
        """Have aiohttp start the connection's task; what the fast lane answers needs none."""
        self._begun = True
        super().connection_made(cast(asyncio.Transport, self._wire))
        self._hub.own(self._task_handler)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wire = None
        self._intake.skip()
        super().connection_lost(exc)
        self._watch.end()
        self._idling.end()
        self._stop_head_timer()
        self.enough()
        self._hub.forget(self)

    def is_gone(self) -> bool:
        return self.transport is None or self._intake.ended or self.transport.is_closing()

    def leave_if_idle(self) -> None:
        """Close, unless a request is being read or answered."""
        if self._intake.idle:
            self.force_close()

    def force_close(self) -> None:
        self._watch.begin()
        if self.transport is not None and self.transport.is_closing():
            self.transport = None  # closed twice, asyncio's TLS transport could not be aborted
        super().force_close()

    def reset(self) -> None:
        if self._wire is not None:
            cut(self._wire)

    # Reading: what Intake asks for

    def data_received(self, data: bytes) -> None:
        lane, intake, transport = self._lane, self._intake, self.transport
        # The fast lane is asked only where the next byte begins a message, and nothing is owed
        # to the client. (A method for this would cost a hit more than what it looks at.)
        if (
            lane is None
            or transport is None
            or intake.serving
            or intake.skipping
            or intake.heads.buffer
            or self._paused
            or self._buffer_paused
            or self._hub.draining
            or transport.is_closing()
        ):
            intake.receive(data)
            return
        taken = lane.take(data, self, self._scheme, self._client)
        if taken:
            # As idling.from_now(), without its call.
            idling = self._idling
            idling.until = self._loop.time() + idling.seconds
            if idling.timer is None or self._head_timer is not None:
                self._stop_head_timer()
                if self.transport is not None:
                    idling.from_now()
        if taken < len(data):
            intake.receive(data[taken:])

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp narrows asyncio here
        if self._intake.idle or self._wire is None:
            self._watch.begin()  # the fast lane's answers may be unread
            return False
        self.enough()
        self._intake.end()
        # A client may close its side and still read; under TLS asyncio cannot wait for it.
        return self._wire.get_extra_info("sslcontext") is None

    def take(self, head: Head | None, payload: StreamReader, refused: Refused | None) -> None:
        request = Request(b"", b"", client=self._client) if head is None else head.request
        self._stop_head_timer()
        self._hand_over(Asked(self, self._options, request, head, payload, refused))

    def _hand_over(self, asked: Asked) -> None:
        if not self._begun and self.transport is not None:
            self._begin()
        self._messages.append(cast(Any, asked))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def begin_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._options.head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._intake.idle:
            self.force_close()
        elif not self._intake.serving:
            slow = Refused(408, "The head took too long; send it at once.", "slow-head")
            self._intake.refuse(slow)

    def hold(self) -> None:
        if not self._buffer_paused:
            self._pause_reading_for_buffer()

    def release(self) -> None:
        if self._buffer_paused and self._intake.pending <= AHEAD:
            self._resume_reading_for_buffer()

    # Answering

    async def start(self) -> None:
        """Answer one request after the other: the connection's task, in place of aiohttp's own."""
        hub = self._hub
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            asked = cast(Asked, self._messages.popleft())
            self._current_request = cast(Any, asked)
            try:
                await asked.answer(hub.handler, self._may_persist, hub.observer)
                if not asked.keep_alive or not self._may_persist():
                    await self._part(asked)
                    break
            except BaseException:
                self.reset()
                raise
            finally:
                self._current_request = None
            self._ready()
            if self._messages:
                await asyncio.sleep(0)  # a pipeline is no reason to keep others waiting
        self._task_handler = None
        if self.transport is not None:
            self.transport.close()

    def _ready(self) -> None:
        """Take the next request if it is there, else be idle for as long as is allowed."""
        self._intake.serving = False
        if self._intake.pending:
            self._intake.advance()
        if self._intake.ended and not self._intake.serving:
            self.force_close()  # only empty lines were left
        self.release()
        self._idling.from_now()

    def _may_persist(self) -> bool:
        return not (self._hub.draining or self._intake.skipping or self._intake.exhausted)

    async def _part(self, asked: Asked) -> None:
        """Let a client that is still sending read our last word (RFC 9112 §9.6)."""
        self._watch.begin()
        intake, transport = self._intake, self.transport
        sending = intake.skipping or intake.pending or not asked.payload.is_eof()
        if not sending or intake.ended or transport is None or transport.is_closing():
            return
        intake.skip()
        end_sending(transport)
        self._reading_paused = self._buffer_paused = False
        self._resume_transport_reading()
        self._lingering = self._loop.create_future()
        await asyncio.wait((self._lingering,), timeout=LINGER)

    def enough(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    # Writing

    def write(self, buffers: Sequence[Buffer]) -> None:
        if self.transport is None:
            raise ConnectionResetError("the client has left")
        self._watch.written += (size := sum(map(len, buffers)))
        if size <= _JOINED:
            self.transport.write(b"".join(buffers))
        else:
            self.transport.writelines(buffers)

    def send(self, wire: bytes) -> None:
        """As ``write``, for what is small and made already; only asked while there is a client."""
        transport: Any = self.transport
        self._watch.written += len(wire)
        free = not (transport.is_closing() or transport.get_write_buffer_size())
        if self._fd is not None and free:
            wire = straight(self._fd, wire)
        if wire:
            transport.write(wire)

    def end(self) -> None:
        """What the fast lane wrote is the last: a client that is still reading may go on."""
        if self._unsent():
            self._intake.skip()
            self._hand_over(Last(self, self._options))
        else:
            self.force_close()

    async def drain(self) -> None:
        if self._paused:
            self._watch.begin()
            await self._drain_helper()
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")

    def _unsent(self) -> int:
        return self._wire.get_write_buffer_size() if self._wire is not None else 0
