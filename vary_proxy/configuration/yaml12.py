"""YAML 1.2 text to nodes that know where they stand.

PyYAML only splits the text into events; the nodes are built here, without recursion, so that
scalars stay the text that was written (``off``, ``010``, ``22:22`` mean what they look like:
the reader of a key decides what its value is), every node keeps its line and column, and
hostile input ends early: bytes, depth and the expansion of aliases are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from vary_proxy.configuration.problems import ConfigError, Problem, shown

MAX_BYTES = 1 << 20
_LARGE = "larger than 1 MiB"
MAX_DEPTH = 32
MAX_NODES = 100_000  # with every alias expanded
MAX_DOCUMENTS = 1000  # where several may stand in a file

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """``source`` is the file, or the flag or variable that was used (then ``line`` is 0)."""

    source: str
    line: int = 0  # from 1
    column: int = 0  # from 1
    weight: int = field(default=1, compare=False)

    @property
    def where(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(slots=True)
class Scalar(Node):
    text: str = ""
    plain: bool = True  # not quoted

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULLS


@dataclass(slots=True)
class Sequence(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """``pairs`` in the order written, duplicates included; keys are scalars."""

    pairs: list[tuple[Scalar, Node]] = field(default_factory=list)

    def get(self, key: str) -> Node | None:
        for name, node in self.pairs:
            if name.text == key:
                return node
        return None


_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


def compose(data: bytes, source: str) -> Node | None:
    """The one document in *data*; None when there is nothing but comments.

    Raises ConfigError.
    """
    documents = _composed(data, source, most=1)
    return documents[0] if documents else None


def compose_all(data: bytes, source: str) -> list[Node | None]:
    """The documents in *data*, in order; None for one that is empty. Raises ConfigError."""
    return _composed(data, source, most=MAX_DOCUMENTS)


def _composed(data: bytes, source: str, most: int) -> list[Node | None]:
    if len(data) > MAX_BYTES:
        raise _error(source, None, _LARGE, "cover many paths by one rule")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [Problem(f"{source}:{line}", "", "not UTF-8", "save it as UTF-8")]
        ) from None
    builder = _Builder(source, most)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax(source, text, error) from None
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise _unprintable(source, text, error) from None
    return builder.roots


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _Parser(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    """Takes events, keeps the open collections on a stack of its own."""

    def __init__(self, source: str, most: int) -> None:
        self.source = source
        self.most = most  # documents
        self.roots: list[Node | None] = []
        self.open: list[tuple[Sequence | Mapping, str | None]] = []
        self.keys: list[Scalar | None] = []  # per open collection: the key that waits for a value
        self.anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                if len(self.roots) >= self.most:
                    raise self.too_many(event)
                self.roots.append(None)
                self.anchors.clear()
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.ScalarEvent():
                self.scalar(event)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self.begin(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self.end()
            case _:
                pass

    def too_many(self, event: yaml.Event) -> ConfigError:
        if self.most == 1:
            return self.refuse(event, "a second document begins", "keep one in a file")
        return self.refuse(event, f"more than {self.most} documents", "split the file")

    def alias(self, event: yaml.AliasEvent) -> None:
        target = self.anchors.get(event.anchor or "")
        if target is None:
            unfinished = any(name == event.anchor for _, name in self.open)
            what = "refers to itself" if unfinished else "has no anchor before it"
            raise self.refuse(event, f"*{event.anchor} {what}", f"write &{event.anchor} before it")
        self.add(target, event)

    def scalar(self, event: yaml.ScalarEvent) -> None:
        self.check_tag(event)
        line, column = _position(event)
        plain = event.style in (None, "")
        node = Scalar(self.source, line, column, text=event.value, plain=plain)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self.add(node, event)

    def begin(self, event: yaml.CollectionStartEvent) -> None:
        self.check_tag(event)
        if len(self.open) >= MAX_DEPTH:
            raise self.refuse(event, f"nested more than {MAX_DEPTH} deep", "flatten it")
        if self.waits_for_key():
            raise self.refuse(
                event, "a key must be a plain word", "quote it if it is meant as text"
            )
        kind = Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping
        self.open.append((kind(self.source, *_position(event)), event.anchor))
        self.keys.append(None)

    def end(self) -> None:
        node, anchor = self.open.pop()
        self.keys.pop()
        if anchor is not None:
            self.anchors[anchor] = node
        self.add(node, None)

    def waits_for_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1][0], Mapping) and self.keys[-1] is None

    def add(self, node: Node, event: yaml.Event | None) -> None:
        if not self.open:
            self.roots[-1] = node
            return
        parent, _ = self.open[-1]
        parent.weight += node.weight
        if parent.weight > MAX_NODES:
            what = f"more than {MAX_NODES} values, aliases expanded"
            remedy = "cover many paths by one rule, or write fewer aliases"
            raise self.refuse(event or node, what, remedy)
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self.keys[-1]) is not None:
            parent.pairs.append((key, node))
            self.keys[-1] = None
        elif isinstance(node, Scalar):
            self.keys[-1] = node
        else:
            raise self.refuse(event or node, "a key must be a plain word", "write a name there")

    def check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        tag = event.tag
        if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
            raise self.refuse(event, f"the tag {shown(tag)} has no meaning here", "remove it")

    def refuse(self, at: yaml.Event | Node, what: str, remedy: str) -> ConfigError:
        line, column = (at.line, at.column) if isinstance(at, Node) else _position(at)
        return ConfigError([Problem(f"{self.source}:{line}:{column}", "", what, remedy)])


def _position(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _error(source: str, line: int | None, what: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(source if line is None else f"{source}:{line}", "", what, remedy)])


def _syntax(source: str, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    remedy = _remedy(lines[line - 1] if line <= len(lines) else "", column)
    what = f"not YAML: {error.problem or error.context or 'unreadable'}"
    return ConfigError([Problem(f"{source}:{line}:{column}", "", what, remedy)])


def _remedy(line: str, column: int) -> str:
    """Advice for the ways in which files of this kind go wrong."""
    if "\t" in line[:column]:
        return "indent with spaces, not tabs"
    if "${" in line:
        return "put values that contain ${...} in quotes inside { } and [ ]"
    if "*" in line:
        return 'put values that begin with * in quotes: "*"'
    return "check the indentation, the quotes and the brackets up to here"


def _unprintable(source: str, text: str, error: yaml.YAMLError) -> ConfigError:
    for number, line in enumerate(text.split("\n"), 1):
        for column, character in enumerate(line, 1):
            if not (character.isprintable() or character in "\t\r\x85\xa0"):
                what = f"the character U+{ord(character):04X} is not allowed in YAML"
                where = f"{source}:{number}:{column}"
                return ConfigError([Problem(where, "", what, "remove it")])
    what = str(error).splitlines()[0] if str(error) else "unreadable"
    return ConfigError([Problem(source, "", f"not YAML: {what}", "save it as plain UTF-8 text")])
