"""Conditional requests: those we make, those we answer, and what a 304 changes.

A client's condition is answered from a stored response and never decides what is stored
for others. A 304 from the origin updates exactly the stored response that it identifies.
RFC 9110 §13, RFC 9111 §4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vary_proxy.core import freshness, syntax
from vary_proxy.core.message import Fields, Pair, Request, Response
from vary_proxy.core.stored import Selecting, StoredResponse

CLIENT_CONDITIONS = frozenset((b"if-none-match", b"if-modified-since"))
# Only an origin server evaluates these (RFC 9111 §4.3.2).
ORIGIN_CONDITIONS = frozenset((b"if-match", b"if-unmodified-since"))

# What describes the stored bytes themselves is not for a 304 to change (RFC 9111 §3.2).
_OF_THE_BODY = frozenset(
    (b"content-length", b"content-encoding", b"content-md5", b"content-range", b"etag")
    + (b"content-digest", b"repr-digest", b"digest", b"transfer-encoding")
)
# Says whom a response is for: never inherited from another requester's response.
_OF_THE_REQUESTER = frozenset(
    (b"timing-allow-origin", b"set-cookie", b"age", b"cache-status", b"vary")
)


def has_validator(stored: StoredResponse) -> bool:
    return b"etag" in stored.fields or b"last-modified" in stored.fields


def conditions(candidates: Sequence[StoredResponse]) -> tuple[Pair, ...]:
    """The conditional fields that validate *candidates* (RFC 9111 §4.3.1); empty: none can be.

    Every entity tag is sent; Last-Modified only where there is a single candidate.
    """
    tags = list(
        dict.fromkeys(tag for one in candidates if (tag := one.fields.get(b"etag")) is not None)
    )
    found: list[Pair] = []
    if tags:
        found.append((b"if-none-match", b", ".join(tags)))
    if len(candidates) == 1:
        modified = candidates[0].fields.get(b"last-modified")
        if modified is not None:
            found.append((b"if-modified-since", modified))
    return tuple(found)


def not_modified(request: Request, stored: StoredResponse) -> bool:
    """True when the client's condition says that *stored* is what it has: 304 (RFC 9110 §13.2.2).

    If-None-Match goes before If-Modified-Since; a date that cannot be read is ignored.
    """
    return has_already(request, stored.status, stored.fields, stored.received)


def has_already(request: Request, status: int, fields: Fields, received: float) -> bool:
    """As ``not_modified``, for a response of *status* and *fields* that came at *received*."""
    if status != 200 or request.method not in (b"GET", b"HEAD"):
        return False
    asked = request.fields.combined(b"if-none-match")
    if asked is not None:
        tags = syntax.entity_tags(asked)
        if tags is None:
            return True
        value = fields.get(b"etag")
        mine = syntax.entity_tag(value)
        if mine is None:  # not a tag by the grammar: equal only to itself
            return value is not None and value in syntax.members(asked)
        return any(mine.weak_match(tag) for tag in tags)
    since = request.fields.combined(b"if-modified-since")
    if since is None:
        return False
    asked_instant = syntax.http_date(since, received)
    modified = fields.get(b"last-modified") or fields.get(b"date")
    instant = None if modified is None else syntax.http_date(modified, received)
    return asked_instant is not None and instant is not None and instant <= asked_instant


def identified(head: Response, candidates: Sequence[StoredResponse]) -> StoredResponse | None:
    """The stored response that a 304 stands for, None when it is none (RFC 9111 §4.3.4)."""
    value = head.fields.get(b"etag")
    if value is not None:
        return next((one for one in candidates if _same_tag(one, value)), None)
    modified = head.fields.get(b"last-modified")
    if modified is not None and len(candidates) > 1:
        return next(
            (one for one in candidates if one.fields.get(b"last-modified") == modified), None
        )
    return candidates[0] if len(candidates) == 1 else None


def _same_tag(stored: StoredResponse, value: bytes) -> bool:
    mine = stored.fields.get(b"etag")
    asked, have = syntax.entity_tag(value), syntax.entity_tag(mine)
    if asked is None or have is None or not asked.weak:
        return mine == value
    return have.weak_match(asked)


def updated_fields(old: Fields, new: Fields) -> Fields:
    """*old* with every field that *new* brings, but those that describe the body (§3.2)."""
    brought = new.without(_OF_THE_BODY)
    return old.without(brought.names()).plus(brought.items)


def freshen(
    stored: StoredResponse, fields: Fields, selecting: Selecting, requested: float, received: float
) -> StoredResponse:
    """*stored* after a 304 whose fields, already dressed, are *fields* (RFC 9111 §4.3.4)."""
    merged = updated_fields(stored.fields, fields)
    if b"age" not in fields:
        merged = merged.without({b"age"})
    return StoredResponse(  # dataclasses.replace takes twice as long
        stored.status,
        merged,
        stored.body,
        selecting,
        freshness.born_at(fields, requested, received),
        received,
        stored.reason,
        stored.part,
        stored.authorized,
        bare_304=stored.bare_304,
        sparse=stored.sparse,
        keep=stored.keep,
    )


def adopt(
    sibling: StoredResponse, fields: Fields, selecting: Selecting, requested: float, received: float
) -> StoredResponse:
    """A new variant with the body of *sibling*, as a 304 to this requester says.

    What describes the representation comes from the sibling, updated by the 304; what says
    whom it is for (CORS, Set-Cookie, Timing-Allow-Origin, Vary) comes from the 304 alone.
    """
    own = Fields(tuple(pair for pair in sibling.fields.items if not is_of_the_requester(pair[0])))
    return freshen(replace(sibling, fields=own), fields, selecting, requested, received)


def is_of_the_requester(name: bytes) -> bool:
    return name in _OF_THE_REQUESTER or name.startswith(b"access-control-")


def shareable_body(stored: StoredResponse) -> bool:
    """True when a variant for another requester may be filled by validating *stored*."""
    tag = syntax.entity_tag(stored.fields.get(b"etag"))
    return (
        tag is not None
        and not tag.weak
        and stored.status == 200
        and stored.part is None
        and not stored.bare_304
        and not stored.authorized
    )


def shares_validator(stored: StoredResponse, head: Response) -> bool:
    """True when *head* carries a validator that *stored* has too, with the same value."""
    return any(
        (said := head.fields.get(name)) is not None and said == stored.fields.get(name)
        for name in (b"etag", b"last-modified")
    )


def head_agrees(stored: StoredResponse, head: Response) -> bool:
    """True when a response to HEAD describes the very bytes stored (RFC 9111 §4.3.5)."""
    for name in (b"etag", b"last-modified"):
        said = head.fields.get(name)
        if said is not None and name in stored.fields and said != stored.fields.get(name):
            return False
    length = head.fields.get(b"content-length")
    total = stored.body.length if stored.part is None else stored.part.total
    agrees = length is None or total is None or length == b"%d" % total
    return agrees and head.status == stored.status
