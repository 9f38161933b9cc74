"""The tags that a response bears: what a purge by tag goes by.

``Cache-Tag`` and ``Surrogate-Key``, ``xkey`` are what CDNs and Varnish made common: lists,
by comma or by space. ``Cache-Groups`` is a structured list of strings (RFC 9875 §2).
"""

from __future__ import annotations

import re

from vary_proxy.core.message import Fields

MOST = 64  # tags of one response that count
_COMMAS = re.compile(rb"[,\s]+")
_LISTS = (b"cache-tag", b"surrogate-key", b"xkey")
_GROUPS = b"cache-groups"
_STRING = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_NAMES = frozenset((*_LISTS, _GROUPS))


def tags_of(fields: Fields) -> tuple[bytes, ...]:
    """The tags in *fields*, without repetition, in order; at most ``MOST``."""
    if not any(name in _NAMES for name, _ in fields.items):
        return ()
    found: dict[bytes, None] = {}
    for name in _LISTS:
        for line in fields.lines(name):
            found.update(dict.fromkeys(filter(None, _COMMAS.split(line))))
    for line in fields.lines(_GROUPS):
        for string in _STRING.findall(line):
            found[re.sub(rb"\\(.)", rb"\1", string)] = None
    return tuple(found)[:MOST]
