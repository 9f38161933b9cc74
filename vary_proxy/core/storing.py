"""May this response be stored, and what of it? RFC 9111 §3.

Every answer carries its reason, which is what Cache-Status, the log and the metric show.
"""

from __future__ import annotations

from vary_proxy.core import freshness, keys
from vary_proxy.core.directives import ResponseDirectives, field_names, of_request, of_response
from vary_proxy.core.message import Fields, Request, Response
from vary_proxy.core.policy import CachePolicy, CorsMode, OriginHeader, OriginKey, Policy
from vary_proxy.core.ranges import content_range
from vary_proxy.core.stored import Part, StoredResponse
from vary_proxy.core.values import immutable
from vary_proxy.core.vary import EffectiveVary

# Final statuses whose caching rules we know (RFC 9110 §15), for must-understand.
UNDERSTOOD = frozenset(
    (200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 307, 308)
    + (400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417)
    + (421, 422, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 511)
)
# What these say to the origin is the client's address and way, which no key knows.
_OF_CLIENT = frozenset((b"forwarded", b"via", b"x-forwarded-for"))
_NEVER = frozenset((304, 412, 416))  # they stand for a request's condition, not for the resource


@immutable
class Storable:
    """``fields`` are those kept; ``part`` says where the body lies in the whole (206)."""

    fields: Fields
    part: Part | None = None


@immutable
class Unstorable:
    reason: str


def judge(
    request: Request,
    response: Response,
    vary: EffectiveVary,
    policy: Policy,
    received: float,
    *,
    whole: bool = True,
) -> Storable | Unstorable:
    """Whether *response*, connection-specific fields removed, may be stored (RFC 9111 §3).

    *whole* is False when its framing cannot prove that the body is complete.
    """
    said = of_response(response.fields)
    reason = (
        _by_request(request, response, said, policy, received)
        or _by_response(response, said, vary, policy.cache, received)
        or ("" if whole else "unproven-length")
    )
    if reason:
        return Unstorable(reason)
    fields = kept(response.fields, said)
    if response.status != 206:
        return Storable(fields)
    part = content_range(response.fields)
    return Unstorable("content-range") if part is None else Storable(fields, part)


def _by_request(
    request: Request, response: Response, said: ResponseDirectives, policy: Policy, received: float
) -> str:
    if not policy.cache.enabled:
        return "cache-off"
    if request.method == b"POST":
        if not _post_stands_for_get(request, response, said, received):
            return "method"
    elif request.method != b"GET" or request.has_body:
        return "method"
    if policy.cache.honour_request and of_request(request.fields).no_store:
        return "request-no-store"
    if keys.is_presigned(request.target):
        return "presigned"
    if b"authorization" in request.fields and not shares_authorized(said):
        return "authorization"
    return "of-one-origin" if is_of_one(request, response.fields, policy) else ""


def is_of_one(request: Request, fields: Fields, policy: Policy) -> bool:
    """True where ``Origin`` counts by its presence, and this is not an answer for everybody.

    A key that holds all who send ``Origin`` to be one is right for the answer ``*`` alone: any
    other grant is one site's, and none at all may be a stranger's.
    """
    if policy.cache.origin_key is not OriginKey.PRESENCE or b"origin" not in request.fields:
        return False
    shown = policy.origin_header in (OriginHeader.AUTO, OriginHeader.FORWARD)
    theirs = policy.cors_mode in (CorsMode.PASSTHROUGH, CorsMode.FILL)
    return shown and theirs and fields.combined(b"access-control-allow-origin") != b"*"


def shares_authorized(said: ResponseDirectives) -> bool:
    """True when a response to a request with Authorization may be shared (RFC 9111 §3.5)."""
    return said.public or said.must_revalidate or said.s_maxage is not None


def _post_stands_for_get(
    request: Request, response: Response, said: ResponseDirectives, received: float
) -> bool:
    """RFC 9110 §9.3.3: explicit freshness, and a Content-Location that is the target itself."""
    if freshness.explicit_lifetime(response.fields, said, received) is None:
        return False
    location = response.fields.combined(b"content-location")
    absolute = b"%s://%s%s" % (request.scheme, request.authority, request.target)
    return response.status // 100 == 2 and location in (request.target, absolute)


def _by_response(
    response: Response,
    said: ResponseDirectives,
    vary: EffectiveVary,
    policy: CachePolicy,
    received: float,
) -> str:
    status, fields = response.status, response.fields
    if status < 200 or status in _NEVER:
        return "status"
    understood = said.must_understand and status in UNDERSTOOD
    if said.must_understand and not understood:
        return "must-understand"
    if said.no_store and not understood:
        return "no-store"
    if said.private is True:
        return "private"
    if vary.star:
        return "vary-star"
    if not _OF_CLIENT.isdisjoint(vary.names):
        return "vary-client"
    if b"set-cookie" in fields and not (said.public or policy.store_set_cookie):
        return "set-cookie"
    return _worth_keeping(status, fields, said, policy, received)


def _worth_keeping(
    status: int, fields: Fields, said: ResponseDirectives, policy: CachePolicy, received: float
) -> str:
    ruled = freshness.ruled_lifetime(status, policy)
    if ruled is not None:
        return "" if ruled > 0 else "ttl-zero"
    lifetime = freshness.lifetime(status, fields, said, received, policy)
    explicit = freshness.explicit_lifetime(fields, said, received) is not None
    if status >= 400 and not explicit and b"last-modified" not in fields:
        return "error-status"
    if not explicit and lifetime is None and not _implied(status, said):
        return "status"
    validator = b"etag" in fields or b"last-modified" in fields
    if lifetime and said.no_cache is not True:
        return ""
    if validator and status < 400:
        return ""
    stale_use = said.stale_if_error or said.stale_while_revalidate
    return "" if explicit and stale_use and status < 400 else "no-freshness"


def _implied(status: int, said: ResponseDirectives) -> bool:
    return said.public or said.no_cache is not False or status in freshness.HEURISTIC_STATUSES


def kept(fields: Fields, said: ResponseDirectives) -> Fields:
    """Without the fields that a limited ``private`` or ``no-cache`` names (§5.2.2.4, §5.2.2.7)."""
    listed = frozenset((*field_names(said.private), *field_names(said.no_cache)))
    return fields.without(listed - {b"cache-control", b"vary"}) if listed else fields


def still_shared(request: Request, freshened: StoredResponse, policy: Policy) -> bool:
    """False when a 304, or an answer to HEAD, took back that the response may be shared."""
    said = freshened.directives
    if said.no_store or said.private is True or is_of_one(request, freshened.fields, policy):
        return False
    return b"authorization" not in request.fields or shares_authorized(said)
