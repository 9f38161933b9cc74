"""Ports for servers that are told theirs before they bind it."""

from __future__ import annotations

import contextlib
import random
import socket

# Below what systems give to outgoing connections (Linux: from 32768 on), so that none of those
# takes a port between its choice and its binding. Ten thousand above, where the bus of a node
# of a Redis Cluster listens, it is so too, and no port of these is.
_PORTS = range(12_000, 22_000)
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Distinct ports of 127.0.0.1 on which nothing listens; each is given once in a run."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in _given:
                found.append(port)
                _given.add(port)
    return found


def free_port() -> int:
    """One such port."""
    (port,) = free_ports(1)
    return port
