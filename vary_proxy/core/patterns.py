"""Patterns: a dialect of regular expressions small enough to be judged when loaded.

Literals, ``.``, classes, ``\\d`` and ``\\w``, groups, ``|`` and the quantifiers; what looks
around, refers back or sets flags is refused. A pattern always matches the whole value.
It is read into a tree, from which core.automaton makes what matches, and from which
``samples`` spells values, so that what a pattern admits can be probed.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from itertools import product
from math import prod

MAX_REPEAT = 256
MAX_DEPTH = 32  # groups within groups
_MAX_SAMPLES = 64


def _mask(characters: str) -> int:
    mask = 0
    for one in characters:
        mask |= 1 << ord(one)
    return mask


ANY_BYTE = (1 << 256) - 1
_CLASSES = {
    "d": _mask(string.digits),
    "w": _mask(string.ascii_letters + string.digits + "_"),
    "s": _mask(" \t\n\r\f\v"),
}


class PatternError(ValueError):
    """A pattern that is refused; ``remedy`` says what to write instead."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Chars:
    """One byte out of a set, as bits."""

    mask: int
    dot: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Node
    low: int
    high: int | None  # None: without bound


Node = Chars | Chain | Choice | Repeat


def parse(text: str, universe: int = ANY_BYTE) -> Node:
    """The tree of *text*; ``^`` in front and ``$`` behind are allowed and say nothing new.

    *universe* are the bytes that values are made of. Raises PatternError for what the
    dialect lacks, and for what no such value can match.
    """
    if text.startswith("^"):
        text = text[1:]
    if text.endswith("$") and not text.endswith("\\$"):
        text = text[:-1]
    return _Reader(text, universe).read()


def samples(node: Node) -> tuple[bytes, ...]:
    """Some values that *node* matches: every alternative, with and without optional parts."""
    return tuple(dict.fromkeys(one.encode("ascii") for one in _spell(node, repeated=False)))


def _spell(node: Node, *, repeated: bool) -> list[str]:
    match node:
        case Chars(mask, dot):
            # A lone dot was most likely meant as one; a repeated dot stands for anything.
            prefer = "." if dot and not repeated else "xa1"
            found = next((one for one in prefer if mask >> ord(one) & 1), None)
            return [found or chr((mask & -mask).bit_length() - 1)]
        case Choice(options):
            return [one for option in options for one in _spell(option, repeated=False)]
        case Repeat(part, low, high):
            spelt = [one * max(low, 1) for one in _spell(part, repeated=high != 1)]
            return ["", *spelt] if low == 0 else spelt
        case Chain(parts):
            return _combined([_spell(part, repeated=False) for part in parts])


def _combined(columns: list[list[str]]) -> list[str]:
    if prod(map(len, columns)) <= _MAX_SAMPLES:
        return ["".join(row) for row in product(*columns)]
    # Too many to combine: let every choice appear at least once.
    rows = max(map(len, columns))
    return ["".join(column[at % len(column)] for column in columns) for at in range(rows)]


_QUANTIFIERS: tuple[tuple[str, int, int | None], ...] = (
    ("*", 0, None),
    ("+", 1, None),
    ("?", 0, 1),
)


class _Reader:
    """Reads the dialect by recursive descent."""

    def __init__(self, text: str, universe: int) -> None:
        self.text = text
        self.universe = universe
        self.at = 0
        self._depth = 0

    def read(self) -> Node:
        node = self._choice()
        if self.at < len(self.text):
            raise PatternError("has a closing parenthesis too many", "balance the parentheses")
        return node

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, expected: str) -> bool:
        if not self.text.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise PatternError("ends too early", "close what was opened")
        self.at += 1
        return self.text[self.at - 1]

    def _choice(self) -> Node:
        options = [self._chain()]
        while self._take("|"):
            options.append(self._chain())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _chain(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(self._atom()))
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _atom(self) -> Node:
        one = self._next()
        match one:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return Chars(self.universe, dot=True)
            case "^" | "$":
                raise PatternError(
                    f"has {one} in its middle", "leave it out: the whole value is always matched"
                )
            case "*" | "+" | "?" | "{":
                raise PatternError(f"has {one} with nothing to repeat", "put \\ in front of it")
            case _:
                start = self.at - 1
                mask = self._escape() if one == "\\" else _code(one)
                return self._chars(mask, self.text[start : self.at])

    def _group(self) -> Node:
        if self._peek() == "?" and not self._take("?:"):
            raise PatternError(
                "uses (?…), which patterns here do not have",
                "write plain groups: case counts, and the whole value is always matched",
            )
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise PatternError(f"has groups nested more than {MAX_DEPTH} deep", "nest fewer")
        node = self._choice()
        self._depth -= 1
        if not self._take(")"):
            raise PatternError("lacks a closing parenthesis", "balance the parentheses")
        return node

    def _escape(self) -> int:
        one = self._next()
        known = _CLASSES.get(one.lower())
        if known is not None:
            return known if one.islower() else self.universe & ~known
        if one.isalnum():
            raise PatternError(f"uses \\{one}, which patterns here do not have", "leave it out")
        return _code(one)

    def _class(self) -> Node:
        negated = self._take("^")
        mask = 0
        start = self.at
        while self.at == start or self._peek() != "]":
            low = self._member()
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                low = _range(low, self._member())
            mask |= low
        self.at += 1
        return self._chars(~mask if negated else mask, self.text[start - 1 : self.at])

    def _chars(self, mask: int, text: str) -> Chars:
        if not mask & self.universe:
            raise PatternError(f"holds {text}, which can match nothing here", "leave it out")
        return Chars(mask & self.universe)

    def _member(self) -> int:
        one = self._next()
        if one == "[":
            raise PatternError("has [ inside a class", "write \\[ there")
        return self._escape() if one == "\\" else _code(one)

    def _quantified(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        self._take("?")  # lazy: the same values match
        if self._peek() in ("*", "+", "?", "{"):
            raise PatternError("repeats a repetition", "use one quantifier, or a group")
        return Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, low, high in _QUANTIFIERS:
            if self._take(sign):
                return low, high
        if not self._take("{"):
            return None
        inner, brace, _ = self.text[self.at :].partition("}")
        least, comma, most = inner.partition(",")
        if not brace or not _is_count(least) or not (_is_count(most) or not most):
            raise PatternError("has a { that opens no repetition", "write {2}, {2,} or {2,5}")
        self.at += len(inner) + 1
        low, high = int(least), int(most) if most else None if comma else int(least)
        if max(low, high or 0) > MAX_REPEAT or (high is not None and not 0 < high >= low):
            raise PatternError(
                f"has bounds {{{inner}}} that cannot be",
                f"keep them in order and below {MAX_REPEAT}",
            )
        return low, high


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _code(one: str) -> int:
    if not one.isascii():
        remedy = "write what is sent: punycode in hosts, %-encoding in paths"
        raise PatternError(f"holds {one}, which is not ASCII", remedy)
    return 1 << ord(one)


def _range(low: int, high: int) -> int:
    if low.bit_count() != 1 or high.bit_count() != 1 or high < low:
        raise PatternError("has a class with an impossible range", "put the lower one first")
    return (high << 1) - low
