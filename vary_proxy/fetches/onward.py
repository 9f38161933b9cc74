"""A 206 that brings less than was asked for, gone on with where it stopped.

An origin may send only a part of a range for reasons of its own, and says which; whoever wanted
more asks again (RFC 9110 §15.3.7). So blocks are made of answers that are shorter than one. Where
the next answer is none to that question any more, there is no more: what is missing is then asked
for as any other gap, and what has changed is seen there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.ranges import Span
from vary_proxy.origin import OriginFailure, OriginResponse

Next = Callable[[int], Awaitable[tuple[OriginResponse, Span] | None]]  # from this byte on
_CRUMBS = 64  # answers for one block, at most


class Onward:
    """Fulfils vary_proxy.origin.OriginResponse: *response*, which *brings* some bytes, then the
    answers that *following* gives, up to byte *stop* of the whole."""

    def __init__(self, response: OriginResponse, brings: Span, stop: int, following: Next) -> None:
        self.head = response.head
        self.length: int | None = None  # as long as the origin goes on
        self.close_delimited = response.close_delimited
        self._response = response
        self._at, self._end = brings.start, brings.stop
        self._stop = stop
        self._following = following

    async def chunks(self) -> AsyncIterator[bytes]:
        crumbs = 0
        while True:
            before = self._at
            async for chunk in self._response.chunks():
                self._at += len(chunk)
                if self._at > self._end:
                    raise OriginFailure("http_protocol_error", "more than its Content-Range says")
                yield chunk
            crumbs = crumbs + 1 if self._at // BLOCK == before // BLOCK else 0
            if self._at < self._end or self._at >= self._stop or crumbs >= _CRUMBS:
                return
            if not await self._go_on():
                return

    async def _go_on(self) -> bool:
        await self._response.close()
        found = await self._following(self._at)
        if found is None:
            return False
        self._response, brings = found
        if brings.start != self._at:
            return False
        self._end = brings.stop
        return True

    async def close(self) -> None:
        await self._response.close()
