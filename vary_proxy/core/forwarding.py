"""The request that goes to the origin, and the fields of a response that end with a hop.

Only re-serialised, canonical requests leave here: connection-specific fields are gone, one
Host, nothing invented but Via and the forwarding fields. What routes or overrides
(X-Forwarded-*, X-Original-URL …) is believed from trusted proxies only; from anybody else
it is dropped, since it would shape a response without being part of its key.
RFC 9110 §7.6, RFC 7239.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vary_proxy.core import edge, syntax
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import OriginHeader, Policy

PSEUDONYM = b"vary-proxy"
MOST_HOPS = 8  # through ourselves, before it is called a loop

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding")
    + (b"upgrade", b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info")
    + (b"http2-settings",)
)
# A client that names these in Connection wants to change what the origin or the cache sees.
_PROTECTED = frozenset(
    (b"host", b"authorization", b"origin", b"cookie", b"range", b"if-range", b"if-match")
    + (b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"cache-control")
    + (b"content-length", b"content-type", b"content-encoding", b"accept", b"accept-encoding")
    + (b"accept-language", b"via", b"forwarded", b"age", b"date", b"etag", b"vary", b"expires")
    + (b"access-control-request-method", b"access-control-request-headers", b"set-cookie")
)
_FROM_TRUSTED_ONLY = frozenset(
    (b"forwarded", b"x-real-ip", b"x-host", b"x-original-url", b"x-rewrite-url")
    + (b"x-original-host", b"x-http-method-override", b"x-http-method", b"x-method-override")
    + (b"x-forwarded", b"x-url-scheme", b"front-end-https", b"x-client-ip", b"true-client-ip")
    + (b"x-cluster-client-ip", b"x-original-uri", b"x-proxyuser-ip", b"x-scheme", b"x-rewrite-uri")
    + (b"x-http-host-override", b"x-real-host", b"x-backend-host", b"x-http-destinationurl")
    + (b"x-envoy-original-path", b"x-invoke-path", b"x-matched-path", b"x-middleware-rewrite")
    + (b"x-middleware-subrequest", b"cf-connecting-ip", b"fastly-client-ip")
)


@dataclass(frozen=True, slots=True)
class Hop:
    """What forwarding knows of the two sides. ``host`` None passes the client's Host on."""

    host: bytes | None = None
    prefix: bytes = b""
    trusted: bool = False  # the peer is one of ours: its forwarding fields are believed


def end_to_end(fields: Fields) -> Fields:
    """*fields* without those that concern this connection alone (RFC 9110 §7.6.1)."""
    return fields.without(HOP_BY_HOP | _nominated(fields))


def believed(request: Request, *, trusted: bool) -> Request:
    """*request* without what its Connection names and what its peer is not believed.

    It is taken off before anything is decided: a field that the origin does not get must not
    select among what the origin said (RFC 9111 §4.1).
    """
    fields = request.fields
    drop = {name for name, _ in fields.items if _is_lookalike(name)} | _nominated(fields)
    if not trusted:
        drop |= {name for name, _ in fields.items if is_told(name)}
    return replace(request, fields=fields.without(drop)) if drop else request


def is_told(name: bytes) -> bool:
    """True for what one proxy tells the next, and is believed from ours alone."""
    return name in _FROM_TRUSTED_ONLY or name.startswith(b"x-forwarded-")


_ORDINARY = frozenset((b"close", b"keep-alive", b"upgrade", b"te"))
_NONE: frozenset[bytes] = frozenset()


def _nominated(fields: Fields) -> frozenset[bytes]:
    value = fields.combined(b"connection")
    if value is None:
        return _NONE
    named = frozenset(name.lower() for name in syntax.members(value)) - _ORDINARY
    return frozenset(name for name in named if not _is_protected(name)) if named else _NONE


def _is_protected(name: bytes) -> bool:
    return name in _PROTECTED or name.startswith((b"access-control-", b"x-forwarded-", b"x-amz-"))


