"""Blocks: a large whole is held in pieces of one size, some of which may be missing.

Every piece begins at a multiple of BLOCK and all but the last are BLOCK bytes long, so that
whatever clients ask for, what one of them brought is of use to the next. The origin is asked
for whole blocks; a client gets exactly what it asked for. Blocks are combined under one strong
validator alone. RFC 9111 §3.3, §3.4, RFC 9110 §13.1.1, §15.3.7.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from vary_proxy.core import ranges, syntax
from vary_proxy.core.message import Fields, Pair, Response
from vary_proxy.core.ranges import Span, Spec
from vary_proxy.core.stored import Part, StoredResponse

BLOCK = 128 << 10  # bytes
STRETCH = 128  # blocks that are asked for at once, at most


def slot(wanted: Sequence[Spec]) -> bytes | None:
    """The Range that asks for the whole blocks of one of *wanted*; None: there is none.

    It is one that can be answered if any can: a 416 to it is one to all (RFC 9110 §14.2).
    The length of the whole is not known: a suffix is lengthened until it must begin at or before
    the block in which it begins. Of a long range the first stretch is asked for: who leaves
    early has cost little, and what others bring meanwhile need not be asked for again.
    """
    first, last = _surest(wanted)
    if first is None:
        return b"bytes=-%d" % (last + BLOCK - 1) if last else None
    begin = first - first % BLOCK
    most = begin + STRETCH * BLOCK
    stop = most if last is None else min(most, _up(last + 1))
    return b"bytes=%d-%d" % (begin, stop - 1)


def _surest(wanted: Sequence[Spec]) -> Spec:
    suffix = next((one for one in wanted if one[0] is None and one[1]), None)
    begun = [one for one in wanted if one[0] is not None]
    return suffix or min(begun, key=lambda one: one[0] or 0, default=wanted[0])


def around(span: Span, total: int) -> Span:
    """*span* of a whole of *total* bytes, as far as the blocks go in which it begins and ends."""
    return Span(span.start - span.start % BLOCK, min(_up(span.stop), total))


def numbers(span: Span) -> range:
    """The blocks in which bytes of *span* lie."""
    return range(span.start // BLOCK, -(-span.stop // BLOCK))


def place(number: int, total: int) -> Span:
    """Where block *number* of a whole of *total* bytes lies."""
    return Span(number * BLOCK, min((number + 1) * BLOCK, total))


def count(total: int) -> int:
    return -(-total // BLOCK)


def whole_blocks(span: Span, total: int) -> range:
    """The blocks that lie within *span* with all their bytes."""
    last = count(total) if span.stop >= total else span.stop // BLOCK
    return range(-(-span.start // BLOCK), last)


def ask_for(span: Span, stored: StoredResponse) -> tuple[Pair, ...]:
    """The fields that ask for *span* of *stored* and of nothing else.

    If-Match rather than If-Range: where the representation has changed the answer is a short
    412, not all of the new one. What comes is checked in any case.
    """
    tag = stored.fields.get(b"etag") or b""
    return ((b"range", b"bytes=%d-%d" % (span.start, span.stop - 1)), (b"if-match", tag))


def answers(head: Response, length: int | None, stored: StoredResponse) -> Span | None:
    """Which bytes of *stored* a response brings; None when it is of another representation.

    A 200 with the same tag brings them all: its origin knows no ranges.
    """
    total = stored.body.length
    mine, theirs = stored.fields, head.fields
    if mine.get(b"etag") != theirs.get(b"etag") or len(theirs.lines(b"etag")) != 1:
        return None
    if mine.combined(b"content-encoding") != theirs.combined(b"content-encoding"):
        return None
    if head.status == 200:
        return Span(0, total) if length == total else None
    span = brought(head, length)
    part = ranges.content_range(head.fields)
    return span if span is not None and part is not None and part.total == total else None


def brought(head: Response, length: int | None) -> Span | None:
    """Which bytes a 206 brings; None when it is none, or says of itself what cannot be."""
    part, said = ranges.content_range(head.fields), ranges.part_length(head.fields)
    if head.status != 206 or part is None or said is None or length not in (None, said):
        return None
    return Span(part.first, part.first + said)


def of_whole(head: Response, length: int | None) -> tuple[Response, Span, int] | None:
    """A 206 under a strong validator, as the head of the whole; what it brings; the total.

    None when its bytes may not be combined with others (RFC 9110 §15.3.7.3).
    """
    part: Part | None = ranges.content_range(head.fields)
    span = brought(head, length)
    if span is None or part is None or part.total is None or not is_strong(head.fields):
        return None
    return Response(200, head.fields.without(_OF_A_PART)), span, part.total


def is_strong(fields: Fields) -> bool:
    """True when there is one entity tag, and it is strong."""
    lines = fields.lines(b"etag")
    tag = syntax.entity_tag(lines[0]) if len(lines) == 1 else None
    return tag is not None and not tag.weak


_OF_A_PART = frozenset((b"content-range", b"content-length"))


def _up(offset: int) -> int:
    return -(-offset // BLOCK) * BLOCK
