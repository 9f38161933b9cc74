"""Writes a configuration line by line, with comments; collects what had to be left out.

Every text from elsewhere goes through ``quoted`` or ``comment``: it can neither become
structure nor a reference that is filled in when the file is loaded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from vary_proxy import config
from vary_proxy.configuration.problems import ConfigError

MAX_BYTES = 1 << 20  # of what is imported
LONGEST = 10 * 365 * 86400  # seconds; browsers remember a preflight for a day at most
_WIDTH = 96
_SCHEMA = "# yaml-language-server: $schema=./vary-proxy.schema.json"


class Unreadable(ValueError):
    """What was to be imported cannot be read; the text says where, what, and what to do."""


@dataclass
class Writing:
    """The lines so far; ``left_out`` are the warnings, in order."""

    lines: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def begin(self, *comments: str) -> None:
        """The head of a file, with the comments below the line for editors."""
        self.lines.append(_SCHEMA)
        for one in comments:
            self.comment(one)
        self.add("version: 1", "")

    def add(self, *lines: str) -> None:
        self.lines += lines

    def comment(self, text: str, indent: int = 0) -> None:
        """*text* as a comment, on as many lines as it takes."""
        before = " " * indent + "# "
        self.lines += textwrap.wrap(
            harmless(text), _WIDTH, initial_indent=before, subsequent_indent=before,
            break_on_hyphens=False,
        )  # fmt: skip

    def warn(self, text: str, indent: int = 0) -> None:
        """What could not be taken over: a comment here, and a warning."""
        self.left_out.append(harmless(text))
        self.comment(f"NOT TAKEN OVER: {text}", indent)

    def text(self) -> str:
        """The file. Raises Unreadable when it would not load: what was read asks for too much."""
        made = "\n".join(self.lines).rstrip("\n") + "\n"
        try:
            config.loads(made.encode(), "imported.yaml", environ={})
        except ConfigError as error:
            told = "; ".join(str(one) for one in error.problems[:3])
            raise Unreadable(f"no valid configuration comes of it: {told}") from None
        return made


def quoted(text: str) -> str:
    """*text* as a double-quoted scalar that stands for exactly that text."""
    escaped = "".join(map(_escaped, text.replace("${", "$${")))
    return f'"{escaped}"'


def _escaped(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if one.isprintable():
        return one
    if 0xD800 <= ord(one) <= 0xDFFF:  # half of a character: no text can hold it
        return "\\uFFFD"
    return f"\\U{ord(one):08X}"


def listed(values: Iterable[str]) -> str:
    """*values* as a list on one line."""
    return f"[{', '.join(map(quoted, values))}]"


def harmless(text: str) -> str:
    """*text* on one line, without what a terminal would obey, and not too long."""
    flat = "".join(one if one.isprintable() else " " for one in text)
    return flat if len(flat) <= 600 else f"{flat[:599]}…"


def label(text: str, otherwise: str) -> str:
    """A name for a policy or a rule out of *text*; *otherwise* when nothing is left of it."""
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "-" for one in text)
    return kept.strip("-")[:48] or otherwise


def bounded(data: bytes, name: str) -> str:
    """*data* as text. Raises Unreadable when it is too much, or no UTF-8."""
    if len(data) > MAX_BYTES:
        raise Unreadable(f"{name}: more than {MAX_BYTES} bytes; import only what belongs here")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(f"{name}: not UTF-8; save it as UTF-8") from None
