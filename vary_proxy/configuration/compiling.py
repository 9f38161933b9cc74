"""Settings to a RuleBook: every rule, merged over the defaults, becomes one Policy."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from vary_proxy.configuration.conditions import Conditions, conditions
from vary_proxy.configuration.layering import effective
from vary_proxy.configuration.matching import name_pattern
from vary_proxy.configuration.settings import (
    CacheRule,
    Defaults,
    Origin,
    OriginHeaderRule,
    QueryRule,
    Rule,
    Settings,
    TtlRule,
    VaryRule,
)
from vary_proxy.core.corspolicy import CorsPolicy
from vary_proxy.core.policy import (
    CORS_VARY,
    CachePolicy,
    CorsMode,
    OriginKey,
    Policy,
    PreflightMode,
    QueryKey,
    TtlPolicy,
    VaryMode,
    VaryPolicy,
)
from vary_proxy.rules import CompiledRule, RuleBook

_BASE = CachePolicy()
# Drawn before workers are forked, and kept when rules are read again: they are one instance.
_LOT = os.urandom(16)
T = TypeVar("T")


def compile_rules(
    settings: Settings, cors: Mapping[str, CorsPolicy], places: Mapping[str, str]
) -> RuleBook:
    """The rules of *settings*, which were checked. *places* says where each path stood."""

    def policy(layer: Defaults, path: str, name: str) -> Policy:
        where = re.sub(r":\d+$", "", places.get(path, ""))  # file:line
        return _policy(effective(settings, layer), settings, cors, name, where)

    rules = [
        CompiledRule(conditions(rule.match), policy(rule, f"rules[{at}]", rule_name(rule, at)))
        for at, rule in enumerate(settings.rules)
    ]
    return RuleBook(rules, policy(settings.defaults, "defaults", "defaults"))


def rule_name(rule: Rule, at: int) -> str:
    return rule.name or f"rules[{at}]"


def is_catch_all(rule: Rule) -> bool:
    """True when nothing gets past *rule*."""
    return conditions(rule.match) == Conditions()


def _policy(
    layer: Defaults, settings: Settings, cors: Mapping[str, CorsPolicy], name: str, where: str
) -> Policy:
    origin = layer.origin or ""
    known = settings.origins.get(origin)
    header = known.origin_header if known is not None else OriginHeaderRule()
    preflight = layer.preflight or PreflightMode.FORWARD
    said = layer.cors
    mode = said.mode if said is not None and said.mode is not None else CorsMode.PASSTHROUGH
    ours = mode in (CorsMode.FILL, CorsMode.OVERRIDE) or preflight is PreflightMode.SYNTHESIZE
    vary, cache = _vary(layer.vary), cache_policy(layer.cache or CacheRule())
    policy = cors.get(said.policy or "") if ours and said is not None else None
    return Policy(
        rule=name,
        origin=origin,
        vary=vary,
        cache=cache,
        cors=policy,
        cors_mode=mode,
        preflight=preflight,
        origin_header=header.mode,
        origin_value=header.value.encode(),
        where=where,
        lot=_LOT,
        mark=_mark(known, vary, cache, mode, policy),
    )


def _mark(
    origin: Origin | None,
    vary: VaryPolicy,
    cache: CachePolicy,
    mode: CorsMode,
    cors: CorsPolicy | None,
) -> bytes:
    """What tells stored responses of this policy from those of another under the same names.

    It covers where they come from, what the origin was asked with and with whose credentials,
    how it had to prove itself, whether its CORS fields are there, which names their Vary was
    given, which targets are one, and whether cookies are for everybody.
    """
    query = cache.query
    names = sorted(name.lower() for name in vary.names)
    patterns = [tuple(one.pattern for one in group or ()) for group in (query.ignore, query.only)]
    owned = sorted(cors.owned) if cors is not None and mode is CorsMode.OVERRIDE else []
    said: list[object] = [mode is CorsMode.STRIP, owned, names, patterns]
    said += [query.only is None, query.sort, cache.store_set_cookie]
    if origin is not None:
        urls = sorted(map(str, origin.urls))
        said += [urls, origin.host, origin.bucket, origin.addressing, origin.origin_header]
        said += [origin.sign, origin.tls.ca, origin.tls.server_name, origin.tls.verify]
        said += [origin.tls.cert] if origin.tls.cert is not None else []
    return hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest().encode()


def _vary(rule: VaryRule | None) -> VaryPolicy:
    rule = rule or VaryRule()
    names = CORS_VARY if rule.headers is None else _distinct(rule.headers)
    return VaryPolicy(rule.mode or VaryMode.REPAIR, names)


def _distinct(names: Iterable[str]) -> tuple[bytes, ...]:
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name.lower(), name)
    return tuple(name.encode() for name in kept.values())


def cache_policy(rule: CacheRule) -> CachePolicy:
    key = rule.key
    return CachePolicy(
        enabled=rule.enabled,
        ttl=_ttl(rule.ttl or TtlRule()),
        stale_while_revalidate=_or(rule.stale_while_revalidate, _BASE.stale_while_revalidate),
        stale_if_error=rule.stale_if_error,
        collapse=_or(rule.collapse, _BASE.collapse),
        honour_request=rule.request_directives != "ignore",
        store_set_cookie=rule.set_cookie == "store",
        heuristic=_or(rule.heuristic, _BASE.heuristic),
        query=_query(key.query) if key is not None and key.query is not None else QueryKey(),
        origin_key=(key.origin if key is not None else None) or OriginKey.EXACT,
        max_variants=_or(rule.variants, _BASE.max_variants),
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _ttl(rule: TtlRule) -> TtlPolicy:
    return TtlPolicy(rule.override, rule.default, dict(rule.statuses))


def _query(rule: QueryRule) -> QueryKey:
    return QueryKey(
        ignore=tuple(map(name_pattern, rule.ignore or ())),
        only=None if rule.only is None else tuple(map(name_pattern, rule.only)),
        sort=bool(rule.sort),
    )
