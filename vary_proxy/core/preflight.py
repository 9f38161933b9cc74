"""Preflights: which requests are, what a policy answers, and how an origin's answer is kept.

A constant policy answers every preflight alike and leaves the judging to the browser; any
other refuses what it does not grant, without a word of Access-Control-*. What failed is
told to the log, never to the client. Fetch, "CORS-preflight request"; "CORS-preflight fetch".
"""

from __future__ import annotations

from dataclasses import dataclass

from vary_proxy.core import directives, syntax
from vary_proxy.core.cors import verdict_of
from vary_proxy.core.corspolicy import ALLOW_ORIGIN, CorsPolicy, Kind, Verdict
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CORS_VARY
from vary_proxy.core.stored import Selecting

_METHOD = b"access-control-request-method"
_HEADERS = b"access-control-request-headers"
_NETWORK = b"access-control-request-private-network"
_NEVER_BY_STAR = b"authorization"  # Fetch: a CORS non-wildcard request-header name
_SAFELISTED = frozenset((b"GET", b"HEAD", b"POST"))  # Fetch: never need to be listed


@dataclass(frozen=True, slots=True)
class PreflightAnswer:
    """A whole answer but for Vary, whose names are in ``vary``; it has no body.

    ``failing`` names what a browser will miss, for the log: origin | method | header |
    denied, empty when nothing; ``culprit`` is the value it fails on.
    """

    status: int
    fields: tuple[Pair, ...]
    vary: tuple[bytes, ...]
    verdict: Verdict
    failing: str = ""
    culprit: bytes = b""


def is_preflight(request: Request) -> bool:
    """True for OPTIONS with ``Origin`` and Access-Control-Request-Method; no other OPTIONS is."""
    fields = request.fields
    return request.method == b"OPTIONS" and b"origin" in fields and _METHOD in fields


def preflight_reply(policy: CorsPolicy, request: Request) -> PreflightAnswer:
    """What *policy* answers to the preflight *request*."""
    judged = verdict_of(policy, request)
    names = requested_headers(request)
    failing, culprit = _fault(policy, judged, request, names)
    if failing:
        reason = judged.reason if failing == "origin" else failing
        judged = Verdict(Kind.REFUSED, reason)
        if not policy.is_constant:
            status = policy.on_reject
            return PreflightAnswer(status, (), CORS_VARY, judged, failing, culprit)
    allowed = policy.fixed
    if allowed is None:
        allowed = request.fields.get(b"origin") or b""
    fields = ((ALLOW_ORIGIN, allowed), *policy.preflight, *_echoed(policy, names or ()))
    return PreflightAnswer(204, fields, policy.preflight_vary, judged, failing, culprit)


def denied(request: Request) -> PreflightAnswer:
    """The answer to every preflight where preflights are denied."""
    return PreflightAnswer(403, (), CORS_VARY, Verdict(Kind.REFUSED, "denied"), "denied")


def requested_headers(request: Request) -> tuple[bytes, ...] | None:
    """The header names asked for: lower case, sorted, unique; None when unreadable."""
    value = request.fields.combined(_HEADERS)
    if not value:
        return ()
    names = {name.lower() for name in syntax.members(value)}
    return tuple(sorted(names)) if all(map(syntax.is_token, names)) else None


def _fault(
    policy: CorsPolicy, judged: Verdict, request: Request, names: tuple[bytes, ...] | None
) -> tuple[str, bytes]:
    if judged.kind is not Kind.ALLOWED:
        return "origin", request.fields.combined(b"origin") or b""
    method = request.fields.combined(_METHOD) or b""
    if not _grants_method(policy, method):
        return "method", method
    if names is None:
        return "header", request.fields.combined(_HEADERS) or b""
    for name in names:
        if not _grants_header(policy, name):
            return "header", name
    return "", b""


def _grants_method(policy: CorsPolicy, method: bytes) -> bool:
    if method in policy.methods or (b"*" in policy.methods and syntax.is_token(method)):
        return True
    # A browser takes these three unlisted: a constant policy, which cannot refuse, grants them.
    return policy.is_constant and method in _SAFELISTED


def _grants_header(policy: CorsPolicy, name: bytes) -> bool:
    if name in policy.headers:
        return True
    if name == _NEVER_BY_STAR:
        return False
    return b"*" in policy.headers or name.startswith(policy.prefixes)


def _echoed(policy: CorsPolicy, names: tuple[bytes, ...]) -> tuple[Pair, ...]:
    """Access-Control-Allow-Headers where it depends on what was asked for."""
    if not policy.prefixes:
        return ()
    asked = (one for one in names if one not in policy.headers and _grants_header(policy, one))
    value = b", ".join((*policy.listed, *asked))
    return ((b"access-control-allow-headers", value),) if value else ()


def preflight_key(request: Request) -> Selecting:
    """The selecting values of a kept preflight answer: all that one can depend on.

    The order and case of header names mean nothing (Fetch); methods are case-sensitive.
    """
    fields = request.fields
    names = requested_headers(request)
    asked = fields.combined(_HEADERS)
    return (
        (_HEADERS, asked if names is None or asked is None else b",".join(names)),
        (_METHOD, fields.combined(_METHOD)),
        (_NETWORK, fields.combined(_NETWORK)),
        (b"origin", fields.combined(b"origin")),
    )


def preflight_lifetime(fields: Fields) -> int:
    """Seconds for which an origin's answer may be kept: the shorter of what it states.

    Access-Control-Max-Age and Cache-Control are read; 0 when neither allows it. That answers
    to OPTIONS are kept at all is a rule's wish (RFC 9110 §9.3.7).
    """
    said = directives.of_response(fields)
    if said.no_store or said.private or said.no_cache:
        return 0
    stated = [one for one in (said.s_maxage, said.max_age) if one is not None][:1]
    value = fields.combined(b"access-control-max-age")
    if value is not None:
        stated.append(syntax.delta_seconds(value) or 0)
    return min(stated, default=0)
