"""Settings as they are written in a file, for ``config show``: secrets masked, sources beside.

A tree of plain values is made first (``tree``), which is also what ``--json`` prints; the text
form is YAML that could be loaded again, but for what was masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import unquote

import msgspec

from vary_proxy.configuration.compiling import cache_policy
from vary_proxy.configuration.layering import effective
from vary_proxy.configuration.quantities import written_duration, written_size
from vary_proxy.configuration.reading import hints, is_struct, plain
from vary_proxy.configuration.settings import (
    CacheRule,
    CorsRule,
    Defaults,
    HostRule,
    KeyRule,
    Origin,
    OriginHeaderRule,
    Rule,
    Settings,
    TtlRule,
    VaryRule,
)
from vary_proxy.core.policy import CORS_VARY, CorsMode, OriginKey, VaryMode

MASK = "***"
_SENSITIVE = re.compile(r"passw|secret|token|credential|auth|user", re.I)


def tree(settings: Settings, private: Collection[str] = ()) -> dict[str, Any]:
    """*settings* as mappings, lists and scalars. *private* are paths whose values are masked."""
    complete = msgspec.structs.replace(
        settings,
        defaults=_complete(settings),
        rules=tuple(_preflighted(settings, rule) for rule in settings.rules),
    )
    return _mapping(complete, "", frozenset(private))


def _preflighted(settings: Settings, rule: Rule) -> Rule:
    """*rule*, saying who answers preflights where that follows from its CORS mode."""
    implied = effective(settings, rule).preflight
    return msgspec.structs.replace(rule, preflight=implied) if rule.cors is not None else rule


def _complete(settings: Settings) -> Defaults:
    """What the defaults come to with the product's own beneath."""
    said = settings.defaults
    cache = said.cache or CacheRule()
    policy = cache_policy(cache)
    key = cache.key or KeyRule()
    vary, cors = said.vary or VaryRule(), said.cors or CorsRule()
    return msgspec.structs.replace(
        said,
        vary=VaryRule(
            mode=vary.mode or VaryMode.REPAIR,
            headers=tuple(name.decode() for name in CORS_VARY)
            if vary.headers is None
            else vary.headers,
        ),
        cors=CorsRule(
            policy=cors.policy,
            mode=cors.mode or (CorsMode.OVERRIDE if cors.policy else CorsMode.PASSTHROUGH),
        ),
        preflight=effective(settings, said).preflight,
        cache=CacheRule(
            enabled=cache.enabled,
            ttl=cache.ttl or TtlRule(whole=True),
            stale_while_revalidate=policy.stale_while_revalidate,
            stale_if_error=policy.stale_if_error,
            collapse=policy.collapse,
            set_cookie="store" if policy.store_set_cookie else "default",
            request_directives="honour" if policy.honour_request else "ignore",
            heuristic=policy.heuristic,
            variants=policy.max_variants,
            key=KeyRule(origin=key.origin or OriginKey.EXACT, query=key.query),
        ),
    )


