"""Connections of which each says first for whom it comes, by a PROXY header.

They are accepted here and not by the event loop's server: the header comes before anything
else, before a TLS handshake too, and nothing behind it may be read with it. Who is turned away
sees a closed connection and no more, so the log says why.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

from vary_proxy.clients import proxyprotocol
from vary_proxy.tasks import Tasks

_AT_ONCE = 64  # connections accepted in one turn of the loop
_MOST_ANNOUNCING = 1024  # connections whose PROXY header is awaited at the same time
_TOLD_FOR = 60.0  # seconds in which a reason to turn somebody away is not told again

_log = logging.getLogger("vary_proxy")


class Factory(Protocol):
    def __call__(self, client: str | None = None) -> asyncio.Protocol:
        """A protocol for one connection; *client* is its address where it was announced."""


class Announced:
    """Accepts connections of which each begins with a PROXY header."""

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        factory: Factory,
        believed: Callable[[str], bool],
        timeout: float,
        more: dict[str, Any],
    ) -> None:
        self._name = name
        self._sock = sock
        self._factory = factory
        self._believed = believed
        self._timeout = timeout
        self._more = more
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        self._told: dict[str, float] = {}  # when, by the reason
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    async def end(self) -> None:
        await self._tasks.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors: they are waited for
                self._loop.remove_reader(self._sock)
                self._loop.call_later(0.1, self._resume)
                return
            sock.setblocking(False)
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            if not self._believed(address):
                self._turn_away(sock, address, "it is not among server.trusted_proxies")
            elif len(self._tasks) >= _MOST_ANNOUNCING:
                self._turn_away(sock, address, "too many have not said for whom they come")
            else:
                self._tasks.spawn(self._admit(sock, address), "PROXY header")

    def _turn_away(self, sock: socket.socket, address: str, why: str) -> None:
        """Close *sock*, and say so: once a minute for each reason."""
        sock.close()
        now = self._loop.time()
        if now - self._told.get(why, -_TOLD_FOR) >= _TOLD_FOR:
            self._told[why] = now
            whom = address or "a unix socket"
            _log.warning("%s: a connection from %s was closed: %s", self._name, whom, why)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    async def _admit(self, sock: socket.socket, address: str) -> None:
        loop, silent = self._loop, True

        async def receive(size: int) -> bytes:
            nonlocal silent
            data = b""
            while len(data) < size:
                more = await loop.sock_recv(sock, size - len(data))
                if not more:
                    raise proxyprotocol.Malformed("it ended early")
                data += more
                silent = False
            return data

        try:
            async with asyncio.timeout(self._timeout):
                client = await proxyprotocol.read(receive)
            await loop.connect_accepted_socket(lambda: self._factory(client), sock, **self._more)
        except proxyprotocol.Malformed as error:
            if silent:  # a balancer that looks whether the port is open
                sock.close()
            else:
                self._turn_away(sock, address, f"no PROXY header: {error}")
        except OSError:  # TimeoutError and TLS failures are OSErrors
            sock.close()
        except BaseException:
            sock.close()
            raise
