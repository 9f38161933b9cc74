"""Requests that come again in the same form, with the very bytes that answer them.

A form is a first line and all header lines that are of interest, in their order: of a browser
that loads the pictures of a page, few differ in more than their targets. A view is what
``hot.answer`` gave to one form, whole and in one piece. It is given again for as long as Age
and ttl in it are right, a second at most, and only while its resource is still the same
object in the store; then ``hot.answer`` is asked again, so nothing is decided here.

Those who only count are told once a second how often each view was given.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from vary_proxy.core.message import Reply, Request
from vary_proxy.core.stored import Resource
from vary_proxy.hot import Answer, Given, Hot, Line
from vary_proxy.hotheads import Edge, Head
from vary_proxy.observation.observing import Observers
from vary_proxy.store.slot import Slot

LARGEST = 2048  # bytes of content that are worth a copy of their own
_LATE = 0.98  # part of a second after which it is counted

Section = tuple[tuple[bytes, bytes], ...]  # names and values of the lines of interest
Form = tuple[bytes, bytes, Section]  # scheme, first line, and the rest


class View:
    """``wire`` answers one form until ``until``, while ``slot`` holds ``resource``."""

    __slots__ = (
        "answer", "content", "count", "found", "head", "length", "line", "reply", "request",
        "resource", "slot", "until", "wire",
    )  # fmt: skip

    def __init__(self, line: Line, found: dict[bytes, bytes], request: Request) -> None:
        self.line = line
        self.found = found
        self.request = request  # as those who count are told of it
        self.count = 0  # times given since they were told
        self.wire = b""
        self.until = 0.0
        self.slot: Slot
        self.resource: Resource | None
        self.reply: Reply
        self.length = 0
        self.answer: Answer | Edge
        self.head: Head | Edge | None
        self.content = b""  # what follows the head

    def take(self, given: Given) -> None:
        buffers, self.reply, self.length, self.until, self.answer, self.head = given
        self.slot, self.resource = self.answer.slot, self.answer.resource
        self.content = b"".join(buffers[1:])
        self.wire = b"".join((buffers[0], self.content))


class Views:
    """*clock* gives Unix seconds."""

    def __init__(self, hot: Hot, observers: Observers, clock: Callable[[], float]) -> None:
        self._hot = hot
        self._observers = observers
        self._clock = clock
        self._views: OrderedDict[Form, View] = OrderedDict()
        self._counted: list[View] = []
        self._timer: asyncio.TimerHandle | None = None
        self.find = self._views.get

    def keep(
        self, form: Form, line: Line, found: dict[bytes, bytes], given: Given, request: Request
    ) -> None:
        """Give *given* again to requests of this *form*."""
        if given[2] > LARGEST:
            return
        view = self._views[form] = View(line, found, request)
        view.take(given)
        if len(self._views) > self._hot.most:
            self._views.popitem(last=False)

    def renewed(self, form: Form, view: View) -> bool:
        """Whether *view* could be brought up to date; else it is no more."""
        now, answer, head = self._clock(), view.answer, view.head
        if head is not None and self._hot.holds(answer, now):
            view.wire = head.at(now, answer.born, answer.ends) + view.content
            view.until = head.until
            return True
        given = self._hot.answer(view.line, view.found)
        if given is None or given[2] > LARGEST:
            self._views.pop(form, None)
            return False
        if given[1] is not view.reply:
            self.tell(view)  # what it was until now
        view.take(given)
        return True

    def first(self, view: View) -> None:
        """*view* is about to be given for the first time since it was told of."""
        self._counted.append(view)
        if self._timer is None:
            wait = (_LATE - self._clock()) % 1.0
            self._timer = asyncio.get_running_loop().call_later(wait, self.settle)

    def settle(self) -> None:
        """Tell those who count what there is to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._counted = self._counted, []
        for view in counted:
            self.tell(view)

    def tell(self, view: View) -> None:
        count, view.count = view.count, 0
        if count:
            self._observers.tell_counting(view.request, view.reply, view.length, count)

    def forget(self) -> None:
        self.settle()
        self._views.clear()
