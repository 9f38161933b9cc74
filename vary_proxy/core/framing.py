"""Cuts what a client sends into request heads and bodies.

Two small machines that are fed bytes as they arrive: HeadReader yields whole heads and
refuses what can no longer become one, without waiting for its end; Dechunker undoes the
chunked coding. Both keep what belongs to the next message. RFC 9112 §2.2, §7.1.
"""

from __future__ import annotations

import re

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
_BEGINS_A_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]|\r\Z")


class HeadReader:
    """Reads the request heads of one connection."""

    __slots__ = ("_buffer", "_client", "_limits", "_scanned", "_scheme")

    def __init__(
        self, limits: HeadLimits = DEFAULT_LIMITS, scheme: bytes = b"http", client: str = ""
    ) -> None:
        self._limits = limits
        self._scheme = scheme
        self._client = client
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer known to hold no end of a head

    @property
    def pending(self) -> int:
        """Bytes received that no head has taken yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def read(self) -> Head | None:
        """The next head; None while it is not whole. Raises Refused."""
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # empty lines before a request line are skipped (§2.2)
            del buffer[:2]
            self._scanned = 0
        end = buffer.find(_END, self._scanned - 3 if self._scanned > 3 else 0)
        if end < 0:
            self._check_beginning()
            self._scanned = len(buffer)
            return None
        data = bytes(buffer[:end])
        del buffer[: end + 4]
        self._scanned = 0
        if len(data) > self._limits.head + self._limits.target:
            raise Refused(431, f"The head is over {self._limits.head} bytes.", "head-too-large")
        return read_head(data, self._limits, self._scheme, self._client)

    def rest(self) -> bytes:
        """Takes what follows the last head."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return data

    def _check_beginning(self) -> None:
        """Refuse at once what can no longer become a head."""
        buffer, limits = self._buffer, self._limits
        if buffer and _BEGINS_A_METHOD.match(buffer) is None:
            raise Refused(400, "This is not HTTP/1.1; is it TLS?", "not-http")
        seam = max(0, self._scanned - 1)
        if buffer.find(b"\r", seam) >= 0 or buffer.find(b"\n", seam) >= 0:
            self._check_stray()
        line_end = buffer.find(b"\r\n", 0, limits.target + AROUND_TARGET)
        if line_end < 0 and len(buffer) > limits.target + AROUND_TARGET:
            raise target_too_long(limits)
        if line_end >= seam:
            read_line(bytes(buffer[:line_end]), limits)
        if len(buffer) > limits.head + len(_END) - 1:
            raise Refused(431, f"The head is over {limits.head} bytes.", "head-too-large")

    def _check_stray(self) -> None:
        if is_stray(self._buffer.removesuffix(b"\r")):
            raise Refused(400, "Lines end in CR LF, and hold neither alone.", "bad-line-end")


_SIZE = re.compile(rb"(?:\r\n)?([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_SIZE_BEGINS = re.compile(
    rb"(?:\r\n)?(?:[0-9A-Fa-f]{1,15}(?:[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?)?)?\r?"
)
_TRAILERS = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n",
)
_MOST_OF_A_LINE = 1024  # bytes of a chunk's size and extensions


class Dechunker:
    """Undoes the chunked coding; extensions and trailer fields are read and dropped."""

    __slots__ = ("_begun", "_held", "_left", "_trailer_limit", "_trailing", "done")

    def __init__(self, trailer_limit: int = 8 * 1024) -> None:
        self.done = False
        self._held = b""  # part of a line that has not ended
        self._left = 0  # bytes of the current chunk still to come
        self._begun = False  # True after the first chunk: its CR LF precedes the next size
        self._trailing = False
        self._trailer_limit = trailer_limit

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Content that *data* completes, and what follows the body once ``done``.

        Raises Refused when the coding is broken (RFC 9112 §7.1).
        """
        if self._held:
            data = self._held + data
            self._held = b""
        content: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                content.append(piece)
            elif self._trailing:
                at = self._trailer(data, at)
            else:
                at = self._size(data, at)
        return b"".join(content), data[at:]

    def _size(self, data: bytes, at: int) -> int:
        matched = _SIZE.match(data, at)
        if matched is None or (matched[0][:1] == b"\r") is not self._begun:
            return self._hold(data, at, _SIZE_BEGINS)
        if matched.end() - at > _MOST_OF_A_LINE:
            raise _broken()
        self._begun = True
        self._left = int(matched[1], 16)
        self._trailing = self._left == 0
        return matched.end()

    def _hold(self, data: bytes, at: int, prefix: re.Pattern[bytes]) -> int:
        self._held = data[at:]
        starts_right = self._held[:1] == b"\r" if self._begun else self._held[:1] != b"\r"
        if (
            not starts_right
            or len(self._held) > _MOST_OF_A_LINE
            or prefix.fullmatch(self._held) is None
        ):
            raise _broken()
        return len(data)

    def _trailer(self, data: bytes, at: int) -> int:
        matched = _TRAILERS.match(data, at)
        if matched is not None:
            self.done = True
            return matched.end()
        self._held = data[at:]
        whole = b"\r\n\r\n" in self._held
        if (
            whole
            or len(self._held) > self._trailer_limit
            or is_stray(self._held.removesuffix(b"\r"))
        ):
            raise Refused(400, "The trailer fields of the body cannot be read.", "bad-trailer")
        return len(data)


def _broken() -> Refused:
    return Refused(400, "The chunked coding of the body is broken.", "bad-chunk")