def to_origin(
    request: Request,
    policy: Policy,
    hop: Hop,
    *,
    drop: frozenset[bytes] = frozenset(),
    add: tuple[Pair, ...] = (),
) -> Request:
    """*request* as the origin gets it, less *drop*, plus *add* (conditions of ours)."""
    fields = end_to_end(request.fields).without(drop | _ours_to_set(policy, hop))
    odd = {name for name, _ in fields.items if _is_lookalike(name)}
    if not hop.trusted:
        odd |= {name for name, _ in fields.items if is_told(name)}
    fields = fields.without(odd)
    host = request.authority if hop.host is None else hop.host
    pairs = (
        *_origin_field(policy, request),
        *add,
        (b"via", _via(request)),
        (b"surrogate-capability", _capability(request, hop)),
        *_forwarded(request, hop),
    )
    fields = fields.without(_CHAINED)
    return replace(
        request, target=hop.prefix + request.target, authority=host, fields=fields.plus(pairs)
    )


_REPLACED = frozenset((b"host", b"expect", b"content-length"))
_TELLING = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"))


def _ours_to_set(policy: Policy, hop: Hop) -> frozenset[bytes]:
    names = _REPLACED | _TELLING
    names |= edge.hidden(policy)
    if policy.origin_header in (OriginHeader.STRIP, OriginHeader.INJECT):
        names |= {b"origin"}
    return names


def _is_lookalike(name: bytes) -> bool:
    """True for ``content_length``: many servers take it for the field that decides.

    CGI and what descends from it know no difference between ``_`` and ``-`` in names.
    """
    if b"_" not in name:
        return False
    meant = name.replace(b"_", b"-")
    groups = (HOP_BY_HOP, _PROTECTED, _FROM_TRUSTED_ONLY, _CHAINED)
    told = meant.startswith((b"x-forwarded-", b"access-control-"))
    return told or any(meant in names for names in groups)


def _origin_field(policy: Policy, request: Request) -> tuple[Pair, ...]:
    if policy.origin_header is OriginHeader.INJECT:
        return ((b"origin", policy.origin_value),)
    return ()


_CHAINED = frozenset((b"via", b"surrogate-capability"))
_CAPABILITY = PSEUDONYM + b'="Surrogate/1.0"'


def _capability(request: Request, hop: Hop) -> bytes:
    # Tells an origin that its Surrogate-Control reaches a cache that obeys it.
    before = request.fields.combined(b"surrogate-capability") if hop.trusted else None
    return _CAPABILITY if before is None else before + b", " + _CAPABILITY


def _via(request: Request) -> bytes:
    mine = b"%d.%d %s" % (*request.version, PSEUDONYM)
    before = request.fields.combined(b"via")
    return mine if before is None else before + b", " + mine


def loops(request: Request) -> bool:
    """True when *request* has come through us too often to be anything but a loop."""
    before = request.fields.combined(b"via")
    return before is not None and before.count(b" " + PSEUDONYM) >= MOST_HOPS


def _forwarded(request: Request, hop: Hop) -> tuple[Pair, ...]:
    client = request.client.encode("latin-1", "replace") or b"unknown"
    fields = request.fields if hop.trusted else Fields()
    chain = fields.combined(b"x-forwarded-for")
    proto = fields.get(b"x-forwarded-proto") or request.scheme
    host = fields.get(b"x-forwarded-host") or request.authority
    node = b'"[%s]"' % client if b":" in client else client
    element = b"for=%s;host=%s;proto=%s" % (node, _quoted(request.authority), request.scheme)
    before = fields.combined(b"forwarded")
    return (
        (b"x-forwarded-for", client if chain is None else chain + b", " + client),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", host),
        (b"forwarded", element if before is None else before + b", " + element),
    )


def _quoted(value: bytes) -> bytes:
    if syntax.is_token(value):
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
