"""Where purges apply: a URL, how URLs begin, or a pattern of them, with or without a host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vary_proxy.configuration.matching import Matcher, host_matcher, path_matcher
from vary_proxy.configuration.problems import Wrong

_GLOB = re.compile(r"(?:(https?)://([^/\s]+))?(/\S*)")
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


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern of URLs, as in a rule's ``match``. ``authority`` None: any."""

    authority: Matcher | None
    path: Matcher

    def covers(self, key: bytes) -> bool:
        """True for a primary key whose URL is so: its path, or that with its query."""
        authority, target = _parts(key)
        if not target or (self.authority is not None and not self._is_here(authority.lower())):
            return False
        path = target.partition(b"?")[0]
        return self.path.matches(path) or (path != target and self.path.matches(target))

    def _is_here(self, authority: bytes) -> bool:
        assert self.authority is not None
        bare = _USUAL_PORT.sub(b"", authority)
        return self.authority.matches(authority) or self.authority.matches(bare)


_USUAL_PORT = re.compile(rb":(?:80|443)$")


def glob(pattern: str) -> Glob:
    """Raises BadPurge."""
    found = _GLOB.fullmatch(pattern)
    if found is None:
        raise BadPurge(
            f"{pattern!r} is no pattern of URLs; write http://host/img/*.png, "
            "or /img/** for every host"
        )
    try:
        host = found[2]
        return Glob(None if host is None else host_matcher(host), path_matcher(found[3]))
    except Wrong as wrong:
        raise BadPurge(str(wrong)) from None


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
