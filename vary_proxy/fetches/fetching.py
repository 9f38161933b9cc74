"""Asks the origin on behalf of the cache, judges what comes, and tees it to the store.

One Fetch is one question: fetch this, or validate that. It becomes a Landing as soon as
the response head is judged; a storable body then streams on in a task of its own, so that
no client's leaving can harm another, and is published last, when it is provably whole.
RFC 9111 §3, §4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from vary_proxy.core import (
    blocks,
    edge,
    forwarding,
    parts,
    reuse,
    storing,
    validation,
    variants,
    vary,
)
from vary_proxy.core.delivery import received
from vary_proxy.core.message import Request, Response
from vary_proxy.core.policy import Policy
from vary_proxy.core.ranges import Span
from vary_proxy.core.storing import Storable
from vary_proxy.fetches.asking import RANGE, Ask, to_origin
from vary_proxy.fetches.completing import completed
from vary_proxy.fetches.convoy import Convoy
from vary_proxy.fetches.drafting import FRAMING, drafted
from vary_proxy.fetches.freshening import Freshener
from vary_proxy.fetches.pumping import Load, Pump
from vary_proxy.fetches.runs import Runs
from vary_proxy.fetches.sowing import Sower
from vary_proxy.fetches.spool import Spool
from vary_proxy.fetches.trimming import trimmed
from vary_proxy.fetches.vouching import Vouching, has_family
from vary_proxy.flights import Alone, Failed, Flight, Flights, Landed, Landing, Opened
from vary_proxy.origin import Origin, OriginFailure, OriginResponse
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks

STANDS_IN_FOR = frozenset((500, 502, 503, 504))  # RFC 5861 §4
LARGE = 4 << 20  # bytes; a range of what is no larger may bring the whole, to be kept as such


class Fetcher:
    def __init__(
        self,
        origins: Mapping[str, Origin],
        store: Store,
        flights: Flights,
        tasks: Tasks,
        clock: Callable[[], float],
        convoy: Convoy | None = None,
    ) -> None:
        self._convoy = convoy
        self._origins = origins
        self._store = store
        self._flights = flights
        self._tasks = tasks
        self._clock = clock
        self._pump = Pump(store, flights, tasks, clock)
        self.vouching = Vouching(clock)
        self._freshener = Freshener(store, clock, self.vouching)
        self.runs = Runs(store, tasks, None if convoy is None else convoy.heralds)
        self._sower = Sower(store, self.runs, flights)

    async def run(self, ask: Ask, flight: Flight) -> None:
        """Fetch, and set *flight*'s landing; the flight is closed when all is stored."""
        try:
            flight.since = await self._store.since(ask.key)
            found: Landing | None = None
            if self._convoy is not None and flight.joinable:
                found = await self._convoy.joined(ask, flight, self.run)
            landing = found or await self._land(ask, flight)
        except OriginFailure as failure:
            landing = Failed(failure)
        except BaseException:
            flight.landing.cancel()
            self._flights.close(flight)
            raise
        flight.landing.set_result(landing)
        if not isinstance(landing, Landed | Opened):
            self._flights.close(flight)

    async def _send(self, ask: Ask) -> OriginResponse:
        """Send the request of *ask* without the client's own conditions. Raises OriginFailure."""
        origin = self._origins[ask.policy.origin]
        drop = validation.CLIENT_CONDITIONS
        add = validation.conditions(ask.candidates)
        if ask.part is not None:
            add = parts.rest_of(ask.part)
        if ask.candidates or ask.part is not None or ask.whole or ask.slot:
            drop |= RANGE
        if ask.slot:
            add = (*add, (b"range", ask.slot))
        request = to_origin(ask, origin.naming, drop, add)
        return await origin.fetch(request, None, ask.interim)

    async def _land(self, ask: Ask, flight: Flight) -> Landing:
        requested = self._clock()
        response = await self._send(ask)
        head = self._judged_head(ask, response.head)
        if head.status == 304 and ask.candidates:
            await response.close()
            landing = await self._freshener.not_modified(ask, head, requested, flight.since)
            if landing is not None:
                return landing
            unsure = ask.filling and not has_family(head.fields)
            ask = replace(ask, candidates=(), filling=False, whole=True, slot=b"")
            requested = self._clock()
            response = await self._send(ask)
            head = self._judged_head(ask, response.head)
            if unsure and has_family(head.fields):
                self.vouching.is_bare(ask.policy.origin, ask.key)
        elif ask.part is not None and not parts.completes(ask.part, head) and head.status != 200:
            await response.close()
            return await self._land(replace(ask, part=None, whole=True), flight)
        try:
            if ask.slot and head.status == 206:
                return await self._in_blocks(ask, flight, response, head, requested)
            return await self._received(ask, flight, response, head, requested)
        except BaseException:  # the store failed, or its client left, before anybody held it
            await response.close()
            raise

    async def _in_blocks(
        self, ask: Ask, flight: Flight, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        """A 206 for the whole blocks of a range: the whole, some blocks of it, or less."""
        found = blocks.of_whole(head, response.length)
        if found is not None:
            landing = await self._combined(ask, flight, response, found, requested)
            if landing is not None:
                self._flights.forget_unstorable(ask.key)
                return landing
        exact = trimmed(ask.request, response, head)
        if exact is None:
            await response.close()
            return await self._land(replace(ask, slot=b""), flight)
        return await self._received(ask, flight, *exact, requested)

    async def _combined(
        self,
        ask: Ask,
        flight: Flight,
        response: OriginResponse,
        found: tuple[Response, Span, int],
        requested: float,
    ) -> Landing | None:
        """What *response* brings, as the whole or as blocks of it; None: it may not be kept so."""
        head, span, total = found
        now = self._clock()
        effective = ask.vary(head.fields)
        verdict = storing.judge(ask.request, head, effective, ask.policy, now)
        if not isinstance(verdict, Storable):
            return None
        is_all = span.length == total == response.length
        if is_all and total <= LARGE and self._store.writer(ask.key, total, 1, flight.since):
            return await self._received(ask, flight, response, head, requested)
        draft = drafted(ask, head, verdict, effective, requested, now)
        opened = await self._sower.opened(ask, flight, response, draft, span, total)
        if opened is None:
            return None
        stored, anchor = opened
        own = stored
        if verdict.fields is not head.fields:
            own = replace(stored, fields=vary.dress(head.fields.without(FRAMING), effective))
        return Opened(stored, own, effective, anchor)

    async def _received(
        self, ask: Ask, flight: Flight, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        if self._prefers_stale(ask, head):
            await response.close()
            return Failed(None, head.status)
        if ask.request.method == b"HEAD":
            await self._freshener.from_head(ask, head, requested, flight.since)
            return Alone(response, head.fields, "method")
        if ask.part is not None and head.status == 206:
            whole = await completed(self._store, self._origins, ask, ask.part, head, response)
            if whole is None:
                await response.close()
                return await self._land(replace(ask, part=None, whole=True), flight)
            response, head = whole, whole.head
        elif ask.part is not None:
            ask = replace(ask, part=None)
        return await self._judge(ask, flight, response, head, requested)

    def _judged_head(self, ask: Ask, head: Response) -> Response:
        """*head* as it is judged, stored and delivered: end to end, CORS where it is not ours."""
        fields = edge.received(ask.policy, forwarding.end_to_end(head.fields))
        return Response(head.status, received(fields, self._clock()), head.reason)

    def _prefers_stale(self, ask: Ask, head: Response) -> bool:
        return (
            ask.stale is not None
            and head.status in STANDS_IN_FOR
            and reuse.stands_in(ask.stale, ask.policy, self._clock(), disconnected=False)
        )

    async def _judge(
        self, ask: Ask, flight: Flight, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        now = self._clock()
        effective = ask.vary(head.fields)
        verdict = storing.judge(
            ask.request, head, effective, ask.policy, now, whole=not response.close_delimited
        )
        if not isinstance(verdict, Storable):
            if ask.stale is not None and head.status < 500:
                await self._store.drop(ask.key, ask.stale)  # it has been superseded
            if ask.part is not None:  # the rest alone is nobody's answer
                await response.close()
                return await self._land(replace(ask, part=None, whole=True), flight)
            return self._alone(ask, response, head, verdict.reason, now)
        length = response.length
        most = ask.policy.cache.max_variants
        writer = self._store.writer(ask.key, length, most, flight.since)
        if writer is None and ask.part is not None:
            await response.close()
            return await self._land(replace(ask, part=None, whole=True), flight)
        if writer is None:
            return self._alone(ask, response, head, "too-large", now)
        draft = drafted(ask, head, verdict, effective, requested, now)
        spool = Spool(length)
        anchor = spool.reader()
        self._flights.forget_unstorable(ask.key)
        load = Load(response, spool, writer, draft, flight, most)
        taken = self._pump.at_once(load)
        if taken is None:
            self._tasks.spawn(self._pump.run(load), "pump")
            taken = variants.has_room(self._store.look(ask.key), draft, most, now)
        own = draft
        if verdict.fields is not head.fields:
            own = replace(draft, fields=vary.dress(head.fields.without(FRAMING), effective))
        return Landed(draft, own, spool, effective, anchor, "" if taken else "variant-cap")

    async def adopt(
        self, ask: Ask, flight: Flight, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        """A response that came by another way, as one to a GET of the same target."""
        landing: Landing | None = None
        try:
            landing = await self._judge(ask, flight, response, head, requested)
        finally:
            if not isinstance(landing, Landed):
                self._flights.close(flight)
        return landing

    def unstorable(
        self, request: Request, policy: Policy, response: OriginResponse, head: Response, key: bytes
    ) -> str:
        """Why *head* may not be stored under *key*, which is remembered; "" when it may."""
        now, whole = self._clock(), not response.close_delimited
        effective = edge.effective(policy, head.fields, request, None)
        verdict = storing.judge(request, head, effective, policy, now, whole=whole)
        if isinstance(verdict, Storable):
            return ""
        self._remember(key, verdict.reason, now)
        return verdict.reason

    def _remember(self, key: bytes, reason: str, now: float) -> None:
        if reason not in _BY_REQUESTER:
            self._flights.remember_unstorable(key, now)

    def _alone(
        self, ask: Ask, response: OriginResponse, head: Response, reason: str, now: float
    ) -> Alone:
        self._remember(ask.key, reason, now)
        return Alone(response, head.fields, reason)


# Reasons that lie in one request and say nothing about the next.
_BY_REQUESTER = {"request-no-store", "authorization", "method", "presigned", "of-one-origin"}
