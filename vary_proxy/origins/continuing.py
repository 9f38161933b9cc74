"""Continues a body that broke off, so that the client keeps its connection.

Under a strong validator the rest of a representation can be asked for by Range and If-Range.
An answer that is exactly that rest goes on where the body stopped; any other leaves the
failure as it was: bytes of two representations are never mixed.
RFC 9110 §13.1.5, §14.2, §15.3.7.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from vary_proxy.core import ranges, syntax
from vary_proxy.core.message import Request, Response
from vary_proxy.origin import Interim, OriginFailure, OriginResponse, at_hand
from vary_proxy.origins.layer import Layer, Reached

MOST_CONTINUED = 3  # times, of one body

_CONDITIONS = frozenset(
    (b"range", b"if-range", b"if-match", b"if-none-match")
    + (b"if-modified-since", b"if-unmodified-since")
)


@dataclass(frozen=True, slots=True)
class _Extent:
    """Bytes [first, stop) of a representation of *total*, under a strong entity tag."""

    tag: bytes
    first: int
    stop: int
    total: int | None
    coding: bytes | None


class Continued(Layer):
    """An origin whose bodies are continued when they break off."""

    def __init__(self, reached: Reached) -> None:
        super().__init__(reached)
        self.continued: Counter[str] = Counter()  # bodies that went on, by what broke them

    @property
    def retries(self) -> Mapping[str, int]:
        """Requests sent again, those for the rest of a body among them."""
        return Counter(super().retries) + self.continued

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        try:
            response = await self.reached.fetch(request, body, on_interim)
        except OriginFailure as failure:
            self.failed(failure)
            raise
        if not response.length or request.method != b"GET" or body is not None:
            return response
        if at_hand(response) is not None:
            return response
        extent = _extent(response)
        return response if extent is None else _Continuing(self, request, response, extent)

    def failed(self, failure: OriginFailure) -> None:
        """A request of a client's has come to *failure*."""

    async def rest(
        self, request: Request, extent: _Extent, have: int, why: str
    ) -> OriginResponse | None:
        """A response whose body is *extent* without its first *have* bytes; None: not to be had.

        *why* the body broke off is counted.
        """
        wanted = replace(extent, first=extent.first + have)
        asked = request.fields.without(_CONDITIONS).plus(
            (
                (b"range", b"bytes=%d-%d" % (wanted.first, wanted.stop - 1)),
                (b"if-range", wanted.tag),
            )
        )
        try:
            response = await self.reached.fetch(replace(request, fields=asked))
        except OriginFailure:
            return None
        if response.head.status == 206 and _extent(response) == wanted:
            self.continued[why] += 1
            return response
        await response.close()
        return None


class _Continuing:
    """A response that is continued; ``head`` and ``length`` stay those of its beginning."""

    def __init__(
        self, origin: Continued, request: Request, response: OriginResponse, extent: _Extent
    ) -> None:
        self.head: Response = response.head
        self.length: int | None = response.length
        self.close_delimited = False
        self._origin = origin
        self._request = request
        self._response = response
        self._extent = extent
        self._closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        have = 0
        for _ in range(MOST_CONTINUED):
            try:
                async for chunk in self._response.chunks():
                    have += len(chunk)
                    yield chunk
                return
            except OriginFailure as failure:
                if not await self._continue(have, failure.error):
                    raise
        async for chunk in self._response.chunks():
            yield chunk

    async def _continue(self, have: int, why: str) -> bool:
        if self._closed:
            return False
        await self._response.close()
        rest = await self._origin.rest(self._request, self._extent, have, why)
        if rest is None:
            return False
        self._response = rest
        if self._closed:  # while we asked
            await rest.close()
            return False
        return True

    async def close(self) -> None:
        self._closed = True
        await self._response.close()


def _extent(response: OriginResponse) -> _Extent | None:
    """What *response* carries, where its rest could be asked for; else None."""
    fields, length = response.head.fields, response.length
    lines = fields.lines(b"etag")
    tag = syntax.entity_tag(lines[0]) if len(lines) == 1 else None
    if tag is None or tag.weak or not length:
        return None
    coding = fields.combined(b"content-encoding")
    if response.head.status == 200:
        return _Extent(lines[0], 0, length, length, coding)
    part = ranges.content_range(fields) if response.head.status == 206 else None
    if part is None or ranges.part_length(fields) != length:
        return None
    return _Extent(lines[0], part.first, part.first + length, part.total, coding)
