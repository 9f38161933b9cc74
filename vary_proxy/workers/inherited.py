"""What a supervisor binds and its workers inherit, so that they listen as one.

TCP ports of the traffic are only reserved: every worker listens on a socket of its own, and
the kernel deals connections out (SO_REUSEPORT), so that a fallen worker takes no queue of
others with it. Unix sockets, the probes' and the admin listener cannot be dealt out that
way: they are listened on once, and whichever worker is free accepts.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field

from vary_proxy.clients.listening import (
    OPEN_TO_ALL,
    bind_path,
    bound,
    host_and_port,
    refused,
    spell,
)
from vary_proxy.configuration.settings import Address, Settings
from vary_proxy.observation.logfile import Turns
from vary_proxy.workers.agreed import Agreed

_BACKLOG = 2048


@dataclass(slots=True)
class Inherited:
    """``ports`` has the addresses to share for each of ``listen``; none for a unix socket.

    ``sockets`` listen already: ``listen[0]`` and so on, ``probes``, ``admin``. ``peers`` are
    the workers' own, one for each, on which they ask each other.
    """

    ports: list[list[str]] = field(default_factory=list)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    peers: list[socket.socket] = field(default_factory=list)
    turns: Turns | None = None  # at the access log
    agreed: Agreed = field(default_factory=Agreed)
    slot: int = 0
    _reserved: list[socket.socket] = field(default_factory=list)
    _peers_at: list[bytes | str] = field(default_factory=list)
    _paths: list[str] = field(default_factory=list)

    def addresses(self, settings: Settings) -> list[str]:
        """Where the traffic is listened for."""
        pairs = zip(self.ports, settings.listen, strict=True)
        return [one for ports, said in pairs for one in (ports or [str(said.address)])]

    @property
    def own(self) -> socket.socket:
        return self.peers[self.slot]

    def others(self) -> list[bytes | str]:
        """The addresses of the other workers."""
        return [at for at in self._peers_at if at != self._peers_at[self.slot]]

    def keep(self, slot: int) -> None:
        """In the worker *slot*: let go of what is another's."""
        self.slot = slot
        for at, peer in enumerate(self.peers):
            if at != slot:
                peer.close()
        _close(self._reserved)

    def close(self) -> None:
        """In the supervisor, at the end."""
        _close([*self._reserved, *self.sockets.values(), *self.peers])
        self.agreed.close()
        if self.turns is not None:
            self.turns.close()
        for path in self._paths:
            if os.path.exists(path):
                os.unlink(path)


def reserve(settings: Settings, workers: int) -> Inherited:
    """Bind all that *settings* name, for so many workers. Raises ListenError."""
    made = Inherited()
    try:
        for at, one in enumerate(settings.listen):
            if one.address.path is not None:
                made.sockets[f"listen[{at}]"] = _listening(made, one.address, OPEN_TO_ALL)
                made.ports.append([])
            else:
                made.ports.append(_reserve_ports(made, str(one.address)))
        for name, address in (
            ("probes", settings.probes.address),
            ("admin", settings.admin.address),
        ):
            if address is not None:
                made.sockets[name] = _listening(made, address)
        made.turns = Turns()
        made.peers += [_private() for _ in range(workers)]
        made._peers_at += [one.getsockname() for one in made.peers]
    except BaseException:
        made.close()
        raise
    return made


def _reserve_ports(made: Inherited, address: str) -> list[str]:
    try:
        found = _found(address)
        if host_and_port(address)[1]:
            _close(bound(found, reuse_port=False))  # else others of our kind would share the port
        sockets = bound(found, reuse_port=True)
    except OSError as failure:
        raise refused(address, failure) from failure
    made._reserved += sockets
    return [spell(sock, address) for sock in sockets]


def _listening(made: Inherited, address: Address, mode: int = 0o600) -> socket.socket:
    try:
        if address.path is not None:
            sock = bind_path(address.path, mode)
            made._paths.append(address.path)
        else:
            sock, *more = bound(_found(str(address)), reuse_port=False)
            _close(more)
        sock.listen(_BACKLOG)
    except OSError as failure:
        raise refused(str(address), failure) from failure
    return sock


def _found(address: str) -> list[tuple[object, ...]]:
    host, port = host_and_port(address)
    flags = socket.AI_PASSIVE
    return list(socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags))


def _private() -> socket.socket:
    """A listening socket for workers alone: without a file where the system can do that."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind("" if sys.platform == "linux" else tempfile.mktemp(prefix="vary-proxy-"))  # noqa: S306  bind fails where something is
    sock.listen(64)
    return sock


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
