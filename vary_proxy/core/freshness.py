"""How long a response stays fresh, how old it is, and how long it may be used stale.

Everything is counted from ``born``: the instant at which the age was zero. A lifetime that
cannot be read is zero; an Age that cannot be read makes the response as old as can be.
RFC 9111 §4.2, RFC 5861.
"""

from __future__ import annotations

from vary_proxy.core import syntax
from vary_proxy.core.directives import ResponseDirectives, of_response
from vary_proxy.core.message import Fields
from vary_proxy.core.policy import CachePolicy
from vary_proxy.core.stored import StoredResponse

HEURISTIC_STATUSES = frozenset((200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501))
_HEURISTIC_SHARE = 0.1  # of the time since Last-Modified (RFC 9111 §4.2.2)
_HEURISTIC_MOST = 86400.0


def born_at(fields: Fields, requested: float, received: float) -> float:
    """The instant at which a response's age was zero (RFC 9111 §4.2.3)."""
    date = fields.get(b"date")
    instant = None if date is None else syntax.http_date(date, received)
    apparent = 0.0 if instant is None else max(0.0, received - instant)
    value = fields.combined(b"age")
    stated = 0 if value is None else _stated_age(value)
    if stated is None:  # an Age that cannot be read hides how old the response is
        stated = syntax.MAX_SECONDS
    # What is under a second cannot be told from the granularity of Date.
    apparent = 0.0 if apparent < 1.0 else apparent
    return received - max(apparent, stated + max(0.0, received - requested))


def current_age(stored: StoredResponse, now: float) -> float:
    """Seconds since *stored* was generated or last validated (RFC 9111 §4.2.3)."""
    return max(0.0, now - stored.born)


def _stated_age(value: bytes) -> int | None:
    """Seconds that Age states; None when it cannot be told.

    Of a list the first member counts (RFC 9111 §5.1). Lines that somebody joined, as comma and
    space show (RFC 9110 §5.2), may come from any hop: then nothing is known.
    """
    if b", " in value:
        return None
    return syntax.delta_seconds(value.partition(b",")[0].strip(b" \t"))


def lifetime(
    status: int,
    fields: Fields,
    directives: ResponseDirectives,
    received: float,
    policy: CachePolicy,
) -> float | None:
    """Seconds for which a response stays fresh, counted from ``born``.

    The first that applies: the rule's lifetime, ``s-maxage``, ``max-age``, ``Expires - Date``,
    the rule's default, a heuristic. Unreadable or repeated values count as stale: 0.0.

    Returns None when nothing was said and no heuristic applies. RFC 9111 §4.2.1
    """
    ruled = ruled_lifetime(status, policy)
    if ruled is not None:
        return ruled
    explicit = explicit_lifetime(fields, directives, received)
    if explicit is not None:
        return explicit
    if policy.ttl.default is not None and status < 400:
        return policy.ttl.default
    return _heuristic(status, fields, directives, received) if policy.heuristic else None


def ruled_lifetime(status: int, policy: CachePolicy) -> float | None:
    """Seconds that a rule sets for *status* over the origin's word; None: the origin's stands."""
    statuses = policy.ttl.statuses
    if statuses:
        for key in (status, status // 100):
            if key in statuses:
                return statuses[key]
    return policy.ttl.override if status < 400 else None


def explicit_lifetime(
    fields: Fields, directives: ResponseDirectives, received: float
) -> float | None:
    """Seconds that the origin stated; None when it said nothing (RFC 9111 §4.2.1)."""
    if directives.s_maxage is not None:
        return float(directives.s_maxage)
    if directives.max_age is not None:
        return float(directives.max_age)
    if directives.targeted or b"expires" not in fields:
        return None
    lines = fields.lines(b"expires")
    expires = syntax.http_date(lines[0], received) if len(set(lines)) == 1 else None
    if expires is None:
        return 0.0
    date = syntax.http_date(fields.get(b"date") or b"", received)
    return max(0.0, expires - (received if date is None else date))


def _heuristic(
    status: int, fields: Fields, directives: ResponseDirectives, received: float
) -> float | None:
    if status not in HEURISTIC_STATUSES and not directives.public:
        return None
    value = fields.get(b"last-modified")
    modified = None if value is None else syntax.http_date(value, received)
    if modified is None:
        return None
    date = syntax.http_date(fields.get(b"date") or b"", received)
    since = (received if date is None else date) - modified
    return min(max(0.0, since) * _HEURISTIC_SHARE, _HEURISTIC_MOST)


def stored_lifetime(stored: StoredResponse, policy: CachePolicy) -> float:
    """Seconds for which *stored* stays fresh under *policy*; 0.0 when it must be validated."""
    if stored.stale:
        return 0.0
    value = lifetime(stored.status, stored.fields, stored.directives, stored.received, policy)
    return 0.0 if value is None else value


def keeping(status: int, fields: Fields, received: float, policy: CachePolicy) -> float:
    """Seconds from *received* for which a response may be of use under *policy*."""
    directives = of_response(fields)
    fresh = lifetime(status, fields, directives, received, policy)
    stale = (policy.stale_while_revalidate, policy.stale_if_error or 0.0)
    return (fresh or 0.0) + max(stale)


def forbids_stale(stored: StoredResponse) -> bool:
    """True when the origin forbade stale use even if it cannot be reached (RFC 9111 §4.2.4)."""
    said = stored.directives
    return (
        said.must_revalidate
        or said.proxy_revalidate
        or said.s_maxage is not None
        or said.no_cache is True
    )


def revalidate_window(stored: StoredResponse, policy: CachePolicy) -> float:
    """Seconds past its lifetime for which *stored* may be served while it is validated.

    The origin's stale-while-revalidate (RFC 5861 §3), else the rule's; 0.0 where forbidden.
    """
    if forbids_stale(stored) or stored.status >= 400:
        return 0.0
    said = stored.directives.stale_while_revalidate
    return float(said) if said is not None else policy.stale_while_revalidate


DISCONNECTED = 86400.0


def error_window(stored: StoredResponse, policy: CachePolicy, *, disconnected: bool) -> float:
    """Seconds past its lifetime for which *stored* may stand in for an error (RFC 5861 §4).

    Where neither the origin nor a rule says anything, a day when there is no connection to the
    origin (*disconnected*, RFC 9111 §4.2.4), and nothing when it answers with an error.
    """
    if forbids_stale(stored) or stored.status >= 400:
        return 0.0
    said = stored.directives.stale_if_error
    if said is not None:
        return float(said)
    if policy.stale_if_error is not None:
        return policy.stale_if_error
    return DISCONNECTED if disconnected else 0.0
