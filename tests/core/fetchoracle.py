"""The browser's side of CORS, written from the Fetch standard alone: an oracle for answers.

Nothing here is shared with the program. A response is a status and a list of field lines;
a request is what a page asked for. Each function is one algorithm of the standard, in its
own order of steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Lines = Sequence[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
SAFELISTED_METHODS = (b"GET", b"HEAD", b"POST")
NON_WILDCARD_NAMES = (b"authorization",)


@dataclass(frozen=True)
class Asked:
    """What a page asks for: ``headers`` are its CORS-unsafe request-header names."""

    origin: bytes  # serialized, or null
    method: bytes = b"GET"
    headers: tuple[bytes, ...] = ()
    include: bool = False  # the credentials mode is "include"

    def preflight_lines(self) -> list[tuple[bytes, bytes]]:
        """The field lines of the CORS-preflight request (CORS-preflight fetch, steps 1-5)."""
        lines = [(b"accept", b"*/*"), (b"access-control-request-method", self.method)]
        names = sorted({name.lower() for name in self.headers})
        if names:
            lines.append((b"access-control-request-headers", b",".join(names)))
        return [*lines, (b"origin", self.origin)]


def get(lines: Lines, name: bytes) -> bytes | None:
    """Get *name* from a header list: its values joined by comma and space, or null."""
    values = [value for key, value in lines if key.lower() == name]
    return b", ".join(values) if values else None


class Failure(Exception):
    """A field that cannot be parsed."""


def extract(lines: Lines, name: bytes) -> list[bytes] | None:
    """Extract header list values of a ``#token`` field; None for null. Raises Failure."""
    value = get(lines, name)
    if value is None:
        return None
    members = [part.strip(b" \t") for part in value.split(b",")]
    members = [part for part in members if part]
    if not all(_TOKEN.fullmatch(part) for part in members):
        raise Failure
    return members


def cors_check(asked: Asked, lines: Lines) -> bool:
    """The CORS check (Fetch §4.9)."""
    origin = get(lines, b"access-control-allow-origin")
    if origin is None:
        return False
    if not asked.include and origin == b"*":
        return True
    if asked.origin != origin:
        return False
    if not asked.include:
        return True
    return get(lines, b"access-control-allow-credentials") == b"true"


def preflight_passes(asked: Asked, status: int, lines: Lines) -> bool:
    """True unless the CORS-preflight fetch returns a network error (Fetch §4.8, step 7)."""
    if not cors_check(asked, lines) or not 200 <= status <= 299:
        return False
    try:
        methods = extract(lines, b"access-control-allow-methods") or []
        names = extract(lines, b"access-control-allow-headers") or []
    except Failure:
        return False
    allowed = {name.lower() for name in names}
    if (
        asked.method not in methods
        and asked.method not in SAFELISTED_METHODS
        and (asked.include or b"*" not in methods)
    ):
        return False
    wanted = [name.lower() for name in asked.headers]
    if any(name in NON_WILDCARD_NAMES and name not in allowed for name in wanted):
        return False
    return all(name in allowed or (not asked.include and b"*" in allowed) for name in wanted)


def exposed(asked: Asked, lines: Lines, names: Iterable[bytes]) -> set[bytes]:
    """Which of the response's *names* a page may read beyond the safelisted (Fetch §4.10)."""
    try:
        listed = extract(lines, b"access-control-expose-headers") or []
    except Failure:
        return set()
    if not asked.include and b"*" in listed:
        return {name.lower() for name in names}
    lowered = {name.lower() for name in listed}
    return {name.lower() for name in names} & lowered


def max_age(lines: Lines) -> int:
    """Seconds for which the browser keeps the preflight's result, before its own cap."""
    value = get(lines, b"access-control-max-age")
    return int(value) if value is not None and value.isdigit() else 5
