"""How a new variant joins its resource, and who may not push whom out. RFC 9111 §4.

A variant replaces the one with the same selecting values. Their number is bounded: a few
that requests without ``Origin`` got are always taken in; of requesters that the origin
refused, or who send what browsers send with preflights alone, only a few are kept; and when
the resource is full a new variant takes the place of one that is no longer fresh, or is
served without being stored. So a stranger who sends ever new values of what Vary names,
most of which we put there, cannot push out what others use.
"""

from __future__ import annotations

from vary_proxy.core import freshness
from vary_proxy.core.policy import CachePolicy
from vary_proxy.core.stored import Resource, StoredResponse

_SHARE = 8  # one of so many variants may be an odd requester's; as many plain ones are let in
_PREFLIGHT_ONLY = (b"access-control-request-headers", b"access-control-request-method")


def joined(
    resource: Resource | None, stored: StoredResponse, limit: int, now: float
) -> Resource | None:
    """*resource* with *stored* as its newest variant; None when it may not join."""
    others = () if resource is None else resource.variants
    if not others and limit > 0:
        return Resource((stored,))
    kept = tuple(one for one in others if not _displaces(stored, one))
    if len(kept) < len(others):
        return Resource((stored, *kept))
    share = max(1, limit // _SHARE)
    if _is_odd(stored) and sum(map(_is_odd, kept)) >= share:
        return _in_place_of(stored, kept, now, only_odd=True)
    if len(kept) < limit:
        return Resource((stored, *kept))
    welcome = _is_plain(stored) and sum(map(_is_plain, kept)) < share
    return _in_place_of(stored, kept, now, even_fresh=welcome)


def has_room(resource: Resource | None, draft: StoredResponse, limit: int, now: float) -> bool:
    """False when *draft*, whose body is still to come, will not join *resource*.

    What a part displaces is known from its length, hence not yet: it is taken to have room.
    """
    return draft.part is not None or joined(resource, draft, limit, now) is not None


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


def _is_odd(stored: StoredResponse) -> bool:
    """True for a variant that few can want again.

    Its requester sent ``Origin`` and was given no CORS fields, or named a method or headers
    to be allowed, which no browser does but in preflights.
    """
    sent = dict(stored.selecting)
    if any(sent.get(name) is not None for name in _PREFLIGHT_ONLY):
        return True
    return sent.get(b"origin") is not None and b"access-control-allow-origin" not in stored.fields


def _in_place_of(
    stored: StoredResponse,
    others: tuple[StoredResponse, ...],
    now: float,
    *,
    only_odd: bool = False,
    even_fresh: bool = False,
) -> Resource | None:
    for index in range(len(others) - 1, -1, -1):
        old = others[index]
        if (only_odd and not _is_odd(old)) or (_is_plain(old) and not _is_plain(stored)):
            continue
        if even_fresh or _is_spent(old, now):
            return Resource((stored, *others[:index], *others[index + 1 :]))
    return None


def _is_plain(stored: StoredResponse) -> bool:
    return dict(stored.selecting).get(b"origin") is None and not _is_odd(stored)


def _is_spent(stored: StoredResponse, now: float) -> bool:
    lifetime = freshness.stored_lifetime(stored, CachePolicy())
    return freshness.current_age(stored, now) >= lifetime


def replaced(resource: Resource, old: StoredResponse, new: StoredResponse) -> Resource | None:
    """*resource* with *new*, as its newest, where *old* stood; None when it stands no more."""
    if old not in resource.variants:
        return None
    kept = tuple(one for one in resource.variants if one != old and not _displaces(new, one))
    return Resource((new, *kept))
