"""One line per request, at its end: batched, and never blocking the event loop.

Lines are gathered in memory and handed to a thread that writes them; when it cannot keep up
(a full pipe, a slow disk) lines are dropped and counted rather than requests delayed.
Signatures and credentials in queries are masked; control characters are escaped. Of a hit
that is answered again and again, all but time and id is rendered once.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import msgspec

from vary_proxy.core.message import NO_FIELDS, Fields, Record, Reply, Request
from vary_proxy.observation.logfile import LogFile

_log = logging.getLogger("vary_proxy")

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 32768  # lines
_MOST_BYTES = 16 << 20  # of what clients chose in these, but for the fast lane's, which are small
_MOST_KNOWN = 4096  # lines rendered but for time and id
_PARAMETER = re.compile(rb"([?&;])([^=&;]*)=[^&;]*")  # some origins split at semicolons, too
_SECRET = re.compile(rb"(?i)x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# Instant, request, record, status, bytes of content, seconds: what a line is made of, later.
Entry = tuple[float, Request, Record, int, int, float]
Named = Callable[[Request], Request]


class AccessLog:
    """To be called as an observer. ``lost`` counts the lines that could not be written.

    *named* gives a request with the trace that it belongs to; None: as it came.
    """

    def __init__(self, form: str, out: LogFile, named: Named | None = None) -> None:
        self._named = named
        self._render: Callable[[Entry, str], bytes] = Json() if form == "json" else _FORMS[form]
        self._out = out
        self._crowded_out = 0  # by the loop's thread
        self._unwritten = 0  # by ours
        self._told = ""  # the last warning
        self._lines: deque[Entry] = deque()
        self._taken = 0  # bytes, by the loop's thread
        self._rendered = 0  # of these, by ours
        self._serial = 0
        self._prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        if len(self._lines) >= _MOST_WAITING or self._taken - self._rendered > _MOST_BYTES:
            self._crowded_out += 1
            return
        if seconds:
            request = _kept(request if self._named is None else self._named(request))
            self._taken += _size(request)
        self._lines.append((time.time(), request, reply.record, reply.status, sent, seconds))

    @property
    def lost(self) -> int:
        return self._crowded_out + self._unwritten

    def reopen(self) -> None:
        """Open its file anew: it may have been moved away."""
        self._out.ask_anew()
        self._wake.set()

    def close(self) -> None:
        """Write what waits, and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._out.close()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._out.look()
            self._told = ""
        except OSError as error:
            self._warn(f"not opened anew: {error.filename}: {error.strerror}")
        batch: list[bytes] = []
        for _ in range(len(self._lines)):
            self._serial += 1
            entry = self._lines.popleft()
            batch.append(self._render(entry, f"{self._prefix}{self._serial:x}"))
            if entry[5]:
                self._rendered += _size(entry[1])
        if batch:
            batch.append(b"")
            try:
                self._out.write(b"\n".join(batch))
            except OSError as error:  # nobody reads any more, or there is no room
                self._failed(error, len(batch) - 1)

    def _failed(self, error: OSError, lines: int) -> None:
        if not self._unwritten:
            self._warn(f"lines are lost: {error.strerror or error}")
        self._unwritten += lines

    def _warn(self, what: str) -> None:
        """Once, as long as nothing else happens."""
        if what != self._told:
            self._told = what
            _log.warning("access log: %s", what)


def _kept(request: Request) -> Request:
    """*request* less all that no line tells."""
    traced = request.fields.get(b"traceparent")
    fields = NO_FIELDS if traced is None else Fields(((b"traceparent", traced),))
    return request.to(request.scheme, request.authority, request.target, fields)


def _size(request: Request) -> int:
    return len(request.method) + len(request.target) + len(request.authority)


def masked(target: bytes) -> str:
    """A request target as it may be shown: signatures masked, odd bytes escaped."""
    shown = _PARAMETER.sub(_without_secret, target) if b"=" in target else target
    return shown.decode("ascii", "backslashreplace")


def _without_secret(parameter: re.Match[bytes]) -> bytes:
    """One parameter of a query, as shown; its name as the origin reads it, decoded."""
    if not _SECRET.fullmatch(unquote_to_bytes(parameter[2])):
        return parameter[0]
    return b"%b%b=***" % (parameter[1], parameter[2])


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


@functools.lru_cache(maxsize=4)
def _stamp_bytes(second: int) -> bytes:
    return _stamp(second).encode()


_encode = msgspec.json.Encoder().encode


def as_json(entry: Entry) -> bytes:
    """The line as JSON, without an id."""
    return _encode(_line(entry, ""))


class Json:
    """Lines of JSON. The fast lane answers in no time, with the same values again and again."""

    def __init__(self) -> None:
        # With what its key is made of, which so cannot be another's.
        self._known: dict[tuple[int, int, int], tuple[Request, Record, bytes]] = {}

    def __call__(self, entry: Entry, serial: str) -> bytes:
        instant, request, record, status, sent, seconds = entry
        if seconds:
            return _encode(_line(entry, serial))
        key = (id(request), id(record), status)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (request, record, _frame(entry))
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
        second = int(instant)
        return known[2] % (_stamp_bytes(second), (instant - second) * 1000, sent, serial.encode())


def _frame(entry: Entry) -> bytes:
    """The line with places for the time, milliseconds, bytes and the id."""
    line = _line((0.0, *entry[1:4], 0, 0.0), "0")
    text = _encode(line).replace(b"%", b"%%")
    _, _, rest = text.partition(b'Z"')
    before, _, after = rest.rpartition(b'"bytes":0,"seconds":0.0')
    body = after.removesuffix(b'"0"}')
    return b'{"time":"%b.%03dZ"' + before + b'"bytes":%d,"seconds":0.0' + body + b'"%b"}'


def _logfmt(entry: Entry, serial: str) -> bytes:
    parts = msgspec.to_builtins(_line(entry, serial)).items()
    return " ".join(f"{name}={_value(value)}" for name, value in parts).encode()


def _value(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else msgspec.json.encode(text).decode()


def _combined(entry: Entry, serial: str) -> bytes:
    instant, request, _, status, sent, _ = entry
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(instant))
    what = _plain(f"{request.method.decode('latin-1')} {masked(request.target)}")
    return f'{request.client or "-"} - - [{stamp}] "{what} HTTP/1.1" {status} {sent}'.encode()


def _pretty(entry: Entry, serial: str) -> bytes:
    _, request, record, status, _, seconds = entry
    words = f"{status} {record.cache:<9} {seconds * 1000:8.1f} ms  "
    what = f"{request.method.decode('latin-1')} {masked(request.target)}"
    return f"{words}{_plain(what)}  [{record.rule}]".encode()


def _plain(text: str) -> str:
    return "".join(one if _is_plain(one) else f"\\x{ord(one):02x}" for one in text)


def _is_plain(one: str) -> bool:
    return one.isprintable() and one != '"'


_FORMS: dict[str, Callable[[Entry, str], bytes]] = {
    "logfmt": _logfmt,
    "combined": _combined,
    "pretty": _pretty,
}
