"""How a new variant joins its resource, and who may not push whom out. RFC 9111 §4.

A variant replaces the one with the same selecting values. Their number is bounded: what a
request without ``Origin`` got is always taken in; of requesters that the origin refused
only a few are kept; and when the resource is full a new variant takes the place of one
that is no longer fresh, or is served without being stored. So a stranger who sends ever
new origins cannot push out what others use.
"""

from __future__ import annotations

from vary_proxy.core import freshness
from vary_proxy.core.policy import CachePolicy
from vary_proxy.core.stored import Resource, StoredResponse

_REFUSED_SHARE = 8  # one of so many variants may be a refused requester's


def joined(
    resource: Resource | None, stored: StoredResponse, limit: int, now: float
) -> Resource | None:
    """*resource* with *stored* as its newest variant; None when it may not join."""
    others = () if resource is None else resource.variants
    kept = tuple(one for one in others if not _displaces(stored, one))
    if len(kept) < len(others):
        return Resource((stored, *kept))
    if _is_refused(stored) and sum(map(_is_refused, kept)) >= max(1, limit // _REFUSED_SHARE):
        return _in_place_of(stored, kept, now, only_refused=True)
    if len(kept) < limit:
        return Resource((stored, *kept))
    return _in_place_of(stored, kept, now, only_refused=False)


def _displaces(new: StoredResponse, old: StoredResponse) -> bool:
    """True when *old* would never be chosen again, or is a part that *new* makes needless."""
    if dict(new.selecting) != dict(old.selecting):
        return False
    if new.part is None or old.part is None:
        return True
    if new.fields.get(b"etag") != old.fields.get(b"etag"):
        return True
    return new.part.first <= old.part.first and (
        old.part.first + old.body.length <= new.part.first + new.body.length
    )


def _is_refused(stored: StoredResponse) -> bool:
    """True for a variant whose requester sent ``Origin`` and was given no CORS fields."""
    sent = dict(stored.selecting).get(b"origin")
    return sent is not None and b"access-control-allow-origin" not in stored.fields


def _in_place_of(
    stored: StoredResponse, others: tuple[StoredResponse, ...], now: float, *, only_refused: bool
) -> Resource | None:
    for index in range(len(others) - 1, -1, -1):
        old = others[index]
        if only_refused and not _is_refused(old):
            continue
        if _is_spent(old, now) or _is_plain(stored):
            if _is_plain(old) and not _is_plain(stored):
                continue
            return Resource((stored, *others[:index], *others[index + 1 :]))
    return None


def _is_plain(stored: StoredResponse) -> bool:
    return dict(stored.selecting).get(b"origin") is None


def _is_spent(stored: StoredResponse, now: float) -> bool:
    lifetime = freshness.stored_lifetime(stored, CachePolicy())
    return freshness.current_age(stored, now) >= lifetime


def replaced(resource: Resource, old: StoredResponse, new: StoredResponse) -> Resource | None:
    """*resource* with *new*, as its newest, where *old* stood; None when it stands no more."""
    if old not in resource.variants:
        return None
    kept = tuple(one for one in resource.variants if one != old and not _displaces(new, one))
    return Resource((new, *kept))

