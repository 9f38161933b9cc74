"""Requests that come again in the same form, with the very bytes that answer them.

A form is a first line and what the header lines say that is of interest, in their order, but
for the value of ``Origin``: of a browser that loads the pictures of a page, few requests differ
in more than their targets. A view leads from one form to a shot: a head of ``hot.answer`` and
what follows it, in one piece or around the place of an ``Origin``. It is given again for as long
as Age and ttl in it are right, a second at most, and only while its resource is still the same
object in the store; then ``hot`` is asked again, so nothing is decided here.

Those who only count are told once a second how often each shot was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vary_proxy.core.message import Request
from vary_proxy.core.stored import Resource
from vary_proxy.hot import Hot
from vary_proxy.hotanswers import Given, Line
from vary_proxy.hotheads import Edge, Head
from vary_proxy.hotjudges import Judge
from vary_proxy.observation.observing import Observers
from vary_proxy.store.slot import Slot

LARGEST = 2048  # bytes of content that are worth a copy of their own
_LATE = 0.98  # part of a second after which it is counted
_FORMS = 4  # for each answer that may be known

Form = tuple[bytes, ...]  # scheme, keys of all lines but the first, what stands for an Origin


class _Warm:
    """What is looked at for every request, side by side in memory."""

    __slots__ = ("after", "count", "resource", "slot", "until", "wire")


class Shot(_Warm):
    """``wire`` answers until ``until``, while ``slot`` holds ``resource``.

    Where ``after`` is not None, the request's ``Origin`` comes between them. ``found`` are the
    values of one request that is so answered, and ``line`` knows the answer.
    """

    __slots__ = ("answer", "content", "found", "head", "length", "line", "reply", "request")

    def __init__(
        self, given: Given, line: Line, found: dict[bytes, bytes], request: Request
    ) -> None:
        self.line, self.found = line, found
        self.request = request  # as those who count are told of it
        self.reply, self.length = given.reply, given.length
        self.answer, self.head = given.answer, given.made
        self.slot: Slot = self.answer.slot
        self.resource: Resource | None = self.answer.resource
        self.count = 0  # times given since they were told
        self.content = b"".join(given.chunks)
        self.wire = b""
        self.after: bytes | None = None
        self._take(given.before, given.after, given.until)

    def renew(self, head: Head | Edge, now: float) -> None:
        """Bring it up to date by its *head*; its answer still holds."""
        head.at(now, self.answer.born, self.answer.ends)
        self._take(head.before, head.after, head.until)

    def _take(self, before: bytes, after: bytes | None, until: float) -> None:
        self.until = until
        if after is None:
            self.wire, self.after = before + self.content, None
        else:
            self.wire, self.after = before, after + self.content


Shots = dict[bytes, Shot]  # by the first line


class Views:
    """*clock* gives Unix seconds.

    There are two generations: what is asked for again after the younger began moves into it,
    and when that is full the elder is dropped.
    """

    def __init__(self, hot: Hot, observers: Observers, clock: Callable[[], float]) -> None:
        self._hot = hot
        self._observers = observers
        self._clock = clock
        self._young: dict[Form, Shots] = {}
        self._elder: dict[Form, Shots] = {}
        self._held = 0  # shots among the young
        self.judges: list[Judge] = []  # of answers that are held
        self._counted: list[Shot] = []
        self._timer: asyncio.TimerHandle | None = None
        self.find = self._young.get

    def keep(
        self,
        form: Form,
        line: Line,
        first: bytes,
        found: dict[bytes, bytes],
        given: Given,
        request: Request,
    ) -> None:
        """Give *given* again to requests of this *form* and *first* line."""
        if given.length > LARGEST:
            return
        origin = found.get(b"origin")
        if origin is not None and line.judge is not None:
            origin = line.judge[origin]
            if all(line.judge is not judge for judge in self.judges):
                self.judges.append(line.judge)
        name = form if origin is None else (*form, origin)
        self._put(name, first, _shot(given, line, found, request))

    def _put(self, name: Form, first: bytes, shot: Shot) -> None:
        if self._held >= _FORMS // 2 * self._hot.most:
            self._elder = dict(self._young)
            self._young.clear()
            self._held = 0
        shots = self._young.setdefault(name, {})
        self._held += first not in shots
        shots[first] = shot

    def recall(self, form: Form, origin: bytes | None, first: bytes) -> bool:
        """Whether there is an elder shot; it is among the young now."""
        names = [form]
        if origin is not None:
            names = [(*form, one) for one in (*[judge[origin] for judge in self.judges], origin)]
        for name in names:
            shot = self._elder.get(name, {}).pop(first, None)
            if shot is not None:
                self._put(name, first, shot)
                return True
        return False

    def renewed(self, shots: Shots, first: bytes) -> Shot | None:
        """The shot for *first*, up to date; None where there is none any more."""
        now, shot = self._clock(), shots[first]
        if shot.head is not None and self._hot.holds(shot.answer, now):
            shot.renew(shot.head, now)
            return shot
        given = self._hot.answer(shot.line, shot.found)
        if given is None or given.length > LARGEST:
            del shots[first]
            self._held -= 1
            return None
        shots[first] = _shot(given, shot.line, shot.found, shot.request)
        return shots[first]

    def stepped_back(self) -> None:
        """The clock was: nothing is right until it has been made anew."""
        for shots in (*self._young.values(), *self._elder.values()):
            for shot in shots.values():
                shot.until = 0.0

    def first(self, shot: Shot) -> None:
        """*shot* is about to be given for the first time since it was told of."""
        self._counted.append(shot)
        if self._timer is None:
            wait = (_LATE - self._clock()) % 1.0
            self._timer = asyncio.get_running_loop().call_later(wait, self.settle)

    def settle(self) -> None:
        """Tell those who count what there is to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._counted = self._counted, []
        for shot in counted:
            count, shot.count = shot.count, 0
            if count:
                self._observers.tell_counting(shot.request, shot.reply, shot.length, count)

    def forget(self) -> None:
        self.settle()
        self._young.clear()
        self._elder.clear()
        self.judges.clear()
        self._held = 0


def _shot(given: Given, line: Line, found: dict[bytes, bytes], request: Request) -> Shot:
    """What *given* is given by; all forms of one answer share it."""
    made = Shot(given, line, found, request)
    if given.made is None:
        return made
    if not isinstance(given.made.shot, Shot):
        given.made.shot = made
    shared: Shot = given.made.shot
    shared.renew(given.made, given.made.since)
    return shared
