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
from vary_proxy.core.corspolicy import ALLOW_ORIGIN, CorsPolicy
from vary_proxy.core.message import NO_FIELDS, Buffer, Fields, Reply, Request
from vary_proxy.core.policy import CorsMode, Policy, PreflightMode
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.hotanswers import Answer, Given, Line, given
from vary_proxy.hotheads import SIZE, SPAN, Edge, Head, heads
from vary_proxy.hotjudges import ALLOWED, Judge
from vary_proxy.store.slot import Slot

LARGEST = 4 << 20  # bytes of a body that is handed to a connection at once
_MOST_HELD = 65536  # answers in all
_ROOM = 8192  # bytes that an answer takes at most, with the view of it
_MOST_ANSWERS = 64  # for one of them
_OF_LATE = 10.0  # seconds for which an answer that was given is not the one to go
_LOOKS = 16
_MOST_EDGES = 1024  # answers that rules give by themselves

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
_CROSSING = frozenset(_SHAPING[1:])  # whether a browser blocks what has come, for the log
_PREFLIGHT = (b"access-control-request-method", b"access-control-request-headers") + (
    b"access-control-request-private-network",
)


class Peekable(Protocol):
    """What the index needs of a store: everything at hand, without waiting."""

    def peek(self, key: bytes) -> Resource | None: ...

    def slot(self, key: bytes) -> Slot | None: ...

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> Sequence[Buffer] | None: ...


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
        self._judges: dict[int, Judge] = {}  # by the identities of policies, which they hold
        self._edges: dict[tuple[int, tuple[bytes | None, ...]], Edge] = {}
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
        self._judges.clear()
        self._edges.clear()
        self._held = 0
        self._ruled = tuple(ruled)
        self.watched.update(self._ruled)
        for told in self.on_watch:
            told()

    def find(self, scheme: bytes, host: bytes, line: bytes) -> Line | None:
        return self._lines.get((scheme, host, line))

    def answer(self, line: Line, found: dict[bytes, bytes]) -> Given | None:
        """What a request with the values *found* of the watched fields gets; None: not known."""
        values = line.values(found)
        known = line.answers.get(values)
        if known is None:
            return None
        now = self._clock()
        if type(known) is Edge:
            known.at(now, 0.0, 0.0)
            length = len(known.content)
            return given(known, known, (known.content,), known.record, length)
        assert isinstance(known, Answer)
        if not self.holds(known, now):
            del line.answers[values]
            self._held -= 1
            return None
        if found and not CONDITIONS.isdisjoint(found):
            return self._conditional(line, known, found, now)
        known.whole.at(now, known.born, known.ends)
        length = known.body.length
        if line.bodiless or not length:
            return given(known, known.whole, (), known.records[0], 0)
        chunks = self._store.chunks(known.key, known.body, 0, length)
        if chunks is None:
            return None
        return given(known, known.whole, chunks, known.records[0], length)

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
            known.unchanged.at(now, known.born, known.ends)
            return given(known, known.unchanged, (), known.records[1], 0)
        if wanted is None or known.part is None or line.bodiless:
            return None
        known.part.at(now, known.born, known.ends)
        return self._range(known, known.part, wanted)

    def _range(self, known: Answer, part: Head, wanted: bytes) -> Given | None:
        asked = ranges.specs(wanted)
        if asked is None or len(asked) != 1:
            return None
        spans = ranges.resolve(asked, known.body.length)
        if not spans:
            return None
        start, stop = spans[0].start, spans[0].stop
        chunks = self._store.chunks(known.key, known.body, start, stop)
        if chunks is None:
            return None

        def filled(head: bytes) -> bytes:
            head = head.replace(SPAN, b"%d-%d" % (start, stop - 1), 1)
            return head.replace(SIZE, b"%d" % (stop - start), 1)

        made = given(known, part, chunks, known.records[2], stop - start)
        after = None if made.after is None else filled(made.after)
        return made._replace(before=filled(made.before), after=after, made=None)

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
        if resource is None or slot is None or stored.part:
            return
        if stored.body.length > LARGEST or not self._is_plain(request):
            return
        # The very one, for what is equal lies elsewhere only where it was just stored anew; to
        # compare all variants by what they say costs more than all the rest.
        if not any(one is stored for one in resource.variants):
            return
        if self._store.chunks(key, stored.body, 0, stored.body.length) is None:
            return
        ends = stored.born + freshness.stored_lifetime(stored, policy.cache)
        owned = policy.cors if policy.cors_mode is CorsMode.OVERRIDE else None
        line = self._line(request, resource.names(), owned)
        made = heads(request, stored, fields, echoes=_echoes(line, request))
        self._keep(line, request, Answer(key, slot, resource, stored, made, ends, reply))

    def learn_edge(self, request: Request, policy: Policy, reply: Reply) -> None:
        """Take in that *request* was answered by its rule's *policy* alone."""
        if reply.stream is not None or reply.close or not self._is_plain(request):
            return
        owned = policy.cors if policy.preflight is PreflightMode.SYNTHESIZE else None
        line = self._line(request, (), owned)
        echoes = _echoes(line, request) and ALLOW_ORIGIN in reply.fields
        if reply.record.cors_reason or reply.record.notes:
            self._keep(line, request, Edge(policy, reply, echoes=echoes))
            return
        found = self._values(request)
        name = (id(policy), line.values(found))
        edge = self._edges.get(name)
        if edge is None:
            if len(self._edges) >= _MOST_EDGES:
                self._edges.clear()
            edge = self._edges[name] = Edge(policy, reply, echoes=echoes)
        self._keep(line, request, edge)

    def _is_plain(self, request: Request) -> bool:
        named = request.fields.names()
        if request.has_body or not DECISIVE.isdisjoint(named):
            return False
        if not CONDITIONS.isdisjoint(named):
            return False
        # Lines of one field are joined on the long way only.
        watched = [name for name, _ in request.fields.items if name in self.watched]
        return len(watched) == len(set(watched))

    def _values(self, request: Request) -> dict[bytes, bytes]:
        found = {name: value for name, value in request.fields.items if name in self.watched}
        if b"cookie" in found:
            found[WITH_COOKIE] = b"1"
        return found

    def _line(
        self, request: Request, selecting: tuple[bytes, ...], policy: CorsPolicy | None
    ) -> Line:
        """*policy* judges ``Origin``; None where its very value has a say."""
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
        judge = None
        if policy is not None and not {*selecting, *self._ruled} & {b"origin"}:
            judge = self._judges.get(id(policy))
            if judge is None:
                judge = self._judges[id(policy)] = Judge(policy)
        if line is not None and line.judge is not judge:
            judge = None  # other fields than Origin tell whose word counts here
        if line is None or line.names != names or line.judge is not judge:
            if line is not None:
                self._held -= len(line.answers)
            asked, said = replace(request, fields=NO_FIELDS), {*selecting, *self._ruled}
            line = self._lines[name] = Line(names, asked, judge, _CROSSING - said)
        return line

    def _keep(self, line: Line, request: Request, answer: Answer | Edge) -> None:
        values = line.values(self._values(request))
        if sum(map(len, filter(None, values))) > _ROOM // 2:
            return
        if len(line.answers) >= _MOST_ANSWERS:
            self._held -= len(line.answers)
            line.answers.clear()
        self._held += values not in line.answers
        line.answers[values] = answer
        while self._held > self.most or len(self._lines) > self.most:
            self._evict()

    def _evict(self) -> None:
        """Let the oldest line go that was not asked for of late; of a few, the last."""
        recent = self._clock() - _OF_LATE
        for _ in range(_LOOKS):
            name, oldest = next(iter(self._lines.items()))
            if all(known.used < recent for known in oldest.answers.values()):
                break
            self._lines.move_to_end(name)
        _, oldest = self._lines.popitem(last=False)
        self._held -= len(oldest.answers)


def _echoes(line: Line, request: Request) -> bool:
    """Whether what *request* gets is what others get too, but for the echo of its ``Origin``."""
    if line.judge is None or not line.judge.echoes:
        return False
    origin = request.fields.get(b"origin")
    return origin is not None and line.judge[origin] is ALLOWED
