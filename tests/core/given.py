"""Values that the tables start from: a request, a response, a stored response, an instant."""

from __future__ import annotations

import calendar

from vary_proxy.core.message import Fields, Pair, Request, Response
from vary_proxy.core.stored import Body, Part, Selecting, StoredResponse
from vary_proxy.core.syntax import format_date

NOW = float(calendar.timegm((2026, 11, 22, 12, 0, 0)))

Named = bytes | tuple[bytes, ...]


def fields(*pairs: Pair, **named: Named) -> Fields:
    """Fields from pairs, and from keywords: ``cache_control=b"max-age=60"``; a tuple: lines."""
    items = list(pairs)
    for name, value in named.items():
        lines = value if isinstance(value, tuple) else (value,)
        items += [(name.replace("_", "-").encode(), line) for line in lines]
    return Fields(tuple(items))


def date(seconds: float = 0.0) -> bytes:
    """The HTTP-date *seconds* after NOW."""
    return format_date(NOW + seconds)


def request(
    method: bytes = b"GET", target: bytes = b"/a", *pairs: Pair, body: bool = False, **named: Named
) -> Request:
    said = fields(*pairs, **named)
    return Request(method, target, said, authority=b"edge.example", has_body=body)


def response(status: int = 200, *pairs: Pair, **named: Named) -> Response:
    return Response(status, fields(*pairs, **named))


def stored(
    status: int = 200,
    *pairs: Pair,
    age: float = 0.0,
    length: int = 10,
    selecting: Selecting = (),
    part: Part | None = None,
    stale: bool = False,
    authorized: bool = False,
    **named: Named,
) -> StoredResponse:
    """A stored response that is *age* seconds old at NOW."""
    return StoredResponse(
        status,
        fields(*pairs, **named),
        Body(b"d" * 20, length),
        selecting,
        born=NOW - age,
        received=NOW - age,
        part=part,
        stale=stale,
        authorized=authorized,
    )
