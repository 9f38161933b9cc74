"""Workers of one supervisor ask each other: for their metrics, to purge, to reload.

Each listens on a private socket that all of them know. A question is a verb and bytes, the
answer is bytes. Who does not answer in time is left out: it is ending, or just begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping

from vary_proxy.tasks import Tasks

_log = logging.getLogger("vary_proxy")

Handler = Callable[[bytes], Awaitable[bytes]]
_SIZE = struct.Struct("!II")
_MOST = 64 << 20  # bytes
_PATIENCE = 2.0  # seconds


class Peers:
    """*own* is the socket of this worker, *addresses* are those of all others."""

    def __init__(self, own: socket.socket, addresses: list[bytes | str]) -> None:
        self._own = own
        self._addresses = addresses
        self._server: asyncio.Server | None = None
        self._handlers: Mapping[str, Handler] = {}
        self._tasks = Tasks()

    async def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Answer questions by their verb, until closed."""
        self._handlers = handlers
        self._server = await asyncio.start_unix_server(self._answer, sock=self._own)

    async def ask(self, verb: str, said: bytes = b"") -> list[bytes]:
        """The answers of all others that give one."""
        asked = [self._tasks.spawn(self._one(one, verb, said), verb) for one in self._addresses]
        if not asked:
            return []
        await asyncio.wait(asked)
        answers = [task.result() for task in asked]
        return [one for one in answers if one is not None]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    async def _one(self, address: bytes | str, verb: str, said: bytes) -> bytes | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().sock_connect(sock, address)
                reader, writer = await asyncio.open_unix_connection(sock=sock)
                with contextlib.closing(writer):
                    writer.writelines((_SIZE.pack(len(verb), len(said)), verb.encode(), said))
                    return (await _message(reader))[1]
        except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
            return None
        finally:
            sock.close()  # the transport, if there is one, has it no more

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if not _is_ours(writer):
                return
            try:
                async with asyncio.timeout(_PATIENCE):
                    verb, said = await _message(reader)
                    handler = self._handlers.get(verb.decode())
                    if handler is None:
                        return
                    answer = await handler(said)
                    writer.writelines((_SIZE.pack(0, len(answer)), answer))
                    await writer.drain()
            except (OSError, asyncio.IncompleteReadError, UnicodeDecodeError):
                return
            except Exception:
                _log.exception("a question of another worker failed")


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    first, second = _SIZE.unpack(await reader.readexactly(_SIZE.size))
    if first + second > _MOST:
        raise OSError("too long")
    return await reader.readexactly(first), await reader.readexactly(second)


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """False when the peer is another user's: a socket without a file has no permissions."""
    if sys.platform != "linux":
        return True
    sock = writer.get_extra_info("socket")
    _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.geteuid())
