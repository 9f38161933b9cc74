"""Heads on the wire: the strict request-head reader and the response-head writer.

A request head is read in exactly one way or refused with the status that says why. Both
lanes of the server use this reader, so they cannot disagree on where a message ends.
RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from vary_proxy.core.message import Pair

_SPELLINGS = {
    name.lower(): name
    for name in (
        *(b"ETag", b"TE", b"WWW-Authenticate", b"DNT", b"Content-MD5", b"SourceMap"),
        *(b"X-XSS-Protection", b"X-DNS-Prefetch-Control", b"NEL", b"DPR", b"ECT", b"RTT"),
        *(b"Sec-GPC", b"Sec-CH-UA", b"Sec-CH-UA-Mobile", b"Sec-CH-UA-Platform", b"CDN-Loop"),
        *(b"CDN-Cache-Control", b"HTTP2-Settings", b"MIME-Version", b"X-UA-Compatible"),
        *(b"Sec-WebSocket-Key", b"Sec-WebSocket-Accept", b"Sec-WebSocket-Version"),
        *(b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"SOAPAction", b"P3P"),
    )
}


@lru_cache(maxsize=1024)
def spelled(name: bytes) -> bytes:
    """The customary spelling of the lower-case field name *name*: ``etag`` is ``ETag``."""
    known = _SPELLINGS.get(name)
    return known or b"-".join(part[:1].upper() + part[1:] for part in name.split(b"-"))


_REASONS = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}


def response_head(
    status: int,
    reason: bytes,
    fields: Iterable[Pair],
    version: tuple[int, int] = (1, 1),
) -> bytes:
    """The bytes of a response head, up to and with the empty line (RFC 9112 §4).

    An empty *reason* becomes the registered phrase. Raises ValueError where a line break or
    NUL would let a value end its line.
    """
    lines = [b"HTTP/%d.%d %03d %s" % (*version, status, reason or _REASONS.get(status, b""))]
    lines += [b"%s: %s" % (spelled(name), value) for name, value in fields]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a line break or NUL inside a response head")
    return head + b"\r\n\r\n"
