"""What a 304, or an answer to HEAD, makes of what is stored. RFC 9111 §4.3.4, §4.3.5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vary_proxy.core import storing, validation, vary
from vary_proxy.core.message import Fields, Response
from vary_proxy.core.policy import CorsMode
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.fetches.asking import Ask, key_names
from vary_proxy.fetches.vouching import Vouching, has_family
from vary_proxy.flights import Landing, Validated
from vary_proxy.store.base import Since, Store


class Freshener:
    def __init__(self, store: Store, clock: Callable[[], float], vouching: Vouching) -> None:
        self._store = store
        self._clock = clock
        self._vouching = vouching

    async def not_modified(
        self, ask: Ask, head: Response, requested: float, since: Since | None
    ) -> Landing | None:
        """What a 304 comes to; None when it says nothing usable and all must be fetched."""
        stored = validation.identified(head, ask.candidates) or _sole(ask)
        if stored is None:
            return None
        effective = ask.vary(head.fields)
        if effective.star:
            return None
        if not ask.filling:
            # A 304 that leaves Vary out says nothing new about it (RFC 9111 §3.2).
            if b"vary" not in head.fields:
                merged = Fields(tuple((b"vary", line) for line in stored.fields.lines(b"vary")))
                effective = ask.vary(merged)
        elif not self._may_fill(ask, head, stored):
            return None
        fresh, kept = self._freshened(ask, stored, head, effective, requested)
        if kept is None:
            return None if ask.filling else Validated(fresh, effective, shared=False)
        shared = kept.fields == fresh.fields
        if not ask.filling:
            await self._store.replace(ask.key, stored, kept, since)
        elif not await self._store.add(ask.key, kept, ask.policy.cache.max_variants, since):
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
        return fresh, fresh if left is fresh.fields else replace(fresh, fields=left)

    def _may_fill(self, ask: Ask, head: Response, sibling: StoredResponse) -> bool:
        """False when a 304 without CORS fields may be a bare one rather than a refusal."""
        if ask.policy.cors_mode in _OURS:
            return True
        if b"origin" not in ask.request.fields and not has_family(sibling.fields):
            return True
        if has_family(head.fields):
            self._vouching.carries(ask.key)
            return True
        return self._vouching.is_believed(ask.key)

    async def from_head(
        self, ask: Ask, head: Response, requested: float, since: Since | None
    ) -> None:
        """A response to HEAD freshens the stored response to GET, or ends its use (§4.3.5)."""
        stored = ask.stale
        if stored is None or head.status not in (200, 404, 410):
            return
        if not validation.head_agrees(stored, head):
            await self._store.replace(ask.key, stored, stored.marked_stale(), since)
            return
        effective = ask.vary(head.fields)
        if effective.star or not validation.shares_validator(stored, head):
            return  # that nothing differs does not say that it is the same
        ask = replace(ask, filling=False)
        _, kept = self._freshened(ask, stored, head, effective, requested)
        if kept is not None:
            await self._store.replace(ask.key, stored, kept, since)


_OURS = frozenset((CorsMode.OVERRIDE, CorsMode.STRIP))  # a 304 says nothing of CORS there
_FRAMING = frozenset((b"content-length",))


def _sole(ask: Ask) -> StoredResponse | None:
    """The one response asked about, which a 304 under another tag means all the same.

    The origin found our single tag to match; what it calls its own by now does not replace the
    tag of the bytes that we hold.
    """
    return ask.candidates[0] if len(ask.candidates) == 1 and not ask.filling else None
