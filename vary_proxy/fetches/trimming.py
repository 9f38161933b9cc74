"""A 206 that brings more than was asked for, cut to what was. RFC 9110 §15.3.7.

The origin is asked for whole blocks. Where what it sends may not be kept, or not be combined,
the client gets the bytes that it named, as if the origin had been asked for them alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from vary_proxy.core import blocks, ranges
from vary_proxy.core.message import Fields, Request, Response
from vary_proxy.core.ranges import Span
from vary_proxy.origin import OriginFailure, OriginResponse


class Trimmed:
    """Fulfils vary_proxy.origin.OriginResponse: *response*, of which *keep* counts from its start.

    The rest is read and dropped, so that the connection can be used again; it may break off.
    """

    def __init__(self, response: OriginResponse, head: Response, keep: Span) -> None:
        self.head = head
        self.length: int | None = keep.length
        self.close_delimited = response.close_delimited
        self._response = response
        self._keep = keep

    async def chunks(self) -> AsyncIterator[bytes]:
        at = 0
        try:
            async for chunk in self._response.chunks():
                low, high = max(0, self._keep.start - at), min(len(chunk), self._keep.stop - at)
                at += len(chunk)
                if low < high:
                    yield chunk if high - low == len(chunk) else chunk[low:high]
        except OriginFailure:
            if at < self._keep.stop:
                raise

    async def close(self) -> None:
        await self._response.close()


def trimmed(
    request: Request, response: OriginResponse, head: Response
) -> tuple[OriginResponse, Response] | None:
    """*response* and *head*, a 206, as they are if exactly the range of *request* was asked for.

    None when that cannot be told, or not all of it came: it must be asked for. Who resumes a
    download takes the end of a 206 for that of the file, and its beginning for his own.
    """
    wanted = ranges.specs(request.fields.combined(b"range") or b"")
    brought = blocks.brought(head, response.length)
    part = ranges.content_range(head.fields)
    if wanted is None or len(wanted) != 1 or b"if-range" in request.fields:
        return None
    if brought is None or part is None:
        return None
    if part.total is None and (wanted[0][0] is None or wanted[0][1] is None):
        return None
    spans = ranges.resolve(wanted, brought.stop if part.total is None else part.total)
    if not spans:
        return None  # a 416 is due, and only the origin can say it
    span = spans[0]
    if span.start < brought.start or span.stop > brought.stop:
        return None
    if span == brought:
        return response, head
    size = b"*" if part.total is None else b"%d" % part.total
    told = b"bytes %d-%d/%b" % (span.start, span.stop - 1, size)
    fields = _described(head.fields, told, span.length)
    cut = Span(span.start - brought.start, span.stop - brought.start)
    short = Response(206, fields, head.reason)
    return Trimmed(response, short, cut), short


def _described(fields: Fields, content_range: bytes, length: int) -> Fields:
    fields = fields.without({b"content-md5", b"content-digest"})
    fields = fields.replaced(b"content-range", content_range)
    if b"content-length" in fields:
        return fields.replaced(b"content-length", b"%d" % length)
    return fields
