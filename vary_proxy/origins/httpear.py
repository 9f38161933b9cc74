"""Hears what an origin said last, where a failed write would drown it.

An origin that refuses early and closes resets the connection when it gets more. A write that
meets the reset ends the transport, though the kernel still holds the refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

_MOST = 128 * 1024  # bytes


class Ear:
    """A second descriptor of a connection's socket; to be closed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def hear(self) -> bytes:
        """What has arrived and nobody has read."""
        with contextlib.suppress(OSError):
            return self._sock.recv(_MOST, socket.MSG_DONTWAIT)
        return b""

    def close(self) -> None:
        self._sock.close()


def ear(transport: asyncio.Transport | None) -> Ear | None:
    """An Ear at *transport*; None under TLS, or without a descriptor left."""
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return None
    sock = transport.get_extra_info("socket")
    try:  # what is known of it need not be asked of the kernel
        return Ear(socket.socket(sock.family, sock.type, sock.proto, os.dup(sock.fileno())))
    except OSError:
        return None
