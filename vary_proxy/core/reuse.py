"""What is to be done with a request: serve, validate, forward or refuse. RFC 9111 §4.

The one decision of a cache, taken from values alone. Each outcome names its reason in the
tokens of Cache-Status (RFC 9211 §2.2): the header, the log and the metric cannot disagree.
"""

from __future__ import annotations

from vary_proxy.core import freshness, keys, parts, ranges, storing, validation
from vary_proxy.core.directives import RequestDirectives, of_request
from vary_proxy.core.message import Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.stored import Resource, Selecting, StoredResponse
from vary_proxy.core.values import immutable


@immutable
class Serve:
    """Answer from *stored*. ``revalidate``: and validate it in the background (RFC 5861 §3)."""

    stored: StoredResponse
    ttl: float  # seconds of freshness left; negative when stale
    revalidate: bool = False


@immutable
class Validate:
    """Ask the origin whether *stored* still holds."""

    stored: StoredResponse
    reason: str  # stale | request


@immutable
class Forward:
    """Ask the origin.

    ``siblings`` hold a body that a 304 may give this requester too; ``part`` is the beginning
    of the whole that is asked for.
    """

    reason: str  # uri-miss | vary-miss | request | method | bypass | partial | stale
    siblings: tuple[StoredResponse, ...] = ()
    part: StoredResponse | None = None


@immutable
class Pass:
    """Outside the cache: sent on as it is, and nothing of it stored."""

    reason: str  # method | bypass | request


@immutable
class Refuse:
    """only-if-cached, and nothing fits: 504 (RFC 9111 §5.2.1.7)."""


Decision = Serve | Validate | Forward | Pass | Refuse


def outside(request: Request, policy: Policy) -> Pass | None:
    """Why the cache has no part in *request*; None when it has."""
    if request.method not in (b"GET", b"HEAD"):
        return Pass("method")
    if not policy.cache.enabled or request.has_body or request.target == b"*":
        return Pass("bypass")
    if not request.fields.lacks(validation.ORIGIN_CONDITIONS):
        return Pass("request")
    return Pass("bypass") if keys.is_presigned(request.target) else None


def decide(
    request: Request,
    resource: Resource | None,
    wanted: Selecting,
    policy: Policy,
    now: float,
) -> Decision:
    """What to do with a GET or HEAD that the cache has a part in.

    *wanted* are the request's selecting values for every name seen on *resource*.
    """
    asked = of_request(request.fields) if policy.cache.honour_request else _NOTHING_ASKED
    decision = _among(request, resource, wanted, asked, policy, now)
    if isinstance(decision, Serve):
        return decision
    if asked.only_if_cached:
        return Refuse()
    # Nothing of such an exchange may be stored, a freshening 304 included (§5.2.1.5).
    return Pass("request") if asked.no_store else decision


_NOTHING_ASKED = RequestDirectives()


def _among(
    request: Request,
    resource: Resource | None,
    wanted: Selecting,
    asked: RequestDirectives,
    policy: Policy,
    now: float,
) -> Decision:
    if resource is None or not resource.variants:
        return Forward("uri-miss")
    fitting = [one for one in resource.variants if keys.matches(one, wanted)]
    if not fitting:
        return Forward("vary-miss", _siblings(request, resource))
    usable = [one for one in fitting if _covers(one, request)]
    if not usable:
        return Forward("partial", part=_begun(request, fitting))
    stored = usable[0]
    if b"authorization" in request.fields and not storing.shares_authorized(stored.directives):
        return Pass("request")
    return _judge(request, stored, asked, policy, now)


def _siblings(request: Request, resource: Resource) -> tuple[StoredResponse, ...]:
    if request.method != b"GET" or not _OWN_ANSWER.isdisjoint(request.fields.names()):
        return ()
    return tuple(one for one in resource.variants if validation.shareable_body(one))[:8]


# What is given to a request with these is not to be put together from others' answers.
_OWN_ANSWER = frozenset((b"range", b"authorization"))


def _begun(request: Request, fitting: list[StoredResponse]) -> StoredResponse | None:
    if request.method != b"GET" or b"range" in request.fields:
        return None
    return next((one for one in fitting if parts.completable(one)), None)


def _covers(stored: StoredResponse, request: Request) -> bool:
    """False when only a part is held and *request* wants bytes beyond it (RFC 9111 §3.3)."""
    if stored.part is None:
        return True
    spans = wanted_spans(stored, request)
    first, last = stored.part.first, stored.part.first + stored.body.length
    return bool(spans) and all(first <= span.start and span.stop <= last for span in spans)


def wanted_spans(stored: StoredResponse, request: Request) -> tuple[ranges.Span, ...]:
    """The spans of the whole that *request* asks of *stored*; empty when it wants all of it."""
    value = request.fields.combined(b"range")
    if value is None or request.method != b"GET":
        return ()
    wanted = ranges.specs(value)
    if wanted is None or not ranges.if_range_holds(request.fields.get(b"if-range"), stored):
        return ()
    if stored.part is None:
        total = stored.body.length
    elif stored.part.total is not None:
        total = stored.part.total
    else:
        # Without the length of the whole, only closed ranges can be placed.
        if any(first is None or last is None for first, last in wanted):
            return ()
        total = stored.part.first + stored.body.length + 1
    return ranges.resolve(wanted, total)


def _judge(
    request: Request,
    stored: StoredResponse,
    asked: RequestDirectives,
    policy: Policy,
    now: float,
) -> Decision:
    age = freshness.current_age(stored, now)
    ttl = freshness.stored_lifetime(stored, policy.cache) - age
    if asked.no_cache:
        return _ask(stored, "request")
    if _must_ask(stored, policy):
        return _ask(stored, "stale")
    if asked.max_age is not None and age > asked.max_age and not asked.max_stale:
        return _ask(stored, "request")
    if ttl > 0:
        if asked.min_fresh is not None and ttl < asked.min_fresh:
            return _ask(stored, "request")
        return Serve(stored, ttl)
    if stored.stale:
        return _ask(stored, "stale")
    if (
        asked.max_stale is not None
        and -ttl <= asked.max_stale
        and not freshness.forbids_stale(stored)
    ):
        return Serve(stored, ttl)
    wants_fresh = asked.max_age is not None or asked.min_fresh is not None
    window = freshness.revalidate_window(stored, policy.cache)
    if -ttl < window and request.method == b"GET" and not wants_fresh:
        return Serve(stored, ttl, revalidate=True)
    return _ask(stored, "stale")


def _must_ask(stored: StoredResponse, policy: Policy) -> bool:
    """True for no-cache, unless a rule sets the lifetime (RFC 9111 §5.2.2.4)."""
    ruled = freshness.ruled_lifetime(stored.status, policy.cache)
    return stored.directives.no_cache is True and ruled is None


def _ask(stored: StoredResponse, reason: str) -> Decision:
    if validation.has_validator(stored) and stored.part is None:
        return Validate(stored, reason)
    return Forward(reason)


def stands_in(stored: StoredResponse, policy: Policy, now: float, *, disconnected: bool) -> bool:
    """True when *stored* may be served although the origin failed (RFC 9111 §4.2.4, RFC 5861 §4).

    *disconnected*: there was no answer at all; else it was an error.
    """
    ttl = freshness.stored_lifetime(stored, policy.cache) - freshness.current_age(stored, now)
    if _must_ask(stored, policy):
        return False
    window = freshness.error_window(stored, policy.cache, disconnected=disconnected)
    return ttl > 0 or -ttl < window
