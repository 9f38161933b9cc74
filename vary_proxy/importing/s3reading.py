"""Reads S3's CORS configuration: JSON as the API, the console or CloudFormation has it, or XML.

Nothing in it is trusted: its size, depth and number of elements are bounded, and a document
type, with which XML becomes dangerous, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from vary_proxy.importing.writing import Unreadable, bounded

MOST_RULES = 100  # as in S3
_MOST_ELEMENTS = 20_000
_DEEPEST = 8
_LISTS = {
    "AllowedOrigins": "origins",
    "AllowedMethods": "methods",
    "AllowedHeaders": "headers",
    "ExposeHeaders": "expose",
    "ExposedHeaders": "expose",  # CloudFormation's name for it
}
_NUMBERS = ("MaxAgeSeconds", "MaxAge")
_NAMES = ("ID", "Id")
_IN_XML = {
    "AllowedOrigin": "AllowedOrigins",
    "AllowedMethod": "AllowedMethods",
    "AllowedHeader": "AllowedHeaders",
    "ExposeHeader": "ExposeHeaders",
}


@dataclass(frozen=True)
class S3Rule:
    """A CORSRule. ``unknown`` says what else stood there; ``max_age`` is in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None
    id: str = ""
    unknown: tuple[str, ...] = ()


def read(data: bytes, name: str) -> list[S3Rule]:
    """The rules in *data*, in order. Raises Unreadable."""
    text = bounded(data, name).lstrip()
    if not text:
        raise Unreadable(f"{name}: there is nothing in it; write a CORSConfiguration")
    said = _from_xml(text, name) if text.startswith("<") else _from_json(text, name)
    if not said:
        raise Unreadable(f"{name}: it has no CORSRule; write at least one")
    if len(said) > MOST_RULES:
        raise Unreadable(f"{name}: {len(said)} rules; S3 takes {MOST_RULES}")
    return [_rule(one, f"{name}: CORSRule {at}") for at, one in enumerate(said, 1)]


def _rule(said: Any, where: str) -> S3Rule:
    if not isinstance(said, dict):
        raise Unreadable(f"{where}: not an object; write {{AllowedOrigins: […], …}}")
    lists: dict[str, tuple[str, ...]] = {}
    unknown = []
    age, rule_id = None, ""
    for key, value in said.items():
        if key in _LISTS:
            lists[_LISTS[key]] = _texts(value, f"{where}: {key}")
        elif key in _NUMBERS:
            age = _seconds(value, f"{where}: {key}")
        elif key in _NAMES:
            rule_id = str(value)
        else:
            unknown.append(f'"{key}", which no CORSRule has')
    for key, what in (("origins", "AllowedOrigins"), ("methods", "AllowedMethods")):
        if not lists.get(key):
            raise Unreadable(f"{where}: it has no {what}; S3 needs at least one")
    return S3Rule(**lists, max_age=age, id=rule_id, unknown=tuple(unknown))


def _texts(value: Any, where: str) -> tuple[str, ...]:
    members = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in members):
        raise Unreadable(f"{where}: not a list of texts")
    return tuple(one.strip() for one in members)


def _seconds(value: Any, where: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise Unreadable(f"{where}: not a number of seconds")
    return int(text)


def _from_json(text: str, name: str) -> list[Any]:
    try:
        said = json.loads(text, object_pairs_hook=_without_duplicates(name))
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}:{error.colno}"
        raise Unreadable(f"{where}: neither JSON nor XML: {error.msg}") from None
    except RecursionError:
        raise Unreadable(f"{name}: nested too deep") from None
    for key in ("CORSConfiguration", "CorsConfiguration"):
        if isinstance(said, dict) and key in said:
            said = said[key]
    if isinstance(said, dict):
        said = said.get("CORSRules", said.get("CorsRules"))
    if not isinstance(said, list):
        raise Unreadable(f'{name}: no CORS configuration; write {{"CORSRules": [ … ]}}')
    return said


def _without_duplicates(name: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise Unreadable(f'{name}: "{key}" stands twice in one object; keep one')
            found[key] = value
        return found

    return build


@dataclass
class _Element:
    tag: str
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)


def _from_xml(text: str, name: str) -> list[Any]:
    root = _tree(text, name)
    if root.tag != "CORSConfiguration":
        raise Unreadable(f"{name}: <{root.tag}> is no <CORSConfiguration>")
    rules: list[Any] = []
    for element in root.children:
        if element.tag != "CORSRule":
            raise Unreadable(f"{name}: <{element.tag}> where only <CORSRule> can be")
        rules.append(_said(element, f"{name}: CORSRule {len(rules) + 1}"))
    return rules


def _said(rule: _Element, where: str) -> dict[str, Any]:
    """A rule as JSON would have it."""
    said: dict[str, Any] = {}
    for one in rule.children:
        if one.children:
            raise Unreadable(f"{where}: <{one.tag}> holds <{one.children[0].tag}>; write text")
        value = "".join(one.text).strip()
        if one.tag in _IN_XML:
            said.setdefault(_IN_XML[one.tag], []).append(value)
        elif one.tag in said:
            raise Unreadable(f"{where}: <{one.tag}> stands twice; keep one")
        else:
            said[one.tag] = value
    if "".join(rule.text).strip():
        raise Unreadable(f"{where}: text outside of its elements")
    return said


def _tree(text: str, name: str) -> _Element:
    parser = expat.ParserCreate(namespace_separator=" ")
    top = _Element("")
    open_ = [top]
    many = 0

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal many
        many += 1
        if len(open_) > _DEEPEST or many > _MOST_ELEMENTS:
            raise Unreadable(f"{name}: too many elements, or too deep")
        element = _Element(tag.rpartition(" ")[2])
        open_[-1].children.append(element)
        open_.append(element)

    def refuse(*_: Any) -> None:
        raise Unreadable(f"{name}: it has a document type or entities; remove <!DOCTYPE …>")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_.pop() and None
    parser.CharacterDataHandler = lambda data: open_[-1].text.append(data)
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        where = f"{name}:{error.lineno}:{error.offset + 1}"
        raise Unreadable(f"{where}: not XML: {expat.errors.messages[error.code]}") from None
    return top.children[0]
