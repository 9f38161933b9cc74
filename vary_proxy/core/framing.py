"""Cuts what a client sends into request heads and bodies.

Two small machines that are fed bytes as they arrive: HeadReader yields whole heads and
refuses what can no longer become one, without waiting for its end; Dechunker undoes the
chunked coding. Both keep what belongs to the next message. RFC 9112 §2.2, §7.1.
"""

from __future__ import annotations

import re
from functools import lru_cache

from vary_proxy.core.syntax import TCHAR, TEXT
from vary_proxy.core.wire import (
    AROUND_TARGET,
    DEFAULT_LIMITS,
    Head,
    HeadLimits,
    Refused,
    is_stray,
    read_head,
    read_line,
    target_too_long,
)

_END = b"\r\n\r\n"
_BEGINS = re.compile(TCHAR + rb"|\r")


class HeadReader:
    """Reads the request heads of one connection."""

    __slots__ = ("_client", "_limits", "_scanned", "_scheme", "buffer")

    def __init__(
        self, limits: HeadLimits = DEFAULT_LIMITS, scheme: bytes = b"http", client: str = ""
    ) -> None:
        self._limits = limits
        self._scheme = scheme
        self._client = client
        self.buffer = bytearray()  # bytes received that no head has taken yet
        self._scanned = 0  # bytes of it that a head may begin with; a last CR is still open

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def read(self) -> Head | None:
        """The next head; None while it is not whole. Raises Refused, and can then read no more."""
        buffer = self.buffer
        while buffer.startswith(b"\r\n"):  # empty lines before a request line are skipped (§2.2)
            del buffer[:2]
        try:
            end = buffer.find(_END, max(0, self._scanned - 2))
            if end < 0:
                self._check_beginning()
                return None
            head = read_head(bytes(buffer[:end]), self._limits, self._scheme, self._client)
        except Refused as refused:
            refused.bodiless = buffer.startswith(b"HEAD ")
            raise
        del buffer[: end + 4]
        self._scanned = 0
        return head

    def rest(self) -> bytes:
        """Takes what follows the last head."""
        data = bytes(self.buffer)
        self.buffer.clear()
        self._scanned = 0
        return data

    def _check_beginning(self) -> None:
        """Refuse at once what can no longer become a head."""
        buffer, limits, scanned = self.buffer, self._limits, self._scanned
        if buffer and _BEGINS.match(buffer) is None:
            raise Refused(400, "This is not HTTP/1.1; is it TLS?", "not-http")
        self._scanned = len(buffer) - buffer.endswith(b"\r")
        if is_stray(buffer[scanned : self._scanned]):
            raise Refused(400, "Lines end in CR LF, and hold neither alone.", "bad-line-end")
        line_end = buffer.find(b"\r\n")
        if line_end >= scanned:
            read_line(bytes(buffer[:line_end]), limits)
        elif line_end < 0 and len(buffer) > limits.target + AROUND_TARGET:
            raise target_too_long(limits)
        if len(buffer) > limits.head + len(_END) - 1:
            raise Refused(431, f"The head is over {limits.head} bytes.", "head-too-large")


_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;" + TEXT + rb"*)?")
_SIZE_BEGINS = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;" + TEXT + rb"*)?\r?")
_TRAILERS = re.compile(rb"(?:" + TCHAR + rb"++:" + TEXT + rb"*+\r\n)*+\r\n")
_MOST_OF_A_LINE = 1024  # bytes of a chunk's size and extensions, with their line end
_MOST_EXCESS = 16 * 1024  # bytes of such lines beyond 16 a chunk and twice its content
_MOST_OF_TRAILERS = 8 * 1024  # bytes, with the empty line that ends them
_MOST_AT_ONCE = 2000  # chunks decoded in one go, so that a flood of small ones holds nobody up


class Dechunker:
    """Undoes the chunked coding; extensions and trailer fields are read and dropped."""

    __slots__ = ("_excess", "_held", "_left", "_next", "done")

    def __init__(self) -> None:
        self.done = False
        self._held = b""  # part of a line that has not ended
        self._left = 0  # bytes of the current chunk still to come
        self._excess = 0
        self._next = self._sizes

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Content that *data* completes, and the rest of *data*.

        Once ``done``, the rest follows the body; before, it is to be fed again, after others
        had their turn. Raises Refused when the coding is broken (RFC 9112 §7.1).
        """
        if self._held:
            data = self._held + data
            self._held = b""
        content: list[bytes] = []
        at = 0
        while at < len(data) and not self.done and len(content) < _MOST_AT_ONCE:
            at = self._next(data, at, content)
        return b"".join(content), data[at:]

    def _sizes(self, data: bytes, at: int, content: list[bytes]) -> int:
        """Chunks, as long as they are there whole."""
        while (end := data.find(b"\r\n", at, at + _MOST_OF_A_LINE)) >= 0:
            size = _size(data[at:end])
            if (excess := end - at - 16 - 2 * size) > 0:
                self._excess += excess
                if self._excess > _MOST_EXCESS:
                    raise _broken()
            at = end + 2
            if not size:
                self._next = self._trailers
                return at
            stop = at + size
            if data[stop : stop + 2] != b"\r\n":
                self._left = size
                self._next = self._data
                return at
            content.append(data[at:stop])
            at = stop + 2
            if len(content) >= _MOST_AT_ONCE:
                return at
        return self._hold(data, at) if at < len(data) else at

    def _data(self, data: bytes, at: int, content: list[bytes]) -> int:
        piece = data[at : at + self._left]
        content.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._next = self._line_end
        return at + len(piece)

    def _line_end(self, data: bytes, at: int, content: list[bytes]) -> int:
        line_end = data[at : at + 2]
        if line_end == b"\r\n":
            self._next = self._sizes
            return at + 2
        if line_end != b"\r":
            raise _broken()
        self._held = line_end
        return at + 1

    def _hold(self, data: bytes, at: int) -> int:
        """Keep the beginning of a size for when its end comes."""
        self._held = data[at:]
        if len(self._held) >= _MOST_OF_A_LINE or _SIZE_BEGINS.fullmatch(self._held) is None:
            raise _broken()
        return len(data)

    def _trailers(self, data: bytes, at: int, content: list[bytes]) -> int:
        matched = _TRAILERS.match(data, at, at + _MOST_OF_TRAILERS)
        if matched is not None:
            self.done = True
            return matched.end()
        held = self._held = data[at:]
        if _END in held or len(held) >= _MOST_OF_TRAILERS or is_stray(held.removesuffix(b"\r")):
            raise Refused(400, "The trailer fields of the body cannot be read.", "bad-trailer")
        return len(data)


@lru_cache(maxsize=256)
def _size(line: bytes) -> int:
    """Bytes of content that a chunk has, by its first line."""
    matched = _SIZE.fullmatch(line)
    if matched is None:
        raise _broken()
    return int(matched[1], 16)


def _broken() -> Refused:
    return Refused(400, "The chunked coding of the body is broken.", "bad-chunk")
