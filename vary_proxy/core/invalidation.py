"""Which stored responses an unsafe method makes invalid. RFC 9111 §4.4."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from vary_proxy.core import keys
from vary_proxy.core.message import Request, Response

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


def targets(request: Request, response: Response) -> tuple[bytes, ...]:
    """Request targets whose resources are dropped: the target itself, also as it is known
    without its signature, and same-host ``Location`` and ``Content-Location``. Empty for safe
    methods and for errors.
    """
    if request.method in SAFE or not 200 <= response.status < 400:
        return ()
    found = [request.target]
    if keys.is_presigned(request.target):
        found.append(keys.unsigned(request.target))
    for name in (b"location", b"content-location"):
        value = response.fields.get(name)
        target = None if value is None else _same_host(request, value)
        if target is not None and target not in found:
            found.append(target)
    return tuple(found)


def _same_host(request: Request, reference: bytes) -> bytes | None:
    """*reference* resolved against the target URI, as a request target; None on another host."""
    base = b"%s://%s%s" % (request.scheme, request.authority, request.target)
    try:
        absolute = urljoin(base.decode("latin-1"), reference.decode("latin-1"))
        parts = urlsplit(absolute)
    except ValueError:
        return None
    if parts.netloc.lower().encode("latin-1") != request.authority.lower():
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target.encode("latin-1")
