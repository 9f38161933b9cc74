"""One line per request, at its end: batched, and never blocking the event loop.

Lines are gathered in memory and handed to a thread that writes them; when it cannot keep up
(a full pipe, a slow disk) lines are dropped and counted rather than requests delayed.
Signatures and credentials in queries are masked; control characters are escaped.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import msgspec

from vary_proxy.core.message import Record, Reply, Request

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 65536  # lines
_SECRET = re.compile(rb"(?i)([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid)=)[^&]*")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# Instant, request, record, status, bytes of content, seconds: what a line is made of, later.
Entry = tuple[float, Request, Record, int, int, float]


class AccessLog:
    """To be called as an observer. *path* None writes to stdout."""

    def __init__(self, form: str, path: str | None = None) -> None:
        self.dropped = 0
        self._render = _FORMS[form]
        self._out: TextIO = (
            sys.stdout if path is None else open(path, "a", encoding="utf-8")  # noqa: SIM115  kept
        )
        self._owns = path is not None
        self._lines: deque[Entry] = deque()
        self._serial = 0
        self._prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        if len(self._lines) >= _MOST_WAITING:
            self.dropped += 1
            return
        self._lines.append((time.time(), request, reply.record, reply.status, sent, seconds))

    def close(self) -> None:
        """Write what waits, and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)
        if self._owns:
            self._out.close()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(_FLUSH_SECONDS)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        batch: list[str] = []
        while self._lines:
            self._serial += 1
            batch.append(self._render(self._lines.popleft(), f"{self._prefix}{self._serial:x}"))
        if batch:
            try:
                self._out.write("\n".join(batch) + "\n")
                self._out.flush()
            except (OSError, ValueError):  # nobody reads any more
                self.dropped += len(batch)


def masked(target: bytes) -> str:
    """A request target as it may be shown: signatures masked, odd bytes escaped."""
    shown = _SECRET.sub(rb"\1***", target) if b"=" in target else target
    return shown.decode("ascii", "backslashreplace")


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A line as it is written, in this order; what is empty and has a default is left out."""

    time: str
    client: str
    method: str
    host: str
    path: str
    status: int
    bytes: int
    seconds: float
    rule: str
    cache: str
    trace: str = ""
    reason: str = ""
    vary_added: str = ""
    cors: str = ""
    cors_reason: str = ""
    origin: str = ""
    id: str = ""


def _line(entry: Entry, serial: str) -> _Line:
    instant, request, record, status, sent, seconds = entry
    traced = request.fields.get(b"traceparent")
    trace = None if traced is None else _TRACE.fullmatch(traced)
    return _Line(
        f"{_stamp(int(instant))}.{int(instant % 1 * 1000):03d}Z",
        request.client,
        request.method.decode("latin-1"),
        request.authority.decode("latin-1"),
        masked(request.target),
        status,
        sent,
        round(seconds, 6),
        record.rule,
        record.cache,
        "" if trace is None else trace[1].decode(),
        record.reason,
        b", ".join(record.vary_added).decode("latin-1"),
        record.cors,
        record.cors_reason,
        record.origin,
        serial,
    )


@functools.lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_encode = msgspec.json.Encoder().encode


def as_json(entry: Entry) -> bytes:
    """The line as JSON, without an id."""
    return _encode(_line(entry, ""))


def _json(entry: Entry, serial: str) -> str:
    return _encode(_line(entry, serial)).decode()


def _logfmt(entry: Entry, serial: str) -> str:
    parts = msgspec.to_builtins(_line(entry, serial)).items()
    return " ".join(f"{name}={_value(value)}" for name, value in parts)


def _value(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else msgspec.json.encode(text).decode()


def _combined(entry: Entry, serial: str) -> str:
    instant, request, _, status, sent, _ = entry
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(instant))
    what = _plain(f"{request.method.decode('latin-1')} {masked(request.target)}")
    return f'{request.client or "-"} - - [{stamp}] "{what} HTTP/1.1" {status} {sent}'


def _pretty(entry: Entry, serial: str) -> str:
    _, request, record, status, _, seconds = entry
    words = f"{status} {record.cache:<9} {seconds * 1000:8.1f} ms  "
    what = f"{request.method.decode('latin-1')} {masked(request.target)}"
    return words + _plain(what) + f"  [{record.rule}]"


def _plain(text: str) -> str:
    return "".join(one if _is_plain(one) else f"\\x{ord(one):02x}" for one in text)


def _is_plain(one: str) -> bool:
    return one.isprintable() and one != '"'


_FORMS: dict[str, Callable[[Entry, str], str]] = {
    "json": _json,
    "logfmt": _logfmt,
    "combined": _combined,
    "pretty": _pretty,
}
