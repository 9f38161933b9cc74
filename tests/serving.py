"""Servers of tests that run on the test's own loop, and leave no connection open behind them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Calls *handler* for each connection to ``port`` of 127.0.0.1.

    A connection ends with its handler, as it does when its client leaves. What else a handler
    raises is told at the end.
    """

    def __init__(self, handler: Handler, **options: Any) -> None:
        self.port = 0
        self._handler = handler
        self._options = options  # of asyncio.start_server
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []

    async def start(self, port: int = 0) -> None:
        """Listen on *port*, or on a free one."""
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", port, **self._options
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End all connections; raises what went wrong in a handler."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        assert not self._errors, self._errors

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has left
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over: who does not read is not waited for
        except Exception as error:
            self._errors.append(error)
        finally:
            writer.close()
            # A task that ends as cancelled is complained of by the streams of Python 3.11.
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)


@contextlib.asynccontextmanager
async def listening(handler: Handler, **options: Any) -> AsyncIterator[int]:
    """The port of 127.0.0.1 on which *handler* is called for each connection."""
    listener = Listener(handler, **options)
    await listener.start()
    try:
        yield listener.port
    finally:
        await listener.stop()
