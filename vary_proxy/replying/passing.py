"""Requests in which the cache has no part: sent on as they are, the answer repaired.

What they change at the origin is taken out of the store (RFC 9111 §4.4), and a response to
POST that says so is kept for later GETs (RFC 9110 §9.3.3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from vary_proxy.core import delivery, edge, forwarding, invalidation, keys
from vary_proxy.core.delivery import CacheStatus
from vary_proxy.core.message import Fields, Reply, Request, Response
from vary_proxy.core.policy import Policy
from vary_proxy.fetches import asking
from vary_proxy.fetches.asking import NO_VARY, Ask, key_names
from vary_proxy.fetches.fetching import Fetcher
from vary_proxy.flights import Flight, Flights, Landed
from vary_proxy.origin import Origin, OriginResponse
from vary_proxy.replying import replies
from vary_proxy.replying.replies import Walk
from vary_proxy.store.base import Store


class Rules(Protocol):
    def match(self, request: Request) -> Policy: ...

    def possible(self, request: Request) -> tuple[Policy, ...]: ...


class Passer:
    def __init__(
        self,
        fetcher: Fetcher,
        rules: Rules,
        origins: Mapping[str, Origin],
        store: Store,
        flights: Flights,
        clock: Callable[[], float],
        trusted: Callable[[str], bool],
        invalidated: Callable[[Sequence[bytes]], Awaitable[None]],
    ) -> None:
        self._invalidated = invalidated  # tells others whose memory is not ours
        self._fetcher = fetcher
        self.rules = rules
        self._origins = origins
        self._store = store
        self._flights = flights
        self._clock = clock
        self._trusted = trusted

    async def run(self, walk: Walk, reason: str) -> Reply:
        """Outside the cache: everything goes on as it is, Vary repaired."""
        flight = await self._opened(walk)
        requested = self._clock()
        try:
            response = await self._send(walk)
            try:
                head = self._head(walk, response, requested)
                if walk.request.method not in invalidation.SAFE:
                    await self._invalidate(walk.request, response.head, flight)
                status = CacheStatus(fwd=reason)
                if flight is not None:
                    return await self._adopted(walk, flight, response, head, requested, status)
                return replies.alone(walk, response, head.fields, status)
            except BaseException:
                await response.close()
                raise
        except BaseException:
            if flight is not None:
                self._flights.close(flight)
            raise

    async def _opened(self, walk: Walk) -> Flight | None:
        """What is grounded when that changes which a POST brings for later GETs."""
        if walk.request.method != b"POST" or not walk.policy.cache.enabled:
            return None
        key = keys.primary_key(walk.request, walk.policy)
        flight = self._flights.open(key, key, joinable=False)
        flight.since = await self._store.since(key)
        return flight

    def is_alone(self, request: Request, key: bytes) -> bool:
        """True when nobody will share the answer, or one could not be stored a moment ago."""
        if request.method != b"GET" or not request.fields.lacks(asking.SPECIAL):
            return False
        return b"authorization" in request.fields or self._flights.is_unstorable(key, self._clock())

    async def judged(self, walk: Walk, key: bytes) -> Reply:
        """As ``run``, for what ``is_alone``; where the answer may be stored all the same, it is."""
        requested = self._clock()
        flight = self._flights.open(key, key, joinable=False)
        try:
            flight.since = await self._store.since(key)
            response = await self._send(walk)
        except BaseException:
            self._flights.close(flight)
            raise
        try:
            head = self._head(walk, response, requested)
            status = CacheStatus(fwd="uri-miss")
            why = self._fetcher.unstorable(walk.request, walk.policy, response, head, key)
            if not why:
                return await self._adopted(walk, flight, response, head, requested, status)
            self._flights.close(flight)
            return replies.alone(walk, response, head.fields, status.of(head.status, why))
        except BaseException:
            self._flights.close(flight)
            await response.close()
            raise

    def _send(self, walk: Walk) -> Awaitable[OriginResponse]:
        request, policy = walk.request, walk.policy
        origin = self._origins[policy.origin]
        naming = origin.naming
        trusted = self._trusted(request.client)
        hop = forwarding.Hop(naming.host, naming.prefix, trusted, naming.scheme)
        sent = forwarding.to_origin(request, policy, hop)
        walk.record.origin = policy.origin
        return origin.fetch(sent, walk.channel.body, walk.channel.interim)

    def _head(self, walk: Walk, response: OriginResponse, requested: float) -> Response:
        """The head of *response* as it is judged and delivered."""
        head, now = response.head, self._clock()
        walk.asked(walk.policy.origin, head.status, now - requested)
        fields = edge.received(walk.policy, forwarding.end_to_end(head.fields))
        return Response(head.status, delivery.received(fields, now), head.reason)

    async def _adopted(
        self,
        walk: Walk,
        flight: Flight,
        response: OriginResponse,
        head: Response,
        requested: float,
        status: CacheStatus,
    ) -> Reply:
        """A response that may be kept for later GETs; one to POST says so (RFC 9110 §9.3.3)."""
        names = key_names(NO_VARY, walk.policy)
        ask = Ask(walk.request, walk.policy, flight.key, names, trusted=False)
        landing = await self._fetcher.adopt(ask, flight, response, head, requested)
        if not isinstance(landing, Landed):
            return replies.alone(walk, response, head.fields, status)
        detail = landing.detail
        status = status.of(head.status, detail, stored=not detail)
        walk.record.cache = "miss"
        walk.note(landing.vary)
        now = self._clock()
        reply = replies.from_spool(walk, landing.own, landing.spool, status, now)
        await landing.anchor.aclose()
        return reply

    async def _invalidate(
        self, request: Request, head: Response, flight: Flight | None = None
    ) -> None:
        """Drop what the request may have changed, by whichever rule it may be kept (§4.4)."""
        found: dict[bytes, None] = {}
        for target in invalidation.targets(request, head):
            plain = replace(request, method=b"GET", target=target, fields=_host_only(request))
            kept = (one for one in self.rules.possible(plain) if one.cache.enabled)
            found.update(dict.fromkeys(keys.primary_key(plain, one) for one in kept))
        if found:
            await self.invalidate(tuple(found), flight)
            await self._invalidated(tuple(found))

    async def invalidate(self, found: Sequence[bytes], but: Flight | None = None) -> None:
        """Use no more what is held, and what is under way *but* one, for these primary keys."""
        for key in found:
            self._flights.ground(key, but)
            if but is not None and but.key == key:
                but.since = await self._store.supersede(key, but.since)
            else:
                await self._store.purge(key)
            self._flights.ground(key, but)  # while that took, one may have followed what was before


def _host_only(request: Request) -> Fields:
    return Fields(tuple(pair for pair in request.fields.items if pair[0] == b"host"))
