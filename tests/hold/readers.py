"""Second readers: what other implementations take the same bytes for.

Each gives what it read as plain values, up to where it refused. A thing that we accept must be
read by them as the same, or not at all: nothing may stand between two readings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import h11
import httptools

Pair = tuple[bytes, bytes]


@dataclass
class Read:
    """One message: ``line`` is method and target, or the status alone."""

    line: tuple[bytes, ...]
    fields: tuple[Pair, ...]
    body: bytes = b""


@dataclass
class Reading:
    """``messages`` are whole; ``begun`` is one whose end has not come; ``refused``: no further."""

    messages: list[Read] = field(default_factory=list)
    begun: Read | None = None
    refused: bool = False


def by_h11(data: bytes, most: int = 10) -> Reading:
    """Requests in a row, by h11: a connection of its own for each, as it has no pipelines."""
    reading = Reading()
    while data and len(reading.messages) < most:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        found, whole = None, False
        try:
            while not whole:
                event = connection.next_event()
                if isinstance(event, h11.Request):
                    found = Read((event.method, event.target), _pairs(event.headers))
                elif isinstance(event, h11.Data) and found is not None:
                    found.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    whole = True
                else:
                    break
        except h11.RemoteProtocolError:
            reading.refused = True
        if not whole or found is None:
            reading.begun = found
            return reading
        reading.messages.append(found)
        data = connection.trailing_data[0]
    return reading


def answer_by_h11(data: bytes, method: bytes, *, closed: bool) -> Reading:
    """One response to a request of *method*; *closed*: the connection ended after it."""
    reading = Reading()
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    connection.send(h11.EndOfMessage())
    found: Read | None = None
    try:
        connection.receive_data(data)
        if closed:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response | h11.InformationalResponse):
                found = Read((b"%d" % event.status_code,), _pairs(event.headers))
                if event.status_code < 200:
                    break
            elif isinstance(event, h11.Data) and found is not None:
                found.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and found is not None:
                reading.messages.append(found)
                return reading
            else:
                break
    except h11.RemoteProtocolError:
        reading.refused = True
    reading.begun = found
    return reading


def _pairs(headers: Any) -> tuple[Pair, ...]:
    return tuple((bytes(name), bytes(value)) for name, value in headers)


class _Kept:
    """What llhttp calls back with, gathered."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.parser: Any = None
        self.url = b""
        self.fields: list[Pair] = []

    def on_message_begin(self) -> None:
        self.url, self.fields = b"", []
        self.reading.begun = None

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if isinstance(self.parser, httptools.HttpRequestParser):
            line: tuple[bytes, ...] = (self.parser.get_method(), self.url)
        else:
            line = (b"%d" % self.parser.get_status_code(),)
        self.reading.begun = Read(line, tuple(self.fields))

    def on_body(self, part: bytes) -> None:
        assert self.reading.begun is not None
        self.reading.begun.body += part

    def on_message_complete(self) -> None:
        assert self.reading.begun is not None
        self.reading.messages.append(self.reading.begun)
        self.reading.begun = None


def by_llhttp(data: bytes, *, answers: bool = False) -> Reading:
    """Messages in a row, by the parser of Node and of uvicorn."""
    kept = _Kept()
    kind = httptools.HttpResponseParser if answers else httptools.HttpRequestParser
    kept.parser = kind(kept)
    try:
        kept.parser.feed_data(data)
    except httptools.HttpParserError:
        kept.reading.refused = True
    except httptools.HttpParserUpgrade:
        kept.reading.refused = True  # it leaves what follows to somebody else
    return kept.reading


_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def by_the_letter(data: bytes) -> Read | None:
    """One request as RFC 9112 writes it, and no leniency at all; None when it is not one.

    This is what leaves for an origin: a single space, CR LF, one Host, one framing.
    """
    head, mark, body = data.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    words = line.split(b" ")
    if not mark or len(words) != 3 or words[2] != b"HTTP/1.1":
        return None
    if not words[0] or not set(words[0]) <= _TCHAR or not _is_text(words[1], b""):
        return None
    pairs: list[Pair] = []
    for one in lines:
        name, colon, value = one.partition(b":")
        if not colon or not name or not set(name) <= _TCHAR or not _is_text(value, b" \t"):
            return None
        pairs.append((name.lower(), value.strip(b" \t")))
    names = [name for name, _ in pairs]
    if names.count(b"host") != 1 or names.count(b"content-length") > 1:
        return None
    return _framed(Read((words[0], words[1]), tuple(pairs)), body)


def _is_text(value: bytes, also: bytes) -> bool:
    return bool(value or also) and all(0x21 <= one != 0x7F or one in also for one in value)


def _framed(read: Read, rest: bytes) -> Read | None:
    """*read* with the body that *rest* is exactly."""
    said = dict(read.fields)
    length, coding = said.get(b"content-length"), said.get(b"transfer-encoding")
    if coding is not None:
        read.body, whole = _chunks(rest)
        return read if whole and coding == b"chunked" and length is None else None
    if length is not None and not re.fullmatch(rb"0|[1-9][0-9]*", length):
        return None
    read.body = rest
    return read if len(rest) == int(length or 0) else None


def _chunks(data: bytes) -> tuple[bytes, bool]:
    """The content of *data*, and whether it is one plain chunked body exactly."""
    try:
        content, rest = dechunked(data)
    except ValueError:
        return b"", False
    return content, not rest


def dechunked(data: bytes) -> tuple[bytes, bytes]:
    """The content of a plain chunked body, and what follows it. Raises ValueError."""
    content = b""
    while True:
        size, mark, data = data.partition(b"\r\n")
        if not mark or not re.fullmatch(rb"[0-9a-f]+", size):
            raise ValueError("no size")
        count = int(size, 16)
        content, end, data = content + data[:count], data[count : count + 2], data[count + 2 :]
        if end != b"\r\n":
            raise ValueError("a chunk is not as long as it says")
        if not count:
            return content, data
