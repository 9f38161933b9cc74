"""Answers from hot.py before the server's own machinery: exactly these bytes, or "not mine".

It takes whole, body-less requests in the plainest form there is, and only while the
connection is otherwise idle with nothing unread: so both lanes see the same beginnings and
ends of messages. Header lines repeat from request to request; a bounded table of lines
already read and found well-formed spares reading them again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from vary_proxy.core.forwarding import is_told
from vary_proxy.core.message import Buffer, Fields, Request
from vary_proxy.core.wire import HeadLimits, Refused, read_head
from vary_proxy.hot import DECISIVE, WITH_COOKIE, Hot, Line
from vary_proxy.hotviews import Form, View, Views
from vary_proxy.observation.observing import Observers

_LONGEST_HEAD = 8192
_MOST_FIELDS = 64
_MOST_LINES = 8192  # in the table
_MOST_VALUES = 512  # of one name there; what has more has a new one each time
_LONGEST_LINE = 1024
_MOST_AT_ONCE = 64 * 1024  # bytes of answers to one packet of pipelined requests
_HEAD = 1024  # bytes that a response head counts for

# Fields of which the strict reader looks at more than the characters.
_JUDGED_BY_VALUE = frozenset((b"host", b"connection"))
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]{0,1024}+")
_Read = tuple[bytes, bytes] | None  # name and value of a watched field; None: of no interest
_LONG_WAY = (b"", b"")  # whoever sends this goes the long way
_EMPTY = (b"", b"empty")  # the line that ends a head
_ALWAYS = frozenset((b"host", b"traceparent"))  # the latter for the log
# Everybody's own: not worth remembering what answered a request that carries one.
_OWN = frozenset((b"cookie", b"traceparent"))
_MOST_ASKED = 16  # requests remembered for one first line, as observers are told of them


class Out(Protocol):
    def send(self, wire: bytes) -> None: ...

    def write(self, buffers: Sequence[Buffer]) -> None: ...


class _Lines(dict[bytes, _Read]):
    """Header lines already read; *read* judges one that is new."""

    def __init__(self, read: Callable[[bytes], _Read]) -> None:
        super().__init__()
        self._judge = read

    def __missing__(self, line: bytes) -> _Read:
        return self._judge(line)


class FastLane:
    """*observers* are told of every request. *trusted* says whose forwarding fields are believed.

    *clock* gives Unix seconds.
    """

    def __init__(
        self,
        hot: Hot,
        observers: Observers | None = None,
        trusted: Callable[[str], bool] = lambda client: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._trusted = trusted
        self._told: frozenset[bytes] = frozenset()  # watched fields that strangers may not set
        self._hot = hot
        self._observers = Observers() if observers is None else observers
        self._clock = clock
        self._lines = _Lines(self._read)
        self._said = self._lines.__getitem__
        self._names: dict[bytes, int] = {}  # how many lines of each are in the table
        self._views = Views(hot, self._observers, clock)
        self._longest_head, self._most_lines = _LONGEST_HEAD, _MOST_FIELDS
        self._forget()
        hot.on_watch.append(self._forget)
        self.settle = self._views.settle

    def bound(self, limits: HeadLimits) -> None:
        """Take no head whose size the long way would look at twice by *limits*."""
        self._longest_head = min(_LONGEST_HEAD, limits.head, limits.line)
        self._most_lines = min(_MOST_FIELDS, limits.fields)

    def take(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """Answer the requests that *data* begins with; how many bytes of it they were."""
        if len(data) > self._longest_head or not data.endswith(b"\r\n\r\n"):
            return self._pipeline(data, out, scheme, client)
        lines = data.split(b"\r\n")
        first = lines.pop(0)
        if len(lines) > self._most_lines:
            return self._pipeline(data, out, scheme, client)
        # One pass in C over a dozen lines costs a fraction of a loop. An empty line is of
        # interest: a form has two, and they are the last, as was just seen.
        form = (scheme, first, tuple(filter(None, map(self._said, lines))))
        view = self._views.find(form)
        if view is None:
            if form[2].count(_EMPTY) != 2:
                return self._pipeline(data, out, scheme, client)
            return len(data) if self._answer(form, out, client) else 0
        due = self._clock() >= view.until or view.slot.resource is not view.resource
        if due and not self._views.renewed(form, view):
            return 0
        if not view.count:
            self._views.first(view)
        view.count += 1
        if self._observers.each:
            self._tell(view, client)
        out.send(view.wire)
        return len(data)

    def _pipeline(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """As ``take``, for what is anything but one whole request.

        Only until enough is on its way: the rest waits for the client, and others have their
        turn.
        """
        end = data.find(b"\r\n\r\n")
        taken = given = 0
        while end >= 0 and given < _MOST_AT_ONCE:
            lines = data[taken:end].split(b"\r\n")
            if end - taken > self._longest_head or len(lines) > self._most_lines:
                break
            first = lines.pop(0)
            read = tuple(filter(None, map(self._said, lines)))
            one = self._answer((scheme, first, (*read, _EMPTY, _EMPTY)), out, client)
            if not one:
                break
            given += one
            taken = end + 4
            end = data.find(b"\r\n\r\n", taken)
        return taken

    def _answer(self, form: Form, out: Out, client: str) -> int:
        """Roughly the bytes that answer the request of this *form*; 0: not mine."""
        scheme, first, read = form
        found = dict(read[:-2])
        host = found.pop(b"host", None)
        if host is None or b"" in found or len(found) + 3 != len(read):
            return 0
        own = not _OWN.isdisjoint(found)
        if not self._told.isdisjoint(found):
            own = True
            if not self._trusted(client):
                for name in self._told:
                    found.pop(name, None)
        if b"cookie" in found:
            found[WITH_COOKIE] = b"1"
        line = self._hot.find(scheme, host, first)
        given = None if line is None else self._hot.answer(line, found)
        if line is None or given is None:
            return 0
        out.write(given[0])
        request = _asked(line, found, client)
        self._observers.tell(request, given[1], given[2], 0.0)
        if not own:
            self._views.keep(form, line, found, given, request)
        return _HEAD + given[2]

    def _tell(self, view: View, client: str) -> None:
        request = _asked(view.line, view.found, client)
        self._observers.tell_each(request, view.reply, view.length)

    def _read(self, line: bytes) -> _Read:
        """What *line* says, remembered unless there are too many like it."""
        spelled, _, value = line.partition(b":")
        often = self._names.get(spelled, 0)
        if often >= _MOST_VALUES and _VALUE.fullmatch(value) is not None:
            # The strict reader has judged the name long ago, and would say the same of the value.
            name = spelled.lower()
            return (name, value.strip(b" \t")) if self._is_watched(name) else None
        if len(line) > _LONGEST_LINE:
            return _LONG_WAY
        try:
            # The one strict reader of both lanes judges it, in a request made for it.
            named = b"" if spelled.lower() == b"host" else b"host: a\r\n"
            request = read_head(b"GET / HTTP/1.1\r\n" + named + line).request
        except Refused:
            return _LONG_WAY
        name, value = request.fields.items[-1]
        if name in DECISIVE or (name == b"connection" and value.lower() != b"keep-alive"):
            return _LONG_WAY
        if name == b"cookie":
            return name, value  # everybody's own, and nothing to be kept in a table
        read = (name, value) if self._is_watched(name) else None
        if name not in _JUDGED_BY_VALUE:
            self._names[spelled] = often + 1
        if len(self._lines) >= _MOST_LINES:
            self._start()
        self._lines[line] = read
        return read

    def _is_watched(self, name: bytes) -> bool:
        return name in _ALWAYS or name in self._hot.watched

    def _forget(self) -> None:
        """Other fields are of interest than before."""
        self._told = frozenset(filter(is_told, self._hot.watched))
        self._views.forget()
        self._start()

    def _start(self) -> None:
        """Begin the table of lines anew."""
        self._names.clear()
        self._lines.clear()
        self._lines[b""] = _EMPTY


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
