"""Begins a sparse body, or adds to one, with the first answer that brings blocks of it.

Bytes under one strong validator are the same for whoever asks, so blocks that are there, for this
variant or another, are added to. RFC 9110 §8.8.3, RFC 9111 §3.4.
"""

from __future__ import annotations

import os
from dataclasses import replace

from vary_proxy.core import blocks, ranges
from vary_proxy.core.message import Request
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.fetches.asking import Ask, may_share
from vary_proxy.fetches.running import RunReader
from vary_proxy.fetches.runs import Runs
from vary_proxy.flights import Flight, Flights
from vary_proxy.origin import OriginResponse
from vary_proxy.store.base import Store

_NAME = 20  # bytes drawn by lot, in the place of a digest


class Sower:
    def __init__(self, store: Store, runs: Runs, flights: Flights) -> None:
        self._store = store
        self._flights = flights
        self._runs = runs
        self._begun: dict[bytes, list[tuple[Flight, StoredResponse]]] = {}  # not yet visible

    async def opened(
        self,
        ask: Ask,
        flight: Flight,
        response: OriginResponse,
        draft: StoredResponse,
        span: Span,
        total: int,
    ) -> tuple[StoredResponse, RunReader] | None:
        """What comes of *response*, which brings *span* of *draft*, a whole of *total* bytes.

        None when that has no whole block, or not the byte that the client asks for first.
        """
        start = _first_wanted(ask.request, span, total)
        if start is None or not blocks.whole_blocks(span, total):
            return None
        drawn = Body(os.urandom(_NAME), total)
        sparse = replace(draft, sparse=True, part=None, body=drawn)
        known = self._store.peek(ask.key) or await self._store.load(ask.key)
        sparse = replace(sparse, body=self._body(ask.key, sparse, known))
        self._begun.setdefault(ask.key, []).append((flight, sparse))

        async def brought() -> tuple[OriginResponse, Span]:
            return response, span

        run = self._runs.start(
            ask.key,
            sparse,
            span,
            brought,
            joinable=may_share(ask),
            publish=lambda: self._publish(ask, flight, sparse),
        )
        return sparse, run.reader(start)

    async def _publish(self, ask: Ask, flight: Flight, sparse: StoredResponse) -> bool:
        """Make *sparse* visible, unless it was purged since it was asked for; the flight ends."""
        try:
            if flight.grounded:
                return False
            most = ask.policy.cache.max_variants
            return await self._store.blocks.publish(ask.key, sparse, most, flight.since)
        finally:
            self._flights.close(flight)
            begun = self._begun[ask.key]
            begun[:] = [one for one in begun if one[1] is not sparse]
            if not begun:
                del self._begun[ask.key]

    def _body(self, key: bytes, sparse: StoredResponse, known: Resource | None) -> Body:
        """The body of another variant with the same bytes, if there is one; else its own."""
        others = [] if known is None else [one for one in known.variants if one.sparse]
        others += [one for flight, one in self._begun.get(key, ()) if not flight.grounded]
        return next((one.body for one in others if _same_bytes(one, sparse)), sparse.body)


def _same_bytes(one: StoredResponse, other: StoredResponse) -> bool:
    """True under one strong validator, whose blocks may be combined (RFC 9110 §15.3.7.3)."""
    return one.body.length == other.body.length and all(
        one.fields.combined(name) == other.fields.combined(name)
        for name in (b"etag", b"content-encoding")
    )


def _first_wanted(request: Request, span: Span, total: int) -> int | None:
    """Where in *span* the first byte lies that *request* asks for; None when it does not."""
    wanted = ranges.specs(request.fields.combined(b"range") or b"")
    spans = ranges.resolve(wanted[:1], total) if wanted else ()
    start = spans[0].start if spans else span.start
    return start if span.start <= start < span.stop else None
