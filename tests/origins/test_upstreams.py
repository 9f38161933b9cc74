"""Several URLs: who is asked, who is set aside, and what is asked once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.origins.scripted import Answer, Scripted, refused
from tests.wire import raworigin
from vary_proxy.core.message import Request, Response
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.budget import Budget
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions
from vary_proxy.origins.upstreams import Addressed, Care, Upstream, Upstreams

GET = Request(b"GET", b"/a")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """Upstreams over scripted origins, with a hand-moved clock and counted waits."""

    def __init__(self, *origins: Scripted, **care: Any) -> None:
        self.origins = origins
        self.clock = Clock()
        self.turn = asyncio.Event()
        members = [Upstream(one, one) for one in origins]
        self.upstreams = Upstreams(members, Care(**care), self.clock, self._sleep)
        self.waits = 0

    async def _sleep(self, seconds: float) -> None:
        self.waits += 1
        turn = self.turn  # each wait ends with the turn that it began in
        await turn.wait()

    async def checked(self) -> None:
        """Let every member be checked once more."""
        wanted = self.waits + len(self.origins)
        turn, self.turn = self.turn, asyncio.Event()
        turn.set()
        await raworigin.until(lambda: self.waits >= wanted)

    async def get(self, request: Request = GET) -> int | str:
        try:
            return (await self.upstreams.fetch(request)).head.status
        except OriginFailure as failure:
            return failure.error

    @property
    def counts(self) -> list[int]:
        return [len(one.asked) for one in self.origins]


def ok() -> Answer:
    return Answer(200, b"")


async def test_idle_urls_take_turns() -> None:
    rig = Rig(Scripted(ok()), Scripted(ok()), Scripted(ok()))
    for _ in range(9):
        await rig.get()
    assert rig.counts == [3, 3, 3]


async def test_the_url_with_least_under_way_is_asked() -> None:
    rig = Rig(Scripted(ok()), Scripted(ok()), Scripted(ok()))
    rig.origins[0].in_use, rig.origins[2].in_use = 2, 1
    for _ in range(6):
        await rig.get()
    assert rig.counts == [0, 6, 0]


async def test_what_fails_in_a_row_is_set_aside_and_tried_again_after_its_rest() -> None:
    dead = Scripted(refused())
    rig = Rig(dead, Scripted(ok()), attempts=2, fail_after=3, rest=10.0)
    for _ in range(12):
        assert await rig.get() == 200
    assert len(dead.asked) == 3
    rig.clock.now += 10
    for _ in range(4):
        assert await rig.get() == 200
    assert len(dead.asked) == 4  # one more failure was enough
    rig.clock.now += 10
    dead.answers = [ok()]
    for _ in range(4):
        await rig.get()
    assert len(dead.asked) == 6  # it is back


async def test_after_its_rest_one_request_tries_it_before_the_others_follow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dead, well = Scripted(refused()), Scripted(ok())
    rig = Rig(dead, well, attempts=2, fail_after=1, rest=10.0)
    for one, name in zip(rig.upstreams.members, ("http://a", "http://b"), strict=True):
        one.name = name
    assert await rig.get() == 200
    assert "origin http://a is set aside: connection_refused" in caplog.text
    rig.clock.now += 11
    hangs, asked = asyncio.Event(), len(dead.asked)
    dead.answers = [ok()]
    first = dead.fetch

    async def slowly(*args: Any) -> Answer:
        answer = await first(*args)
        await hangs.wait()
        return answer

    dead.fetch = slowly  # type: ignore[method-assign]
    waiting = [asyncio.ensure_future(rig.get()) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(dead.asked) == asked + 1
    hangs.set()
    assert await asyncio.gather(*waiting) == [200] * 20
    assert "origin http://a is back" in caplog.text
    for _ in range(4):
        await rig.get()
    assert len(dead.asked) == asked + 3


async def test_what_died_leaves_to_what_stands_more_than_the_budget() -> None:
    """A crash under load: all that was under way there fails in one moment."""
    died, stands = Scripted(refused("connection_terminated")), Scripted(ok())
    rig = Rig(died, stands, attempts=2, fail_after=1000)
    assert [await rig.get() for _ in range(40)] == [200] * 40
    assert rig.upstreams.retries.total() == 20
    slow = Scripted(refused("http_response_timeout"))
    rig = Rig(slow, Scripted(ok()), attempts=2, fail_after=1000)
    got = [await rig.get() for _ in range(40)]
    assert rig.upstreams.retries.total() == 7  # what is slow may be slow for want of room
    assert got.count(200) == 27


async def test_when_all_are_set_aside_they_are_asked_all_the_same() -> None:
    one, other = Scripted(refused()), Scripted(refused())
    rig = Rig(one, other, attempts=2, fail_after=1)
    assert await rig.get() == "connection_refused"
    assert not rig.upstreams.is_healthy
    other.answers = [ok()]
    assert 200 in [await rig.get(), await rig.get()]
    assert rig.upstreams.is_healthy


async def test_a_retry_goes_to_another_url_and_is_counted_by_its_reason() -> None:
    bad, good = Scripted(refused("connection_terminated")), Scripted(ok())
    rig = Rig(bad, good, attempts=2)
    assert await rig.get() == 200
    assert rig.counts == [1, 1]
    assert rig.upstreams.retries == {"connection_terminated": 1}


async def test_one_url_is_asked_again_as_often_as_allowed() -> None:
    rig = Rig(Scripted(refused(), refused(), ok()), attempts=3)
    assert await rig.get() == 200
    assert rig.counts == [3]


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"PURGE"])
async def test_unsafe_methods_are_sent_once(method: bytes) -> None:
    rig = Rig(Scripted(refused()), Scripted(ok()), attempts=5)
    assert await rig.get(Request(method, b"/a")) == "connection_refused"
    assert rig.counts == [1, 0]


async def test_a_request_with_a_body_is_sent_once() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    rig = Rig(Scripted(refused()), Scripted(ok()), attempts=5)
    with pytest.raises(OriginFailure):
        await rig.upstreams.fetch(Request(b"GET", b"/", has_body=True, body_length=1), body())
    assert rig.counts == [1, 0]


async def test_after_an_interim_response_nothing_is_repeated() -> None:
    class Hinting(Scripted):
        async def fetch(self, request: Request, body: Any = None, on_interim: Any = None) -> Answer:
            if on_interim is not None:
                await on_interim(Response(103))
            return await super().fetch(request)

    seen: list[int] = []

    async def interim(response: Response) -> None:
        seen.append(response.status)

    rig = Rig(Hinting(refused("http_response_incomplete")), Scripted(ok()), attempts=2)
    with pytest.raises(OriginFailure):
        await rig.upstreams.fetch(GET, None, interim)
    assert (seen, rig.counts) == ([103], [1, 0])


async def test_a_status_is_an_answer_and_is_not_repeated() -> None:
    rig = Rig(Scripted(Answer(503, b"")), Scripted(ok()), attempts=2)
    assert await rig.get() == 503


@pytest.mark.parametrize(
    "error", ["http_request_error", "proxy_internal_error", "connection_limit_reached"]
)
async def test_what_is_not_the_origins_fault_sets_nobody_aside(error: str) -> None:
    rig = Rig(Scripted(refused(error)), attempts=3, fail_after=1)
    assert await rig.get() == error
    assert rig.counts == [1]
    assert rig.upstreams.is_healthy


async def test_retries_stay_within_a_fifth_of_the_requests() -> None:
    rig = Rig(Scripted(refused()), Scripted(refused()), attempts=2)
    for _ in range(200):
        await rig.get()
    assert sum(rig.counts) == 200 + 40
    assert rig.upstreams.retries.total() == 40


def test_the_budget_slides() -> None:
    clock = Clock()
    budget = Budget(clock, share=0.1, least=2, window=10.0)
    for _ in range(50):
        budget.request()
    assert [budget.retry() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 5
    assert not budget.retry()
    clock.now += 6  # all of it has passed: what is left is the least
    assert [budget.retry() for _ in range(3)] == [True, True, False]


async def test_checks_set_aside_and_bring_back() -> None:
    sick, well = Scripted(Answer(500, b"")), Scripted(ok())
    rig = Rig(sick, well, check=b"/ready", every=5.0, fail_after=2)
    rig.upstreams.begin()
    await raworigin.until(lambda: rig.waits == 2)
    assert rig.upstreams.members[0].is_available(rig.clock())  # once is not enough
    await rig.checked()
    assert not rig.upstreams.members[0].is_available(rig.clock())
    assert {one.target for one in sick.asked} == {b"/ready"}
    for _ in range(4):
        await rig.get()
    assert len(sick.asked) == 2  # by its checks alone
    sick.answers = [ok()]
    await rig.checked()
    assert rig.upstreams.members[0].is_available(rig.clock())
    await rig.upstreams.close()


async def test_a_check_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not wait as long as a request would: 10 s to the first byte, three times over."""

    class Hanging(Scripted):
        async def fetch(self, *args: Any) -> Answer:
            await asyncio.sleep(3600)
            raise AssertionError

    monkeypatch.setattr("vary_proxy.origins.upstreams._CHECK_WAITS", 0.01)
    rig = Rig(Hanging(ok()), Scripted(ok()), check=b"/ready", every=0.01, fail_after=1)
    rig.upstreams.begin()
    await raworigin.until(lambda: rig.waits == 2)
    assert [one.unwell for one in rig.upstreams.members] == [True, False]
    await rig.upstreams.close()


