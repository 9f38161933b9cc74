"""Answers from hot.py before the server's own machinery: exactly these bytes, or "not mine".

It takes whole, body-less requests in the plainest form there is, and only while the
connection is otherwise idle with nothing unread: so both lanes see the same beginnings and
ends of messages. Header lines repeat from request to request; a bounded table of lines
already read and found well-formed spares reading them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from typing import Protocol

from vary_proxy.core.forwarding import is_told
from vary_proxy.core.message import Buffer, Fields, Reply, Request
from vary_proxy.core.wire import Refused, read_head
from vary_proxy.hot import DECISIVE, WITH_COOKIE, Hot, Line

_LONGEST_HEAD = 8192
_MOST_FIELDS = 64
_MOST_LINES = 8192  # in the table
_LONGEST_LINE = 1024
_MOST_AT_ONCE = 64 * 1024  # bytes of answers to one packet of pipelined requests
_HEAD = 1024  # bytes that a response head counts for

Observer = Callable[[Request, Reply, int, float], None]
_Read = tuple[bytes, bytes]  # name and value of a watched field
_PLAIN: _Read = (b"", b"plain")  # of no interest
_LONG_WAY: _Read = (b"", b"")  # whoever sends this goes the long way
_ALWAYS = frozenset((b"host", b"traceparent"))  # the latter for the log
_MOST_ASKED = 16  # requests remembered for one first line, as observers are told of them


class Out(Protocol):
    def write(self, buffers: Sequence[Buffer]) -> None: ...


class FastLane:
    """*observe* is called once a request, as long as there is anybody in *observers*.

    *trusted* says whose forwarding fields are believed.
    """

    def __init__(
        self,
        hot: Hot,
        observe: Observer,
        observers: Sized = (),
        trusted: Callable[[str], bool] = lambda client: False,
    ) -> None:
        self._trusted = trusted
        self._told: frozenset[bytes] = frozenset()  # watched fields that strangers may not set
        self._hot = hot
        self._observe = observe
        self._observers = observers
        self._lines: dict[bytes, _Read] = {}
        self._forget()
        hot.on_watch.append(self._forget)

    def serve(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """Answer the requests that *data* begins with; how many bytes of it they were.

        Those of a pipeline only until enough is on its way: the rest waits for the client, and
        others have their turn.
        """
        end = data.find(b"\r\n\r\n")
        if end + 4 == len(data):
            return end + 4 if self._one(data[:end], out, scheme, client) else 0
        taken = given = 0
        while end >= 0 and given < _MOST_AT_ONCE:
            one = self._one(data[taken:end], out, scheme, client)
            if not one:
                break
            given += one
            taken = end + 4
            end = data.find(b"\r\n\r\n", taken)
        return taken

    def _one(self, head: bytes, out: Out, scheme: bytes, client: str) -> int:
        """Roughly the bytes that answer the request of *head*; 0: not mine."""
        lines = head.split(b"\r\n")
        if len(head) > _LONGEST_HEAD or len(lines) > _MOST_FIELDS:
            return 0
        first = lines[0]
        lines[0] = b""  # read as a line of no interest: what follows is spared a copy
        found: dict[bytes, bytes] = {}
        # One pass in C over a dozen lines costs half of a loop over them.
        for at, read in enumerate(map(self._lines.get, lines)):
            if read is _PLAIN:
                continue
            if read is None:
                read = self._read(lines[at])
                if read is _PLAIN:
                    continue
            name, value = read
            if name in found or not name:
                return 0
            found[name] = value
        host = found.pop(b"host", None)
        if host is None:
            return 0
        if not self._told.isdisjoint(found) and not self._trusted(client):
            for name in self._told:
                found.pop(name, None)
        if b"cookie" in found:
            found[WITH_COOKIE] = b"1"
        hot = self._hot
        answers = hot.find(scheme, host, first)
        given = None if answers is None else hot.answer(answers, found)
        if answers is None or given is None:
            return 0
        out.write(given[0])
        if self._observers:
            self._observe(_asked(answers, found, client), given[1], given[2], 0.0)
        return _HEAD + given[2]

    def _read(self, line: bytes) -> _Read:
        """What *line* says, remembered."""
        if len(line) > _LONGEST_LINE:
            return _LONG_WAY
        try:
            # The one strict reader of both lanes judges it, in a request made for it.
            named = b"" if line[:5].lower() == b"host:" else b"host: a\r\n"
            request = read_head(b"GET / HTTP/1.1\r\n" + named + line).request
        except Refused:
            return _LONG_WAY
        name, value = request.fields.items[-1]
        if name in DECISIVE or (name == b"connection" and value.lower() != b"keep-alive"):
            return _LONG_WAY
        if name == b"cookie":
            return name, value  # everybody's own, and nothing to be kept in a table
        watched = name in _ALWAYS or name in self._hot.watched
        read = (name, value) if watched else _PLAIN
        if len(self._lines) >= _MOST_LINES:
            self._forget()
        self._lines[line] = read
        return read

    def _forget(self) -> None:
        self._told = frozenset(filter(is_told, self._hot.watched))
        self._lines.clear()
        self._lines[b""] = _PLAIN


def _asked(line: Line, found: dict[bytes, bytes], client: str) -> Request:
    """The request as observers are told of it: with what they may look at."""
    told = (client, found.get(b"origin"), found.get(b"traceparent"))
    request = line.asked.get(told)
    if request is None:
        names = (b"origin", b"traceparent")
        fields = Fields(tuple((name, found[name]) for name in names if name in found))
        request = replace(line.request, fields=fields, version=(1, 1), client=client)
        if len(line.asked) >= _MOST_ASKED:
            line.asked.clear()
        line.asked[told] = request
    return request
