"""Where a rule governs CORS: what the origin is not shown, what is stored, what is delivered.

Three steps of a response's way, so that no other module asks for the mode. ``received``
takes off what must not reach the store, ``nominated`` says which names repair may add, and
``delivered`` puts on the family and the Vary of this requester: on every status, stored or
not, our own errors included. One stored response then serves every ``Origin``, and a changed
policy holds at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from vary_proxy.core import vary
from vary_proxy.core.cors import Applied, apply, without_family
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import CORS_VARY, CorsMode, OriginHeader, Policy, VaryMode, VaryPolicy
from vary_proxy.core.stored import Resource
from vary_proxy.core.vary import EffectiveVary

_ALL = frozenset(name.lower() for name in CORS_VARY)
_ASKED = _ALL - {b"origin"}
_NONE: frozenset[bytes] = frozenset()


def hidden(policy: Policy) -> frozenset[bytes]:
    """The request fields that the origin is not shown, so that nothing of its depends on them.

    They neither select among its stored responses nor stay in its Vary.
    """
    if policy.cors_mode is not CorsMode.OVERRIDE:
        return _NONE
    return _ASKED if policy.origin_header is OriginHeader.FORWARD else _ALL


def unselecting(policy: Policy) -> frozenset[bytes]:
    """The names that select among no stored responses: whoever asks, the origin sees the same.

    AUTO shows it ``Origin`` unless the rule owns CORS; STRIP and INJECT never show a client's.
    """
    if policy.origin_header in (OriginHeader.STRIP, OriginHeader.INJECT):
        return hidden(policy) | {b"origin"}
    return hidden(policy)


def received(policy: Policy, fields: Fields) -> Fields:
    """The origin's *fields* as they are to be judged, stored and repaired."""
    if policy.cors_mode is CorsMode.STRIP:
        return without_family(fields)
    if policy.cors_mode is not CorsMode.OVERRIDE:
        return fields
    owned = _NONE if policy.cors is None else policy.cors.owned
    return _without_names(without_family(fields, owned), hidden(policy))


def nominated(policy: Policy) -> VaryPolicy:
    """How Vary is repaired under *policy*: only with names that a stored response can depend on."""
    unseen = hidden(policy)
    if not unseen:
        return policy.vary
    kept = tuple(name for name in policy.vary.names if name.lower() not in unseen)
    return policy.vary if kept == policy.vary.names else replace(policy.vary, names=kept)


def effective(
    policy: Policy, fields: Fields, request: Request, resource: Resource | None
) -> EffectiveVary:
    """What Vary comes to for *fields*, an answer to *request*, next to what *resource* has said."""
    known = () if resource is None else resource.said()
    return vary.effective(fields, nominated(policy), request.method, known)


def delivered(policy: Policy, fields: Fields, request: Request) -> Applied:
    """*fields*, repaired, as *request* gets them: with the CORS family and its names in Vary."""
    applied = apply(policy.cors_mode, policy.cors, fields, request)
    if not applied.vary or policy.vary.mode is VaryMode.STRIP:
        return applied
    return replace(applied, fields=declaring(applied.fields, applied.vary))


def declaring(fields: Fields, names: tuple[bytes, ...]) -> Fields:
    """*fields* whose Vary has *names* too, in one line; ``*`` says it all already."""
    line = _line(fields.lines(b"vary"), names)
    return fields if line is None else fields.replaced(b"vary", line)


@lru_cache(maxsize=512)  # once per way of saying Vary: 0.6 of the time of a reply
def _line(said: tuple[bytes, ...], names: tuple[bytes, ...]) -> bytes | None:
    """One line with the names *said* and *names*; None where ``*`` was said, or nothing is."""
    whole = Fields(tuple((b"vary", line) for line in said))
    return vary.effective(whole, VaryPolicy(names=names), b"GET").line


def _without_names(fields: Fields, names: frozenset[bytes]) -> Fields:
    """*fields* whose Vary lacks *names*; one that has none of them, or ``*``, stays as it is."""
    said = vary.effective(fields, VaryPolicy(names=()), b"GET")
    if names.isdisjoint(said.names):
        return fields
    listed = (said.line or b"").split(b", ")
    kept = b", ".join(name for name in listed if name.lower() not in names)
    return fields.replaced(b"vary", kept) if kept else fields.without({b"vary"})
