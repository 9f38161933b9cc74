"""The small grammars of HTTP: lists, tokens, dates, delta-seconds, entity tags.

Every parser is total: it returns a value or None, and never raises on any bytes.
RFC 9110 §5.6, §8.8.
"""

from __future__ import annotations

import calendar
import re
import time
from functools import lru_cache

from vary_proxy.core.values import immutable

# In regular expressions: one character of a token, and of a field value or what else is text.
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 §5.6.2
TEXT = rb"[\t\x20-\x7e\x80-\xff]"  # RFC 9110 §5.5

_TOKEN = re.compile(TCHAR + rb"+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEMBER = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_CLOSED = re.compile(rb'(?:[^"]|' + _QUOTED.pattern + rb")*+", re.DOTALL)

MAX_SECONDS = 2**31  # a delta-seconds that overflows counts as this (RFC 9111 §1.2.2)


def is_token(value: bytes) -> bool:
    return _TOKEN.fullmatch(value) is not None


def members(value: bytes) -> list[bytes]:
    """Members of a comma-separated list, trimmed, empty ones dropped (RFC 9110 §5.6.1).

    Commas inside quoted strings do not separate; a quote that nothing closes hides none.
    """
    parts = value.split(b",") if b'"' not in value else _quoted_members(value)
    return [trimmed for part in parts if (trimmed := part.strip(b" \t"))]


def _quoted_members(value: bytes) -> list[bytes]:
    *parts, last = _MEMBER.findall(value)
    closed = _CLOSED.match(last)
    assert closed is not None
    head, *rest = last[closed.end() :].split(b",")
    return [*parts, closed[0] + head, *rest]


def unquote(value: bytes) -> bytes | None:
    """The content of a quoted-string; None when *value* is not exactly one (§5.6.4)."""
    matched = _QUOTED.fullmatch(value)
    return None if matched is None else _ESCAPED.sub(rb"\1", matched[1])


def delta_seconds(value: bytes) -> int | None:
    """Seconds, capped at MAX_SECONDS; None when not 1*DIGIT (RFC 9111 §1.2.2)."""
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return MAX_SECONDS if len(digits) > 10 else min(int(digits or b"0"), MAX_SECONDS)


_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_LONG_DAYS = (b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday")
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun")
        + (b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
        start=1,
    )
}
_TIME = rb"([0-2]\d):([0-5]\d):([0-5]\d|60)"
_FIXED = len(b"Sun, 06 Nov 1994 08:49:37 GMT")
_IMF = re.compile(rb"(\w{3}), (\d{2}) (\w{3}) (\d{4}) " + _TIME + rb" GMT", re.ASCII)
_RFC850 = re.compile(rb"(\w+), (\d{2})-(\w{3})-(\d{2}) " + _TIME + rb" GMT", re.ASCII)
_ASCTIME = re.compile(rb"(\w{3}) (\w{3}) ([ \d]\d) " + _TIME + rb" (\d{4})", re.ASCII)


def http_date(value: bytes, now: float) -> float | None:
    """The instant that an HTTP-date names, in Unix seconds; None when it is not one.

    Only the three forms of the grammar are read, in their exact case. *now* settles the
    century of a two-digit year; a date over 50 years ahead is in the past (RFC 9110 §5.6.7).
    """
    if len(value) == _FIXED:
        return _fixdate(value)
    match = _ASCTIME.fullmatch(value)
    if match is not None:
        weekday, month, day, hour, minute, second, year = match.groups()
        return _instant(_DAYS, weekday, int(year), month, day, hour, minute, second)
    match = _RFC850.fullmatch(value)
    if match is not None:
        weekday, day, month, short_year, hour, minute, second = match.groups()
        rest = (_MONTHS.get(month, 0), int(day), int(hour), int(minute), int(second))
        year_number = _full_year(int(short_year), rest, now)
        return _instant(_LONG_DAYS, weekday, year_number, month, day, hour, minute, second)
    return None


@lru_cache(maxsize=1024)
def _fixdate(value: bytes) -> float | None:
    match = _IMF.fullmatch(value)
    if match is None:
        return None
    weekday, day, month, year, hour, minute, second = match.groups()
    return _instant(_DAYS, weekday, int(year), month, day, hour, minute, second)


def _full_year(short: int, rest: tuple[int, ...], now: float) -> int:
    """The latest year ending in *short* whose date is at most 50 years ahead of *now*."""
    today = time.gmtime(now)
    year = today.tm_year // 100 * 100 + 100 + short
    while (year, *rest) > (today.tm_year + 50, *today[1:6]):
        year -= 100
    return year


def _instant(
    weekdays: tuple[bytes, ...],
    weekday: bytes,
    year: int,
    month: bytes,
    day: bytes,
    hour: bytes,
    minute: bytes,
    second: bytes,
) -> float | None:
    number = _MONTHS.get(month)
    days = int(day)
    if weekday not in weekdays or number is None or int(hour) > 23 or year < 1:
        return None
    if not 1 <= days <= calendar.monthrange(year, number)[1]:
        return None
    return float(calendar.timegm((year, number, days, int(hour), int(minute), int(second))))


@lru_cache(maxsize=8)
def _format_second(second: int) -> bytes:
    parts = time.gmtime(second)
    months = tuple(_MONTHS)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[parts.tm_wday],
        parts.tm_mday,
        months[parts.tm_mon - 1],
        parts.tm_year,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
    )


def format_date(instant: float) -> bytes:
    """*instant* as an IMF-fixdate (RFC 9110 §5.6.7)."""
    return _format_second(int(instant))


@immutable
class EntityTag:
    """An entity tag: its opaque part with the quotes, and whether it is weak (§8.8.3)."""

    opaque: bytes
    weak: bool = False

    def strong_match(self, other: EntityTag) -> bool:
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weak_match(self, other: EntityTag) -> bool:
        return self.opaque == other.opaque

    def __bytes__(self) -> bytes:
        return b"W/" + self.opaque if self.weak else self.opaque


_ETAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def entity_tag(value: bytes | None) -> EntityTag | None:
    """The entity tag that *value* is; None when absent or malformed (RFC 9110 §8.8.3)."""
    if value is None:
        return None
    match = _ETAG.fullmatch(value)
    return None if match is None else EntityTag(match[2], match[1] is not None)


def entity_tags(value: bytes) -> tuple[EntityTag, ...] | None:
    """The entity tags of a list; None for ``*`` (RFC 9110 §13.1.1). Unreadable ones are dropped.

    An entity tag may hold commas, so the list is scanned, not split.
    """
    if value.strip(b" \t") == b"*":
        return None
    return tuple(EntityTag(match[2], match[1] is not None) for match in _ETAG.finditer(value))
