"""Ways to end a connection, so that the client can tell a whole answer from a cut one."""

from __future__ import annotations

import asyncio
import socket
import struct

LINGER = 2.0  # seconds in which a client that is still sending may read our last word
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: end with RST


def cut(wire: asyncio.Transport) -> None:
    """End with RST where there is such a thing, so that what was sent never looks whole."""
    sock = wire.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    wire.abort()


def end_sending(wire: asyncio.Transport) -> None:
    """Say that nothing more will come, and still read; TLS cannot say so."""
    if wire.can_write_eof():
        wire.write_eof()
