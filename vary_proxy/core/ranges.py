"""Range requests: which bytes are asked for, and which are to be had. RFC 9110 §14.

A Range that cannot be read, or asks for more pieces than is reasonable, is ignored: the
whole is then the answer, which the standard always allows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from vary_proxy.core import syntax
from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Part, StoredResponse
from vary_proxy.core.values import immutable

MOST_RANGES = 16

_SPEC = re.compile(rb"(\d{0,18})-(\d{0,18})\Z")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z", re.IGNORECASE)


@immutable
class Span:
    """Bytes [start, stop) of the whole representation."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


Spec = tuple[int | None, int | None]  # first, last; (None, n) is the suffix of n bytes


def specs(value: bytes) -> tuple[Spec, ...] | None:
    """The ranges that a Range field asks for; None when it is to be ignored (§14.1.1)."""
    unit, equals, rest = value.partition(b"=")
    if not equals or unit.strip(b" \t").lower() != b"bytes":
        return None
    found: list[Spec] = []
    for member in rest.split(b","):
        trimmed = member.strip(b" \t")
        if not trimmed:
            continue
        match = _SPEC.match(trimmed)
        if match is None or match[0] == b"-":
            return None
        first = int(match[1]) if match[1] else None
        last = int(match[2]) if match[2] else None
        if first is not None and last is not None and last < first:
            return None
        found.append((first, last))
    return tuple(found) if 0 < len(found) <= MOST_RANGES else None


def resolve(wanted: Sequence[Spec], total: int) -> tuple[Span, ...]:
    """The satisfiable spans among *wanted* of *total* bytes; empty when none is (§14.1.2)."""
    spans: list[Span] = []
    for first, last in wanted:
        if first is None:
            assert last is not None
            start, stop = max(0, total - last), total
        else:
            start, stop = first, total if last is None else min(last + 1, total)
        if start < stop:
            spans.append(Span(start, stop))
    return tuple(spans)


def is_reasonable(spans: Sequence[Span], total: int) -> bool:
    """False for overlapping or amplifying sets, which a server may refuse to honour (§14.2)."""
    if len(spans) < 2:
        return True
    ordered = sorted(spans, key=lambda span: span.start)
    apart = all(before.stop <= after.start for before, after in itertools.pairwise(ordered))
    return apart and sum(span.length for span in spans) <= total


def content_range(fields: Fields) -> Part | None:
    """Where a 206 lies in the whole; None when Content-Range is unusable (§14.4)."""
    lines = fields.lines(b"content-range")
    match = _CONTENT_RANGE.match(lines[0]) if len(lines) == 1 else None
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == b"*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return Part(first, total)


def part_length(fields: Fields) -> int | None:
    """Bytes that a 206 announces by its Content-Range; None when unusable."""
    lines = fields.lines(b"content-range")
    match = _CONTENT_RANGE.match(lines[0]) if len(lines) == 1 else None
    return None if match is None else int(match[2]) - int(match[1]) + 1


def if_range_holds(value: bytes | None, stored: StoredResponse) -> bool:
    """True when a Range may be answered: no If-Range, or it names this very response (§13.1.5)."""
    if value is None:
        return True
    asked = syntax.entity_tag(value)
    if asked is not None:
        mine = syntax.entity_tag(stored.fields.get(b"etag"))
        return mine is not None and asked.strong_match(mine)
    modified = stored.fields.get(b"last-modified")
    if modified is None or syntax.http_date(value, stored.received) is None:
        return False
    # A date is strong only if it lies at least a second before Date (§8.8.2.2).
    date = syntax.http_date(stored.fields.get(b"date") or b"", stored.received)
    instant = syntax.http_date(modified, stored.received)
    return value == modified and None not in (date, instant) and (instant or 0) < (date or 0)


def same_representation(one: StoredResponse, other: StoredResponse) -> bool:
    """True when both carry the same strong validator: their bytes may be combined (§15.3.7.3)."""
    mine = syntax.entity_tag(one.fields.get(b"etag"))
    theirs = syntax.entity_tag(other.fields.get(b"etag"))
    return mine is not None and theirs is not None and mine.strong_match(theirs)
