"""Writes request heads: the bytes that the origin gets are those that the request holds."""

from __future__ import annotations

import re

from vary_proxy.core.message import Request
from vary_proxy.core.wire import spelled
from vary_proxy.origin import OriginFailure

_BODY_EXPECTED = frozenset((b"POST", b"PUT", b"PATCH"))
_FRAMED_HERE = frozenset((b"host", b"content-length", b"transfer-encoding"))
_USUAL = 64  # bytes of a field name
_UNSENDABLE = re.compile(rb"[\x00-\x20\x7f]")


def request_head(request: Request, *, has_body: bool) -> bytes:
    """The head of *request* in wire form: Host first, then its fields, then the framing.

    Raises OriginFailure when it cannot be written as exactly one request.
    """
    target, labels = request.target, _LABELS
    if not target or _UNSENDABLE.search(target) or _UNSENDABLE.search(request.method):
        raise OriginFailure("http_request_error", "the request line cannot be sent")
    lines = [b"%b %b HTTP/1.1" % (request.method, target), b"Host: " + request.authority]
    lines += [
        labels[name] + value for name, value in request.fields.items if name not in _FRAMED_HERE
    ]
    if has_body and request.body_length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif has_body or request.body_length == 0 or request.method in _BODY_EXPECTED:
        lines.append(b"Content-Length: %d" % (request.body_length or 0))
    ends = len(lines) - 1
    head = b"\r\n".join(lines)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise OriginFailure("http_request_error", "a CR, LF or NUL in the request head")
    return head + b"\r\n\r\n"


class _Labels(dict[bytes, bytes]):
    """What a line of each field name begins with. Raises OriginFailure for what is no name."""

    def __missing__(self, name: bytes) -> bytes:
        if _UNSENDABLE.search(name) or b":" in name or not name:
            raise OriginFailure("http_request_error", f"{name[:40]!r} is not a field name")
        if len(name) > _USUAL:  # clients choose the names: long ones stay out
            return spelled.__wrapped__(name) + b": "
        if len(self) >= _KEPT:
            self.clear()
        label = self[name] = spelled(name) + b": "
        return label


_KEPT = 1024  # labels
_LABELS = _Labels()
