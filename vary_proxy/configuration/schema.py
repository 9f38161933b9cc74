"""The JSON Schema of the configuration, made from the annotations of ``settings.py``.

It describes what is written, not what it is parsed to: durations and sizes are strings with a
pattern, a mapping may be abbreviated, a list of one be a single value, and anything but a
plain string may come from a reference such as ``${PORT}``. What only the whole file can show
(names that nothing defines, contradictions) is left to ``vary-proxy validate``.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec

from vary_proxy.configuration.descriptions import DESCRIPTIONS
from vary_proxy.configuration.quantities import DURATION, SECRET, SIZE
from vary_proxy.configuration.reading import ALIASES, hints, is_struct, plain, required
from vary_proxy.configuration.settings import Settings

Schema = dict[str, Any]

_TEXT: Schema = {"type": ["string", "number", "boolean"]}  # as an unquoted word may look
_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
_LABEL = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"

KINDS: dict[str, Schema] = {
    "duration": {"anyOf": [{"type": "string", "pattern": f"^{DURATION}$"}, {"const": 0}]},
    "size": {
        "anyOf": [{"type": "string", "pattern": f"^{SIZE}$"}, {"type": "integer", "minimum": 0}]
    },
    "positive": {"type": "integer", "minimum": 1},
    "workers": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "network": _TEXT,
    "address": {"type": "string", "pattern": r"^(unix:.+|.*:\d{1,5})$"},
    "address_or_off": {
        "anyOf": [
            {"type": "string", "pattern": r"^(off|unix:.+|.*:\d{1,5})$"},
            {"const": False},
        ]
    },
    "origin_url": {"type": "string", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+"},
    "cors_origin": {"type": ["string", "null"]},  # ``null`` is an origin, when listed
    "host_rule": _TEXT,
    "origin_header": {"type": "string", "pattern": "^(auto|forward|strip|inject:https?://.+)$"},
    "label": {"type": "string", "pattern": _LABEL},
    "name": {"type": "string", "pattern": _NAME},
    "method": {"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$"},
    "access": {
        "anyOf": [{"type": "string", "pattern": r"^(off|stdout|.*[/.].*)$"}, {"const": False}]
    },
    "path_glob": {"type": "string", "pattern": "^[~/*]"},
    "host_glob": _TEXT,
    "glob": _TEXT,
    "name_match": _TEXT,
}


def schema() -> Schema:
    """The whole schema, draft 2020-12."""
    definitions: Schema = {"reference": _REFERENCE}
    top = _struct(Settings, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of vary-proxy",
        **top,
        "$defs": definitions,
    }


def _value(hint: Any, definitions: Schema) -> Schema:
    base, kind = plain(hint)
    if kind == "ttl":
        return _ttl(base)
    if kind in SECRET:
        return _TEXT
    if kind:
        return _or_reference(KINDS[kind])
    if is_struct(base):
        return _named(base, definitions)
    if get_origin(base) is tuple:
        item = _value(get_args(base)[0], definitions)
        return {"anyOf": [{"type": "array", "items": item}, item]}
    if get_origin(base) is dict:
        key, item = get_args(base)
        return _mapping(key, item, definitions)
    if base is bool:
        return _or_reference({"enum": [True, False, "on", "off"]})
    return _TEXT if base is str else _or_reference({"enum": _choices(base)})


def _or_reference(scalar: Schema) -> Schema:
    return {"anyOf": [*scalar.get("anyOf", [scalar]), {"$ref": "#/$defs/reference"}]}


def _choices(base: Any) -> list[Any]:
    if isinstance(base, type) and issubclass(base, Enum):
        return [one.value for one in base]
    assert get_origin(base) is Literal, base
    return list(get_args(base))


def _mapping(key: Any, hint: Any, definitions: Schema) -> Schema:
    _, kind = plain(key)
    names = {"propertyNames": KINDS[kind]} if kind else {}
    return {"type": "object", **names, "additionalProperties": _value(hint, definitions)}


def _named(cls: type[msgspec.Struct], definitions: Schema) -> Schema:
    name = cls.__name__
    if name not in definitions:
        definitions[name] = {}  # before its fields: nothing here refers to itself, but may
        definitions[name] = _struct(cls, definitions)
    whole: Schema = {"$ref": f"#/$defs/{name}"}
    short: str | None = getattr(cls, "short", None)
    if short is None:
        return whole
    return {"anyOf": [whole, _value(hints(cls)[short], definitions)]}


def _struct(cls: type[msgspec.Struct], definitions: Schema) -> Schema:
    said = DESCRIPTIONS[cls.__name__]
    aliases = ALIASES.get(cls, {})
    keys = hints(cls) | {alias: hints(cls)[held] for alias, held in aliases.items()}
    properties = {
        key: {"description": said[key], **_value(hint, definitions)} for key, hint in keys.items()
    }
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    needed = [key for key in required(cls) if key not in aliases.values()]
    if needed:
        found["required"] = needed
    if aliases:
        found["oneOf"] = [{"required": [key]} for pair in aliases.items() for key in pair]
    return found


def _ttl(cls: type[msgspec.Struct]) -> Schema:
    duration = _or_reference(KINDS["duration"])
    said = DESCRIPTIONS[cls.__name__]
    lifetimes = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: {"description": text, **duration} for key, text in said.items()},
        "patternProperties": {r"^[1-5](\d\d|xx)$": duration},
    }
    return {"anyOf": [{"const": "origin"}, *duration["anyOf"], lifetimes]}
