"""Ranges in any order over an object that changes, is evicted and purged, and an origin with whims.

Whatever happens, what a client gets is of one version, and exactly the bytes that the head of its
answer names; what is cut is the beginning of that. A version is not served beyond its lifetime.
MODEL_STEPS sets how many steps are taken in all.
"""

from __future__ import annotations

import asyncio
import os
import re
from functools import lru_cache

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.exchange import large
from tests.exchange.conftest import Answer, Edge, ScriptedChannel, read
from tests.exchange.large import Large
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Reply

STEPS = 40
EXAMPLES = max(1, int(os.environ.get("MODEL_STEPS", "1200")) // STEPS)
LIFETIME = 60  # seconds
MOST = 7 * BLOCK
_SLICE = re.compile(rb"bytes (\d+)-(\d+)/(\d+)\Z")
_PART = re.compile(rb"(?i)content-range: ([^\r]+)\r\n\r\n")

content = lru_cache(maxsize=64)(large.content)
OFFSETS = st.one_of(
    st.integers(0, MOST),
    st.builds(lambda n, d: max(0, n * BLOCK + d), st.integers(0, 7), st.integers(-2, 2)),
)
RANGES = st.one_of(
    st.builds(lambda a, b: b"bytes=%d-%d" % (min(a, b), max(a, b)), OFFSETS, OFFSETS),
    st.builds(lambda a: b"bytes=%d-" % a, OFFSETS),
    st.builds(lambda a: b"bytes=-%d" % a, OFFSETS),
    st.builds(lambda a, b: b"bytes=%d-%d,%d-%d" % (a, a + 9, b, b + 99), OFFSETS, OFFSETS),
    st.none(),
)


class Blocks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.edge = Edge(max_bytes=6 * BLOCK, max_object=3 * BLOCK)
        self.large = Large(self.edge)
        self.large.content = content
        self.since: dict[int, float] = {}  # version -> when it was replaced
        self.totals: dict[int, int] = {}
        self.begun: list[tuple[Reply, ScriptedChannel, bytes | None, list[bytes]]] = []

    @initialize(total=st.sampled_from([5 * BLOCK + 77, 3 * BLOCK, BLOCK + 1, 900]))
    def made(self, total: int) -> None:
        self.large.total = self.totals[1] = total

    def teardown(self) -> None:
        self.loop.run_until_complete(self._leave())
        self.loop.close()

    async def _leave(self) -> None:
        for reply, _, _, _ in self.begun:
            close = getattr(reply.stream, "aclose", None)
            if close is not None:
                await close()
        await self.edge.tasks.settle()
        assert all(one.closed or one.read_to_end for one in self.edge.origin.responses)
        await self.edge.tasks.close()

    # ── what is asked ────────────────────────────────────────────────────────────────

    @rule(wanted=RANGES, origin=st.sampled_from([None, None, b"https://a.example"]))
    def ask(self, wanted: bytes | None, origin: bytes | None) -> None:
        fields = {} if origin is None else {"origin": origin}
        self.judge(self.loop.run_until_complete(self._asked(wanted, fields)), wanted)

    @rule(wanted=RANGES, tag=st.sampled_from([b'"v1"', b'"v2"', b'W/"v1"']))
    def ask_if(self, wanted: bytes | None, tag: bytes) -> None:
        answer = self.loop.run_until_complete(self._asked(wanted, {"if_range": tag}))
        if answer.status == 206:
            assert answer["etag"] == tag
        self.judge(answer, wanted)

    @rule(several=st.lists(RANGES, min_size=2, max_size=4))
    def ask_at_once(self, several: list[bytes | None]) -> None:
        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*(self._asked(one, {}) for one in several))

        for answer, wanted in zip(
            self.loop.run_until_complete(all_of_them()), several, strict=True
        ):
            self.judge(answer, wanted)

    @rule(
        first=RANGES,
        then=RANGES,
        changes=st.booleans(),
        conditions=st.booleans(),
        most=st.sampled_from([None, BLOCK + 3]),
        total=st.sampled_from([None, 4 * BLOCK]),
        which=st.integers(0, 20),
        between=st.integers(0, 4),
    )
    def seek(
        self,
        first: bytes | None,
        then: bytes | None,
        changes: bool,
        conditions: bool,
        most: int | None,
        total: int | None,
        which: int,
        between: int,
    ) -> None:
        """What most faults need: blocks that are there, a change, and somebody who wants more."""
        self.large.cut = None
        self.behave(False, True, most, 0, conditions, b"max-age=60")
        self.ask(first or b"bytes=0-9", None)
        self.begin(then, between)
        self.evict(which)
        if changes:
            self.publish(total)
        self.ask(then, None)
        self.go_on(-1, False)

    @rule(wanted=RANGES, chunks=st.integers(0, 5))
    def begin(self, wanted: bytes | None, chunks: int) -> None:
        """Somebody who reads a little, and goes on later."""
        self.loop.run_until_complete(self._begin(wanted, chunks))

    async def _begin(self, wanted: bytes | None, chunks: int) -> None:
        fields = {} if wanted is None else {"range": wanted}
        reply, channel = await self.edge.start("/v", **fields)
        got = [bytes(chunk) for chunk in reply.chunks]
        reply.chunks = ()
        try:
            for _ in range(chunks if reply.stream is not None else 0):
                got.append(bytes(await anext(reply.stream)))  # type: ignore[arg-type]  # there
        except StopAsyncIteration:
            reply.stream = None
        except large.OriginFailure:
            return  # cut: nothing more to be seen
        self.begun.append((reply, channel, wanted, got))

    @rule(which=st.integers(0, 9), leaves=st.booleans())
    def go_on(self, which: int, leaves: bool) -> None:
        if not self.begun:
            return
        reply, channel, wanted, got = self.begun.pop(which % len(self.begun))
        if leaves:
            close = getattr(reply.stream, "aclose", None)
            if close is not None:
                self.loop.run_until_complete(close())
            return
        answer = self.loop.run_until_complete(read(reply, channel))
        answer.body = b"".join(got) + answer.body
        self.judge(answer, wanted, aged=False)

    async def _asked(self, wanted: bytes | None, fields: dict[str, bytes]) -> Answer:
        given = fields if wanted is None else {**fields, "range": wanted}
        return await asyncio.wait_for(self.edge.get("/v", **given), 20)  # type: ignore[arg-type]

    # ── what happens ──────────────────────────────────────────────────────────────────

    @rule(total=st.sampled_from([None, None, 4 * BLOCK, 2 * BLOCK + 5]))
    def publish(self, total: int | None) -> None:
        self.since[self.large.version] = self.edge.clock()
        self.large.version += 1
        self.large.total = total or self.large.total
        self.totals[self.large.version] = self.large.total

    @rule(seconds=st.sampled_from([1, 20, 61]))
    def wait(self, seconds: int) -> None:
        self.edge.clock.forward(seconds)

    @rule(which=st.integers(0, 20))
    def evict(self, which: int) -> None:
        names = [name for held in self.edge.store.blocks._held.values() for name in held]
        if names:
            self.edge.store.drop_block(sorted(names)[which % len(names)])

    @rule()
    def purge(self) -> None:
        self.edge.exchange.forget(lambda key: True)
        for key in list(self.edge.store.keys()):
            self.loop.run_until_complete(self.edge.store.purge(key))

    @rule(
        weak=st.sampled_from([False, False, False, True]),
        ranges=st.sampled_from([True, True, True, False]),
        most=st.sampled_from([None, None, BLOCK // 2, BLOCK + 3]),
        shift=st.sampled_from([0, 0, 0, 1000]),
        conditions=st.booleans(),
        said=st.sampled_from([b"max-age=60", b"max-age=60", b"no-store", b"max-age=0"]),
    )
    def behave(  # the origin's whims, one argument each
        self,
        weak: bool,
        ranges: bool,
        most: int | None,
        shift: int,
        conditions: bool,
        said: bytes,
    ) -> None:
        one = self.large
        one.weak, one.ranges, one.most, one.shift = weak, ranges, most, shift
        one.conditions, one.cache_control = conditions, said

    @rule(at=st.sampled_from([0, 5, BLOCK, BLOCK + 7]))
    def break_off(self, at: int) -> None:
        self.large.cut = at

    # ── what must hold ────────────────────────────────────────────────────────────────

    def judge(self, answer: Answer, wanted: bytes | None, *, aged: bool = True) -> None:
        assert self.edge.store.stats().bytes <= 6 * BLOCK
        if answer.status in (412, 502):
            assert answer.status == 502
            return
        if answer.status == 416:
            return
        version = int((answer["etag"] or b"").strip(b'W/"v'))
        whole = content(self.totals[version], version)
        where = f"{wanted!r} {answer.cache_status} {answer['content-range']!r} v{version}"
        if aged and version in self.since:
            assert self.edge.clock() - self.since[version] <= LIFETIME, f"stale: {where}"
        if answer.status == 200:
            self.equal(answer, whole, where)
            return
        assert answer.status == 206, where
        assert wanted is not None, where
        if (answer["content-type"] or b"").startswith(b"multipart/"):
            for told in _PART.finditer(answer.body):
                piece = _slice(told[1], whole, where)
                rest = answer.body[told.end() : told.end() + len(piece)]
                assert rest == piece or (answer.cut and piece.startswith(rest)), where
            return
        self.equal(answer, _slice(answer["content-range"] or b"", whole, where), where)

    def equal(self, answer: Answer, piece: bytes, where: str) -> None:
        if answer.cut is None:
            assert answer.body == piece, f"{len(answer.body)} of {len(piece)} bytes: {where}"
        else:
            assert piece.startswith(answer.body), where


def _slice(told: bytes, whole: bytes, where: str) -> bytes:
    found = _SLICE.match(told)
    assert found, where
    first, last, total = map(int, found.groups())
    assert total == len(whole), where
    assert first <= last < total, where
    return whole[first : last + 1]


Blocks.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="MODEL_STEPS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate]
    if "MODEL_STEPS" in os.environ
    else list(Phase),
)
TestBlocks = Blocks.TestCase
