"""The HTTP server: listens, counts connections, drains, stops.

``Hub`` is aiohttp's low-level server, which makes a Connection for every client; ``Server``
owns the listening sockets. The handler turns a Request into a Reply and knows no sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from aiohttp import web

from vary_proxy.clients.asked import Handler, Observer, ServerOptions
from vary_proxy.clients.connection import Connection
from vary_proxy.clients.ending import LINGER, end_sending
from vary_proxy.clients.listening import Doors, Listener, ListenError
from vary_proxy.core.errors import error_reply
from vary_proxy.core.syntax import format_date
from vary_proxy.core.wire import response_head
from vary_proxy.fastlane import FastLane

__all__ = ["Handler", "ListenError", "Listener", "Observer", "Server", "ServerOptions"]

_TURNED_AWAY = 256  # connections over the limit that are told so at the same time


class Hub(web.Server):
    """aiohttp's low-level server, and what its connections share."""

    def __init__(
        self,
        handler: Handler,
        options: ServerOptions,
        observer: Observer | None,
        lane: FastLane | None = None,
    ) -> None:
        super().__init__(_unused)
        self.lane = lane
        self.handler = handler
        self.options = options
        self.observer = observer
        self.draining = False
        self.full()  # raises now, not later, for a Vary that cannot be sent
        self._live: set[Connection] = set()
        self._turned_away: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def __call__(self, client: str | None = None) -> Connection:
        return Connection(self, asyncio.get_running_loop(), client)

    @property
    def live(self) -> list[Connection]:
        return list(self._live)

    def admit(self, connection: Connection) -> bool:
        """Count *connection* in; False when there are too many."""
        admitted = len(self._live) < self.options.connections
        (self._live if admitted else self._turned_away).add(connection)
        return admitted

    def turn_away(self, wire: asyncio.Transport) -> None:
        """One connection too many: say so, unless even that is too much."""
        if len(self._turned_away) > _TURNED_AWAY:
            wire.abort()
            return
        wire.write(self.full())
        end_sending(wire)
        asyncio.get_running_loop().call_later(LINGER, wire.abort)

    def full(self) -> bytes:
        """The answer to a connection too many."""
        reply = error_reply(
            503,
            "All connections are in use; try again in a moment.",
            proxy_error="http_request_denied",
            cache_detail="too-many-connections",
            vary=self.options.error_vary,
            date=format_date(time.time()),
        )
        fields = reply.fields.plus(((b"retry-after", b"1"), (b"connection", b"close")))
        return response_head(reply.status, b"", fields.items) + bytes(reply.chunks[0])

    def own(self, task: asyncio.Task[None] | None) -> None:
        """Wait for *task*, which aiohttp started for a connection, when draining."""
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a connection's loop failed", "exception": failure}
            )
        self._changed.set()

    def forget(self, connection: Connection) -> None:
        self._live.discard(connection)
        self._turned_away.discard(connection)
        self._changed.set()

    async def settled(self) -> None:
        """Wait until no connection and no request is left."""
        while self._live or self._tasks:
            self._changed.clear()
            await self._changed.wait()

    async def cut(self) -> None:
        """End every connection now."""
        for connection in (*self._live, *self._turned_away):
            connection.reset()
        for task in self._tasks:
            task.cancel()
        await self.settled()


async def _unused(request: web.BaseRequest) -> web.StreamResponse:
    """aiohttp's handler: never called, because Connection answers for itself."""
    raise NotImplementedError


class Server:
    """Serves *handler* on any number of addresses.

    *observer* is called once at the end of each request with the request, the reply, the
    bytes of content written, and seconds. Its request is empty when no head could be read.
    """

    def __init__(
        self,
        handler: Handler,
        options: ServerOptions | None = None,
        observer: Observer | None = None,
        lane: FastLane | None = None,
    ) -> None:
        self._lane = lane
        self._handler = handler
        self._options = options or ServerOptions()
        self._observer = observer
        self._hub: Hub | None = None
        self._doors: Doors | None = None

    def change(self, options: ServerOptions) -> None:
        """From now on *options* hold: for connections still to come, with their requests."""
        self._options = options
        if self._hub is not None:
            self._hub.options = options

    @property
    def connections(self) -> int:
        return len(self._hub.live) if self._hub is not None else 0

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        live = self._hub.live if self._hub is not None else ()
        return sum(one._current_request is not None for one in live)

    async def start(self, listeners: Iterable[Listener | str]) -> list[str]:
        """Listen; return the bound addresses, ports as they came to be. Raises ListenError."""
        if self._hub is None or self._doors is None:
            self._hub = Hub(self._handler, self._options, self._observer, self._lane)
            self._doors = Doors(self._hub, self._options.head_timeout)
        bound: list[str] = []
        try:
            for listener in listeners:
                bound += await self._doors.open(
                    Listener(listener) if isinstance(listener, str) else listener
                )
        except BaseException:
            self._doors.close()
            raise
        return bound

    async def drain(self, timeout: float) -> bool:
        """Take no more connections and let the requests at hand end; False when some were cut."""
        if self._hub is None or self._doors is None:
            return True
        self._doors.close()
        self._hub.draining = True
        for connection in self._hub.live:
            connection.leave_if_idle()
        try:
            async with asyncio.timeout(timeout):
                await self._hub.settled()
        except TimeoutError:
            await self._hub.cut()
            return False
        return True

    async def close(self) -> None:
        """Stop now."""
        if self._hub is not None and self._doors is not None:
            self._doors.close()
            await self._doors.end()
            await self._hub.cut()
