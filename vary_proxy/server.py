"""The HTTP server: listens, counts connections, drains, stops.

``Hub`` is aiohttp's low-level server, which makes a Connection for every client; ``Server``
owns the listening sockets. The handler turns a Request into a Reply and knows no sockets.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from vary_proxy.asked import Handler, Observer, ServerOptions
from vary_proxy.connection import Connection
from vary_proxy.core.errors import error_reply
from vary_proxy.core.syntax import format_date
from vary_proxy.core.wire import response_head
from vary_proxy.fastlane import FastLane

__all__ = ["Handler", "ListenError", "Listener", "Observer", "Server", "ServerOptions"]

_TURNED_AWAY = 256  # connections over the limit that are told so at the same time
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: ``host:port``, ``[v6]:port``, ``:port`` for all, or ``unix:/path``."""

    address: str
    ssl_context: ssl.SSLContext | None = None
    reuse_port: bool = False  # several processes share the port


class ListenError(Exception):
    """*address* cannot be listened on; ``remedy`` says what to do about it."""

    def __init__(self, address: str, remedy: str) -> None:
        super().__init__(f"cannot listen on {address}: {remedy}")
        self.address = address
        self.remedy = remedy


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

    def __call__(self) -> Connection:
        return Connection(self, asyncio.get_running_loop())

    @property
    def live(self) -> list[Connection]:
        return list(self._live)

    def admit(self, connection: Connection) -> bool:
        """Count *connection* in; False when there are too many."""
        admitted = len(self._live) < self.options.connections
        (self._live if admitted else self._turned_away).add(connection)
        return admitted

    def is_crowded(self) -> bool:
        return len(self._turned_away) > _TURNED_AWAY

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
        self._sockets: list[asyncio.Server] = []
        self._paths: list[tuple[str, int]] = []  # unix sockets, with their inodes

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
        if self._hub is None:
            self._hub = Hub(self._handler, self._options, self._observer, self._lane)
        bound: list[str] = []
        try:
            for listener in listeners:
                bound += await self._listen(
                    self._hub, Listener(listener) if isinstance(listener, str) else listener
                )
        except BaseException:
            self._stop_listening()
            raise
        return bound

    async def _listen(self, hub: Hub, listener: Listener) -> list[str]:
        secure = listener.ssl_context
        deadlines: dict[str, Any] = {"ssl": secure, "backlog": _BACKLOG}
        if secure is not None:
            deadlines["ssl_handshake_timeout"] = self._options.head_timeout
            deadlines["ssl_shutdown_timeout"] = 5.0
        loop = asyncio.get_running_loop()
        try:
            if listener.address.startswith("unix:"):
                path = listener.address.removeprefix("unix:")
                _clear_stale(path)
                server = await loop.create_unix_server(hub, path, **deadlines)
                self._paths.append((path, os.stat(path).st_ino))
                self._sockets.append(server)
                return [listener.address]
            host, port = _host_and_port(listener.address)
            shared = listener.reuse_port or None
            server = await loop.create_server(
                hub, host or None, port, reuse_port=shared, **deadlines
            )
        except (OSError, OverflowError) as failure:
            raise ListenError(listener.address, _remedy(failure)) from failure
        self._sockets.append(server)
        return [_spell(sock) for sock in server.sockets]

    def _stop_listening(self) -> None:
        for server in self._sockets:
            server.close()
        self._sockets.clear()
        for path, inode in self._paths:
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                continue
        self._paths.clear()

    async def drain(self, timeout: float) -> bool:
        """Take no more connections and let the requests at hand end; False when some were cut."""
        self._stop_listening()
        if self._hub is None:
            return True
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
        self._stop_listening()
        if self._hub is not None:
            await self._hub.cut()


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(address, "write an IPv6 address in brackets, as [::1]:8080")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(address, "write host:port, for example 127.0.0.1:8080, or unix:/path")
    return host, int(port)


def _clear_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more. Raises OSError when one does."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "exists")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "in use")


def _remedy(failure: Exception) -> str:
    if isinstance(failure, socket.gaierror):
        return "its name cannot be resolved; write an address of this machine"
    known = {
        errno.EADDRINUSE: "another program listens there; stop it or choose another port",
        errno.EACCES: "permission is missing; choose a port from 1024 up, or another path",
        errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 stands for all of them",
        errno.EEXIST: "a file that is no socket has that path; remove it or choose another path",
        errno.ENOENT: "its directory does not exist; create it first",
    }
    code = failure.errno if isinstance(failure, OSError) else None
    return known.get(code or 0, str(failure))


def _spell(sock: Any) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