@raworigin.on_both_loops
async def test_an_origin_that_dies_and_comes_back_is_not_noticed() -> None:
    """Three real origins, killed and restarted in turn; no request fails."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def forever(peer: raworigin.Peer) -> None:
        while await peer.head():
            await peer.send(answer)

    clock = Clock()
    origins = [raworigin.RawOrigin(forever) for _ in range(3)]
    for one in origins:
        await one.start(None)
    bare = [HttpOrigin(OriginOptions(one.url)) for one in origins]
    members = [Upstream(Addressed(one, one.naming), one) for one in bare]
    upstreams = Upstreams(members, Care(attempts=2, rest=1.0), clock)

    async def ask(count: int) -> None:
        for _ in range(count):
            response = await upstreams.fetch(raworigin.ask(authority=b"client.example"))
            assert [chunk async for chunk in response.chunks()] == [b"ok"]
            await response.close()

    await ask(6)
    for one in origins:
        port = one.port
        await one.stop()
        await ask(12)
        one._server = await asyncio.start_server(one._connected, "127.0.0.1", port)
        clock.now += 11.0
        before = len(one.heads)
        await ask(12)
        assert len(one.heads) > before  # it takes its share again
    host = b"Host: 127.0.0.1:%d\r\n" % origins[1].port
    assert all(host in head for head in origins[1].heads)
    await upstreams.close()
    for one in origins:
        await one.stop()
