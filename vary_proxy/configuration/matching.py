"""What rules match with: globs, and ``~`` regular expressions, always against the whole value.

Both become an automaton of core.automaton, run here as a table that is filled as values come
by: each byte costs one step, so no value can make a match slow, whatever the pattern. ``*``
stays within one segment and ``**`` does not; a path's segments end at ``/``, a host's at
``.``, other values have only one. ``?`` is one character of a segment.
"""

from __future__ import annotations

import re
from re import Pattern
from urllib.parse import quote

from vary_proxy.configuration.problems import Wrong, shown
from vary_proxy.core.automaton import Automaton, build
from vary_proxy.core.patterns import Chain, Chars, Node, PatternError, Repeat, parse

MAX_PATTERN = 1024  # characters
_MAX_STEPS = 1 << 14  # of a table, before it is begun anew
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_ANY = (1 << 256) - 1


class Matcher:
    """Says whether a value is matched, whole."""

    __slots__ = ("_automaton", "_steps", "text")

    def __init__(self, text: str, automaton: Automaton) -> None:
        self.text = text
        self._automaton = automaton
        self._steps: dict[tuple[int, int], int] = {}

    def matches(self, value: bytes) -> bool:
        state = -1  # nothing read
        steps = self._steps
        for byte in value:
            after = steps.get((state, byte))
            if after is None:
                after = self._step(state, byte)
            if not after:
                return False
            state = after
        return self._automaton.empty if state == -1 else bool(state & self._automaton.last)

    def _step(self, state: int, byte: int) -> int:
        """The positions reached from *state* by reading *byte*, as bits."""
        automaton = self._automaton
        ahead = automaton.first if state == -1 else 0
        rest = max(state, 0)
        while rest:
            ahead |= automaton.follow[(rest & -rest).bit_length() - 1]
            rest &= rest - 1
        reached = 0
        while ahead:
            low = ahead & -ahead
            if automaton.masks[low.bit_length() - 1] >> byte & 1:
                reached |= low
            ahead ^= low
        if len(self._steps) >= _MAX_STEPS:
            self._steps.clear()
        self._steps[state, byte] = reached
        return reached


def path_matcher(text: str) -> Matcher:
    """Raises Wrong, as the two below."""
    if not text.startswith(("~", "/", "*")):
        raise Wrong(f"{shown(text)} can match no path", f"begin with a slash: {shown('/' + text)}")
    if not text.isascii() and not text.startswith("~"):
        sent = quote(text, safe=_PRINTABLE)
        raise Wrong(f"{shown(text)} is not in ASCII, as clients send it", f"write {shown(sent)}")
    return _matcher("**" if text == "*" else text, "/")


def host_matcher(text: str) -> Matcher:
    """To be asked in lower case."""
    if "/" in text and not text.startswith("~"):
        raise Wrong(f"{shown(text)} is not a host", 'write a host, for example "*.example.com"')
    if not text.isascii() and not text.startswith("~"):
        remedy = "write its punycode, which begins with xn--"
        raise Wrong(f"{shown(text)} is not in ASCII, as clients send it", remedy)
    if text == "*":  # everything, as anybody would read it
        return _matcher("**", ".")
    return _matcher(text if text.startswith("~") else text.lower(), ".")


def value_matcher(text: str) -> Matcher:
    return _matcher(text, "")


def name_pattern(text: str) -> Pattern[bytes]:
    """The glob or ``~`` expression of a parameter's name, to be matched whole, in linear time."""
    _matcher(text, "")
    if text.startswith("~"):
        if len(re.findall(r"(?<!\\)(?:[*+]|\{\d+,\})", re.sub(r"\[.*?\]", "", text))) > 1:
            raise Wrong(f"{shown(text)} repeats without bound more than once", "list several")
        return re.compile(text[1:].encode(), re.DOTALL)
    first, *rest = (_bytes_pattern(part) for part in re.sub(r"\*+", "*", text).split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    # Each part stands as early as it can, for good: no backtracking between the stars.
    middle = b"".join(b"(?>.*?%s)" % part for part in rest[:-1])
    return re.compile(first + middle + b".*" + rest[-1], re.DOTALL)


def _bytes_pattern(part: str) -> bytes:
    return b"".join(b"." if one == "?" else re.escape(one.encode()) for one in part)


def _matcher(text: str, separator: str) -> Matcher:
    if len(text) > MAX_PATTERN:
        raise Wrong(f"a pattern of {len(text)} characters is too long", "split it into several")
    if text == "~":
        raise Wrong("~ without a pattern", "write the pattern behind it, or leave it out")
    try:
        tree = parse(text[1:]) if text.startswith("~") else _glob(text, separator)
        return Matcher(text, build(tree))
    except PatternError as error:
        raise Wrong(f"{shown(text)} {error}", error.remedy) from None


def _glob(text: str, separator: str) -> Node:
    within = _ANY & ~(1 << ord(separator)) if separator else _ANY
    crossing = re.escape(separator) if separator else "(?!)"
    parts: list[Node] = []
    for piece in re.findall(rf"(?<={crossing})\*\*{crossing}|\*\*+|.", text, re.DOTALL):
        if piece == "*":
            parts.append(Repeat(Chars(within), 0, None))
        elif piece == "?":
            parts.append(Chars(within))
        elif not piece.strip("*"):
            parts.append(Repeat(Chars(_ANY), 0, None))
        elif piece.startswith("**"):  # "**/" after a slash may also stand for no segment at all
            segments = Chain((Repeat(Chars(_ANY), 0, None), _literal(separator)))
            parts.append(Repeat(segments, 0, 1))
        else:
            parts.append(_literal(piece))
    return Chain(tuple(parts))


def _literal(character: str) -> Node:
    return Chain(tuple(Chars(1 << byte) for byte in character.encode("utf-8", "surrogateescape")))
