"""Where purges apply: a URL, or how URLs begin, with or without a host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_URL = re.compile(r"(?:(https?)://([^/?#\s]+))?(/[^#\s]*)?")


class BadPurge(Exception):
    """What was asked for cannot be purged; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Place:
    """A URL in its parts. ``authority`` None: any; it is in lower case and as written."""

    authority: bytes | None
    target: bytes
    written: bytes = b""

    def covers(self, key: bytes) -> bool:
        """True for a primary key whose URL begins so."""
        authority, target = _parts(key)
        here = self.authority is None or authority.lower() == self.authority
        return here and target.startswith(self.target)


def place(url: str) -> Place:
    """Raises BadPurge."""
    found = _URL.fullmatch(url) if url.isascii() else None
    if found is None or not url or not (found[2] or found[3]):
        raise BadPurge(f"{url!r} is no URL; write http://host/path, or /path for every host")
    written = (found[2] or "").encode()
    target = (found[3] or "/").encode()
    return Place(written.lower() or None, target, written)


def spellings(where: Place, scheme: bytes) -> Iterable[bytes]:
    """How requests may name this host: as written, in lower case, with its default port."""
    usual = b":443" if scheme == b"https" else b":80"
    for authority in {where.authority or b"", where.written}:
        bare = authority.removesuffix(usual)
        yield from (bare,) if re.search(rb":\d+$", bare) else (bare, bare + usual)


def target_of(key: bytes) -> bytes:
    """The request target in a primary key."""
    return _parts(key)[1]


def _parts(key: bytes) -> tuple[bytes, bytes]:
    """Authority and target of a primary key; empty for what is none."""
    parts = key.split(b"\0", 4)
    return (parts[3], parts[4]) if len(parts) == 5 else (b"", b"")
