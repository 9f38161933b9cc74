"""What is wrong with a configuration: every problem says where, what, and what to do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_NONE: Mapping[Path, bytes] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """``where`` is file:line:column, or the flag or variable; ``path`` the path of the key."""

    where: str
    path: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{self.what}; {self.remedy}" if self.remedy else self.what
        text = ": ".join(part for part in (self.where, self.path, said) if part)
        return text if text.isprintable() else re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f]", "?", text)


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` are all that were found, in file order.

    ``files`` are those that it refers to, with their fingerprints: another content may mend it.
    """

    def __init__(self, problems: Iterable[Problem], files: Mapping[Path, bytes] = _NONE) -> None:
        self.files = dict(files)
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))


class Wrong(ValueError):
    """A value that cannot be read; whoever knows where it stands makes a Problem of it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


def shown(text: str) -> str:
    """*text* as a message repeats it: quoted, on one line, short, without user information."""
    text = re.sub(r"(?<=//)[^/@]*@", "***@", text)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return f'"{text}"' if text.isprintable() else json.dumps(text)


def one_of(given: str, known: Iterable[str]) -> str:
    """The remedy for a word that is not among *known*."""
    words = list(known)
    near = difflib.get_close_matches(given.lower()[:80], [word.lower() for word in words], 1, 0.6)
    if near:
        return f"did you mean {next(word for word in words if word.lower() == near[0])}?"
    return f"write {alternatives(words)}" if words else "remove it"


def alternatives(words: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
