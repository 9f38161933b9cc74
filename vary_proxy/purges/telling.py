"""A purge that tells how far it has come: one line of JSON after another, the last its outcome.

The answer begins with the first line, so that what is refused at once still has its own
status; what fails later is told in the last line. When the client leaves, the purge ends
where it is.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from vary_proxy.store.base import Progress

TYPE = "application/x-ndjson"
_EVERY = 0.1  # seconds between lines

Tell = Callable[[Progress], Awaitable[None]]


def wanted(request: web.Request) -> bool:
    return TYPE in request.headers.get("Accept", "")


class Gone(Exception):
    """The client has left."""


class Telling:
    """The lines of one answer to *request*, with *headers*."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={**headers, "Content-Type": TYPE})
        self._last = 0.0

    async def progress(self, progress: Progress) -> None:
        """Raises Gone."""
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            await self._say(msgspec.to_builtins(progress))

    async def run(self, work: Callable[[Tell], Awaitable[Any]]) -> web.StreamResponse:
        """What *work* comes to is the last line. Raises what it raises before the first."""
        try:
            try:
                told = await work(self.progress)
            except Exception as failure:
                if isinstance(failure, Gone) or not self._response.prepared:
                    raise
                told = {"error": f"not done: {type(failure).__name__}: {failure}"}
            await self._say(told)
            await self._response.write_eof()
        except Gone:
            pass
        return self._response

    async def _say(self, line: Any) -> None:
        try:
            if not self._response.prepared:
                await self._response.prepare(self._request)
            await self._response.write(msgspec.json.encode(line) + b"\n")
        except ConnectionError:
            raise Gone from None
