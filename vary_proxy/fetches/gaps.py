"""Gaps: which blocks of a sparse body are missing, and how they are asked for.

A gap is asked for in whole blocks, on the condition that the representation is still the one of
which blocks are held; what comes is held against that once more. Whoever wants what is under way
already reads along. RFC 9110 §13.1.1, RFC 9111 §3.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vary_proxy.core import blocks, edge, forwarding, storing
from vary_proxy.core.directives import of_request
from vary_proxy.core.message import Response
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.asking import Ask, for_bytes, may_share, plain
from vary_proxy.fetches.onward import Onward
from vary_proxy.fetches.running import Run, RunReader
from vary_proxy.fetches.runs import Changed, Elsewhere, Runs
from vary_proxy.flights import RIDE_SECONDS
from vary_proxy.origin import Origin, OriginFailure, OriginResponse
from vary_proxy.store.base import Store

LOOK = blocks.STRETCH  # blocks that are looked at, at most, to see how far a gap goes


@dataclass(frozen=True, slots=True)
class Source:
    """What one reply is made of, and how its gaps are asked for."""

    ask: Ask
    stored: StoredResponse

    @property
    def total(self) -> int:
        return self.stored.body.length


class Gaps:
    def __init__(
        self,
        origins: Mapping[str, Origin],
        store: Store,
        runs: Runs,
        clock: Callable[[], float],
    ) -> None:
        self._origins = origins
        self._store = store
        self._runs = runs
        self._clock = clock

    async def first(self, source: Source, span: Span, look: int = LOOK) -> Span | None:
        """The first gap in *span*, in whole blocks; None when the first *look* have none."""
        numbers = blocks.numbers(span)[:look]
        body = source.stored.body
        there = list(await self._store.blocks.present(source.ask.key, body, numbers))
        if all(there):
            return None
        first = there.index(False)
        size = there.index(True, first) - first if True in there[first:] else len(there) - first
        begin = blocks.place(numbers[first], source.total).start
        return Span(begin, blocks.place(numbers[first + size - 1], source.total).stop)

    async def reader(self, source: Source, span: Span) -> RunReader | None:
        """A reader at the beginning of *span*, on a run that is there or a new one.

        None: another process has brought it to the store. Raises Changed and OriginFailure.
        """
        try:
            return await self._reader(source, span)
        except Elsewhere:
            return None

    async def _reader(self, source: Source, span: Span) -> RunReader:
        shared = may_share(source.ask)
        run = self._runs.near(source.stored.body, span.start) if shared else None
        if run is not None:
            reader = await _landed(run, span.start, source.stored)
            if reader is not None:
                return reader
        wanted = blocks.around(span, source.total)
        following = self._runs.next_after(source.stored.body, span.start)
        if following is not None:
            wanted = blocks.around(Span(span.start, min(wanted.stop, following)), source.total)
        run = self._runs.start(
            source.ask.key,
            source.stored,
            wanted,
            lambda: self._asked(source, wanted),
            joinable=shared,
            publish=_not_kept if of_request(source.ask.request.fields).no_store else None,
        )
        found = await _landed(run, span.start)
        assert found is not None
        return found

    async def _asked(self, source: Source, span: Span) -> tuple[OriginResponse, Span]:
        """The response that brings *span*, and what else it brings.

        Raises Changed when it does not bring the first byte.
        """
        response, brought = await self._answered(source, span)
        if brought.stop >= span.stop:
            return response, brought

        async def following(at: int) -> tuple[OriginResponse, Span] | None:
            try:
                return await self._answered(source, Span(at, span.stop))
            except Changed:
                return None

        whole = Span(brought.start, span.stop)
        return Onward(response, brought, span.stop, following), whole

    async def _answered(self, source: Source, span: Span) -> tuple[OriginResponse, Span]:
        """One answer that brings the bytes at the beginning of *span*, and what it brings."""
        ask, stored = source.ask, source.stored
        origin = self._origins[ask.policy.origin]
        asked = for_bytes(ask, origin.naming, blocks.ask_for(span, stored))
        response = await origin.fetch(asked)
        try:
            brought = blocks.answers(response.head, response.length, stored)
            status = response.head.status
            if brought is None or not brought.start <= span.start < brought.stop:
                raise Changed(status, gone=status < 500)
            if not self._may_keep(ask, response.head):
                raise Changed(status, gone=True)
        except BaseException:
            await response.close()
            raise
        return response, brought

    def _may_keep(self, ask: Ask, head: Response) -> bool:
        """False when the origin no longer lets anybody store what it sends."""
        fields = edge.received(ask.policy, forwarding.end_to_end(head.fields))
        effective = ask.vary(fields)
        whole = Response(200, fields)
        verdict = storing.judge(plain(ask.request), whole, effective, ask.policy, self._clock())
        return isinstance(verdict, storing.Storable)


async def _not_kept() -> bool:
    return False


async def _landed(run: Run, offset: int, riding: StoredResponse | None = None) -> RunReader | None:
    """A reader at *offset* of *run*, whose response is awaited.

    None when it is another's, and came to nothing that would be so for *riding* as well: raises
    Changed when that has changed, and OriginFailure when the run is ours. Nor is another's
    awaited longer than by riders.
    """
    reader = run.reader(offset)
    try:
        if riding is not None:
            await asyncio.wait((run.landed,), timeout=RIDE_SECONDS)
            if not run.landed.done():
                run.joinable = False  # nor is it waited for at the next gap
                reader.close()
                return None
        await asyncio.shield(run.landed)
    except (Changed, OriginFailure) as failure:
        reader.close()
        if riding is None or (isinstance(failure, Changed) and run.of is riding):
            raise
        return None
    except BaseException:
        reader.close()
        raise
    return reader
