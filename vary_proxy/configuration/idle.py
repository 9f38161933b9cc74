"""Keys that are set, can be read, and change nothing where they stand: told, never refused.

What a file says without effect is most likely meant for another store, or for another mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vary_proxy.configuration.layering import effective
from vary_proxy.configuration.settings import Defaults, Match, Rule, Settings
from vary_proxy.core.policy import CorsMode, PreflightMode, VaryMode

Finding = tuple[str, str, str]  # path, what, remedy
_OF_SHARED_STORES = ("namespace", "timeout", "on_error")
_SILENT_MODES = (CorsMode.PASSTHROUGH, CorsMode.STRIP)


def idle(settings: Settings, places: Mapping[str, str]) -> Iterator[Finding]:
    """Every such key that *places* says was written."""
    yield from _store(settings, places)
    for at, rule in enumerate(settings.rules):
        yield from _rule(settings, rule, f"rules[{at}]", places)
        yield from _shadowed(settings.rules[:at], rule.match, at)
    yield from _vary(settings.defaults, "defaults", places)
    admin = settings.admin
    if "admin.dashboard" in places and admin.dashboard and admin.address is None:
        yield "admin.dashboard", "there is no admin listener", "add admin.address, or leave it out"


def _store(settings: Settings, places: Mapping[str, str]) -> Iterator[Finding]:
    for key in _OF_SHARED_STORES:
        if settings.store.type == "memory" and f"store.{key}" in places:
            what = "has no effect: a store of type memory is not shared, and always answers"
            yield f"store.{key}", what, "write type: redis and a url, or leave it out"


def _shadowed(earlier: Sequence[Rule], match: Match, at: int) -> Iterator[Finding]:
    """The rule at *at*, when one of the *earlier* takes all that it matches."""
    for before, rule in enumerate(earlier):
        if _covers(rule.match, match):
            what = f"is never reached: rules[{before}] matches all that it does"
            yield f"rules[{at}]", what, f"put it before rules[{before}]"
            return


def _covers(one: Match, other: Match) -> bool:
    """True when every condition of *one* stands in *other* as well, or holds for everything."""
    listed = ((one.host, other.host), (one.methods, other.methods))
    return (
        ("/**" in one.path or _takes(one.path, other.path))
        and all(_takes(*pair) for pair in listed)
        and one.query.items() <= other.query.items()
        and one.headers.items() <= other.headers.items()
    )


def _takes(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """True when no value that is among *other* is not among *one*; an empty one has them all."""
    return not one or (bool(other) and set(other) <= set(one))


def _rule(
    settings: Settings, rule: Defaults, path: str, places: Mapping[str, str]
) -> Iterator[Finding]:
    yield from _vary(rule, path, places)
    whole = effective(settings, rule)
    if rule.cors is None or rule.cors.policy is None or whole.cors is None:
        return
    mode = whole.cors.mode or CorsMode.PASSTHROUGH
    if mode in _SILENT_MODES and whole.preflight is not PreflightMode.SYNTHESIZE:
        what = f"has no effect: under {mode.value} the policy says nothing"
        yield f"{path}.cors.policy", what, "write mode: fill or override, or leave it out"


def _vary(layer: Defaults, path: str, places: Mapping[str, str]) -> Iterator[Finding]:
    mode = None if layer.vary is None else layer.vary.mode
    if mode in (VaryMode.PASSTHROUGH, VaryMode.STRIP) and f"{path}.vary.headers" in places:
        assert mode is not None
        what = f"has no effect: {mode.value} adds no names"
        yield f"{path}.vary.headers", what, "leave it out"
