"""Effective Vary: what the origin said, what is missing, what we send, what keys the store.

Three answers are kept apart: the field line sent downstream, the names that select among
stored variants, and what was done, for the log. ``*`` anywhere, or a line that cannot be
read, is passed on untouched and never stored (RFC 9110 §12.5.5, RFC 9111 §4.1).
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import lru_cache

from vary_proxy.core import syntax
from vary_proxy.core.message import Fields
from vary_proxy.core.policy import CORS_VARY, VaryMode, VaryPolicy
from vary_proxy.core.values import immutable


@immutable
class EffectiveVary:
    """``line`` is the field to send, None for none; ``lines`` when several pass untouched.

    ``names`` select among variants, lower case, sorted. ``star``: never stored.
    ``added`` are the names that the repair put in, as sent. ``said`` is what there was before.
    """

    line: bytes | None
    names: tuple[bytes, ...]
    star: bool = False
    action: str = "none"
    added: tuple[bytes, ...] = ()
    said: bytes | None = field(default=None, compare=False)


def effective(
    fields: Fields, policy: VaryPolicy, method: bytes, known: tuple[bytes, ...] = ()
) -> EffectiveVary:
    """What Vary comes to for a response with these *fields* to a request of *method*.

    *known* are the Vary lines of the resource's stored responses. What one of them named is said
    of all where Vary is repaired: a name that an origin loses on some responses selects among
    them all the same (RFC 9111 §4.1).
    """
    lines = fields.lines(b"vary")
    usual = sum(map(len, (*lines, *known))) <= _USUAL
    make = _effective if usual else _effective.__wrapped__
    return make(lines, policy, method == b"OPTIONS", known)


_USUAL = 256  # bytes of Vary; what is longer is not remembered


@lru_cache(maxsize=512)
def _effective(
    lines: tuple[bytes, ...], policy: VaryPolicy, options: bool, known: tuple[bytes, ...]
) -> EffectiveVary:
    found = _judged(lines, policy, options, known)
    return replace(found, said=b", ".join(lines) if lines else None)


def _judged(
    lines: tuple[bytes, ...], policy: VaryPolicy, options: bool, known: tuple[bytes, ...]
) -> EffectiveVary:
    declared = _declared(lines)
    if declared is None:
        return EffectiveVary(None, (), star=True, action="star")
    mode = policy.mode
    wanted = policy.names
    if mode is VaryMode.MINIMAL and not options:
        wanted = tuple(name for name in wanted if name.lower() not in _REQUEST_NAMES)
    if mode is VaryMode.PASSTHROUGH or (mode is VaryMode.IF_MISSING and declared):
        return _as_said(lines, declared)
    if mode is VaryMode.STRIP:
        return EffectiveVary(None, _keys(declared), action="stripped" if declared else "none")
    if mode is VaryMode.REPLACE:
        line = b", ".join(wanted)
        added = _missing(declared, wanted)
        action = "replaced" if added or len(declared) != len(wanted) else "complete"
        return EffectiveVary(line or None, _keys((*declared, *wanted)), False, action, added)
    learned = _missing(policy.names, _declared(known) or ())
    if len(learned) > _LEARNED:
        learned = ()  # an origin that names what it was sent would let anybody lengthen the line
    added = _missing(declared, (*learned, *wanted))
    if not added:
        return _joined(declared, "complete", ())
    return _joined((*declared, *added), "repaired" if declared else "added", added)


_LEARNED = 16  # names that other responses of a resource may add to a line
_REQUEST_NAMES = frozenset(name.lower() for name in CORS_VARY if name != b"Origin")


def _declared(lines: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
    """The names that the origin gave, first spelling first; None for ``*`` or unreadable."""
    names: dict[bytes, bytes] = {}
    for line in lines:
        for member in line.split(b","):
            name = member.strip(b" \t")
            if not name:
                continue
            if name == b"*" or not syntax.is_token(name):
                return None
            names.setdefault(name.lower(), name)
    return tuple(names.values())


def _missing(declared: tuple[bytes, ...], wanted: tuple[bytes, ...]) -> tuple[bytes, ...]:
    have = {name.lower() for name in declared}
    return tuple(name for name in wanted if name.lower() not in have)


def _keys(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted({name.lower() for name in names}))


def _joined(names: tuple[bytes, ...], action: str, added: tuple[bytes, ...]) -> EffectiveVary:
    return EffectiveVary(b", ".join(names) or None, _keys(names), False, action, added)


def _as_said(lines: tuple[bytes, ...], declared: tuple[bytes, ...]) -> EffectiveVary:
    line = b", ".join(lines) if lines else None
    return EffectiveVary(line, _keys(declared), action="none")


def dress(fields: Fields, vary: EffectiveVary) -> Fields:
    """*fields* with the one Vary line that is sent; untouched where ``*`` was said."""
    if vary.star:
        return fields
    if vary.line is None:
        return fields.without({b"vary"})
    return fields.replaced(b"vary", vary.line)


def for_errors(policy: VaryPolicy, method: bytes) -> bytes:
    """The Vary of an answer that is ours, by the same rule as the path's others."""
    return effective(Fields(), policy, method).line or b""
