"""The one coroutine that walks a request through the steps: match, load, decide, fetch, compose.

No step returns to an earlier one, but that a body found gone is fetched again. Whatever the
outcome, the Reply is dressed by core.delivery and its Record says what happened and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from vary_proxy.channel import Channel
from vary_proxy.core import (
    forwarding,
    keys,
    loops,
    reuse,
)
from vary_proxy.core.delivery import CacheStatus
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.core.policy import Policy, PreflightMode
from vary_proxy.core.preflight import is_preflight
from vary_proxy.core.stored import Selecting, StoredResponse
from vary_proxy.fetches import asking
from vary_proxy.fetches.asking import NO_VARY, Ask, key_names
from vary_proxy.fetches.convoy import Convoy, Fleet
from vary_proxy.fetches.fetching import Fetcher
from vary_proxy.fetches.resuming import resuming
from vary_proxy.fetches.riding import Riding
from vary_proxy.flights import (
    Alone,
    Failed,
    Flights,
    Found,
    Landed,
    Opened,
    Validated,
)
from vary_proxy.origin import Origin, OriginFailure
from vary_proxy.replying import preflights, replies
from vary_proxy.replying.passing import Passer, Rules
from vary_proxy.replying.piecing import Piecing
from vary_proxy.replying.replies import Walk
from vary_proxy.store.base import Store, StoreUnavailable
from vary_proxy.tasks import Tasks

OnHit = Callable[[Request, Policy, bytes, StoredResponse, Fields, Reply], None]
OnEdge = Callable[[Request, Policy, Reply], None]
OnInvalid = Callable[[Sequence[bytes]], Awaitable[None]]
_RIDES = 2  # answers of others that may prove superseded before one is asked for alone


class Telling:
    """Tells *to*, when there is somebody, which primary keys unsafe methods made invalid.

    No method of the exchange: it and its parts would keep each other, and the connections of a
    configuration that has been replaced, until somebody collects such cycles.
    """

    def __init__(self) -> None:
        self.to: OnInvalid | None = None

    async def __call__(self, found: Sequence[bytes]) -> None:
        if self.to is not None:
            await self.to(found)


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
        fleet: Fleet | None = None,
    ) -> None:
        self.rules = rules
        self._origins = origins
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._trusted = trusted
        self.flights = self._flights = flights or Flights()
        convoy = None if fleet is None else Convoy(fleet, store, self._flights, tasks, clock)
        self._fetcher = Fetcher(origins, store, self._flights, tasks, clock, convoy)
        self._riding = Riding(self._fetcher, store, self._flights, tasks, clock)
        runs = self._fetcher.runs
        self._piecing = Piecing(origins, store, runs, clock)
        self.on_hit: OnHit | None = None  # told of answers that may be given again as they are
        self.on_edge: OnEdge | None = None
        self._kept = preflights.Kept(clock)
        self.invalid = Telling()
        self._passer = Passer(
            self._fetcher,
            rules,
            origins,
            store,
            self._flights,
            clock,
            trusted,
            self.invalid,
        )
        self.invalidate = self._passer.invalidate  # because others say so

    async def answer(self, request: Request, channel: Channel) -> Reply:
        """The reply to *request*; failures of the origin become replies of ours."""
        request = forwarding.believed(request, trusted=self._trusted(request.client))
        policy = self.rules.match(request)
        walk = Walk(request, policy, channel, Record(rule=policy.rule))
        if loops.is_closed(request, policy):
            return replies.failure(walk, OriginFailure("proxy_loop_detected"), self._clock())
        if forwarding.is_for_us(request):
            return replies.final(walk, self._clock())
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
                self.on_edge(walk.request, walk.policy, reply)
            return reply
        if walk.policy.preflight is not PreflightMode.CACHE:
            walk.record.preflight = "forwarded"
            return await self._passer.run(walk, "method")
        key = keys.primary_key(walk.request, walk.policy)
        kept = self._kept.find(walk, key)
        if kept is not None:
            return kept
        return await self._kept.keep(walk, key, self._passer.run(walk, "method"))

    async def _cached(self, walk: Walk) -> Reply:
        request, policy = walk.request, walk.policy
        key = keys.primary_key(request, policy)
        resource = self._store.peek(key)
        if resource is None:
            walk.record.tier = "shared"
            resource = await self._store.load(key)
        walk.resource = resource
        if resource is None and self._passer.is_alone(request, key):
            return await self._passer.judged(walk, key)
        ask = self._ask(walk, key)
        wanted = ask.select(())
        decision = reuse.decide(request, resource, wanted, policy, self._clock())
        match decision:
            case reuse.Serve(stored, ttl, revalidate):
                if revalidate:
                    self._riding.in_background(ask, stored, wanted)
                reply = await self._from_store(walk, ask, stored, CacheStatus(hit=True, ttl=ttl))
                if reply is not None:
                    walk.record.cache = walk.record.cache or ("stale" if ttl <= 0 else "hit")
                    if ttl > 0 and self.on_hit is not None:
                        fields = walk.dressed(stored.fields)
                        self.on_hit(request, policy, key, stored, fields, reply)
                    return reply
                return await self._fetch(walk, ask, wanted, "uri-miss")
            case reuse.Validate(stored, reason):
                return await self._fetch(walk, ask.validating(stored), wanted, reason)
            case reuse.Forward(reason, siblings, part):
                if resource is not None:
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

    def _ask(self, walk: Walk, key: bytes) -> Ask:
        request, policy, resource = walk.request, walk.policy, walk.resource
        return Ask(
            request,
            policy,
            key,
            key_names(NO_VARY, policy) if resource is None else resource.names(),
            self._trusted(request.client),
            interim=walk.channel.interim,
            resource=resource,
        )

    async def _from_store(
        self, walk: Walk, ask: Ask, stored: StoredResponse, status: CacheStatus
    ) -> Reply | None:
        if stored.sparse:
            return await self._piecing.reply(walk, ask, stored, status)
        now = self._clock()
        resume = resuming(self._origins, ask, stored)
        reply = await replies.from_store(walk, self._store, ask.key, stored, status, now, resume)
        if reply is None:
            await self._store.purge(ask.key)
        walk.record.reason = status.detail
        return reply

    async def _fetch(
        self, walk: Walk, ask: Ask, wanted: Selecting, reason: str, rides: int = _RIDES
    ) -> Reply:
        asked = self._clock()
        landing, collapsed = await self._riding.landing(ask, wanted, ride=rides > 0)
        walk.record.collapsed = collapsed
        if not collapsed and not isinstance(landing, Found):
            walk.asked(ask.policy.origin, landing.answered, self._clock() - asked)
        status = CacheStatus(fwd=reason, collapsed=collapsed)
        match landing:
            case Landed():
                return await self._arriving(walk, ask, landing, status)
            case Validated(stored, effective, filled, shared, detail):
                walk.record.cache = "validated"
                walk.note(effective)
                status = status.of(304, detail, stored=filled)
                reply = await self._from_store(walk, ask, stored, status)
                if not shared and ask.stale is not None:
                    await self._store.drop(ask.key, ask.stale)
                return reply or await self._fetch(walk, ask.anew(), wanted, reason)
            case Found(stored):
                walk.record.cache = "collapsed"
                reply = await self._from_store(walk, ask, stored, replace(status, collapsed=True))
                return reply or await self._fetch(walk, ask, wanted, reason)
            case Opened():
                begun = await self._piecing.begun(walk, ask, landing, status)
                if begun is None:
                    self._flights.supersede(ask.key, landing)
                return begun or await self._fetch(walk, ask, wanted, reason, rides - 1)
            case Alone(response, fields, why):
                status = status.of(response.head.status, why)
                return replies.unconditional(walk, response, fields, status, self._clock())
            case Failed(error, code):
                return await self._failed(walk, ask, status, error, code)
            case other:
                assert_never(other)

    async def _arriving(self, walk: Walk, ask: Ask, landed: Landed, status: CacheStatus) -> Reply:
        collapsed, detail = status.collapsed, landed.detail
        walk.record.cache = "collapsed" if collapsed else "miss"
        walk.note(landed.vary)
        stored = not collapsed and not detail
        status = status.of(landed.draft.status, detail, stored=stored)
        mine = landed.draft if collapsed else landed.own
        resume = resuming(self._origins, ask, mine, landed.spool.length)
        reply = replies.from_spool(walk, mine, landed.spool, status, self._clock(), resume)
        if not collapsed:
            await landed.anchor.aclose()
        return reply

    def forget(self, matches: Callable[[bytes], bool]) -> None:
        """Store nothing that is under way for primary keys that *match*: they are purged."""
        for key in filter(matches, self._flights.keys()):
            self._flights.ground(key)
        self._kept.forget(matches)

    def forget_one(self, key: bytes) -> None:
        """As ``forget``, of one primary key, which may have changed or have been purged."""
        self._flights.ground(key)
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
            told = status.of(code, "stale-if-error")
            reply = await self._from_store(walk, ask, stale, told)
            if reply is not None:
                walk.record.cache = "stale"
                return reply
        raise error or OriginFailure("destination_unavailable", f"origin said {code}")
