"""What holds for a rule: its own words over the defaults, over the product's own.

A key that is left out shows what lies below it; mappings are merged key by key, anything
else replaces what was there. RuleLayers are complete: policies are compiled from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from vary_proxy.configuration.settings import CorsRule, Defaults, Settings, TtlRule
from vary_proxy.core.policy import CorsMode, PreflightMode

S = TypeVar("S", bound=msgspec.Struct)


def layers(settings: Settings) -> Iterator[tuple[str, Defaults]]:
    """``defaults`` and every rule, each with its path."""
    yield "defaults", settings.defaults
    for at, rule in enumerate(settings.rules):
        yield f"rules[{at}]", rule


def effective(settings: Settings, layer: Defaults) -> Defaults:
    """*layer*, a rule or the defaults, with what lies under it."""
    under = settings.defaults
    merged = layer if layer is under else _merged(layer, under)
    cors = _cors(layer.cors, under.cors)
    return msgspec.structs.replace(
        merged,
        origin=merged.origin or only_origin(settings),
        cors=cors,
        preflight=merged.preflight or _preflight(cors),
    )


def _preflight(cors: CorsRule) -> PreflightMode:
    """Who answers preflights where nothing says so: whoever writes the CORS fields."""
    ours = cors.mode is CorsMode.OVERRIDE and cors.policy is not None
    return PreflightMode.SYNTHESIZE if ours else PreflightMode.FORWARD


def only_origin(settings: Settings) -> str | None:
    """The origin that is meant where none is named: the only one."""
    return next(iter(settings.origins)) if len(settings.origins) == 1 else None


def _merged(over: S, under: msgspec.Struct) -> S:
    changes: dict[str, Any] = {}
    for key in under.__struct_fields__:
        below = getattr(under, key)
        own = getattr(over, key)
        if own is None:
            changes[key] = below
        elif isinstance(own, TtlRule) and isinstance(below, TtlRule):
            changes[key] = _ttl(own, below)
        elif isinstance(own, msgspec.Struct) and isinstance(below, msgspec.Struct):
            changes[key] = _merged(own, below)
    return msgspec.structs.replace(over, **changes)


def _ttl(own: TtlRule, below: TtlRule) -> TtlRule:
    if own.whole:
        return own
    return TtlRule(
        override=below.override if own.override is None else own.override,
        default=below.default if own.default is None else own.default,
        statuses=below.statuses | own.statuses,
    )


def _cors(own: CorsRule | None, below: CorsRule | None) -> CorsRule:
    """Mode and policy; naming a policy without a mode means that it is ours to write."""
    own, below = own or CorsRule(), below or CorsRule()
    under = below.mode or (CorsMode.OVERRIDE if below.policy else CorsMode.PASSTHROUGH)
    mode = own.mode or under
    if own.policy and own.mode is None and mode not in (CorsMode.FILL, CorsMode.OVERRIDE):
        mode = CorsMode.OVERRIDE
    return CorsRule(policy=own.policy or below.policy, mode=mode)