def _mapping(value: msgspec.Struct, path: str, private: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = hints(type(value))
    first = [key for key in ("name", "match") if key in known and isinstance(value, Rule)]
    for key in dict.fromkeys((*first, *known)):
        held, hint = getattr(value, key), known[key]
        if (held is None and key != "address") or (path and _is_unsaid(value, key)):
            continue
        if isinstance(value, Origin) and key == "addressing" and value.bucket is None:
            continue
        if isinstance(value, Origin) and key == "urls" and len(held) == 1:
            key, held = "url", held[0]
        here = f"{path}.{key}" if path else key
        found[key] = MASK if _is_in(here, private) else _written(held, hint, here, private)
    return found


def _is_unsaid(value: msgspec.Struct, key: str) -> bool:
    """True for what is empty when nothing is said of it; elsewhere to say so has a meaning."""
    return getattr(value, key) in ({}, ()) and key in _empty_by_default(type(value))


@cache
def _empty_by_default(cls: type[msgspec.Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(cls)
    return frozenset(one.name for one in fields if one.default == () or one.default_factory is dict)


def _written(value: Any, hint: Any, path: str, private: frozenset[str]) -> Any:
    base, kind = plain(hint)
    match value:
        case TtlRule():
            return _ttl(value)
        case HostRule():
            return value.value or value.mode
        case OriginHeaderRule():
            return f"inject:{value.value}" if value.value else value.mode.value
        case msgspec.Struct() if is_struct(base) and not kind:
            return _mapping(value, path, private)
        case tuple():
            item = base.__args__[0] if hasattr(base, "__args__") else str
            return [
                MASK
                if _is_in(here := f"{path}[{at}]", private)
                else _written(one, item, here, private)
                for at, one in enumerate(value)
            ]
        case dict():
            item = base.__args__[1]
            return {key: _entry(key, one, item, path, private) for key, one in value.items()}
        case _:
            return scalar(value, kind)


def _is_in(path: str, private: frozenset[str]) -> bool:
    return any(one in private for one in _spellings(path))


def _entry(key: str, value: Any, hint: Any, path: str, private: frozenset[str]) -> Any:
    here = f"{path}.{key}"
    if _is_in(here, private) or (path == "store.options" and _SENSITIVE.search(key)):
        return MASK
    return _written(value, hint, here, private)


def scalar(value: Any, kind: str) -> Any:
    """*value*, of this *kind*, as it is written in a file."""
    if value is None:
        return "off"
    if kind == "secret":
        return MASK if value else ""
    if kind == "secret_url":
        return _without_secrets(value)
    if kind == "duration":
        return written_duration(value)
    if kind == "size":
        return written_size(value)
    if kind == "workers":
        return value or "auto"
    if kind == "share":
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, bool | int | str) else str(value)


def _without_secrets(url: str) -> str:
    """*url* less what stands before its last ``@``, and the values of secrets in its query."""
    place, mark, query = re.sub(r"(?s)(?<=//).*@", f"{MASK}@", url, count=1).partition("?")
    return place + mark + "&".join(map(_parameter, query.split("&")))


def _parameter(said: str) -> str:
    name, equals, _ = said.partition("=")
    return f"{name}={MASK}" if equals and _SENSITIVE.search(unquote(name)) else said


def _ttl(rule: TtlRule) -> Any:
    if rule.whole:
        return "origin" if rule.override is None else written_duration(rule.override)
    named = {"default": rule.default, "override": rule.override}
    found = {key: written_duration(one) for key, one in named.items() if one is not None}
    for status, seconds in rule.statuses.items():
        found[f"{status}xx" if status < 10 else str(status)] = written_duration(seconds)
    return found


def sources(found: Any, places: Mapping[str, str], path: str = "") -> dict[str, str]:
    """Where each value of a tree came from, by path: a place, or ``default``."""
    if not isinstance(found, dict | list):
        return {path: source(path, places)}
    known: dict[str, str] = {}
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        known |= sources(value, places, _below(path, key))
    return known


def source(path: str, places: Mapping[str, str]) -> str:
    """Where the value at *path* was said; ``default`` where nothing said it."""
    return next((places[one] for one in _spellings(path) if one in places), "default")


def _spellings(path: str) -> Iterator[str]:
    """*path*, and as it is when a single value was written where a list may be."""
    yield path
    single = re.sub(r"\[0\](?=(\.\w+)?$)", "", path)
    yield single
    if single.endswith(".url"):
        yield f"{single}s"
        yield f"{single}s[0]"


def text(found: dict[str, Any], places: Mapping[str, str]) -> str:
    """The tree as YAML, with the source of each value in a comment."""
    rows = list(_rows(found, "", "", places))
    width = min(max((len(left) for left, said in rows if said), default=0), 56)
    return "\n".join(f"{left:<{width}}  # {said}" if said else left for left, said in rows)


def _rows(
    found: dict[str, Any], path: str, indent: str, places: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Lines of YAML, each with the source of its value, or "" where it holds none."""
    for key, value in found.items():
        here, start = _below(path, key), f"{indent}{_quoted(key)}:"
        if isinstance(value, dict) and value:
            yield start, ""
            yield from _rows(value, here, f"{indent}  ", places)
        elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
            yield start, ""
            for at, one in enumerate(value):
                yield from _item(one, f"{here}[{at}]", f"{indent}  ", places)
        else:
            last = f"{here}[0]" if isinstance(value, list) and value else here
            said = source(here, places)
            yield f"{start} {_flow(value)}", source(last, places) if said == "default" else said


def _item(
    found: dict[str, Any], path: str, indent: str, places: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    rows = list(_rows(found, path, f"{indent}  ", places))
    for at, (left, said) in enumerate(rows or [(f"{indent}  {{}}", "")]):
        yield (f"{indent}- {left[len(indent) + 2 :]}" if at == 0 else left), said


def _below(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return json.dumps(value)
    return _quoted(str(value).replace("${", "$${"))  # a value that was filled in is not a reference


def _quoted(word: str) -> str:
    """*word* as a YAML scalar, in quotes where it needs them."""
    safe = re.fullmatch(r"[A-Za-z0-9_/.][A-Za-z0-9_/.+-]*(:[A-Za-z0-9_/.+-]+)*", word)
    if safe and word.lower() not in _WORDS:
        return word
    return "".join(map(_readable, json.dumps(word, ensure_ascii=False)))


def _readable(character: str) -> str:
    """*character*, escaped where YAML forbids it even in quotes."""
    return character if character.isprintable() else f"\\U{ord(character):08x}"


_WORDS = frozenset(("null", "true", "false"))
