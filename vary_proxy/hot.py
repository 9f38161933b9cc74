"""Hits in the form in which they go out: a projection of the store, and nothing more.

An answer is learnt when the exchange has given it, by running the very functions that made
it, with marks where Age and ttl stand. It is given again to a request that has the same
first line, the same Host and the same value for every field that had a say, while it is
fresh and its resource in the store is still the same object. Whatever else there is goes
the long way. Everything here may be forgotten at any moment, with no effect but on speed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from vary_proxy.core import freshness, ranges
from vary_proxy.core.message import Buffer, Fields, Reply, Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.core.syntax import entity_tag, http_date
from vary_proxy.hotheads import SIZE, SPAN, Edge, Head, heads
from vary_proxy.store.slot import Slot

LARGEST = 4 << 20  # bytes of a body that is handed to a connection at once
_MOST_HELD = 12288  # answers in all
_ROOM = 8192  # bytes that an answer takes at most, with the view of it
_MOST_ANSWERS = 64  # for one of them

# Fields that change what is answered beyond selecting a variant; a request with one of the
# first goes the long way, the others are part of what an answer is found by.
DECISIVE = frozenset(
    (b"authorization", b"cache-control", b"pragma", b"if-match", b"if-unmodified-since", b"te")
    + (b"if-range", b"expect", b"content-length", b"transfer-encoding", b"upgrade", b"via")
    + (b"trailer", b"max-forwards", b"vary-proxy-explain")
)
CONDITIONS = frozenset((b"if-none-match", b"if-modified-since", b"range"))
# Says that there is a cookie, where its value has no say; no field has this name.
WITH_COOKIE = b"cookie?"
_SHAPING = (b"origin", WITH_COOKIE, b"sec-fetch-mode")
_PREFLIGHT = (b"access-control-request-method", b"access-control-request-headers") + (
    b"access-control-request-private-network",
)


class Peekable(Protocol):
    """What the index needs of a store: everything at hand, without waiting."""

    def peek(self, key: bytes) -> Resource | None: ...

    def slot(self, key: bytes) -> Slot | None: ...

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> Sequence[Buffer] | None: ...


class Answer:
    """What one set of values gets: whole, unchanged, or a single range."""

    __slots__ = (
        "body",
        "born",
        "ends",
        "key",
        "modified",
        "part",
        "records",
        "resource",
        "slot",
        "tag",
        "unchanged",
        "whole",
    )

    def __init__(
        self,
        key: bytes,
        slot: Slot,
        resource: Resource,
        stored: StoredResponse,
        heads: tuple[Head, Head | None, Head | None],
        ends: float,
        reply: Reply,
    ) -> None:
        self.key = key
        self.slot = slot
        self.resource = resource
        self.body = stored.body
        self.born = stored.born
        self.ends = ends
        self.whole, self.unchanged, self.part = heads
        tag, since = stored.fields.get(b"etag"), stored.fields.get(b"last-modified")
        self.tag = None if entity_tag(tag) is None else tag
        self.modified = None if http_date(since or b"", stored.received) is None else since
        # For the log: what 200, 304 and 206 were, without their bodies; no other tier was asked.
        record = replace(reply.record, tier="")
        self.records = tuple(
            Reply(status, reply.fields, record=record) for status in (reply.status, 304, 206)
        )


class Line:
    """All answers known for one first line and Host, by the values of ``names``."""

    __slots__ = ("answers", "asked", "bodiless", "names", "request")

    def __init__(self, names: tuple[bytes, ...], request: Request) -> None:
        self.names = names
        self.request = request
        self.bodiless = request.method == b"HEAD"
        self.asked: dict[tuple[str, bytes | None, bytes | None], Request] = {}  # for observers
        self.answers: dict[tuple[bytes | None, ...], Answer | Edge] = {}


# What to write, for the log, bytes of content, until when, made of what, and with which head.
Given = tuple[Sequence[Buffer], Reply, int, float, Answer | Edge, Head | Edge | None]


class Hot:
    """*ruled* are names of fields that some rule looks at. *clock* gives Unix seconds.

    What is known takes no more than about *room* bytes, in ``most`` answers.
    """

    def __init__(
        self,
        store: Peekable,
        clock: Callable[[], float],
        ruled: Iterable[bytes] = (),
        room: int = _MOST_HELD * _ROOM,
    ) -> None:
        self.most = min(_MOST_HELD, room // _ROOM)
        self._store = store
        self._clock = clock
        self._ruled = tuple(ruled)
        self._lines: OrderedDict[tuple[bytes, bytes, bytes], Line] = OrderedDict()
        self._held = 0  # answers in all
        self.watched: set[bytes] = {
            b"cookie",
            *DECISIVE,
            *CONDITIONS,
            *_SHAPING,
            *_PREFLIGHT,
            *self._ruled,
        }
        self.on_watch: list[Callable[[], None]] = []  # told when ``watched`` has grown

    def restart(self, ruled: Iterable[bytes]) -> None:
        """Forget everything: rules have changed, and now look at the fields *ruled*."""
        self._lines.clear()
        self._held = 0
        self._ruled = tuple(ruled)
        self.watched.update(self._ruled)
        for told in self.on_watch:
            told()

    def find(self, scheme: bytes, host: bytes, line: bytes) -> Line | None:
        return self._lines.get((scheme, host, line))

    def answer(self, line: Line, found: dict[bytes, bytes]) -> Given | None:
        """What a request with the values *found* of the watched fields gets; None: not known."""
        known = line.answers.get(tuple(map(found.get, line.names)))
        if known is None:
            return None
        now = self._clock()
        if type(known) is Edge:
            wire = known.at(now, 0.0, 0.0)
            return (wire,), known.record, len(known.content), known.until, known, known
        assert isinstance(known, Answer)
        if not self.holds(known, now):
            del line.answers[tuple(map(found.get, line.names))]
            self._held -= 1
            return None
        if found and not CONDITIONS.isdisjoint(found):
            return self._conditional(line, known, found, now)
        head = known.whole.at(now, known.born, known.ends)
        length = known.body.length
        if line.bodiless or not length:
            return (head,), known.records[0], 0, known.whole.until, known, known.whole
        chunks = self._store.chunks(known.key, known.body, 0, length)
        if chunks is None:
            return None
        return (head, *chunks), known.records[0], length, known.whole.until, known, known.whole

    def holds(self, known: Answer | Edge, now: float) -> bool:
        """Whether *known* is still fresh, and what the store has; counts as a use of it."""
        if known.resource is None:
            return True
        return now < known.ends and self._store.peek(known.key) is known.resource

    def _conditional(
        self, line: Line, known: Answer, found: dict[bytes, bytes], now: float
    ) -> Given | None:
        tag = found.get(b"if-none-match")
        since = found.get(b"if-modified-since")
        wanted = found.get(b"range")
        if tag is not None or since is not None:
            same = tag == known.tag if tag is not None else since == known.modified
            if not same or known.unchanged is None or (tag is None and known.modified is None):
                return None
            head = known.unchanged.at(now, known.born, known.ends)
            return (head,), known.records[1], 0, known.unchanged.until, known, known.unchanged
        if wanted is None or known.part is None or line.bodiless:
            return None
        return self._range(known, known.part, wanted, now)

    def _range(self, known: Answer, part: Head, wanted: bytes, now: float) -> Given | None:
        asked = ranges.specs(wanted)
        if asked is None or len(asked) != 1:
            return None
        total = known.body.length
        spans = ranges.resolve(asked, total)
        if not spans:
            return None
        start, stop = spans[0].start, spans[0].stop
        chunks = self._store.chunks(known.key, known.body, start, stop)
        if chunks is None:
            return None
        head = part.at(now, known.born, known.ends)
        head = head.replace(SPAN, b"%d-%d" % (start, stop - 1), 1)
        head = head.replace(SIZE, b"%d" % (stop - start), 1)
        return (head, *chunks), known.records[2], stop - start, part.until, known, None

    # Learning

    def learn(
        self,
        request: Request,
        policy: Policy,
        key: bytes,
        stored: StoredResponse,
        fields: Fields,
        reply: Reply,
    ) -> None:
        """Take in that *request* was answered from *stored*, whose *fields* are dressed for it."""
        resource, slot = self._store.peek(key), self._store.slot(key)
        if resource is None or slot is None or stored not in resource.variants or stored.part:
            return
        if stored.body.length > LARGEST or not self._is_plain(request):
            return
        if self._store.chunks(key, stored.body, 0, stored.body.length) is None:
            return
        ends = stored.born + freshness.stored_lifetime(stored, policy.cache)
        line = self._line(request, resource.names())
        if line is not None:
            made = heads(request, stored, fields)
            self._keep(line, request, Answer(key, slot, resource, stored, made, ends, reply))

    def learn_edge(self, request: Request, reply: Reply) -> None:
        """Take in that *request* was answered by its rule alone."""
        if reply.stream is not None or reply.close or not self._is_plain(request):
            return
        line = self._line(request, ())
        if line is not None:
            self._keep(line, request, Edge(reply))

    def _is_plain(self, request: Request) -> bool:
        named = request.fields.names()
        if request.version != (1, 1) or request.has_body or not DECISIVE.isdisjoint(named):
            return False
        told = sum(len(value) for name, value in request.fields.items if name in self.watched)
        return CONDITIONS.isdisjoint(named) and told <= _ROOM // 2

    def _line(self, request: Request, selecting: tuple[bytes, ...]) -> Line | None:
        wanted = {*selecting, *_SHAPING, *self._ruled}
        if request.method == b"OPTIONS":
            wanted |= {*_PREFLIGHT}
        if not wanted <= self.watched:
            self.watched |= wanted
            for told in self.on_watch:
                told()
        first = b"%b %b HTTP/1.1" % (request.method, request.target)
        name = (request.scheme, request.authority, first)
        line = self._lines.get(name)
        names = tuple(sorted(wanted))
        if line is None or line.names != names:
            if line is not None:
                self._held -= len(line.answers)
            line = self._lines[name] = Line(names, request)
        return line

    def _keep(self, line: Line, request: Request, answer: Answer | Edge) -> None:
        found: dict[bytes, bytes] = {}
        for name, value in request.fields.items:
            if name in self.watched:
                if name in found:
                    return  # lines of one field are joined on the long way only
                found[name] = value
        if b"cookie" in found:
            found[WITH_COOKIE] = b"1"
        if len(line.answers) >= _MOST_ANSWERS:
            self._held -= len(line.answers)
            line.answers.clear()
        values = tuple([found.get(name) for name in line.names])
        self._held += values not in line.answers
        line.answers[values] = answer
        while self._held > self.most or len(self._lines) > self.most:
            _, oldest = self._lines.popitem(last=False)
            self._held -= len(oldest.answers)
