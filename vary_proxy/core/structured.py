"""A strict reader of structured-field dictionaries, as far as a cache meets them.

RFC 9651 §4.2: dictionaries of items; parameters are read and dropped. Inner lists, byte
sequences, dates and display strings are read as "some other type". One error anywhere
makes the whole field unreadable, as the standard demands.
"""

from __future__ import annotations

import re

OTHER = 0.0  # stands for a value of a type that no directive has

Item = bool | int | float | bytes

_KEY = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(rb"-?\d{1,15}(?:\.\d{1,3})?")
_STRING = re.compile(rb'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BINARY = re.compile(rb":[A-Za-z0-9+/]*={0,2}:")
_DATE = re.compile(rb"@-?\d{1,15}")
_DISPLAY = re.compile(rb'%"(?:[\x20-\x21\x23-\x24\x26-\x7e]|%[0-9a-f]{2})*"')


class _Unreadable(Exception):
    pass


def dictionary(value: bytes) -> dict[bytes, Item] | None:
    """Key -> value, the last of repeated keys; None when *value* is not a dictionary.

    Strings and tokens are bytes, integers int, decimals float, booleans bool.
    """
    text = value.strip(b" ")
    found: dict[bytes, Item] = {}
    at = 0
    try:
        while at < len(text):
            key = _match(_KEY, text, at)
            at += len(key)
            if text[at : at + 1] == b"=":
                item, at = _member(text, at + 1)
            else:
                item = True
            at = _parameters(text, at)
            found[key] = item
            at = _spaces(text, at, b" \t")
            if at == len(text):
                return found
            if text[at : at + 1] != b",":
                return None
            at = _spaces(text, at + 1, b" \t")
            if at == len(text):
                return None
    except _Unreadable:
        return None
    return found


def _match(pattern: re.Pattern[bytes], text: bytes, at: int) -> bytes:
    match = pattern.match(text, at)
    if match is None:
        raise _Unreadable
    return match[0]


def _spaces(text: bytes, at: int, which: bytes) -> int:
    while at < len(text) and text[at] in which:
        at += 1
    return at


def _member(text: bytes, at: int) -> tuple[Item, int]:
    if text[at : at + 1] != b"(":
        return _item(text, at)
    at += 1
    while True:
        at = _spaces(text, at, b" ")
        if text[at : at + 1] == b")":
            return OTHER, at + 1
        _, at = _item(text, at)
        at = _parameters(text, at)
        if text[at : at + 1] not in (b" ", b")"):
            raise _Unreadable


def _item(text: bytes, at: int) -> tuple[Item, int]:
    lead = text[at : at + 1]
    if lead.isdigit() or lead == b"-":
        raw = _match(_NUMBER, text, at)
        if b"." in raw and len(raw.partition(b".")[0].lstrip(b"-")) > 12:
            raise _Unreadable
        return (float(raw) if b"." in raw else int(raw)), at + len(raw)
    if lead == b'"':
        match = _STRING.match(text, at)
        if match is None:
            raise _Unreadable
        return re.sub(rb"\\(.)", rb"\1", match[1]), match.end()
    if lead == b"?":
        if text[at + 1 : at + 2] not in (b"0", b"1"):
            raise _Unreadable
        return text[at + 1 : at + 2] == b"1", at + 2
    for mark, pattern in ((b":", _BINARY), (b"@", _DATE), (b"%", _DISPLAY)):
        if lead == mark:
            return OTHER, at + len(_match(pattern, text, at))
    raw = _match(_TOKEN, text, at)
    return raw, at + len(raw)


def _parameters(text: bytes, at: int) -> int:
    while text[at : at + 1] == b";":
        at = _spaces(text, at + 1, b" ")
        at += len(_match(_KEY, text, at))
        if text[at : at + 1] == b"=":
            _, at = _item(text, at + 1)
    return at


def string(value: bytes) -> str:
    """*value* as a string of RFC 9651 §3.3.3; what none can hold becomes ``%xx``."""
    shown = "".join(
        chr(one) if 0x20 <= one < 0x7F and one != 0x25 else f"%{one:02x}" for one in value
    )
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
