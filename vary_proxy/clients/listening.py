"""Listening sockets: TCP and unix, plain and TLS, with and without the PROXY protocol.

A unix socket for traffic is open to every user of the machine, as a port is; any other is its
owner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vary_proxy.clients.announced import Announced, Factory

_BACKLOG = 2048
OPEN_TO_ALL = 0o666  # as a port on the loopback interface is


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: ``host:port``, ``[v6]:port``, ``:port`` for all, or ``unix:/path``.

    ``announced`` says of a peer's address whether the PROXY header that it must send is
    believed; None: there is none. ``sock`` listens already, and is to be used.
    """

    address: str
    ssl_context: ssl.SSLContext | None = None
    reuse_port: bool = False  # several processes share the port
    announced: Callable[[str], bool] | None = None
    sock: socket.socket | None = None


class ListenError(Exception):
    """*address* cannot be listened on; ``remedy`` says what to do about it."""

    def __init__(self, address: str, remedy: str) -> None:
        super().__init__(f"cannot listen on {address}: {remedy}")
        self.address = address
        self.remedy = remedy


class Doors:
    """The listening sockets of one server. *factory* makes a protocol for every connection."""

    def __init__(self, factory: Factory, head_timeout: float) -> None:
        self._factory = factory
        self._head_timeout = head_timeout
        self._open: list[asyncio.Server | Announced] = []
        self._announced: list[Announced] = []
        self._paths: list[tuple[str, int]] = []  # unix sockets, with their inodes

    async def open(self, listener: Listener) -> list[str]:
        """Listen; the addresses bound. Raises ListenError."""
        try:
            return await self._listen(listener)
        except (OSError, OverflowError) as failure:
            raise refused(listener.address, failure) from failure

    async def _listen(self, listener: Listener) -> list[str]:
        sockets = [listener.sock] if listener.sock is not None else await self._bound(listener)
        more: dict[str, Any] = {"ssl": listener.ssl_context}
        if listener.ssl_context is not None:
            more |= {"ssl_handshake_timeout": self._head_timeout, "ssl_shutdown_timeout": 5.0}
        loop = asyncio.get_running_loop()
        for sock in sockets:
            if (believed := listener.announced) is not None:
                name = listener.address
                sock.listen(_BACKLOG)
                door = Announced(name, sock, self._factory, believed, self._head_timeout, more)
                self._open.append(door)
                self._announced.append(door)
            elif sock.family == socket.AF_UNIX:
                if sys.version_info >= (3, 13):  # the path is ours to remove, or our parent's
                    more["cleanup_socket"] = False
                self._open.append(
                    await loop.create_unix_server(
                        self._factory, sock=sock, backlog=_BACKLOG, **more
                    )
                )
            else:
                self._open.append(
                    await loop.create_server(self._factory, sock=sock, backlog=_BACKLOG, **more)
                )
        return [spell(sock, listener.address) for sock in sockets]

    async def _bound(self, listener: Listener) -> list[socket.socket]:
        if listener.address.startswith("unix:"):
            path = listener.address.removeprefix("unix:")
            sock = bind_path(path, OPEN_TO_ALL)
            self._paths.append((path, os.stat(path).st_ino))
            return [sock]
        return await bind_port(listener.address, listener.reuse_port)

    def close(self) -> None:
        """Listen no more."""
        for one in self._open:
            one.close()
        self._open.clear()
        for path, inode in self._paths:
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
        self._paths.clear()

    async def end(self) -> None:
        """Let go of those who have not yet said for whom they come."""
        for one in self._announced:
            await one.end()


def bind_path(path: str, mode: int = 0o600) -> socket.socket:
    """A socket bound to *path* for those whom *mode* lets write. Raises OSError.

    A file that nobody listens on gives way.
    """
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, mode)  # nobody can connect before it listens
    except BaseException:
        sock.close()
        raise
    return sock


async def bind_port(address: str, reuse_port: bool) -> list[socket.socket]:
    """Sockets bound to every address that the host of *address* has. Raises OSError."""
    host, port = host_and_port(address)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return bound(found, reuse_port)


def bound(found: list[Any], reuse_port: bool) -> list[socket.socket]:
    """A socket bound to each of *found*, as getaddrinfo gives them. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, where in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, proto)
            except OSError:  # this machine does without the family
                continue
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of a TCP address. Raises ListenError."""
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


def refused(address: str, failure: Exception) -> ListenError:
    """What to tell when *address* could not be bound."""
    return ListenError(address, _remedy(failure))


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


def spell(sock: socket.socket, said: str) -> str:
    if sock.family == socket.AF_UNIX:
        return said
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
