"""One connection by itself: its deadlines on a hand-moved clock, and what a failed write hides."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.raworigin import on_both_loops
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httplink import Link


class Timer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """An event loop of which only the time is real, and moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, callback))
        return self.timers[-1]

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [t for t in self.timers if t.callback and t.at <= end]:
            timer = min(due, key=Timer.when)
            self.now = max(self.now, timer.at)
            callback, timer.callback = timer.callback, None
            assert callback is not None
            callback()
        self.now = end

    @property
    def armed(self) -> int:
        return sum(timer.callback is not None for timer in self.timers)


class Wire:
    """A transport on one end of a socket pair."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return self.near if name == "socket" else None

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire(pair) -> Wire:
    return Wire(pair[0])


@pytest.fixture
def link(clock: Clock, wire: Wire) -> Link:
    link = Link(clock)  # type: ignore[arg-type]
    link.connection_made(wire)  # type: ignore[arg-type]
    link.begin()
    return link


async def failure_of(link: Link) -> str:
    with pytest.raises(OriginFailure) as failure:
        await link.receive()
    return failure.value.error


async def test_a_deadline_that_passes_ends_the_connection(link: Link, clock: Clock, wire: Wire):
    link.arm(5, "http_response_timeout")
    clock.move(4.9)
    assert not wire.aborted
    clock.move(0.2)
    assert wire.aborted
    assert await failure_of(link) == "http_response_timeout"


def test_a_later_deadline_is_not_cut_short_by_an_earlier_timer(
    link: Link, clock: Clock, wire: Wire
):
    link.arm(5, "http_response_timeout")
    clock.move(4)
    link.disarm()
    link.arm(5, "http_response_timeout")
    clock.move(4.9)
    assert not wire.aborted
    assert clock.armed == 1
    clock.move(0.2)
    assert wire.aborted


def test_an_earlier_deadline_does_not_wait_for_a_later_timer(link: Link, clock: Clock, wire: Wire):
    link.arm(60, "http_response_timeout")
    link.disarm()
    link.arm(5, "connection_read_timeout")
    clock.move(5.1)
    assert wire.aborted


def test_many_deadlines_take_one_timer(link: Link, clock: Clock, wire: Wire):
    for _ in range(100):
        link.arm(5, "http_response_timeout")
        clock.move(1)
        link.disarm()
        assert clock.armed <= 1
    clock.move(60)
    assert not wire.aborted
    assert clock.armed == 0


async def test_a_piece_that_came_in_time_leaves_no_deadline(link: Link, clock: Clock, wire: Wire):
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(link.receive(5))
        await asyncio.sleep(0)
        clock.move(4)
        link.data_received(b"x")
    assert reading.result() == b"x"
    clock.move(60)
    assert not wire.aborted


async def test_each_wait_has_the_whole_time(link: Link, clock: Clock, wire: Wire):
    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(link.receive(5))
            await asyncio.sleep(0)
            clock.move(4)
            link.data_received(b"x")
        assert reading.result() == b"x"
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(failure_of(link))
        link.arm(5, "connection_read_timeout")
        await asyncio.sleep(0)
        clock.move(5.1)
    assert failing.result() == "connection_read_timeout"


def test_a_lost_connection_leaves_no_timer(link: Link, clock: Clock):
    link.arm(5, "http_response_timeout")
    link.connection_lost(None)
    assert clock.armed == 0


async def test_what_a_failed_write_hides_is_heard(link: Link, pair):
    link.prick_up()
    pair[1].send(b"HTTP/1.1 413")
    link.connection_lost(BrokenPipeError("write"))
    assert await link.receive() == b"HTTP/1.1 413"
    assert await failure_of(link) == "connection_terminated"


async def test_what_was_read_before_comes_first(link: Link, pair):
    link.prick_up()
    link.data_received(b"HTTP/1.1 ")
    pair[1].send(b"413")
    link.connection_lost(BrokenPipeError("write"))
    assert await link.receive() == b"HTTP/1.1 413"


@pytest.mark.parametrize("how", ["by us", "after its end", "with nothing more"])
async def test_nothing_is_heard_where_nothing_was_said(link: Link, pair, how: str):
    link.prick_up()
    if how == "by us":
        pair[1].send(b"late")
        link.abort()
    elif how == "after its end":
        link.eof_received()
        pair[1].send(b"late")
    link.connection_lost(None)
    if how == "after its end":
        assert await link.receive() == b""
    else:
        assert await failure_of(link) == "connection_terminated"


@on_both_loops
async def test_listening_reads_what_has_arrived() -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with far:
        transport, link = await loop.create_connection(lambda: Link(loop), sock=near)
        link.begin()
        await link.listen()
        assert not link.answered
        far.send(b"HTTP/1.1 413")
        await link.listen()
        assert link.answered
        link.abort()
        await asyncio.sleep(0)
        assert transport.is_closing()
