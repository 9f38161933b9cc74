"""Rules compiled: from a request to the Policy that holds for it. The first match wins.

What depends only on method, host and path is decided once per such triple and remembered in
a bounded table, as the rules that are then still possible; query and header conditions are
looked at per request. Every condition is matched against the whole value, in linear time
(``matching.py``). A preflight is also matched by the method that it asks for.

The path is matched as it came. Where an origin may read it otherwise, and another rule would
hold then which keeps nothing or says other things about CORS, the stricter of both holds: no
spelling leads around a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from vary_proxy.configuration.conditions import Conditions, asked_method
from vary_proxy.core import readings
from vary_proxy.core.message import Request
from vary_proxy.core.policy import CorsMode, Policy, PreflightMode

_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 512  # bytes of path and host


@dataclass(frozen=True, slots=True)
class CompiledRule:
    conditions: Conditions
    policy: Policy


@dataclass(frozen=True, slots=True)
class Considered:
    """How one rule stood to a request; ``reason`` says why not, or that an earlier one won."""

    rule: str
    where: str
    matched: bool
    reason: str = ""


class RuleBook:
    def __init__(self, rules: Sequence[CompiledRule], fallback: Policy) -> None:
        self.rules = tuple(rules)
        self.fallback = fallback
        self._known: dict[tuple[bytes, bytes, bytes, bytes], tuple[CompiledRule, ...]] = {}
        self._by_path = any(rule.conditions.paths for rule in self.rules)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy, in order; what holds where no rule matches comes last."""
        return (*(rule.policy for rule in self.rules), self.fallback)

    @property
    def header_names(self) -> frozenset[bytes]:
        """The fields that some rule looks at, in lower case."""
        return frozenset(name for rule in self.rules for name, _ in rule.conditions.headers)

    def match(self, request: Request) -> Policy:
        """The policy of the first rule that matches; that of the defaults when none does.

        Where the origin may read the path otherwise, nothing in it is laxer than in what would
        hold then.
        """
        policy = self._first(self._possible(request), request)
        if self._by_path and readings.is_odd(request.target.partition(b"?")[0]):
            for other in self._if_read_otherwise(request):
                policy = _stricter(policy, other)
        return policy

    def possible(self, request: Request) -> tuple[Policy, ...]:
        """Every policy that may hold for what is at this place, whatever fields are sent."""
        found = self._possible(request)
        sure = bool(found) and not found[-1].conditions.per_request
        return (*(rule.policy for rule in found), *(() if sure else (self.fallback,)))

    def _first(self, possible: Iterable[CompiledRule], request: Request) -> Policy:
        for rule in possible:
            conditions = rule.conditions
            if not conditions.per_request or conditions.reason_per_request(request) is None:
                return rule.policy
        return self.fallback

    def _if_read_otherwise(self, request: Request) -> Iterator[Policy]:
        """What would hold if *request* had its path as the origin may read it."""
        path = request.target.partition(b"?")[0]
        found = readings.readings(path)
        if found is None:
            yield from self.policies
            return
        climbs = readings.climbs((path, *found))
        for reading in found:
            possible = (
                rule
                for rule in self.rules
                if rule.conditions.may_be_place(request, reading, climbs=climbs)
            )
            yield self._first(possible, request)

    def explain(self, request: Request) -> list[Considered]:
        """Every rule in order, and the defaults: matched, or why not."""
        seen: list[Considered] = []
        winner = ""
        for rule in self.rules:
            policy = rule.policy
            reason = f"{winner} matched before it" if winner else rule.conditions.reason(request)
            told = self._otherwise(request, policy) if reason is None else reason
            seen.append(Considered(policy.rule, policy.where, reason is None, told))
            winner = winner or (policy.rule if reason is None else "")
        fallback = self.fallback
        told = f"{winner} matched before it" if winner else self._otherwise(request, fallback)
        return [*seen, Considered(fallback.rule, fallback.where, not winner, told)]

    def _otherwise(self, request: Request, policy: Policy) -> str:
        """Which other rules are kept to because the path may be read otherwise; mostly none."""
        if self.match(request) is policy:
            return ""
        others = self._if_read_otherwise(request)
        named = dict.fromkeys(one.rule for one in others if _stricter(policy, one) is not policy)
        return f"but the origin may read the path as one of {', '.join(named)}: kept to as well"

    def _possible(self, request: Request) -> tuple[CompiledRule, ...]:
        """The rules that match as far as method, host and path go, to the first that is sure."""
        path = request.target.partition(b"?")[0]
        asked = asked_method(request)
        key = (request.method, asked, request.authority, path)
        found = self._known.get(key)
        if found is None:
            found = self._sift(request)
            if len(path) + len(request.authority) + len(asked) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found

    def _sift(self, request: Request) -> tuple[CompiledRule, ...]:
        possible: list[CompiledRule] = []
        for rule in self.rules:
            if rule.conditions.is_place(request):
                possible.append(rule)
                if not rule.conditions.per_request:
                    break
        return tuple(possible)


def _stricter(policy: Policy, other: Policy) -> Policy:
    """*policy* with nothing laxer than in *other*: neither kept nor granted unless by both."""
    if other is policy:
        return policy
    if policy.cache.enabled and not other.cache.enabled:
        policy = replace(policy, cache=replace(policy.cache, enabled=False))
    mine = (policy.cors, policy.cors_mode, policy.preflight)
    if mine == (other.cors, other.cors_mode, other.preflight) or mine == _NOTHING_GRANTED:
        return policy
    cors, mode, preflight = _NOTHING_GRANTED
    return replace(policy, cors=cors, cors_mode=mode, preflight=preflight)


_NOTHING_GRANTED = (None, CorsMode.STRIP, PreflightMode.DENY)
