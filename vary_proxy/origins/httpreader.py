"""Reads responses off an origin's byte stream: heads, framing and the chunked coding.

Nothing here does I/O. What can be read in one way only is read, however odd it looks (no
reason phrase, status 999, obs-text, white space before a colon); what two parsers could
read differently, above all framing, is an OriginFailure. A response body is as long as one
unambiguous statement says, or lasts until the connection ends. RFC 9112 §4 to §7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from vary_proxy.core import syntax
from vary_proxy.core.memo import remembered
from vary_proxy.core.message import Fields, Pair, Response
from vary_proxy.core.values import immutable
from vary_proxy.origin import OriginFailure

MAX_LENGTH = 2**63 - 1  # bytes; a Content-Length above is not credible
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (.*))?\Z", re.DOTALL)
_PRINTABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_KEEP_ALIVE = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*(\d{1,6})\b", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n\Z")
_CHUNK_START = re.compile(rb"[0-9A-Fa-f]{1,15}(?:\r?\Z|[ \t]*\Z|[ \t]*;)")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\0\r\n]*\r\n\Z")
_CHUNK_LINE = 4096  # bytes of a chunk-size line with its extensions
_NAMES: dict[bytes, bytes] = {}  # names as sent -> lower case: a token, checked once
_NAMES_KEPT = 2048
_LINES: dict[bytes, Pair] = {}  # lines as sent that many responses have -> what was read of them
_LINES_KEPT = 2048
_LONGEST_KEPT = 256
_ONCE = frozenset((b"etag", b"last-modified", b"content-length", b"set-cookie", b"location"))
_ABOUT_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that a response head, and one line of it, may have."""

    head: int = 64 * 1024
    line: int = 32 * 1024


@immutable
class Framing:
    """Where a body ends, and whether the connection survives it.

    ``length`` is in bytes; None while ``chunked``, or when the connection's end is the
    body's. ``patience`` is the seconds that the origin promises to keep an idle connection.
    """

    length: int | None
    chunked: bool = False
    persistent: bool = True
    patience: float | None = None


def malformed(detail: str) -> OriginFailure:
    return OriginFailure("http_protocol_error", detail, sent=True)


def head_end(data: bytes, limits: Limits) -> int:
    """The index after the head that *data* starts with; -1 while it is incomplete.

    Raises OriginFailure as soon as no continuation could make it a readable head.
    """
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        if end + 4 > limits.head:
            raise _too_large(limits)
        return end + 4
    if not (data.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(data)):
        raise malformed("the answer is not HTTP/1.1")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise malformed("a line of the head ends in a bare LF")
    if len(data) > limits.head:
        raise _too_large(limits)
    if len(data) - data.rfind(b"\n") > limits.line:
        raise _line_too_long(limits)
    return -1


def _too_large(limits: Limits) -> OriginFailure:
    detail = f"more than {limits.head} bytes"
    return OriginFailure("http_response_header_section_size", detail, sent=True)


def _line_too_long(limits: Limits) -> OriginFailure:
    return OriginFailure("http_response_header_size", f"over {limits.line} bytes", sent=True)


def read_head(block: bytes, limits: Limits) -> tuple[Response, int]:
    """The response head in *block* (with its empty line), and its minor version.

    Raises OriginFailure for whatever two parsers could read differently (RFC 9112 §2.2, §5).
    """
    lines = block.split(b"\r\n")
    ends = len(lines) - 1
    if block.count(b"\n") != ends or block.count(b"\r") != ends or b"\0" in block:
        raise malformed("a bare CR, a bare LF or a NUL in the head")
    status, reason, minor = _status_line(lines[0])
    if len(block) > limits.line and max(map(len, lines)) > limits.line:
        raise _line_too_long(limits)
    lines = lines[1:-2]
    if b"\r\n " in block or b"\r\n\t" in block:
        lines = _unfold(lines)
    return Response(status, Fields(_pairs(lines)), reason), minor


@lru_cache(maxsize=256)
def _status_line(line: bytes) -> tuple[int, bytes, int]:
    """Status, reason phrase and minor version (RFC 9112 §4)."""
    match = _STATUS_LINE.match(line)
    if match is None:
        raise malformed("the status line cannot be read")
    minor, status, reason = match.groups()
    reason = reason.strip(b" \t") if reason and _PRINTABLE.match(reason) else b""
    return int(status), reason, int(minor)


def _pairs(lines: list[bytes]) -> tuple[Pair, ...]:
    return tuple([pair for line in lines if (pair := _LINES.get(line) or _pair(line))])


def _pair(line: bytes) -> Pair | None:
    """Name and value of a field line; None when it is to be dropped."""
    raw, colon, value = line.partition(b":")
    name = _NAMES.get(raw)
    if name is None:
        name = _learn(raw, colon)
    if not name:
        return None
    pair = (name, value.strip(b" \t"))
    if len(line) <= _LONGEST_KEPT and name not in _ONCE:
        if len(_LINES) >= _LINES_KEPT:
            _LINES.clear()
        _LINES[line] = pair
    return pair


def _learn(raw: bytes, colon: bytes) -> bytes:
    """The field name that *raw* is, in lower case; empty when the line is to be dropped.

    White space before the colon is removed (RFC 9112 §5.1). A name that is no token means
    nothing to anybody and cannot be passed on.
    """
    name = raw.lower()
    if syntax.is_token(name):
        if not colon:
            raise malformed("a field line has no colon")
        if len(_NAMES) < _NAMES_KEPT and len(raw) <= 64:
            _NAMES[raw] = name
        return name
    bare = name.strip(b" \t")
    if not colon or not bare or not _PRINTABLE.match(name):
        raise malformed("a field line cannot be read")
    if re.sub(rb"[^a-z-]", b"", bare) in _ABOUT_FRAMING:
        raise malformed(f"the field name {raw[:40]!r} is ambiguous")
    return bare if syntax.is_token(bare) else b""


