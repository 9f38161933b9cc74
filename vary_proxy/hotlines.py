"""Header lines read before: each by itself, and whole blocks of them that came together.

Of a browser's requests few lines differ, and of those but a few are of interest. What a line
says is remembered; a block of lines that was read line by line, and came again, is looked up
as a whole. What cannot be read one way is never remembered as anything but that.

What a block says of interest is its key: ``\\r``, name, ``:`` and value for each line in order,
``\\n`` for an empty line. Values hold no control characters, so that keys are unambiguous.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

from vary_proxy.core.loops import PSEUDONYM
from vary_proxy.core.wire import Refused, read_head
from vary_proxy.hot import DECISIVE, WITH_COOKIE

MOST_FIELDS = 64
_MOST_LINES = 8192  # in a table
_MOST_VALUES = 512  # of one name there; what has more has a new one each time
_MOST_ORIGINS = 4096
_FEW_ORIGINS = 64
_LONGEST_LINE = 1024
_MOST_BLOCKS = 4096
_LONGEST_BLOCK = 2048
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
CLOSE = b"close"  # as Connection says it
_MASKED = b"\rorigin"
_ORIGIN = re.compile(rb"\rorigin:([^\r\n\x00\x01]*)")

NOT_MINE = b"\0"  # said of a line, or in a key: the long way
CROWDED = b"\1"  # in a key: a block of so many lines that they have to be counted
_EMPTY = b"\n"
_COOKIE = b"\r" + WITH_COOKIE + b":1"
_COOKIES = frozenset((b"Cookie", b"cookie"))
# Everybody's own: not worth remembering what came with it.
_OWN = (b"\r" + WITH_COOKIE, b"\rtraceparent:")
# Fields of which more is looked at than the characters.
_JUDGED_BY_VALUE = frozenset((b"host", b"connection", b"cdn-loop"))
_OPTIONS = frozenset((CLOSE, b"keep-alive"))


class Lines(dict[bytes, bytes]):
    """What each line says to a key; nothing for one that is of no interest."""

    def __init__(self, is_watched: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._is_watched = is_watched
        self._names: dict[bytes, int] = {}  # how many lines of each are known
        self.clear()

    def clear(self) -> None:
        super().clear()
        self._names.clear()
        self[b""] = _EMPTY

    def __missing__(self, line: bytes) -> bytes:
        spelled, _, value = line.partition(b":")
        if spelled in _COOKIES and _VALUE.fullmatch(value) is not None:
            return _COOKIE  # the value is nothing to be kept in a table
        often = self._names.get(spelled, 0)
        most = _MOST_ORIGINS if spelled == b"Origin" else _MOST_VALUES
        if len(line) > _LONGEST_LINE:
            return NOT_MINE
        if often >= most and _VALUE.fullmatch(value) is not None:
            # The strict reader has judged the name long ago, and would say the same of the value.
            return self._said(spelled.lower(), value.strip(b" \t"))
        try:
            # The one strict reader of both lanes judges it, in a request made for it.
            named = b"" if spelled.lower() == b"host" else b"host: a\r\n"
            request = read_head(b"GET / HTTP/1.1\r\n" + named + line).request
        except Refused:
            return NOT_MINE
        name, value = request.fields.items[-1]
        if name in DECISIVE or (name == b"connection" and value.lower() not in _OPTIONS):
            return NOT_MINE
        if name == b"cdn-loop" and PSEUDONYM in value:
            return NOT_MINE  # it may be a loop
        if name == b"cookie":
            return _COOKIE
        if len(self) >= _MOST_LINES:
            self.clear()
        if name not in _JUDGED_BY_VALUE:
            self._names[spelled] = often + 1
        # To go on is what all do: who says so asks in the same form as who does not.
        ends = name == b"connection" and value.lower() == CLOSE
        said = self[line] = b"\rconnection:close" if ends else self._said(name, value)
        return said

    def known(self, spelled: bytes) -> int:
        """How many lines with this name are known."""
        return self._names.get(spelled, 0)

    def _said(self, name: bytes, value: bytes) -> bytes:
        return b"\r%b:%b" % (name, value) if self._is_watched(name) else b""


class Block:
    """``key`` is what lines say that came together, but for the value of ``origin``."""

    __slots__ = ("key", "origin")

    def __init__(self, key: bytes, origin: bytes | None = None) -> None:
        self.key = key
        self.origin = origin
        if origin is None and (found := _ORIGIN.search(key)) is not None:
            self.key = key[: found.start()] + _MASKED + key[found.end() :]
            self.origin = found[1]


class Blocks(OrderedDict[bytes, Block]):
    """What blocks of lines say, line ends between them. One that comes again is remembered."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._said = lines.__getitem__
        self._lines = lines
        self._once: set[int] = set()  # hashes of blocks that came once, of late
        self.most_lines = MOST_FIELDS // 2

    def clear(self) -> None:
        super().clear()
        self._once.clear()

    def __missing__(self, block: bytes) -> Block:
        if block.count(b"\r\n") >= self.most_lines:
            return Block(CROWDED + b"".join(map(self._said, block.split(b"\r\n"))))
        made = self._read(block)
        if made.origin is not None and self._lines.known(b"Origin") > _FEW_ORIGINS:
            return made  # to each browser its thousand: none would come again in time
        mark = hash(block)
        if mark not in self._once:
            if len(self._once) >= 2 * _MOST_BLOCKS:
                self._once.clear()
            self._once.add(mark)
        elif len(block) <= _LONGEST_BLOCK and not any(own in made.key for own in _OWN):
            self[block] = made
            if len(self) > _MOST_BLOCKS:
                self.popitem(last=False)
        return made

    def _read(self, block: bytes) -> Block:
        before, crossing, rest = block.partition(b"\r\nOrigin: ")
        said = b""
        if crossing:
            # Few browsers, many origins: what stands around that line comes again.
            value, goes_on, rest = rest.partition(b"\r\n")
            said = self._said(b"Origin: " + value)
        if not said.startswith(b"\rorigin:"):
            return Block(b"".join(map(self._said, block.split(b"\r\n"))))
        key = self[before].key + _MASKED
        return Block(key + self[rest].key if goes_on else key, said[8:])


def read(key: bytes, origin: bytes | None) -> dict[bytes, bytes] | None:
    """The fields of interest of a whole head by the *key* of all its lines.

    None where that is the long way's: a name twice, an empty line amid the others, no Host.
    """
    if NOT_MINE in key or key.count(_EMPTY) != 2:
        return None
    items = key[:-2].replace(CROWDED, b"").split(b"\r")[1:]
    found = dict([_pair(item) for item in items])
    if len(found) != len(items) or b"host" not in found:
        return None
    if origin is not None:
        found[b"origin"] = origin
    return found


def _pair(item: bytes) -> tuple[bytes, bytes]:
    name, _, value = item.partition(b":")
    return name, value
