"""CORS at the edge: what a policy says to an ``Origin``, and what becomes of the origin's word.

``verdict`` judges a request, ``apply`` writes the CORS family of its response: ours in its
whole or the origin's in its whole, never half of each, since a grant put together from two
sources is one that neither gave. What was read of the request is reported as names for
Vary; a policy whose reply is constant reports none. Preflights are core.preflight's.
Fetch, "CORS protocol"; "CORS check".
"""

from __future__ import annotations

from vary_proxy.core.corsorigins import DEFAULT_PORTS, PolicyError, parse_origin
from vary_proxy.core.corspolicy import (
    ALLOW_ORIGIN,
    RESOURCE_POLICY,
    TIMING,
    CorsPolicy,
    Kind,
    Verdict,
    compile_policy,
)
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CORS_VARY, CorsMode, OriginKey
from vary_proxy.core.values import immutable

__all__ = (
    "Applied", "CorsPolicy", "Kind", "PolicyError", "Verdict", "apply", "blocked",
    "compile_policy", "family_verdict", "key_value", "reply_fields", "verdict", "verdict_of",
    "without_family",
)  # fmt: skip

_PREFIX = b"access-control-"


def verdict(policy: CorsPolicy, origin: bytes | None, lines: int = 1) -> Verdict:
    """What *policy* makes of ``Origin``: its value, None when absent, and its number of lines."""
    if origin is None:
        return policy.absent
    found = policy.known.get(origin) if lines == 1 else None
    if found is not None:
        return found
    if lines != 1:
        return policy.refused["malformed"]
    if origin == b"null":
        return policy.refused["null-origin"]
    if parse_origin(origin) is None:
        return policy.refused["malformed"]
    if not policy.origins.admits(origin):
        return policy.refused["origin"]
    return policy.allowed(origin if policy.fixed is None else policy.fixed)


def verdict_of(policy: CorsPolicy, request: Request) -> Verdict:
    """What *policy* makes of *request*."""
    lines = request.fields.lines(b"origin")
    return verdict(policy, lines[0] if lines else None, len(lines))


def reply_fields(policy: CorsPolicy, judged: Verdict) -> tuple[Pair, ...]:
    """The CORS fields of every response, of any status, to a request so *judged*."""
    return judged.fields


@immutable
class Applied:
    """A response's fields with the CORS family that is sent, and what it depends on.

    ``vary`` are names to be joined to the Vary that is sent. ``verdict`` is for the log.
    """

    fields: Fields
    vary: tuple[bytes, ...]
    verdict: Verdict


def apply(mode: CorsMode, policy: CorsPolicy | None, fields: Fields, request: Request) -> Applied:
    """The *fields* of a response, as stored or received, dressed for *request*.

    *policy* None means passthrough or strip. In OVERRIDE the family is the policy's. In FILL
    it is the policy's where the origin gave none that a browser could read.
    """
    if mode is CorsMode.STRIP:
        kind = Kind.REFUSED if b"origin" in request.fields else Kind.ABSENT
        return Applied(without_family(fields), (), Verdict(kind, _STRIPPED[kind]))
    if policy is None or mode is CorsMode.PASSTHROUGH:
        return Applied(fields, (), family_verdict(fields, request))
    judged = verdict_of(policy, request)
    if mode is CorsMode.OVERRIDE:
        kept = without_family(fields, policy.owned)
        return Applied(kept.plus(judged.fields), policy.vary, judged)
    return _filled(fields, judged, request)


_STRIPPED = {Kind.ABSENT: "", Kind.REFUSED: "stripped"}
_ORIGIN = CORS_VARY[:1]


def _filled(fields: Fields, judged: Verdict, request: Request) -> Applied:
    # The origin was shown ``Origin``, and gave its word here or may give it elsewhere:
    # even a constant policy makes no constant answer.
    if len(fields.lines(ALLOW_ORIGIN)) == 1:
        rest = [pair for pair in judged.fields if pair[0] in _STATIC and pair[0] not in fields]
        return Applied(fields.plus(rest), _ORIGIN, family_verdict(fields, request))
    present = fields.names() & _STATIC
    ours = [pair for pair in judged.fields if pair[0] not in present]
    return Applied(without_family(fields).plus(ours), _ORIGIN, judged)


_STATIC = frozenset((TIMING, RESOURCE_POLICY))


def without_family(fields: Fields, owned: frozenset[bytes] = frozenset()) -> Fields:
    """*fields* less Access-Control-* and what else is *owned*: what is stored under OVERRIDE."""
    kept = tuple(
        pair for pair in fields.items if not pair[0].startswith(_PREFIX) and pair[0] not in owned
    )
    return fields if len(kept) == len(fields.items) else Fields(kept)


def family_verdict(fields: Fields, request: Request) -> Verdict:
    """How a browser would read the origin's own answer to *request* (Fetch, "CORS check").

    A request with Cookie, from another origin, was sent with credentials included.
    """
    origin = request.fields.combined(b"origin")
    if origin is None:
        return Verdict(Kind.ABSENT)
    value = fields.combined(ALLOW_ORIGIN)
    credentials = b"cookie" in request.fields
    if value == b"*" and not credentials:
        return Verdict(Kind.ALLOWED)
    if value != origin:
        return Verdict(Kind.REFUSED, "credentials" if value == b"*" else _reason(origin))
    trusted = fields.combined(b"access-control-allow-credentials") == b"true"
    return Verdict(Kind.ALLOWED) if trusted or not credentials else _NO_CREDENTIALS


_NO_CREDENTIALS = Verdict(Kind.REFUSED, "credentials")


def _reason(origin: bytes) -> str:
    if origin == b"null":
        return "null-origin"
    return "origin" if parse_origin(origin) is not None else "malformed"


def key_value(policy: CorsPolicy | None, mode: OriginKey, request: Request) -> bytes | None:
    """What stands for ``Origin`` among the selecting values of *request* (RFC 9111 §4.1)."""
    if mode is OriginKey.IGNORE:
        return None
    origin = request.fields.combined(b"origin")
    if origin is None or mode is OriginKey.EXACT:
        return origin
    if mode is OriginKey.PRESENCE or policy is None:
        return b"present"
    return verdict_of(policy, request).kind.value.encode()


def blocked(request: Request, judged: Verdict) -> str | None:
    """Why a browser keeps the response to *request* from its page; None when it does not.

    A request to the page's own host is no CORS request, nor is one whose Sec-Fetch-Mode is
    another than cors, though both may have ``Origin`` (Fetch, "Origin header").
    """
    if judged.kind is not Kind.REFUSED:
        return None
    mode = request.fields.get(b"sec-fetch-mode")
    if (mode is not None and mode != b"cors") or _is_same_host(request):
        return None
    return judged.reason


def _is_same_host(request: Request) -> bool:
    parsed = parse_origin(request.fields.combined(b"origin") or b"")
    if parsed is None:
        return False
    scheme, host, port = parsed
    authority = request.authority.lower()
    usual = b":" + DEFAULT_PORTS.get(scheme, b"")
    # TLS may have ended before us, so the scheme of ``Origin`` settles the default port.
    return authority.removesuffix(usual) == (host if port is None else host + b":" + port)