def _unfold(lines: list[bytes]) -> list[bytes]:
    """*lines* with each obsolete folding replaced by one space (RFC 9112 §5.2)."""
    out: list[bytes] = []
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            out.append(line)
            continue
        if not out or out[-1].partition(b":")[0].strip(b" \t").lower() in _ABOUT_FRAMING:
            raise malformed("a folded line where framing is decided")
        out[-1] = out[-1].rstrip(b" \t") + b" " + line.strip(b" \t")
    return out


def read_framing(response: Response, minor: int, method: bytes) -> tuple[Response, Framing]:
    """*response* with at most one Content-Length, and where its body ends (RFC 9112 §6.3)."""
    fields = response.fields
    lengths = fields.lines(b"content-length")
    codings = fields.lines(b"transfer-encoding")
    patience: float | None = None
    for value in fields.lines(b"keep-alive"):
        if match := _KEEP_ALIVE.search(value):
            patience = float(match[1])
    if codings and (codings[0].lower() != b"chunked" or len(codings) > 1 or lengths or not minor):
        raise malformed("Transfer-Encoding is not just chunked, or not alone")
    length = _length(lengths) if lengths else None
    if length is not None and lengths != (b"%d" % length,):
        fields = fields.replaced(b"content-length", b"%d" % length)
        response = Response(response.status, fields, response.reason)
    length, chunked, whole = _extent(response.status, method, length, chunked=bool(codings))
    persistent = whole and _persists(fields.combined(b"connection"), minor)
    return response, Framing(length, chunked, persistent, patience)


def _extent(
    status: int, method: bytes, length: int | None, *, chunked: bool
) -> tuple[int | None, bool, bool]:
    """Length, whether chunked, and whether the connection is clean after the body."""
    if method == b"CONNECT" and status < 300:
        raise malformed("a tunnel that nobody asked for")
    if method == b"HEAD" or status == 304:
        return 0, False, True
    if status == 204:
        # Some send a body all the same: what follows would be read as the next response.
        return 0, False, not chunked and not length
    return length, chunked, chunked or length is not None


def _length(lines: tuple[bytes, ...]) -> int:
    if len(lines) == 1 and len(lines[0]) < len(str(MAX_LENGTH)) and lines[0].isdigit():
        return int(lines[0])
    values = {value.strip(b" \t") for line in lines for value in line.split(b",")}
    if not all(value.isdigit() and len(value) <= 20 for value in values):
        raise malformed("Content-Length is malformed")
    numbers = set(map(int, values))
    if len(numbers) > 1 or max(numbers) > MAX_LENGTH:
        raise malformed("Content-Length is given twice, or not credible")
    return numbers.pop()


def _persists(said: bytes | None, minor: int) -> bool:
    """Whether the connection outlives the response (RFC 9112 §9.3)."""
    if said is None:
        return minor > 0
    options = _options(said)
    return b"close" not in options and (minor > 0 or b"keep-alive" in options)


@remembered
def _options(said: bytes) -> frozenset[bytes]:
    return frozenset(syntax.members(said.lower()))


class Chunks:
    """The decoder of one chunked body (RFC 9112 §7.1). Trailer fields are read and dropped."""

    __slots__ = ("_left", "_limits", "_line", "_trailer", "rest")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = 0  # bytes of chunk-data to come; -1: its CRLF is due
        self._line = b""  # an incomplete line
        self._trailer: int | None = None  # bytes of the trailer section so far, once in it
        self.rest: bytes | None = None  # what followed the end; None before it

    def feed(self, data: bytes) -> list[bytes]:
        """The body bytes that *data* brings. Raises OriginFailure on broken framing."""
        if self._left >= len(data) > 0:
            self._left = self._left - len(data) or -1
            return [data]
        out: list[bytes] = []
        if self._line:
            data, self._line = self._line + data, b""
        at = 0
        while at < len(data) and self.rest is None:
            if self._left > 0:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left = self._left - len(piece) or -1
                out.append(piece)
            else:
                at = self._take_line(data, at)
        return out

    def _take_line(self, data: bytes, at: int) -> int:
        """Read the line at *at*: a size, the CRLF after data, or one of the trailer section."""
        end = data.find(b"\n", at) + 1
        line = data[at : end or len(data)]
        if self._left < 0:
            if not b"\r\n".startswith(line):
                raise malformed("chunk data is longer than its size")
            self._left = 0 if end else -1
        elif self._trailer is None:
            self._read_size(line, whole=end > 0)
        else:
            self._read_trailer(line, whole=end > 0)
            if line == b"\r\n":
                self.rest = data[end:]
        if not end:
            self._line = line
        return end or len(data)

    def _read_size(self, line: bytes, *, whole: bool) -> None:
        match = (_CHUNK if whole else _CHUNK_START).match(line)
        if match is None or len(line) > _CHUNK_LINE:
            raise malformed("a chunk size cannot be read")
        if whole:
            self._left = int(match[1], 16)
            self._trailer = None if self._left else 0

    def _read_trailer(self, line: bytes, *, whole: bool) -> None:
        assert self._trailer is not None
        if self._trailer + len(line) > self._limits.head:
            raise _too_large(self._limits)
        if whole:
            self._trailer += len(line)
            if line != b"\r\n" and not _TRAILER.match(line):
                raise malformed("a trailer field cannot be read")
