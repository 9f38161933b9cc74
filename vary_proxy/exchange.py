"""The one coroutine that walks a request through the steps: match, load, decide, fetch, compose.

No step returns to an earlier one, but that a body found gone is fetched again. Whatever the
outcome, the Reply is dressed by core.delivery and its Record says what happened and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

from vary_proxy import asking, preflights, replies
from vary_proxy.asking import NO_VARY, Ask, key_names
from vary_proxy.channel import Channel
from vary_proxy.core import (
    forwarding,
    keys,
    reuse,
)
from vary_proxy.core.delivery import CacheStatus
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.core.policy import Policy, PreflightMode
from vary_proxy.core.preflight import is_preflight
from vary_proxy.core.stored import Resource, Selecting, StoredResponse
from vary_proxy.fetching import Fetcher
from vary_proxy.flights import RIDE_SECONDS, Alone, Failed, Flights, Landed, Landing, Validated
from vary_proxy.origin import Origin, OriginFailure
from vary_proxy.passing import Passer, Rules
from vary_proxy.replies import Walk
from vary_proxy.resuming import resuming
from vary_proxy.store.base import Store, StoreUnavailable
from vary_proxy.tasks import Tasks

OnHit = Callable[[Request, Policy, bytes, StoredResponse, Fields, Reply], None]
OnEdge = Callable[[Request, Reply], None]


class Exchange:
    """Answers requests. *trusted* says whose forwarding fields are believed."""

    def __init__(
        self,
        rules: Rules,
        origins: Mapping[str, Origin],
        store: Store,
        tasks: Tasks,
        clock: Callable[[], float],
        trusted: Callable[[str], bool] = lambda client: False,
        flights: Flights | None = None,
    ) -> None:
        self.rules = rules
        self._origins = origins
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._trusted = trusted
        self.flights = self._flights = flights or Flights()
        self._fetcher = Fetcher(origins, store, self._flights, tasks, clock)
        self.on_hit: OnHit | None = None  # told of answers that may be given again as they are
        self.on_edge: OnEdge | None = None
        self._kept = preflights.Kept(clock)
        self._passer = Passer(self._fetcher, rules, origins, store, self._flights, clock, trusted)

    async def answer(self, request: Request, channel: Channel) -> Reply:
        """The reply to *request*; failures of the origin become replies of ours."""
        request = forwarding.believed(request, trusted=self._trusted(request.client))
        policy = self.rules.match(request)
        walk = Walk(request, policy, channel, Record(rule=policy.rule))
        if forwarding.loops(request):
            return replies.failure(walk, OriginFailure("proxy_loop_detected"), self._clock())
        try:
            if is_preflight(request):
                return await self._preflight(walk)
            outside = reuse.outside(request, policy)
            if outside is not None:
                return await self._passer.run(walk, outside.reason)
            return await self._cached(walk)
        except OriginFailure as failure:
            return replies.failure(walk, failure, self._clock())
        except StoreUnavailable:
            down = OriginFailure("proxy_internal_error", "the store does not answer", status=503)
            return replies.failure(walk, down, self._clock())

    async def _preflight(self, walk: Walk) -> Reply:
        reply = preflights.at_the_edge(walk, self._clock())
        if reply is not None:
            if self.on_edge is not None:
                self.on_edge(walk.request, reply)
            return reply
        if walk.policy.preflight is not PreflightMode.CACHE:
            walk.record.preflight = "forwarded"
            return await self._passer.run(walk, "method")
        key = keys.primary_key(walk.request, walk.policy)
        kept = self._kept.find(walk, key)
        if kept is not None:
            return kept
        return await self._kept.keep(walk, key, await self._passer.run(walk, "method"))

    async def _cached(self, walk: Walk) -> Reply:
        request, policy = walk.request, walk.policy
        key = keys.primary_key(request, policy)
        resource = self._store.peek(key)
        if resource is None:
            walk.record.tier = "shared"
            resource = await self._store.load(key)
        names = key_names(NO_VARY, policy) if resource is None else resource.names()
        ask = Ask(
            request,
            policy,
            key,
            names,
            self._trusted(request.client),
            interim=walk.channel.interim,
        )
        wanted = ask.select(())
        decision = reuse.decide(request, resource, wanted, policy, self._clock())
        match decision:
            case reuse.Serve(stored, ttl, revalidate):
                if revalidate:
                    self._in_background(ask, stored, wanted)
                reply = await self._from_store(walk, ask, stored, CacheStatus(hit=True, ttl=ttl))
                if reply is not None:
                    walk.record.cache = "stale" if ttl <= 0 else "hit"
                    if ttl > 0 and self.on_hit is not None:
                        fields = walk.dressed(stored.fields)
                        self.on_hit(request, policy, key, stored, fields, reply)
                    return reply
                return await self._fetch(walk, ask, wanted, "uri-miss")
            case reuse.Validate(stored, reason):
                ask = replace(ask, candidates=(stored,), stale=stored)
                return await self._fetch(walk, ask, wanted, reason)
            case reuse.Forward(reason, siblings, part):
                filling = bool(siblings) and self._fetcher.vouching.fills(policy.origin)
                ask = replace(
                    ask,
                    candidates=siblings if filling else (),
                    filling=filling,
                    stale=asking.fallback(resource, wanted),
                    part=part,
                )
                return await self._fetch(walk, ask, wanted, reason)
            case reuse.Pass(reason):
                return await self._passer.run(walk, reason)
            case reuse.Refuse():
                return replies.refused(walk, self._clock())
            case other:
                assert_never(other)

    async def _from_store(
        self, walk: Walk, ask: Ask, stored: StoredResponse, status: CacheStatus
    ) -> Reply | None:
        now = self._clock()
        resume = resuming(self._origins, ask, stored)
        reply = await replies.from_store(walk, self._store, ask.key, stored, status, now, resume)
        if reply is None:
            await self._store.purge(ask.key)
        walk.record.reason = status.detail
        return reply

    async def _fetch(self, walk: Walk, ask: Ask, wanted: Selecting, reason: str) -> Reply:
        asked = self._clock()
        landing, collapsed = await self._landing(walk, ask, wanted)
        walk.record.collapsed = collapsed
        if not collapsed:
            walk.asked(ask.policy.origin, landing.answered, self._clock() - asked)
        status = CacheStatus(fwd=reason, collapsed=collapsed)
        match landing:
            case Landed(draft, own, spool, effective, anchor):
                walk.record.cache = "collapsed" if collapsed else "miss"
                walk.note(effective)
                status = replace(status, fwd_status=draft.status, stored=not collapsed)
                mine = draft if collapsed else own
                arriving = replies.from_spool(walk, mine, spool, status, self._clock())
                if not collapsed:
                    await anchor.aclose()
                return arriving
            case Validated(stored, effective, filled, shared, detail):
                walk.record.cache = "validated"
                walk.note(effective)
                status = replace(status, fwd_status=304, stored=filled, detail=detail)
                reply = await self._from_store(walk, ask, stored, status)
                if not shared and ask.stale is not None:
                    await self._store.drop(ask.key, ask.stale)
                if reply is not None:
                    return reply
                return await self._fetch(
                    walk, replace(ask, candidates=(), filling=False), wanted, reason
                )
            case Alone(response, fields, why):
                told = replace(status, detail=why)
                return replies.unconditional(walk, response, fields, told, self._clock())
            case Failed(error, code):
                return await self._failed(walk, ask, status, error, code)
            case other:
                assert_never(other)

    async def _landing(self, walk: Walk, ask: Ask, wanted: Selecting) -> tuple[Landing, bool]:
        """What came of the fetch, and whether it was another's."""
        name = asking.flight_name(ask, wanted)
        now = self._clock()
        joinable = asking.may_share(ask) and not self._flights.is_unstorable(ask.key, now)
        if joinable:
            landing = await self._ride(ask, name)
            if landing is not None:
                return landing, True
        flight = self._flights.open(
            ask.key, name, joinable=joinable and self._flights.find(name) is None
        )
        self._tasks.spawn(self._fetcher.run(ask, flight), "fetch")
        try:
            return await asyncio.shield(flight.landing), False
        except asyncio.CancelledError:
            flight.landing.add_done_callback(self._close_unclaimed)
            if flight.landing.cancelled():
                raise OriginFailure("connection_terminated", "the fetch was ended") from None
            raise

    async def _ride(self, ask: Ask, name: bytes) -> Landing | None:
        """The landing of another's flight; None when there is none that fits."""
        flight = self._flights.find(name)
        if flight is None:
            return None
        late = flight.landing.done()
        if not late:
            await asyncio.wait((flight.landing,), timeout=RIDE_SECONDS)
        if not flight.landing.done() or flight.landing.cancelled():
            return None
        landing = flight.landing.result()
        match landing:
            case Landed(draft, _, spool):
                fits = ask.select(draft.names) == draft.selecting and spool.joinable
                return landing if fits and (not late or self._is_usable(ask, draft)) else None
            case Validated(stored):
                fits = ask.select(stored.names) == stored.selecting
                return landing if fits and landing.shared else None
            case _:
                return None

    def _is_usable(self, ask: Ask, draft: StoredResponse) -> bool:
        """True when a response still arriving may answer a request made after its head came."""
        decision = reuse.decide(
            ask.request, Resource((draft,)), draft.selecting, ask.policy, self._clock()
        )
        return isinstance(decision, reuse.Serve)

    def _close_unclaimed(self, flown: asyncio.Future[Landing]) -> None:
        """Nobody waits for this landing: let go of what it holds."""
        landing = None if flown.cancelled() else flown.result()
        if isinstance(landing, Alone):
            self._tasks.spawn(landing.response.close(), "close unclaimed")
        elif isinstance(landing, Landed):
            self._tasks.spawn(landing.anchor.aclose(), "close unclaimed")

    def _in_background(self, ask: Ask, stored: StoredResponse, wanted: Selecting) -> None:
        """Validate once, while the stale response is served (RFC 5861 §3)."""
        ask = replace(ask, candidates=asking.validatable(stored), stale=stored, interim=None)
        ask = replace(ask, request=asking.plain(ask.request))
        name = asking.flight_name(ask, wanted)
        if self._flights.find(name) is not None:
            return
        flight = self._flights.open(ask.key, name, joinable=True)
        flight.landing.add_done_callback(self._close_unclaimed)
        self._tasks.spawn(self._fetcher.run(ask, flight), "validate in background")

    def forget(self, matches: Callable[[bytes], bool]) -> None:
        """Store nothing that is under way for primary keys that *match*: they are purged."""
        for key in filter(matches, self._flights.keys()):
            self._flights.ground(key)
        for key in filter(matches, self._kept.keys()):
            self._kept.drop(key)

    # ── when there is nothing better ──────────────────────────────────────────────────

    async def _failed(
        self,
        walk: Walk,
        ask: Ask,
        status: CacheStatus,
        error: OriginFailure | None,
        code: int,
    ) -> Reply:
        stale = ask.stale
        if stale is not None and reuse.stands_in(
            stale, walk.policy, self._clock(), disconnected=error is not None
        ):
            told = replace(status, fwd_status=code, detail="stale-if-error")
            reply = await self._from_store(walk, ask, stale, told)
            if reply is not None:
                walk.record.cache = "stale"
                return reply
        raise error or OriginFailure("destination_unavailable", f"origin said {code}")
