"""From nodes to typed settings, by the annotations of ``settings.py``.

The walk never stops at the first error: what cannot be read is reported with its place and
replaced by its default, so that one run tells everything. It also remembers where every key
stood, for later checks and for ``config show``.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from vary_proxy.configuration import yaml12
from vary_proxy.configuration.expansion import Expansion
from vary_proxy.configuration.problems import Problem, Wrong, alternatives, one_of, shown
from vary_proxy.configuration.quantities import KINDS, duration
from vary_proxy.configuration.settings import Origin, TtlRule
from vary_proxy.configuration.yaml12 import Node, Scalar, Sequence

FAILED: Any = object()
ALIASES: dict[type, dict[str, str]] = {Origin: {"url": "urls"}}  # as written -> as held
_TRUTH = {"true": True, "True": True, "TRUE": True, "on": True}
_TRUTH |= {"false": False, "False": False, "FALSE": False, "off": False}


@cache
def hints(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """The annotations of *cls* by key, ``Annotated`` kept."""
    found = get_type_hints(cls, include_extras=True)
    return {key: found[key] for key in cls.__struct_fields__}


@cache
def required(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(one.name for one in msgspec.structs.fields(cls) if one.required)


def plain(hint: Any) -> tuple[Any, str]:
    """*hint* as (the type, the kind of its scalar or ""), without ``| None``."""
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is Annotated:
        base, kind = get_args(hint)[:2]
        return base, kind
    return hint, ""


_WHOLE = "name: value pairs, such as origins: {main: {url: http://host:port}}"


def is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


class Reader:
    """Reads nodes, gathers ``problems``, and in ``places`` where each path stood."""

    def __init__(self, expansion: Expansion) -> None:
        self.expansion = expansion
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.private: set[str] = set()  # paths of values that are never to be shown

    def report(self, node: Node, path: str, what: str, remedy: str) -> Any:
        self.problems.append(Problem(node.where, path, what, remedy))
        return FAILED

    def struct(self, cls: type[msgspec.Struct], node: Node, path: str) -> Any:
        """*node* as *cls*; FAILED when something required is missing or unreadable."""
        self.places[path] = node.where
        short: str | None = getattr(cls, "short", None)
        if isinstance(node, yaml12.Mapping):
            given = self._fields(cls, node, path)
        elif short is not None and not (isinstance(node, Sequence) and cls is not Origin):
            given = {short: self._value(hints(cls)[short], node, path)}
            self.places[_join(path, short)] = node.where
        else:
            example = alternatives(list(hints(cls))[:3]) if path else _WHOLE
            return self.report(node, path, f"{_said(node)} where keys belong", f"write {example}")
        for key in required(cls):
            if key not in given:
                shown_key = next(iter(ALIASES.get(cls, {})), key)
                self.report(node, path, f"{shown_key} is missing", f"add {shown_key}:")
        read = {key: value for key, value in given.items() if value is not FAILED}
        return cls(**read) if all(key in read for key in required(cls)) else FAILED

    def _fields(self, cls: type[msgspec.Struct], node: yaml12.Mapping, path: str) -> dict[str, Any]:
        known, given = hints(cls), dict[str, Any]()
        aliases = ALIASES.get(cls, {})
        for key, child in self._entries(node, path):
            field = aliases.get(key.text, key.text)
            here = _join(path, key.text)
            if field not in known:
                self.report(key, here, "unknown key", _unknown(key.text, [*known, *aliases]))
            elif field in given:
                self.report(key, path, "both url and urls are given", "keep one")
            else:
                before = len(self.problems)
                if not self._is_absent(child, here):
                    given[field] = self._value(known[field], child, here)
                elif len(self.problems) > before:
                    given[field] = FAILED
        return given

    def _entries(self, node: yaml12.Mapping, path: str) -> Iterator[tuple[Scalar, Node]]:
        """The pairs of *node*, each key once; a repetition is reported."""
        seen: dict[str, Scalar] = {}
        for key, child in node.pairs:
            first = seen.setdefault(key.text, key)
            if first is not key:
                where = f"first on line {first.line}" if first.line else "given twice"
                self.report(key, _join(path, key.text), f"duplicate key, {where}", "keep one")
            else:
                yield key, child

    def _is_absent(self, node: Node, path: str) -> bool:
        """True for nothing after the colon, ``null``, and a reference that came to nothing."""
        if not isinstance(node, Scalar) or not node.plain:
            return isinstance(node, Scalar) and "${" in node.text and not self._text(node, path)
        return node.is_null or ("${" in node.text and not self._text(node, path))

    def _text(self, node: Scalar, path: str) -> str | None:
        """The scalar with its references filled in; None, and a report, when one cannot be."""
        try:
            return self.expansion.expand(node.text)
        except Wrong as wrong:
            self.report(node, path, wrong.what, wrong.remedy)
            return None

    def _value(self, hint: Any, node: Node, path: str) -> Any:
        base, kind = plain(hint)
        self.places[path] = node.where
        if kind == "ttl":
            return self._ttl(node, path)
        if kind:
            return self._scalar(KINDS[kind], node, path)
        if is_struct(base):
            return self.struct(base, node, path)
        if get_origin(base) is tuple:
            return self._tuple(get_args(base)[0], node, path)
        if get_origin(base) is dict:
            key, item = get_args(base)
            return self._dict(key, item, node, path)
        if base is bool:
            return self._scalar(_truth, node, path)
        if base is str:
            return self._scalar(str, node, path)
        return self._scalar(lambda text: _choice(base, text), node, path)

    def _scalar(self, read: Any, node: Node, path: str) -> Any:
        if not isinstance(node, Scalar):
            return self.report(
                node, path, f"{_said(node)} where one value belongs", "write one value"
            )
        if node.plain and not node.text:
            return self.report(node, path, "nothing where a value belongs", "write one")
        text = self._text(node, path)
        if text is None:
            return FAILED
        private = self.expansion.is_private(node.text)
        if private:
            self.private.add(path)
        try:
            return read(text)
        except Wrong as wrong:
            if private:  # the content of a file is never repeated
                what = f"{shown(node.text)} holds no value that fits here"
                return self.report(node, path, what, "correct the file")
            return self.report(node, path, wrong.what, wrong.remedy)

    def _tuple(self, hint: Any, node: Node, path: str) -> Any:
        """A list; one value may stand for a list of one, and a flag separates by commas."""
        items: list[Node] = [node]
        if isinstance(node, Sequence):
            items = node.items
        elif isinstance(node, Scalar) and not node.line:
            texts = [part.strip() for part in node.text.split(",")]
            items = [Scalar(node.source, text=text) for text in texts if text]
        listed = isinstance(node, Sequence) or len(items) > 1
        values = [
            self._value(hint, one, f"{path}[{at}]" if listed else path)
            for at, one in enumerate(items)
        ]
        return tuple(value for value in values if value is not FAILED)

    def _dict(self, key_hint: Any, hint: Any, node: Node, path: str) -> Any:
        if not isinstance(node, yaml12.Mapping):
            return self.report(
                node, path, f"{_said(node)} where names belong", "write name: value pairs"
            )
        read: dict[str, Any] = {}
        _, kind = plain(key_hint)
        for key, child in self._entries(node, path):
            here = _join(path, key.text)
            try:
                name = KINDS[kind](key.text) if kind else key.text
            except Wrong as wrong:
                self.report(key, here, wrong.what, wrong.remedy)
                continue
            if (value := self._value(hint, child, here)) is not FAILED:
                read[name] = value
        return read

    def _ttl(self, node: Node, path: str) -> Any:
        if isinstance(node, Scalar):
            return self._scalar(_plain_ttl, node, path)
        if not isinstance(node, yaml12.Mapping):
            return self.report(node, path, "a list is no lifetime", "write origin, 1h or a mapping")
        named: dict[str, Any] = {}
        statuses: dict[int, float] = {}
        for key, child in self._entries(node, path):
            here = _join(path, key.text)
            status = re.fullmatch(r"([1-5])(\d\d|xx)", key.text)
            if status is None and key.text not in ("default", "override"):
                remedy = _unknown(key.text, ["default", "override", "404", "5xx"])
                self.report(key, here, "unknown key", remedy)
                continue
            value = self._value(Annotated[float, "duration"], child, here)
            if value is FAILED:
                continue
            if status is None:
                named[key.text] = value
            else:
                statuses[int(status[1] if status[2] == "xx" else status[0])] = value
        return TtlRule(statuses=statuses, **named)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _said(node: Node) -> str:
    if isinstance(node, Scalar):
        return shown(node.text) if node.text else "nothing"
    return "a list" if isinstance(node, Sequence) else "a mapping"


def _unknown(key: str, known: list[str]) -> str:
    if key == "<<":
        return "merge keys are not YAML 1.2; put what is common under defaults"
    return one_of(key, known)


def _truth(text: str) -> bool:
    found = _TRUTH.get(text)
    if found is None:
        near = {
            "yes": "true",
            "on": "true",
            "1": "true",
            "no": "false",
            "off": "false",
            "0": "false",
        }
        remedy = f"write {near.get(text.lower(), 'true or false')}"
        raise Wrong(f"{shown(text)} is neither true nor false", remedy)
    return found


def _choice(base: Any, text: str) -> Any:
    """One of the values of a Literal or an Enum."""
    if isinstance(base, type) and issubclass(base, Enum):
        known = {one.value: one for one in base}
    else:
        assert get_origin(base) is Literal, base
        known = {str(one): one for one in get_args(base)}
    if text not in known:
        raise Wrong(f"{shown(text)} is not known", one_of(text, known))
    return known[text]


def _plain_ttl(text: str) -> TtlRule:
    if text == "origin":
        return TtlRule(whole=True)
    try:
        return TtlRule(override=duration(text), whole=True)
    except Wrong as wrong:
        raise Wrong(wrong.what, f"{wrong.remedy}, or origin for what the origin says") from None
