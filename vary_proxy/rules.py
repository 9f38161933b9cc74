"""Rules compiled: from a request to the Policy that holds for it. The first match wins.

What depends only on method, host and path is decided once per such triple and remembered in
a bounded table, as the rules that are then still possible; query and header conditions are
looked at per request. Every condition is matched against the whole value, in linear time
(``matching.py``). A preflight is also matched by the method that it asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vary_proxy.configuration.conditions import Conditions, asked_method
from vary_proxy.core.message import Request
from vary_proxy.core.policy import Policy

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

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy, in order; what holds where no rule matches comes last."""
        return (*(rule.policy for rule in self.rules), self.fallback)

    @property
    def header_names(self) -> frozenset[bytes]:
        """The fields that some rule looks at, in lower case."""
        return frozenset(name for rule in self.rules for name, _ in rule.conditions.headers)

    def match(self, request: Request) -> Policy:
        """The policy of the first rule that matches; that of the defaults when none does."""
        for rule in self._possible(request):
            conditions = rule.conditions
            if not conditions.per_request or conditions.reason_per_request(request) is None:
                return rule.policy
        return self.fallback

    def explain(self, request: Request) -> list[Considered]:
        """Every rule in order, and the defaults: matched, or why not."""
        seen: list[Considered] = []
        winner = ""
        for rule in self.rules:
            policy = rule.policy
            reason = f"{winner} matched before it" if winner else rule.conditions.reason(request)
            seen.append(Considered(policy.rule, policy.where, reason is None, reason or ""))
            winner = winner or (policy.rule if reason is None else "")
        reason = f"{winner} matched before it" if winner else ""
        fallback = self.fallback
        return [*seen, Considered(fallback.rule, fallback.where, not winner, reason)]

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
