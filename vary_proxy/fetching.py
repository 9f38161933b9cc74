"""Asks the origin on behalf of the cache, judges what comes, and tees it to the store.

One Fetch is one question: fetch this, or validate that. It becomes a Landing as soon as
the response head is judged; a storable body then streams on in a task of its own, so that
no client's leaving can harm another, and is published last, when it is provably whole.
RFC 9111 §3, §4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from vary_proxy.asking import Ask, key_names
from vary_proxy.convoy import Convoy
from vary_proxy.core import (
    edge,
    forwarding,
    freshness,
    parts,
    reuse,
    storing,
    validation,
    variants,
    vary,
)
from vary_proxy.core.delivery import received
from vary_proxy.core.message import Fields, Response
from vary_proxy.core.policy import CorsMode
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.core.storing import Storable
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.flights import Alone, Failed, Flight, Flights, Landed, Landing, Validated
from vary_proxy.origin import Origin, OriginFailure, OriginResponse
from vary_proxy.pumping import Load, Pump
from vary_proxy.spool import Spool
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks
from vary_proxy.vouching import Vouching, has_family

STANDS_IN_FOR = frozenset((500, 502, 503, 504))  # RFC 5861 §4
_UNKNOWN = Body(b"", 0)


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
        self._pump = Pump(store, flights, clock)
        self.vouching = Vouching(clock)

    async def run(self, ask: Ask, flight: Flight) -> None:
        """Fetch, and set *flight*'s landing; the flight is closed when all is stored."""
        try:
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
        if not isinstance(landing, Landed):
            self._flights.close(flight)

    async def _send(self, ask: Ask) -> OriginResponse:
        """Send the request of *ask* without the client's own conditions. Raises OriginFailure."""
        origin = self._origins[ask.policy.origin]
        naming = origin.naming
        drop = validation.CLIENT_CONDITIONS
        add = validation.conditions(ask.candidates)
        if ask.part is not None:
            add = parts.rest_of(ask.part)
        if ask.candidates or ask.part is not None or ask.whole:
            drop |= _RANGE
        hop = forwarding.Hop(naming.host, naming.prefix, ask.trusted, naming.scheme)
        request = forwarding.to_origin(ask.request, ask.policy, hop, drop=drop, add=add)
        return await origin.fetch(request, None, ask.interim)

    async def _land(self, ask: Ask, flight: Flight) -> Landing:
        requested = self._clock()
        response = await self._send(ask)
        head = self._judged_head(ask, response.head)
        if head.status == 304 and ask.candidates:
            await response.close()
            landing = await self._not_modified(ask, head, requested)
            if landing is not None:
                return landing
            unsure = ask.filling and not has_family(head.fields)
            ask = replace(ask, candidates=(), filling=False, whole=True)
            requested = self._clock()
            response = await self._send(ask)
            head = self._judged_head(ask, response.head)
            if unsure and has_family(head.fields):
                self.vouching.is_bare(ask.policy.origin, ask.key)
        elif ask.part is not None and not parts.completes(ask.part, head) and head.status != 200:
            await response.close()
            return await self._land(replace(ask, part=None, whole=True), flight)
        return await self._received(ask, flight, response, head, requested)

    async def _received(
        self, ask: Ask, flight: Flight, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        if self._prefers_stale(ask, head):
            await response.close()
            return Failed(None, head.status)
        if ask.request.method == b"HEAD":
            await self._from_head(ask, head, requested)
            return Alone(response, head.fields, "method")
        if ask.part is not None and head.status == 206:
            head = parts.completed_head(ask.part, head)
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
        effective = vary.effective(head.fields, edge.nominated(ask.policy), ask.request.method)
        verdict = storing.judge(
            ask.request, head, effective, ask.policy, now, whole=not response.close_delimited
        )
        if not isinstance(verdict, Storable):
            if ask.stale is not None and head.status < 500:
                await self._store.drop(ask.key, ask.stale)  # it has been superseded
            return self._alone(ask, response, head, verdict.reason, now)
        part = None if ask.part is None else ask.part.part
        length = response.length if part is None else part.total
        most = ask.policy.cache.max_variants
        writer = self._store.writer(ask.key, length, most)
        if writer is None:
            return self._alone(ask, response, head, "too-large", now)
        draft = self._draft(ask, head, verdict, effective, requested, now)
        spool = Spool(length)
        anchor = spool.reader()
        self._flights.forget_unstorable(ask.key)
        load = Load(response, spool, writer, draft, flight, most, ask.part)
        self._tasks.spawn(self._pump.run(load), "pump")
        own = draft
        if verdict.fields is not head.fields:
            own = replace(draft, fields=vary.dress(head.fields.without(_FRAMING), effective))
        has_room = variants.has_room(self._store.peek(ask.key), draft, most, now)
        return Landed(draft, own, spool, effective, anchor, "" if has_room else "variant-cap")

    async def adopt(
        self, ask: Ask, response: OriginResponse, head: Response, requested: float
    ) -> Landing:
        """A response that came by another way, as one to a GET of the same target."""
        flight = self._flights.open(ask.key, ask.key, joinable=False)
        landing = await self._judge(ask, flight, response, head, requested)
        if not isinstance(landing, Landed):
            self._flights.close(flight)
        return landing

    def _alone(
        self, ask: Ask, response: OriginResponse, head: Response, reason: str, now: float
    ) -> Alone:
        if reason not in _BY_REQUESTER:
            self._flights.remember_unstorable(ask.key, now)
        return Alone(response, head.fields, reason)

    def _draft(
        self,
        ask: Ask,
        head: Response,
        verdict: Storable,
        effective: EffectiveVary,
        requested: float,
        now: float,
    ) -> StoredResponse:
        return StoredResponse(
            status=head.status,
            fields=vary.dress(verdict.fields.without(_FRAMING), effective),
            body=_UNKNOWN,
            selecting=ask.select(key_names(effective, ask.policy)),
            born=freshness.born_at(head.fields, requested, now),
            received=now,
            reason=head.reason,
            part=verdict.part,
            authorized=b"authorization" in ask.request.fields,
            keep=freshness.keeping(head.status, head.fields, now, ask.policy.cache),
        )

    async def _not_modified(self, ask: Ask, head: Response, requested: float) -> Landing | None:
        """What a 304 comes to; None when it says nothing usable and all must be fetched."""
        stored = validation.identified(head, ask.candidates) or _sole(ask)
        if stored is None:
            return None
        effective = vary.effective(head.fields, edge.nominated(ask.policy), ask.request.method)
        if effective.star:
            return None
        if not ask.filling:
            # A 304 that leaves Vary out says nothing new about it (RFC 9111 §3.2).
            if b"vary" not in head.fields:
                merged = Fields(tuple((b"vary", line) for line in stored.fields.lines(b"vary")))
                effective = vary.effective(merged, edge.nominated(ask.policy), ask.request.method)
        elif not self._may_fill(ask, head, stored):
            return None
        fresh, kept = self._freshened(ask, stored, head, effective, requested)
        if kept is None:
            return None if ask.filling else Validated(fresh, effective, shared=False)
        shared = kept.fields == fresh.fields
        if not ask.filling:
            await self._store.replace(ask.key, stored, kept)
        elif not await self._store.add(ask.key, kept, ask.policy.cache.max_variants):
            # The body is at hand all the same: a stranger's Origin costs no other one.
            return Validated(fresh, effective, shared=shared, detail="variant-cap")
        return Validated(fresh, effective, ask.filling, shared=shared)

    def _freshened(
        self,
        ask: Ask,
        stored: StoredResponse,
        head: Response,
        effective: EffectiveVary,
        requested: float,
    ) -> tuple[StoredResponse, StoredResponse | None]:
        """*stored* as *head* says it is now: for whoever asked, and as it may be kept."""
        fields = vary.dress(head.fields.without(_FRAMING), effective)
        selecting = ask.select(key_names(effective, ask.policy))
        make = validation.adopt if ask.filling else validation.freshen
        fresh = make(stored, fields, selecting, requested, self._clock())
        if not storing.still_shared(ask.request, fresh, ask.policy):
            return fresh, None
        left = storing.kept(fresh.fields, fresh.directives)
        cookies = fresh.directives.public or ask.policy.cache.store_set_cookie
        if b"set-cookie" in head.fields and not cookies:
            left = left.without({b"set-cookie"})
        return fresh, replace(fresh, fields=left)

    def _may_fill(self, ask: Ask, head: Response, sibling: StoredResponse) -> bool:
        """False when a 304 without CORS fields may be a bare one rather than a refusal."""
        if ask.policy.cors_mode in _OURS:
            return True
        if b"origin" not in ask.request.fields and not has_family(sibling.fields):
            return True
        if has_family(head.fields):
            self.vouching.carries(ask.key)
            return True
        return self.vouching.is_believed(ask.key)

    async def _from_head(self, ask: Ask, head: Response, requested: float) -> None:
        """A response to HEAD freshens the stored response to GET, or ends its use (§4.3.5)."""
        stored = ask.stale
        if stored is None or head.status not in (200, 404, 410):
            return
        if not validation.head_agrees(stored, head):
            await self._store.replace(ask.key, stored, stored.marked_stale())
            return
        effective = vary.effective(head.fields, edge.nominated(ask.policy), ask.request.method)
        if effective.star or not validation.shares_validator(stored, head):
            return  # that nothing differs does not say that it is the same
        ask = replace(ask, filling=False)
        _, kept = self._freshened(ask, stored, head, effective, requested)
        if kept is not None:
            await self._store.replace(ask.key, stored, kept)


_OURS = frozenset((CorsMode.OVERRIDE, CorsMode.STRIP))  # a 304 says nothing of CORS there
_RANGE = frozenset((b"range", b"if-range"))
_FRAMING = frozenset((b"content-length",))
# Reasons that lie in one request and say nothing about the next.
_BY_REQUESTER = {"request-no-store", "authorization", "method", "presigned", "of-one-origin"}


def _sole(ask: Ask) -> StoredResponse | None:
    """The one response asked about, which a 304 under another tag means all the same.

    The origin found our single tag to match; what it calls its own by now does not replace the
    tag of the bytes that we hold.
    """
    return ask.candidates[0] if len(ask.candidates) == 1 and not ask.filling else None
