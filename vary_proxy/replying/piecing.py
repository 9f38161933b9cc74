"""Replies from sparse bodies: what is held from the store, what is missing from the origin.

A reply is pieced together as it is sent, two blocks at a time. Where the first byte that is
missing is near the first that is asked for, the origin is asked before the head goes out, so
that a representation that has changed is answered with the new one. Later it is seen as a
body that ends before its length: bytes of two representations are never mixed.
RFC 9111 §3.4, RFC 9110 §15.3.7.3, RFC 9211 §2.2.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from vary_proxy.core import blocks, delivery
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.delivery import CacheStatus, Plan
from vary_proxy.core.directives import of_request
from vary_proxy.core.message import Buffer, Reply
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.asking import Ask, may_share
from vary_proxy.fetches.gaps import LOOK, Gaps, Source
from vary_proxy.fetches.running import Run, RunReader
from vary_proxy.fetches.runs import Changed, Runs
from vary_proxy.flights import Opened
from vary_proxy.origin import Origin, OriginFailure
from vary_proxy.replying.replies import Walk
from vary_proxy.store.base import Store

WINDOW = 1  # blocks taken from the store at once
EARLY = 8 * BLOCK  # bytes from the first one asked for; beyond, a gap is asked for in its turn
_IDLE = 3  # answers in a row that may bring nothing of what they were asked for


class Piecing:
    def __init__(
        self,
        origins: Mapping[str, Origin],
        store: Store,
        runs: Runs,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._gaps = Gaps(origins, store, runs, clock)

    async def reply(
        self,
        walk: Walk,
        ask: Ask,
        stored: StoredResponse,
        status: CacheStatus,
    ) -> Reply | None:
        """The reply that *stored*, which is sparse, gives; None when it has been superseded.

        Raises OriginFailure when what is missing cannot be had.
        """
        source = Source(ask, stored)
        plan = self._plan(walk, stored, status)
        gap = await self._first_gap(source, plan)
        held: RunReader | None = None
        if gap is not None:
            elsewhere = False
            if gap.start - _first(plan) <= EARLY:
                try:
                    held = await self._gaps.reader(source, gap)
                except Changed as changed:
                    await self._forget(source, changed)
                    return None
                elsewhere = held is None
            status = _partly(walk, ask, status, elsewhere=elsewhere)
            plan = self._plan(walk, stored, status)
        walk.record.reason = status.detail
        return self._made(walk, source, plan, held)

    async def begun(
        self,
        walk: Walk,
        ask: Ask,
        opened: Opened,
        status: CacheStatus,
    ) -> Reply | None:
        """The reply that *opened* gives, whose first blocks are on their way. Raises OriginFailure.

        Where they are on their way for somebody else, its anchor is his; None when the origin
        has another representation by now.
        """
        walk.note(opened.vary)
        walk.record.cache = "collapsed" if status.collapsed else "miss"
        status = replace(status, fwd_status=206, stored=not status.collapsed)
        stored, anchor = opened.own, opened.anchor
        if status.collapsed:
            return await self.reply(walk, ask, opened.stored, status)
        plan = self._plan(walk, stored, status, aged=False)
        walk.record.stored = status.stored
        if not any(isinstance(piece, Span) for piece in plan.pieces):
            anchor.close()
        return self._made(walk, Source(ask, stored), plan, anchor)

    def _made(self, walk: Walk, source: Source, plan: Plan, held: RunReader | None) -> Reply:
        stream = _Pieces(self._pieces(source, plan.pieces, held), held) if plan.pieces else None
        return Reply(
            plan.status,
            plan.fields,
            plan.reason,
            stream=stream,
            bodiless=plan.bodiless,
            record=walk.record,
        )

    def _plan(
        self, walk: Walk, stored: StoredResponse, status: CacheStatus, *, aged: bool = True
    ) -> Plan:
        fields = walk.dressed(stored.fields)
        now, length = self._clock(), stored.body.length
        return delivery.compose(walk.request, stored, fields, status, now, aged=aged, length=length)

    async def _first_gap(self, source: Source, plan: Plan) -> Span | None:
        """The first bytes among those planned that are missing; None when none is near."""
        left = LOOK
        for piece in plan.pieces:
            if isinstance(piece, bytes) or left <= 0:
                continue
            gap = await self._gaps.first(source, piece, left)
            if gap is not None:
                return gap
            left -= len(blocks.numbers(piece))
        return None

    async def _pieces(
        self, source: Source, pieces: Sequence[bytes | Span], held: RunReader | None
    ) -> AsyncGenerator[Buffer, None]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            async with aclosing(self._span(source, piece, held)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _span(
        self, source: Source, span: Span, held: RunReader | None
    ) -> AsyncGenerator[Buffer, None]:
        at, idle = span.start, 0
        while at < span.stop:
            before = at
            async with aclosing(self._some(source, Span(at, span.stop), held)) as chunks:
                async for chunk in chunks:
                    at += len(chunk)
                    yield chunk
            idle = idle + 1 if at == before else 0
            if idle > _IDLE:
                raise OriginFailure("http_response_incomplete", "a missing block does not come")

    async def _some(
        self, source: Source, span: Span, held: RunReader | None
    ) -> AsyncGenerator[Buffer, None]:
        """Some bytes from the beginning of *span*: read along, or stored, or asked for."""
        run = self._beside(source, span.start)
        if run is not None:
            reader = run.reader(span.start)
            if held is not None and held.run is run:
                held.close()
        else:
            numbers = blocks.numbers(span)[:WINDOW]
            body = source.stored.body
            found = await self._store.blocks.read(source.ask.key, body, numbers)
            for number, data in zip(numbers, found, strict=False):
                begin = blocks.place(number, source.total).start
                low, high = max(0, span.start - begin), min(len(data), span.stop - begin)
                yield data if high - low == len(data) else memoryview(data)[low:high]
            if found:
                return
            missing = await self._missing(source, span, held)
            if missing is None:
                return  # it has come to the store
            reader = missing
        try:
            async for chunk in reader.upto(span.stop):
                yield chunk
        except OriginFailure:
            if reader.at == span.start:
                raise
            # It broke off: what is missing now is asked for as any other gap.
        finally:
            reader.close()

    def _beside(self, source: Source, offset: int) -> Run | None:
        """A run whose bytes from *offset* on are here, or about to come."""
        run = self._runs.near(source.stored.body, offset) if may_share(source.ask) else None
        return run if run is not None and run.landed.done() else None

    async def _missing(
        self, source: Source, span: Span, held: RunReader | None
    ) -> RunReader | None:
        """A reader of the missing bytes at the beginning of *span*; None: they are there now."""
        if held is not None and held.goes_on_at(span.start):
            return held
        try:
            gap = await self._gaps.first(source, span)
            if gap is None or gap.start > span.start:  # it has come meanwhile
                gap = blocks.around(Span(span.start, span.start + 1), source.total)
            return await self._gaps.reader(source, Span(span.start, gap.stop))
        except Changed as changed:
            await self._forget(source, changed)
            raise OriginFailure(
                "connection_terminated", "a stored body has changed since"
            ) from None

    async def _forget(self, source: Source, changed: Changed) -> None:
        if changed.gone:
            await self._store.drop(source.ask.key, source.stored)


def _first(plan: Plan) -> int:
    """The first byte of the whole that is planned to be sent."""
    return next(piece.start for piece in plan.pieces if isinstance(piece, Span))


class _Pieces(AsyncIterator[Buffer]):
    """The body of a reply; what it holds is let go of with it, also when nothing was read."""

    def __init__(self, pieces: AsyncGenerator[Buffer, None], held: RunReader | None) -> None:
        self._pieces = pieces
        self._held = held

    async def __anext__(self) -> Buffer:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()
        if self._held is not None:
            self._held.close()


def _partly(walk: Walk, ask: Ask, status: CacheStatus, *, elsewhere: bool) -> CacheStatus:
    """*status* of a reply for which the origin is asked for what is missing (RFC 9211 §2.2).

    *elsewhere*: by another process.
    """
    if not status.hit:
        return status
    if elsewhere:
        walk.record.cache, walk.record.collapsed = "collapsed", True
        return replace(status, hit=False, ttl=None, fwd="partial", collapsed=True)
    walk.record.cache = "miss"
    walk.asked(ask.policy.origin, 206, 0.0)
    stored = not of_request(ask.request.fields).no_store
    return replace(status, hit=False, ttl=None, fwd="partial", fwd_status=206, stored=stored)
