"""Field lines of requests, read once: the same lines come with request after request.

A line that was read and found well-formed is looked up instead of being read again. The table
is bounded in lines and in their length, and holds nobody's credentials. RFC 9112 §5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from vary_proxy.core.message import Pair
from vary_proxy.core.syntax import TCHAR, TEXT

MOST = 4096  # lines in the table
LONGEST = 256  # bytes of a line that is worth a place
_LINE = re.compile(rb"(" + TCHAR + rb"++):(" + TEXT + rb"*+)")
# Whoever sends these sends what nobody else does, or what is to be held no longer than needed.
_ONCE = frozenset(
    (b"cookie", b"authorization", b"proxy-authorization", b"if-none-match", b"traceparent")
)
_known: dict[bytes, Pair] = {}


def read_lines(lines: Sequence[bytes]) -> list[Pair] | None:
    """Name, in lower case, and value of each line; None where one is not: name, colon, value."""
    pairs = list(map(_known.get, lines))
    if not all(pairs):
        for at, pair in enumerate(pairs):
            if pair is None:
                pairs[at] = pair = _read(lines[at])
                if pair is None:
                    return None
    return cast(list[Pair], pairs)


def _read(line: bytes) -> Pair | None:
    matched = _LINE.fullmatch(line)
    if matched is None:
        return None
    pair = (matched[1].lower(), matched[2].strip(b" \t"))
    if len(line) <= LONGEST and pair[0] not in _ONCE:
        if len(_known) >= MOST:
            _known.clear()
        _known[line] = pair
    return pair
