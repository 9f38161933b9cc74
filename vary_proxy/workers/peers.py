"""Workers of one supervisor ask each other: for their metrics, to purge, to invalidate, to reload.

Each listens on a private socket that all of them know. A question is a verb and bytes, the
answer is bytes; until it is ready its maker gives signs of life. Who gives none in time is
left out of the answer: it is ending, just begins, or is stopped. What everybody must hear
stays in its socket until it comes back; where not even that could be had it is told again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping

from vary_proxy.tasks import Tasks

Handler = Callable[[bytes], Awaitable[bytes]]
_SIZE = struct.Struct("!II")
_MOST = 64 << 20  # bytes
_PATIENCE = 2.0  # seconds without a sign of life
_BEAT = 0.5  # seconds between these
_WAIT, _FAILED = b"wait", b"failed"  # what such a sign says, and what an answer that is none
_MOST_OWED = 1000  # messages to one worker
_AGAIN = 1.0  # seconds


class Peers:
    """*own* is the socket of this worker, *addresses* are those of all others."""

    def __init__(self, own: socket.socket, addresses: list[bytes | str]) -> None:
        self._own = own
        self.addresses = addresses
        self._server: asyncio.Server | None = None
        self._handlers: Mapping[str, Handler] = {}
        self._tasks = Tasks()
        self._owed: dict[bytes | str, list[tuple[str, bytes]]] = {}

    async def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Answer questions by their verb, until closed."""
        self._handlers = handlers
        self._server = await asyncio.start_unix_server(self._answer, sock=self._own)

    async def ask(self, verb: str, said: bytes = b"") -> list[bytes]:
        """The answers of all others that give one."""
        asked = [self._tasks.spawn(self._one(one, verb, said), verb) for one in self.addresses]
        return [one for one in await asyncio.gather(*asked) if isinstance(one, bytes)]

    async def tell(self, verb: str, said: bytes, instead: bytes) -> tuple[list[bytes], int]:
        """The answers of all others, and how many gave none in time.

        Those hear of it all the same, when they come back; where too much has gathered by
        then, of *instead* alone.
        """
        asked = [
            self._tasks.spawn(self.tell_one(one, verb, said, instead), verb)
            for one in self.addresses
        ]
        outcomes = await asyncio.gather(*asked)
        answers = [one for one in outcomes if one is not None]
        return answers, len(outcomes) - len(answers)

    async def tell_one(
        self, address: bytes | str, verb: str, said: bytes, instead: bytes
    ) -> bytes | None:
        """As ``tell``, to one of the others; None: it gave no answer in time."""
        outcome = await self._one(address, verb, said)
        if isinstance(outcome, _Unsaid):
            self._owe(address, verb, said, instead)
            return None
        return outcome

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    async def _one(self, address: bytes | str, verb: str, said: bytes) -> bytes | _Unsaid | None:
        """The answer; None: it was said, and not answered in time."""
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await _connected(address)
        except OSError:  # TimeoutError is one
            return _Unsaid()
        with contextlib.closing(writer):
            _say(writer, verb.encode(), said)
            try:
                return await _last_message(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                return None if isinstance(error, TimeoutError) else _Unsaid()

    def _owe(self, address: bytes | str, verb: str, said: bytes, instead: bytes) -> None:
        owed = self._owed.get(address)
        if owed is None:
            owed = self._owed[address] = []
            self._tasks.spawn(self._repay(address, owed), "tell another worker")
        owed.append((verb, said))
        if len(owed) > _MOST_OWED:
            owed[:] = [(verb, instead)]

    async def _repay(self, address: bytes | str, owed: list[tuple[str, bytes]]) -> None:
        while owed:
            await asyncio.sleep(_AGAIN)
            while owed:
                one = owed[0]
                if isinstance(await self._one(address, *one), _Unsaid):
                    break
                if owed[0] is one:  # else too much has gathered meanwhile, and stands for it
                    owed.pop(0)
        self._owed.pop(address, None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if not _is_ours(writer):
                return
            try:
                async with asyncio.timeout(_PATIENCE):
                    verb, said = await _message(reader)
                handler = self._handlers.get(verb.decode())
                if handler is not None:
                    await self._handle(handler, said, writer)
            except (OSError, asyncio.IncompleteReadError, UnicodeDecodeError):
                return

    async def _handle(self, handler: Handler, said: bytes, writer: asyncio.StreamWriter) -> None:
        """Answer; what was asked is done to its end, even when nobody waits for it any more."""

        async def handled() -> bytes:
            return await handler(said)

        handling = self._tasks.spawn(handled(), "answer another worker")
        while not (await asyncio.wait({handling}, timeout=_BEAT))[0]:
            _say(writer, _WAIT)
        failed = handling.cancelled() or handling.exception() is not None
        _say(writer, *((_FAILED,) if failed else (b"", handling.result())))
        await writer.drain()


class _Unsaid:
    """Nobody could be told."""


async def _connected(
    address: bytes | str,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
        return await asyncio.open_unix_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def _say(writer: asyncio.StreamWriter, verb: bytes, said: bytes = b"") -> None:
    if not writer.is_closing():
        writer.writelines((_SIZE.pack(len(verb), len(said)), verb, said))


async def _last_message(reader: asyncio.StreamReader) -> bytes | None:
    """The answer behind all signs of life; None: it could not be done.

    Raises TimeoutError when the signs end before it.
    """
    while True:
        async with asyncio.timeout(_PATIENCE):
            verb, said = await _message(reader)
        if verb != _WAIT:
            return None if verb == _FAILED else said


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
