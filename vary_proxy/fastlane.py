"""Answers from hot.py before the server's own machinery: exactly these bytes, or "not mine".

It takes whole, body-less requests in the plainest form there is, and only while the
connection is otherwise idle with nothing unread: so both lanes see the same beginnings and
ends of messages. Header lines repeat from request to request; a bounded table of lines
already read and found well-formed spares reading them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Protocol

from vary_proxy.core.message import Buffer, Fields, Pair, Reply, Request
from vary_proxy.core.wire import Refused, read_head
from vary_proxy.hot import DECISIVE, Hot

_LONGEST_HEAD = 8192
_MOST_FIELDS = 64
_MOST_LINES = 8192  # in the table
_LONGEST_LINE = 1024

Observer = Callable[[Request, Reply, int, float], None]
_Read = tuple[bytes, bytes] | None  # name and value of a watched field; None: of no interest


class Out(Protocol):
    def write(self, buffers: Sequence[Buffer]) -> None: ...


class FastLane:
    """*observe* is called once a request, as long as there is anybody in *observers*."""

    def __init__(self, hot: Hot, observe: Observer, observers: Sized = ()) -> None:
        self._hot = hot
        self._observe = observe
        self._observers = observers
        self._lines: dict[bytes, _Read] = {}
        hot.on_watch.append(self._lines.clear)

    def serve(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """Answer the requests that *data* begins with; how many bytes of it they were."""
        end = data.find(b"\r\n\r\n")
        if end + 4 == len(data):
            return end + 4 if self._one(data[:end], out, scheme, client) else 0
        taken = 0
        while end >= 0 and self._one(data[taken:end], out, scheme, client):
            taken = end + 4
            end = data.find(b"\r\n\r\n", taken)
        return taken

    def _one(self, head: bytes, out: Out, scheme: bytes, client: str) -> bool:
        lines = head.split(b"\r\n")
        if len(head) > _LONGEST_HEAD or len(lines) > _MOST_FIELDS:
            return False
        found: dict[bytes, bytes] = {}
        known = self._lines
        for at in range(1, len(lines)):
            line = lines[at]
            read = known.get(line, 0)
            if read is None:
                continue
            if read == 0:
                read = self._read(line)
                if read is None:
                    continue
                if read == 0:
                    return False
            name, value = read  # type: ignore[misc]  # 0 and None are dealt with
            if name in found:
                return False
            found[name] = value
        host = found.pop(b"host", None)
        if host is None:
            return False
        hot = self._hot
        answers = hot.find(scheme, host, lines[0])
        if answers is None or not DECISIVE.isdisjoint(found):
            return False
        given = hot.answer(answers, found)
        if given is None:
            return False
        out.write(given[0])
        if self._observers:
            self._tell(answers.request, head, given, scheme, client)
        return True

    def _read(self, line: bytes) -> _Read | int:
        """What *line* says, remembered; 0 when it is for the long way."""
        if len(line) > _LONGEST_LINE:
            return 0
        try:
            # The one strict reader of both lanes judges it, in a request made for it.
            named = b"" if line[:5].lower() == b"host:" else b"host: a\r\n"
            request = read_head(b"GET / HTTP/1.1\r\n" + named + line).request
        except Refused:
            return 0
        name, value = request.fields.items[-1]
        if name == b"connection" and value.lower() != b"keep-alive":
            return 0
        if name == b"cookie":
            value = b"1"  # that there is one is all that has a say
        watched = name == b"host" or name in self._hot.watched
        read = (name, value) if watched else None
        if len(self._lines) >= _MOST_LINES:
            self._lines.clear()
        self._lines[line] = read
        return read

    def _tell(
        self,
        learnt: Request,
        head: bytes,
        given: tuple[Sequence[Buffer], Reply, int],
        scheme: bytes,
        client: str,
    ) -> None:
        lowered = head.lower()
        pairs: list[Pair] = []
        for name in (b"origin", b"traceparent"):
            at = lowered.find(b"\r\n" + name + b":")
            if at >= 0:
                value = head[at + len(name) + 3 :].partition(b"\r\n")[0].strip(b" \t")
                pairs.append((name, value))
        fields = Fields(tuple(pairs))
        request = Request(
            learnt.method, learnt.target, fields, scheme, learnt.authority, (1, 1), client
        )
        self._observe(request, given[1], given[2], 0.0)
