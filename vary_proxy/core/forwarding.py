"""The request that goes to the origin, and the fields of a response that end with a hop.

Only re-serialised, canonical requests leave here: connection-specific fields are gone, one
Host, nothing invented but Via, CDN-Loop and the forwarding fields. What routes or overrides
(X-Forwarded-*, X-Original-URL …) is believed from trusted proxies only; from anybody else
it is dropped, since it would shape a response without being part of its key.
RFC 9110 §7.6, RFC 7239.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from vary_proxy.core import edge, loops, syntax
from vary_proxy.core.loops import PSEUDONYM
from vary_proxy.core.memo import SHORT, remembered
from vary_proxy.core.message import NO_FIELDS, Fields, Pair, Request
from vary_proxy.core.policy import OriginHeader, Policy
from vary_proxy.core.values import immutable

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
    + (b"accept-language", b"via", b"cdn-loop", b"forwarded", b"age", b"date", b"etag", b"vary")
    + (b"expires", b"set-cookie")
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


@immutable
class Hop:
    """What forwarding knows of the two sides. ``host`` None passes the client's Host on."""

    host: bytes | None = None
    prefix: bytes = b""
    trusted: bool = False  # the peer is one of ours: its forwarding fields are believed
    scheme: bytes = b""  # to the origin; empty: the client's


def end_to_end(fields: Fields) -> Fields:
    """*fields* without those that concern this connection alone (RFC 9110 §7.6.1)."""
    nominated = _nominated(fields)
    return fields.without(HOP_BY_HOP | nominated if nominated else HOP_BY_HOP)


def believed(request: Request, *, trusted: bool) -> Request:
    """*request* without what its Connection names and what its peer is not believed.

    It is taken off before anything is decided: a field that the origin does not get must not
    select among what the origin said (RFC 9111 §4.1).
    """
    fields = request.fields
    drop = _disbelieved(fields, trusted) | _nominated(fields)
    return replace(request, fields=fields.without(drop)) if drop else request


def _disbelieved(fields: Fields, trusted: bool) -> frozenset[bytes]:
    names = fields.shape()
    usual = sum(map(len, names)) <= _USUAL
    return (_odd if usual else _odd.__wrapped__)(names, trusted)


_USUAL = 512  # bytes of all names of a request; what has more is not remembered


@lru_cache(maxsize=512)
def _odd(names: tuple[bytes, ...], trusted: bool) -> frozenset[bytes]:
    """Those of *names* that are not believed, or could be taken for others."""
    return frozenset(
        name for name in names if _is_lookalike(name) or (not trusted and is_told(name))
    )


def is_told(name: bytes) -> bool:
    """True for what one proxy tells the next, and is believed from ours alone."""
    return name in _FROM_TRUSTED_ONLY or name.startswith(b"x-forwarded-")


# What nearly everybody names: no field, or one that goes no further anyway.
_ORDINARY = frozenset((b"close", b"keep-alive", b"upgrade", b"te"))
_NONE: frozenset[bytes] = frozenset()


def _nominated(fields: Fields) -> frozenset[bytes]:
    value = fields.combined(b"connection")
    return _NONE if value is None else _named(value)


@remembered
def _named(value: bytes) -> frozenset[bytes]:
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
    told = _one_less(request.fields) if request.method in _LIMITED else request.fields
    strips = policy.origin_header in _REPLACING
    unsent = _unsent(drop, edge.hidden(policy), strips)
    odd = _disbelieved(told, hop.trusted) | _nominated(told)
    if odd:
        unsent |= odd
    pairs = (
        *[pair for pair in told.items if pair[0] not in unsent],
        *_origin_field(policy, request),
        *add,
        (b"via", _via(request)),
        (b"cdn-loop", loops.told(request, policy)),
        (b"surrogate-capability", _capability(request, hop)),
        *_forwarded(request, hop),
    )
    host = request.authority if hop.host is None else hop.host
    target = hop.prefix + request.target
    return request.to(hop.scheme or request.scheme, host, target, Fields(pairs))


_LIMITED = frozenset((b"OPTIONS", b"TRACE"))  # in which Max-Forwards counts (RFC 9110 §7.6.2)


def is_for_us(request: Request) -> bool:
    """True when Max-Forwards says that *request* ends here (RFC 9110 §7.6.2)."""
    if request.method not in _LIMITED:
        return False
    return syntax.delta_seconds(request.fields.combined(b"max-forwards") or b"") == 0


def _one_less(fields: Fields) -> Fields:
    left = syntax.delta_seconds(fields.combined(b"max-forwards") or b"")
    return fields.replaced(b"max-forwards", b"%d" % (left - 1)) if left else fields


_REPLACING = (OriginHeader.STRIP, OriginHeader.INJECT)
_REPLACED = frozenset((b"host", b"expect", b"content-length"))
_TELLING = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"))


@lru_cache(maxsize=64)
def _unsent(
    drop: frozenset[bytes], hidden: frozenset[bytes], strips_origin: bool
) -> frozenset[bytes]:
    """The fields of a request that never go on as they came."""
    names = HOP_BY_HOP | drop | hidden | _REPLACED | _TELLING | _CHAINED
    return names | {b"origin"} if strips_origin else names


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


_CHAINED = frozenset((b"via", b"cdn-loop", b"surrogate-capability"))
_CAPABILITY = PSEUDONYM + b'="Surrogate/1.0"'


def _capability(request: Request, hop: Hop) -> bytes:
    # Tells an origin that its Surrogate-Control reaches a cache that obeys it.
    before = request.fields.combined(b"surrogate-capability") if hop.trusted else None
    return _CAPABILITY if before is None else before + b", " + _CAPABILITY


def _via(request: Request) -> bytes:
    mine = b"%d.%d %s" % (*request.version, PSEUDONYM)
    before = request.fields.combined(b"via")
    return mine if before is None else before + b", " + mine


def _forwarded(request: Request, hop: Hop) -> tuple[Pair, ...]:
    if not hop.trusted:
        usual = len(request.authority) <= SHORT
        plain = _forwarded_plain if usual else _forwarded_plain.__wrapped__
        return plain(request.client, request.scheme, request.authority)
    return _forwarded_by(request, request.fields)


@lru_cache(maxsize=512)
def _forwarded_plain(client: str, scheme: bytes, authority: bytes) -> tuple[Pair, ...]:
    """What is said of a client that is not believed: the same for all that it asks."""
    return _forwarded_by(Request(b"", b"", NO_FIELDS, scheme, authority, client=client), NO_FIELDS)


def _forwarded_by(request: Request, fields: Fields) -> tuple[Pair, ...]:
    client = request.client.encode() or b"unknown"
    chain = fields.combined(b"x-forwarded-for")
    proto = fields.get(b"x-forwarded-proto") or request.scheme
    host = fields.get(b"x-forwarded-host") or request.authority
    node = b'"[%s]"' % client if b":" in client else client
    element = b"for=%s;host=%s;proto=%s" % (node, _quoted(request.authority), request.scheme)
    before = fields.combined(b"forwarded")
    told = (
        (b"x-forwarded-for", client if chain is None else chain + b", " + client),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", host),
    )
    if before is None and not fields.lacks(_TELLING):
        # Ours would be the only element: Rack and Spring ask Forwarded first, and would take how
        # our own proxy came to us for how the client came to it (RFC 7239 §7.4).
        return told
    return (*told, (b"forwarded", element if before is None else before + b", " + element))


@remembered
def _quoted(authority: bytes) -> bytes:
    # No host holds a quote or a backslash: the reader of heads refuses it.
    return authority if syntax.is_token(authority) else b'"' + authority + b'"'
