"""Every key of the configuration on one page: its path, its values, its default, its meaning.

Made from the same annotations and descriptions as the JSON Schema, and from what ``config
show`` says of a configuration that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec

from vary_proxy.configuration.descriptions import DESCRIPTIONS
from vary_proxy.configuration.reading import hints, is_struct, plain, required
from vary_proxy.configuration.settings import Cors, Defaults, Origin, Rule, Settings
from vary_proxy.configuration.showing import scalar, tree

_WORDS = {
    "duration": "as `250ms` `5s` `1h` `7d`",
    "size": "as `64KiB` `1MiB`",
    "positive": "a number from 1",
    "workers": "a number from 1, `auto`",
    "share": "`0` to `1`",
    "address": "`host:port`, `unix:/path`",
    "address_or_off": "`host:port`, `unix:/path`, `off`",
    "ttl": "`origin`, `1h`, `{default: 1h, \"404\": 10s, \"5xx\": 0s}`",
    "access": "`off`, `stdout`, a path",
    "origin_url": "`http://host:port/prefix`",
    "origin_header": "`auto`, `forward`, `strip`, `inject:https://a.example`",
    "host_rule": "`upstream`, `preserve`, a host",
    "path_glob": "`/img/**`, `~/img/[0-9]+`",
    "host_glob": "`*.example.com`, `~` and a regex",
    "cors_origin": "`*`, `https://*.a.example`, `~` and a regex, `null`",
    "network": "`10.0.0.0/8`",
    "secret": "text, `${NAME}`, `${file:PATH}`",
}  # fmt: skip
_NAMED = {Origin: "origins.NAME", Cors: "cors.NAME"}


def markdown() -> str:
    """The page."""
    lines = [
        "# Every key of the configuration",
        "",
        "What `vary-proxy schema --table` prints. A list of one may be written as one value; any",
        "value may come from `${NAME}`, `${NAME:-default}` or `${file:PATH}`. What stands under",
        "`defaults` may stand in a rule as well, and holds for those where it does not.",
        "",
        "| key | values | default | |",
        "|---|---|---|---|",
    ]
    usual = tree(Settings(origins={"NAME": Origin(urls=())}))
    lines += ["| " + " | ".join(row) + " |" for row in _rows(Settings, "", usual)]
    return "\n".join(lines)


def _rows(cls: type[msgspec.Struct], path: str, usual: Any) -> Iterator[tuple[str, ...]]:
    defaults = {one.name: one.default for one in msgspec.structs.fields(cls)}
    for key, hint in hints(cls).items():
        base, kind = plain(hint)
        here = f"{path}.{key}" if path else key
        meaning = DESCRIPTIONS[cls.__name__][key].replace("|", "\\|")
        below = usual.get(key) if isinstance(usual, dict) else None
        inner = _struct_within(base)
        if cls is Rule and key in Defaults.__struct_fields__:
            continue
        if inner is not None and not kind:
            first = below[0] if isinstance(below, list) and below else {}
            yield f"`{here}`", "", _default(None, first.get("address"), ""), meaning
            known = below.get("NAME") if get_origin(base) is dict and below else below
            yield from _rows(inner, _below(here, base, inner), known)
            continue
        if key == "urls":
            here = "origins.NAME.url`, `origins.NAME.urls"
            meaning = f"{DESCRIPTIONS[cls.__name__]['url']} urls: {meaning}"
        value = "required" if key in required(cls) else _default(defaults[key], below, kind)
        yield f"`{here}`", _values(base, kind), value, meaning


def _below(path: str, base: Any, inner: type[msgspec.Struct]) -> str:
    if get_origin(base) is tuple:
        return f"{path}[]"
    return _NAMED.get(inner, path)


def _struct_within(base: Any) -> type[msgspec.Struct] | None:
    """The structure that *base* is, or of which it has several."""
    several = get_origin(base) in (tuple, dict)
    inner, kind = plain(get_args(base)[get_origin(base) is dict]) if several else (base, "")
    return inner if is_struct(inner) and not kind else None


def _default(said: Any, shown: Any, kind: str) -> str:
    value = shown if shown is not None else said
    if value in (None, (), {}, "", msgspec.NODEFAULT) or isinstance(value, msgspec.Struct | dict):
        return ""
    many = value if isinstance(value, list | tuple) else (value,)
    texts = [one if isinstance(one, str) else scalar(one, kind) for one in many]
    return " ".join(f"`{str(one).lower() if isinstance(one, bool) else one}`" for one in texts)


def _values(base: Any, kind: str) -> str:
    if kind:
        return _WORDS.get(kind, "text")
    if get_origin(base) is tuple:
        return f"list: {_values(*plain(get_args(base)[0]))}"
    if get_origin(base) is dict:
        return "`name: value` pairs"
    if base is bool:
        return "`true` `false`"
    if get_origin(base) is Literal:
        return " ".join(f"`{one}`" for one in get_args(base))
    if isinstance(base, type) and issubclass(base, Enum):
        return " ".join(f"`{one.value}`" for one in base)
    return "text"
