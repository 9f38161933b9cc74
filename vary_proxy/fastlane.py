"""Answers from hot.py before the server's own machinery: exactly these bytes, or "not mine".

It takes whole, body-less requests in the plainest form there is, and only while the
connection is otherwise idle with nothing unread: so both lanes see the same beginnings and
ends of messages. Header lines repeat from request to request: hotlines.py spares reading
them again, and hotviews.py asking again what answers them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from vary_proxy.core.forwarding import is_told
from vary_proxy.core.message import Buffer, Fields, Request
from vary_proxy.core.wire import HeadLimits
from vary_proxy.hot import WITH_COOKIE, Hot
from vary_proxy.hotanswers import Line
from vary_proxy.hotlines import CLOSE, CROWDED, MOST_FIELDS, Blocks, Lines, read
from vary_proxy.hotviews import LARGEST, Form, Shot, Shots, Views
from vary_proxy.observation.observing import Observers

_LONGEST_HEAD = 8192
_MOST_AT_ONCE = 64 * 1024  # bytes of answers to one packet of pipelined requests
_HEAD = 1024  # bytes that a response head counts for
# What stands before it differs little from request to request, and what comes after it.
_REFERER = b"\r\nReferer: "
_ALWAYS = frozenset((b"host", b"traceparent"))  # the latter for the log
_OLD = b" HTTP/1.0"
_LAST, _NOT_LAST = b"Connection: close\r\n", b"Connection: keep-alive\r\n"
_LONGEST_KEY = 1024  # of a form that is worth remembering
_MOST_ASKED = 16  # requests remembered for one first line, as observers are told of them


class Out(Protocol):
    def send(self, wire: bytes) -> None: ...

    def write(self, buffers: Sequence[Buffer]) -> None: ...

    def end(self) -> None:
        """What was written is the last of this connection."""


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
        self._lines = Lines(self._is_watched)
        self._said = self._lines.__getitem__
        self._blocks = Blocks(self._lines)
        self._block = self._blocks.__getitem__
        self._views = Views(hot, self._observers, clock)
        self._find = self._views.find
        self._now = 0.0
        self._longest_head, self._most_lines = _LONGEST_HEAD, MOST_FIELDS
        self._given = 0  # bytes of the last answer that was no view's
        self._followed = False  # by more than the request that is looked at
        self._forget()
        hot.on_watch.append(self._forget)
        self.settle = self._views.settle

    def bound(self, limits: HeadLimits) -> None:
        """Take no head whose size the long way would look at twice by *limits*."""
        self._longest_head = min(_LONGEST_HEAD, limits.head, limits.line)
        self._most_lines = min(MOST_FIELDS, limits.fields)
        self._blocks.clear()
        self._blocks.most_lines = self._most_lines // 2

    def take(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """Answer the requests that *data* begins with; how many bytes of it they were."""
        if len(data) > self._longest_head or not data.endswith(b"\r\n\r\n"):
            return self._pipeline(data, out, scheme, client)
        first, _, rest = data.partition(b"\r\n")
        upper, referred, rest = rest.partition(_REFERER)
        block = self._block(upper)
        origin = block.origin
        if referred:
            page, _, rest = rest.partition(b"\r\n")
            lower = self._block(rest)
            form: Form = (scheme, block.key, self._said(b"Referer: " + page), lower.key)
            origin = lower.origin or origin
        else:
            form = (scheme, block.key)
        shots = self._find(form) if origin is None else self._judged(form, origin, first)
        shot = None if shots is None else shots.get(first)
        if shots is None or shot is None:
            return self._answer(data, form, first, origin, out, client)
        now = self._clock()
        if now < self._now:
            self._views.stepped_back()
        self._now = now
        if now >= shot.until or shot.slot.resource is not shot.resource:
            shot = self._views.renewed(shots, first)
            if shot is None:
                return 0
        if not shot.count:
            self._views.first(shot)
        shot.count += 1
        if self._observers.each:
            self._tell(shot, form, first, origin, client)
        if shot.after is None:
            out.send(shot.wire)
        else:
            out.send(b"".join((shot.wire, origin or b"", shot.after)))
        return len(data)

    def _judged(self, form: Form, origin: bytes, first: bytes) -> Shots | None:
        """What requests of this *form* get, by what the rule of *first* makes of the *origin*."""
        for judge in self._views.judges:
            shots = self._find((*form, judge[origin]))
            if shots is not None and first in shots:
                return shots
        return self._find((*form, origin))

    def _pipeline(self, data: bytes, out: Out, scheme: bytes, client: str) -> int:
        """As ``take``, for what is anything but one whole request.

        Only until enough is on its way: the rest waits for the client, and others have their
        turn.
        """
        taken = given = 0
        while (end := data.find(b"\r\n\r\n", taken) + 4) > 3 and given < _MOST_AT_ONCE:
            if end - taken > self._longest_head or end - taken == len(data):
                break
            self._given = 0
            self._followed = end < len(data)
            if not self.take(data[taken:end], out, scheme, client):
                break
            given += _HEAD + max(LARGEST, self._given)
            taken = end
        self._followed = False
        return taken

    def _answer(
        self,
        data: bytes,
        form: Form,
        first: bytes,
        origin: bytes | None,
        out: Out,
        client: str,
    ) -> int:
        """As ``take``, for a *form* that nothing is known for."""
        if self._views.recall(form, origin, first):
            return self.take(data, out, scheme=form[0], client=client)
        scheme, *keys = form
        key = b"".join(keys)
        found = read(key, origin)
        if found is None:
            return self._pipeline(data, out, scheme, client)
        if data.count(b"\r\n") > self._most_lines + 2:
            return 0
        more = _more(data, first, found)
        if more is _LAST and self._followed:
            return 0  # it takes a while to part from who is still sending
        own = self._tells(found, client) or bool(more) or len(key) > _LONGEST_KEY or CROWDED in key
        line = self._hot.find(scheme, found.pop(b"host"), _as_new(first))
        if line is None:
            return 0
        if WITH_COOKIE in found and b"cookie" in line.names:
            own = True  # who else sends one may get something else
            found[b"cookie"] = _cookie(data)
        given = self._hot.answer(line, found)
        if given is None:
            return 0
        out.write(given.buffers(origin, more))
        if more is _LAST:
            out.end()
        request = _asked(line, first, found, origin, client)
        self._observers.tell(request, given.reply, given.length, 0.0)
        if not own:
            self._views.keep(form, line, first, found, given, request)
        self._given = given.length
        return len(data)

    def _tells(self, found: dict[bytes, bytes], client: str) -> bool:
        """Whether one proxy tells the next something in *found*; what is not believed is gone."""
        if self._told.isdisjoint(found):
            return b"traceparent" in found
        if not self._trusted(client):
            for name in self._told:
                found.pop(name, None)
        return True

    def _tell(
        self, shot: Shot, form: Form, first: bytes, origin: bytes | None, client: str
    ) -> None:
        line = shot.line
        if shot.resource is None:  # one for many targets, and perhaps hosts
            found = read(b"".join(form[1:]), None) or {}
            line = self._hot.find(form[0], found.get(b"host", b""), first) or line
        request = _asked(line, first, shot.found, origin, client)
        self._observers.tell_each(request, shot.reply, shot.length)

    def _is_watched(self, name: bytes) -> bool:
        return name in _ALWAYS or name in self._hot.watched

    def _forget(self) -> None:
        """Other fields are of interest than before."""
        self._told = frozenset(filter(is_told, self._hot.watched))
        self._views.forget()
        self._lines.clear()
        self._blocks.clear()


def _cookie(data: bytes) -> bytes:
    """The value of the only Cookie line in the head *data*."""
    for line in data.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"cookie":
            return value.strip(b" \t")
    return b""


def _more(data: bytes, first: bytes, found: dict[bytes, bytes]) -> bytes:
    """What a reply says of the connection, if anything (RFC 9112 §9.3)."""
    if found.get(b"connection", b"").lower() == CLOSE:
        return _LAST
    if not first.endswith(_OLD):
        return b""
    # If there is such a line it says keep-alive: hotlines.py takes no other.
    return _NOT_LAST if b"\r\nconnection:" in data.lower() else _LAST


def _as_new(first: bytes) -> bytes:
    """The first line by which ``hot`` knows what it asks for."""
    return first[:-1] + b"1" if first.endswith(_OLD) else first


def _asked(
    line: Line, first: bytes, found: dict[bytes, bytes], origin: bytes | None, client: str
) -> Request:
    """The request as observers are told of it: with what they may look at."""
    version = (1, 0) if first.endswith(_OLD) else (1, 1)
    told = (client, origin, found.get(b"traceparent"), version)
    request = line.asked.get(told)
    if request is None:
        pairs = ((b"origin", origin), (b"traceparent", told[2]))
        fields = Fields(tuple((name, value) for name, value in pairs if value is not None))
        request = replace(line.request, fields=fields, version=version, client=client)
        if len(line.asked) >= _MOST_ASKED:
            line.asked.clear()
        line.asked[told] = request
    return request
