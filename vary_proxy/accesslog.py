"""One line per request, at its end: batched, and never blocking the event loop.

Lines are gathered in memory and handed to a thread that writes them; when it cannot keep up
(a full pipe, a slow disk) lines are dropped and counted rather than requests delayed.
Signatures and credentials in queries are masked; control characters are escaped.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import msgspec

from vary_proxy.core.message import Reply, Request

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 65536  # lines
_SECRET = re.compile(rb"(?i)([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid)=)[^&]*")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

Line = dict[str, object]


class AccessLog:
    """To be called as an observer. *path* None writes to stdout."""

    def __init__(self, form: str, path: str | None = None) -> None:
        self.dropped = 0
        self._render = _FORMS[form]
        self._out: TextIO = (
            sys.stdout if path is None else open(path, "a", encoding="utf-8")  # noqa: SIM115  kept
        )
        self._owns = path is not None
        self._lines: deque[Line] = deque()
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
        self._serial += 1
        line = _line(request, reply, sent, seconds)
        line["id"] = self._prefix + f"{self._serial:x}"
        self._lines.append(line)

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
            batch.append(self._render(self._lines.popleft()))
        if batch:
            try:
                self._out.write("\n".join(batch) + "\n")
                self._out.flush()
            except (OSError, ValueError):  # nobody reads any more
                self.dropped += len(batch)


def masked(target: bytes) -> str:
    """A request target as it may be shown: signatures masked, odd bytes escaped."""
    shown = _SECRET.sub(rb"\1***", target)
    return shown.decode("ascii", "backslashreplace")


def _line(request: Request, reply: Reply, sent: int, seconds: float) -> Line:
    record = reply.record
    trace = _TRACE.fullmatch(request.fields.get(b"traceparent") or b"")
    line: Line = {
        "time": time.time(),
        "client": request.client,
        "method": request.method.decode("latin-1"),
        "host": request.authority.decode("latin-1"),
        "path": masked(request.target),
        "status": reply.status,
        "bytes": sent,
        "seconds": round(seconds, 6),
        "rule": record.rule,
        "cache": record.cache,
    }
    optional = {
        "trace": trace[1].decode() if trace is not None else "",
        "reason": record.reason,
        "vary_added": ", ".join(name.decode("latin-1") for name in record.vary_added),
        "cors": record.cors,
        "cors_reason": record.cors_reason,
        "origin": record.origin,
    }
    line.update({name: value for name, value in optional.items() if value})
    return line


def _iso(line: Line) -> str:
    instant = float(str(line["time"]))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant))
    return f"{stamp}.{int(instant % 1 * 1000):03d}Z"


def _json(line: Line) -> str:
    return msgspec.json.encode({**line, "time": _iso(line)}).decode()


def _logfmt(line: Line) -> str:
    parts = ({**line, "time": _iso(line)}).items()
    return " ".join(f"{name}={_value(value)}" for name, value in parts)


def _value(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else msgspec.json.encode(text).decode()


def _combined(line: Line) -> str:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(float(str(line["time"]))))
    what = _plain(f"{line['method']} {line['path']}")
    client, status, sent = line["client"] or "-", line["status"], line["bytes"]
    return f'{client} - - [{stamp}] "{what} HTTP/1.1" {status} {sent}'


def _pretty(line: Line) -> str:
    milliseconds = float(str(line["seconds"])) * 1000
    words = f"{line['status']} {line['cache']:<9} {milliseconds:8.1f} ms  "
    return words + _plain(f"{line['method']} {line['path']}") + f"  [{line['rule']}]"


def _plain(text: str) -> str:
    return "".join(one if _is_plain(one) else f"\\x{ord(one):02x}" for one in text)


def _is_plain(one: str) -> bool:
    return one.isprintable() and one != '"'


_FORMS: dict[str, Callable[[Line], str]] = {
    "json": _json,
    "logfmt": _logfmt,
    "combined": _combined,
    "pretty": _pretty,
}
