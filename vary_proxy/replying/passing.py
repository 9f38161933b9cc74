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
from vary_proxy.fetches.asking import NO_VARY, Ask, key_names
from vary_proxy.fetches.fetching import Fetcher
from vary_proxy.flights import Flights, Landed
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
        request, policy = walk.request, walk.policy
        origin = self._origins[policy.origin]
        naming = origin.naming
        trusted = self._trusted(request.client)
        hop = forwarding.Hop(naming.host, naming.prefix, trusted, naming.scheme)
        sent = forwarding.to_origin(request, policy, hop)
        walk.record.origin = policy.origin
        requested = self._clock()
        response = await origin.fetch(sent, walk.channel.body, walk.channel.interim)
        try:
            return await self._answered(walk, response, requested, CacheStatus(fwd=reason))
        except BaseException:
            await response.close()
            raise

    async def _answered(
        self, walk: Walk, response: OriginResponse, requested: float, status: CacheStatus
    ) -> Reply:
        request, policy = walk.request, walk.policy
        walk.asked(policy.origin, response.head.status, self._clock() - requested)
        await self._invalidate(request, response.head)
        fields = edge.received(policy, forwarding.end_to_end(response.head.fields))
        fields = delivery.received(fields, self._clock())
        if request.method == b"POST" and policy.cache.enabled:
            head = Response(response.head.status, fields, response.head.reason)
            return await self._posted(walk, response, head, requested, status)
        return replies.alone(walk, response, fields, status)

    async def _posted(
        self,
        walk: Walk,
        response: OriginResponse,
        head: Response,
        requested: float,
        status: CacheStatus,
    ) -> Reply:
        """A response to POST may be kept for later GETs, where it says so (RFC 9110 §9.3.3)."""
        key = keys.primary_key(walk.request, walk.policy)
        names = key_names(NO_VARY, walk.policy)
        ask = Ask(walk.request, walk.policy, key, names, trusted=False)
        landing = await self._fetcher.adopt(ask, response, head, requested)
        if not isinstance(landing, Landed):
            return replies.alone(walk, response, head.fields, status)
        detail = landing.detail
        status = replace(status, fwd_status=head.status, stored=not detail, detail=detail)
        walk.record.cache = "miss"
        walk.note(landing.vary)
        now = self._clock()
        reply = replies.from_spool(walk, landing.own, landing.spool, status, now)
        await landing.anchor.aclose()
        return reply

    async def _invalidate(self, request: Request, head: Response) -> None:
        """Drop what the request may have changed, by whichever rule it may be kept (§4.4)."""
        found: dict[bytes, None] = {}
        for target in invalidation.targets(request, head):
            plain = replace(request, method=b"GET", target=target, fields=_host_only(request))
            kept = (one for one in self.rules.possible(plain) if one.cache.enabled)
            found.update(dict.fromkeys(keys.primary_key(plain, one) for one in kept))
        if found:
            await self.invalidate(tuple(found))
            await self._invalidated(tuple(found))

    async def invalidate(self, found: Sequence[bytes]) -> None:
        """Use no more what is held, and what is under way, for these primary keys."""
        for key in found:
            self._flights.ground(key)
            await self._store.purge(key)
            self._flights.ground(key)  # while that took, one may have followed what was before


def _host_only(request: Request) -> Fields:
    return Fields(tuple(pair for pair in request.fields.items if pair[0] == b"host"))
