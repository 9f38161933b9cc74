"""Goes on where a stored body ended before its time: asks the origin for the very bytes.

A shared store may evict a block while a client reads. Under a strong validator the rest can
be had from the origin as if nothing had happened; a representation that has changed since
is never mixed in (RFC 9110 §13.1.5, §15.3.7).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

from vary_proxy.core import parts, ranges
from vary_proxy.core.message import Buffer, Response
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.asking import Ask, for_bytes
from vary_proxy.fetches.onward import Onward
from vary_proxy.fetches.spool import Spool, SpoolReader
from vary_proxy.origin import Origin, OriginFailure, OriginResponse
from vary_proxy.store.base import BodyGone

Resume = Callable[[int, int], AsyncIterator[Buffer]]  # bytes [start, stop) of the body held


async def steadily(
    stream: AsyncIterator[Buffer], stop: int, resume: Resume
) -> AsyncIterator[Buffer]:
    """*stream*, which ends at byte *stop* of a stored body; then what *resume* gives instead."""
    try:
        async for chunk in stream:
            yield chunk
    except BodyGone as gone:
        start = gone.offset
    else:
        return
    async for chunk in resume(start, stop):
        yield chunk


class Steady(AsyncIterator[Buffer]):
    """What *reader* gives, up to byte *stop*; where the store lost it, *resume* goes on."""

    def __init__(self, reader: SpoolReader, stop: int, resume: Resume | None) -> None:
        self._reader = reader
        self._stop = stop
        self._resume = resume
        self._rest: AsyncIterator[Buffer] | None = None

    async def __anext__(self) -> Buffer:
        if self._rest is not None:
            return await anext(self._rest)
        try:
            return await anext(self._reader)
        except BodyGone as gone:
            if self._resume is None:
                raise OriginFailure("connection_terminated", "a stored body went away") from None
            self._rest = self._resume(gone.offset, self._stop)
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._reader.aclose()
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()


class SteadyPieces(AsyncIterator[Buffer]):
    """*pieces* of the body in *spool*: bytes as they are, and spans of it one after the other.

    What comes after the piece being read is held for us, unless it lies before that: a spool that
    keeps no history would wait for us, and we for it. Nothing is held once it is closed.
    """

    def __init__(self, spool: Spool, pieces: Sequence[bytes | Span], resume: Resume | None) -> None:
        self._spool = spool
        self._resume = resume
        self._held: SpoolReader | None = None
        self._chunks = self._read(pieces)
        self._hold(pieces, 0)

    async def __anext__(self) -> Buffer:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        await self._chunks.aclose()
        self._hold((), 0)

    async def _read(self, pieces: Sequence[bytes | Span]) -> AsyncGenerator[Buffer, None]:
        for at, piece in enumerate(pieces, 1):
            if isinstance(piece, bytes):
                yield piece
                continue
            reader = self._spool.reader(piece.start, piece.stop)
            self._hold(pieces[at:], piece.start)
            steady = Steady(reader, piece.stop, self._resume)
            try:
                async for chunk in steady:
                    yield chunk
            finally:
                await steady.aclose()

    def _hold(self, pieces: Sequence[bytes | Span], reading: int) -> None:
        """Hold what *pieces* need, while we read at *reading*; what was held before is not."""
        before, self._held = self._held, None
        first = min((one.start for one in pieces if isinstance(one, Span)), default=-1)
        if first >= reading:
            self._held = self._spool.reader(first)
        if before is not None:
            before.close()


def resuming(
    origins: Mapping[str, Origin], ask: Ask, stored: StoredResponse, length: int | None = None
) -> Resume:
    """How to go on with the body of *stored* for *ask*. Raises OriginFailure in its turn.

    *length* is that of the body where *stored* is still arriving.
    """

    async def resume(start: int, stop: int) -> AsyncIterator[Buffer]:
        first = 0 if stored.part is None else stored.part.first
        total = (length or stored.body.length) if stored.part is None else stored.part.total
        tag = stored.fields.get(b"etag")
        if tag is None or not parts.is_strong(stored):
            raise OriginFailure("connection_terminated", "a stored body went away")
        origin = origins[ask.policy.origin]

        async def answered(at: int) -> tuple[OriginResponse, Span] | None:
            span = Span(at, first + stop)
            told = b"bytes=%d-%d" % (span.start, span.stop - 1)
            asked = for_bytes(ask, origin.naming, ((b"range", told), (b"if-range", tag)))
            response = await origin.fetch(asked)
            brings = _brings(response.head, stored, span, total)
            if brings is None:
                await response.close()
            return None if brings is None else (response, brings)

        found = await answered(first + start)
        if found is None:
            raise _changed()
        onward = Onward(*found, first + stop, answered)
        try:
            async for chunk in onward.chunks():
                start += len(chunk)
                yield chunk
        finally:
            await onward.close()
        if start < stop:
            raise _changed()

    return resume


def _changed() -> OriginFailure:
    return OriginFailure("connection_terminated", "a stored body has changed since")


def _brings(head: Response, stored: StoredResponse, span: Span, total: int | None) -> Span | None:
    """Which bytes from the beginning of *span* of the whole *head* brings; None: no such."""
    part, length = ranges.content_range(head.fields), ranges.part_length(head.fields)
    fits = (
        head.status == 206
        and part is not None
        and part.first == span.start
        and part.total == total
        and length is not None
        and 0 < length <= span.length
        and head.fields.get(b"etag") == stored.fields.get(b"etag")
    )
    return Span(span.start, span.start + (length or 0)) if fits else None
