"""How else an origin may read a path: what rules protect must not hang on its spelling.

A path goes to the origin as it came. Many origins decode it, join its slashes, resolve its dot
segments, drop parameters behind a semicolon or take a backslash for a slash, in this order or in
another, and find the same resource under each spelling. RFC 3986 §3.3, §5.2.4, §6.2.2.
"""

from __future__ import annotations

import re
from functools import lru_cache

_ODD = re.compile(rb"[%;\\]|//|/\.")
_ENCODED = re.compile(rb"%(?!3[Ff])([0-9A-Fa-f]{2})")  # an encoded ? stays: it begins no query
_PARAMETERS = re.compile(rb";[^/]*")
_SLASHES = re.compile(rb"/{2,}")
_LONGEST = 1024  # bytes of a path whose readings are looked for
MOST = 8  # readings of one path; nobody spells a path in more by mistake


def is_odd(path: bytes) -> bool:
    """True when *path* may be read otherwise than it is spelled; most are not."""
    return _ODD.search(path) is not None


def readings(path: bytes) -> tuple[bytes, ...] | None:
    """The other ways to read *path*, each once; None: too many, and it may be any."""
    if len(path) > _LONGEST:
        return None if is_odd(path) else ()
    return _readings(path)


def climbs(found: tuple[bytes, ...]) -> bool:
    """True when one of the readings *found* has a segment ``..``."""
    return any(b"/.." in one for one in found)


@lru_cache(maxsize=1024)
def _readings(path: bytes) -> tuple[bytes, ...] | None:
    if not is_odd(path):
        return ()
    once = _decoded(path)
    spelled = dict.fromkeys((path, once, _decoded(once)))
    spelled |= dict.fromkeys([one.replace(b"\\", b"/") for one in spelled])
    spelled |= dict.fromkeys([_PARAMETERS.sub(b"", one) for one in spelled])
    if len(spelled) > MOST:
        return None
    found = dict.fromkeys(spelled)
    for one in spelled:
        joined, resolved = _SLASHES.sub(b"/", one), _resolved(one)
        found |= dict.fromkeys((joined, resolved, _resolved(joined), _SLASHES.sub(b"/", resolved)))
    del found[path]
    return tuple(found) if len(found) <= MOST else None


def _decoded(path: bytes) -> bytes:
    return _ENCODED.sub(lambda pair: bytes((int(pair[1], 16),)), path)


def _resolved(path: bytes) -> bytes:
    """*path* without its dot segments (RFC 3986 §5.2.4)."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
