"""Partial content: what is held of a whole, how parts join, and what is still missing.

Parts are combined only under one strong validator, and only where they touch or overlap;
anything else stays apart. RFC 9111 §3.3, §3.4, RFC 9110 §15.3.7.3.
"""

from __future__ import annotations

from dataclasses import replace

from vary_proxy.core import ranges, syntax, validation
from vary_proxy.core.message import Pair, Response
from vary_proxy.core.stored import Body, Part, Resource, StoredResponse

_UNKNOWN = Body(b"", 0)


def is_strong(stored: StoredResponse) -> bool:
    """True when *stored* has a strong entity tag: bytes under it may be combined."""
    tag = syntax.entity_tag(stored.fields.get(b"etag"))
    return tag is not None and not tag.weak


def completable(stored: StoredResponse) -> bool:
    """True when *stored* begins a whole whose rest can be asked for."""
    part = stored.part
    return (
        part is not None
        and part.first == 0
        and part.total is not None
        and stored.body.length < part.total
        and is_strong(stored)
    )


def rest_of(stored: StoredResponse) -> tuple[Pair, ...]:
    """The fields that ask for what *stored*, which is completable, lacks (RFC 9110 §13.1.5)."""
    tag = stored.fields.get(b"etag") or b""
    return ((b"range", b"bytes=%d-" % stored.body.length), (b"if-range", tag))


def completes(stored: StoredResponse, head: Response) -> bool:
    """True when the body of *head* is exactly the rest of *stored*."""
    part = ranges.content_range(head.fields)
    held = stored.part
    return (
        head.status == 206
        and part is not None
        and held is not None
        and part.first == stored.body.length
        and part.total == held.total
        and ranges.part_length(head.fields) == (part.total or 0) - part.first
        and head.fields.get(b"etag") == stored.fields.get(b"etag")
    )


def completed_head(stored: StoredResponse, head: Response) -> Response:
    """The head of the whole that *stored* and the rest under *head* make: 200, newest fields."""
    fields = validation.updated_fields(stored.fields, head.fields).without({b"content-range"})
    return Response(200, fields, b"")


def incomplete(draft: StoredResponse, total: int | None, size: int) -> StoredResponse | None:
    """*draft*, whose body was cut after *size* bytes, as a part; None when it is of no use."""
    whole = draft.part is None and draft.status == 200
    if not whole or total is None or not 0 < size < total or not is_strong(draft):
        return None
    return replace(draft, status=206, reason=b"", part=Part(0, total))


def neighbour(resource: Resource | None, stored: StoredResponse) -> StoredResponse | None:
    """Another part of the same whole that touches or overlaps *stored*; None when there is none."""
    if resource is None or stored.part is None:
        return None
    first, last = stored.part.first, stored.part.first + stored.body.length
    for other in resource.variants:
        if other == stored or other.part is None or other.selecting != stored.selecting:
            continue
        if other.part.total != stored.part.total or not ranges.same_representation(other, stored):
            continue
        begin, end = other.part.first, other.part.first + other.body.length
        if begin <= last and first <= end:
            return other
    return None


def joined(stored: StoredResponse, other: StoredResponse) -> tuple[StoredResponse, int]:
    """What two neighbours make, without its body, and how many bytes of the later one to skip.

    The earlier part comes whole, then the later one from there. Fields are those of *stored*,
    the newer one. A whole becomes a 200.
    """
    before, after = in_order(stored, other)
    assert before.part is not None
    assert after.part is not None
    skip = before.part.first + before.body.length - after.part.first
    length = before.body.length + max(0, after.body.length - skip)
    total = before.part.total
    if before.part.first == 0 and length == total:
        fields = stored.fields.without({b"content-range"})
        whole = replace(stored, status=200, reason=b"", fields=fields, part=None, body=_UNKNOWN)
        return whole, skip
    return replace(stored, part=Part(before.part.first, total), body=_UNKNOWN), skip


def in_order(one: StoredResponse, other: StoredResponse) -> tuple[StoredResponse, StoredResponse]:
    """The two parts, the one that begins earlier first."""
    assert one.part is not None
    assert other.part is not None
    return (one, other) if one.part.first <= other.part.first else (other, one)
