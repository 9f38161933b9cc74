"""The breaker: one deadline, one line in the log, and probes that are its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from tests.store.conftest import eventually
from vary_proxy.store import breaker as module
from vary_proxy.store.breaker import Breaker
from vary_proxy.tasks import Tasks


class Sick:
    """A store whose illness is set by the test."""

    label = "redis://sick"

    def __init__(self) -> None:
        self.reading: str | None = None
        self.writing: str | None = None
        self.probes: list[float] = []

    async def ping(self, *, write: bool) -> None:
        self.probes.append(time.monotonic())
        await self.act(write=write)

    async def act(self, *, write: bool = False) -> str:
        kind = self.reading or (self.writing if write else None)
        if kind == "timeout":
            await asyncio.Event().wait()
        if kind is not None:
            raise ConnectionError(kind)
        return "answer"

    def kind_of(self, error: BaseException) -> str:
        return str(error)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    def operation(self, op: str, seconds: float, error: str | None) -> None:
        self.seen.append((op, error))


@pytest.fixture
def sick() -> Sick:
    return Sick()


@pytest.fixture
async def breaker(
    sick: Sick, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Breaker]:
    monkeypatch.setattr(module, "FIRST_PROBE", 0.02)
    one = Breaker(sick, tasks, 0.05)
    yield one
    await one.close()


async def test_what_works_is_passed_on(sick: Sick, breaker: Breaker) -> None:
    assert await breaker.run("load", sick.act, "nothing") == "answer"
    assert breaker.readable
    assert breaker.writable


@pytest.mark.parametrize("kind", ["timeout", "refused", "denied"])
async def test_the_first_failure_opens_it_and_nobody_tries_again(
    sick: Sick, breaker: Breaker, kind: str
) -> None:
    sick.reading = kind
    assert await breaker.run("load", sick.act, "nothing") == "nothing"
    assert not breaker.readable
    tried = 0

    async def act() -> str:
        nonlocal tried
        tried += 1
        return "answer"

    assert await breaker.run("load", act, "nothing") == "nothing"
    assert await breaker.run("store", act, "nothing", write=True) == "nothing"
    assert tried == 0
    assert breaker.errors[kind] >= 1


@pytest.mark.parametrize("kind", ["full", "read-only"])
async def test_what_stands_in_the_way_of_writing_leaves_reading_open(
    sick: Sick, breaker: Breaker, kind: str
) -> None:
    sick.writing = kind
    await breaker.run("store", lambda: sick.act(write=True), "nothing", write=True)
    assert not breaker.writable
    assert await breaker.run("load", sick.act, "nothing") == "answer"
    sick.writing = None
    await eventually(lambda: breaker.writable)


async def test_one_spoiled_value_opens_nothing(sick: Sick, breaker: Breaker) -> None:
    sick.reading = "garbage"
    assert await breaker.run("load", sick.act, "nothing") == "nothing"
    assert breaker.readable
    assert breaker.errors["garbage"] == 1


async def test_it_closes_by_itself_and_says_so_once(
    sick: Sick, breaker: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[bool] = []
    breaker.on_change.append(changes.append)
    sick.reading = "refused"
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(*(breaker.run("load", sick.act, None) for _ in range(20)))
        sick.reading = None
        await eventually(lambda: breaker.writable)
    assert await breaker.run("load", sick.act, "nothing") == "answer"
    assert changes == [False, True]
    assert [one.getMessage().split(":")[0] for one in caplog.records] == [
        "store redis",
        "store redis",
    ]


async def test_what_comes_and_goes_is_logged_once(
    sick: Sick, breaker: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            sick.reading = "refused"
            await breaker.run("load", sick.act, None)
            sick.reading = None
            await eventually(lambda: breaker.writable)
    assert len(caplog.records) == 2


async def test_probes_become_more_seldom_but_never_than_their_limit(
    sick: Sick, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_PROBE", 0.08)
    sick.reading = "refused"
    await breaker.run("load", sick.act, None)
    await eventually(lambda: len(sick.probes) >= 6)
    gaps = [after - before for before, after in zip(sick.probes, sick.probes[1:], strict=False)]
    assert gaps[0] < 0.08
    assert min(gaps[2:]) >= 0.079
    assert module.LAST_PROBE == 0.08


def test_the_slowest_schedule_finds_a_store_within_six_seconds_of_its_return() -> None:
    assert module.LAST_PROBE + 2 * 0.25 < 6


async def test_a_deadline_holds_for_a_queue_too(sick: Sick, breaker: Breaker) -> None:
    sick.reading = "timeout"
    started = time.perf_counter()
    await asyncio.gather(*(breaker.run("load", sick.act, None) for _ in range(4 * module.WIDTH)))
    assert time.perf_counter() - started < 1


async def test_every_group_is_observed(sick: Sick, tasks: Tasks) -> None:
    watcher = Watcher()
    breaker = Breaker(sick, tasks, 0.05, watcher)
    await breaker.run("load", sick.act, None)
    sick.reading = "refused"
    await breaker.run("load", sick.act, None)
    assert watcher.seen == [("load", None), ("load", "refused")]
    await breaker.close()


async def test_a_caller_that_goes_away_is_not_a_failure(sick: Sick, breaker: Breaker) -> None:
    sick.reading = "timeout"
    call = asyncio.get_running_loop().create_task(breaker.run("load", sick.act, None))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert breaker.readable


async def test_what_is_owed_is_repaid_before_it_is_written_to_again(
    sick: Sick, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PROBE", 0.02)
    order: list[str] = []

    async def repay() -> None:
        order.append("repaid" if not breaker.writable else "too late")

    breaker = Breaker(sick, tasks, 0.05, repay=repay)
    sick.reading = "refused"
    await breaker.run("load", sick.act, None)
    sick.reading = None
    await eventually(lambda: breaker.writable)
    assert order == ["repaid"]
    await breaker.close()


async def test_what_is_small_does_not_wait_behind_what_moves_much(breaker: Breaker) -> None:
    """And whoever waits for others that move much is not the store's failure."""
    go = asyncio.Event()

    async def much() -> str:
        await go.wait()
        return "much"

    loop = asyncio.get_running_loop()
    bulky = [loop.create_task(breaker.run_bulky("read", much, "")) for _ in range(200)]
    await asyncio.sleep(0)
    assert await breaker.run("load", _small, "") == "small"
    go.set()
    assert set(await asyncio.gather(*bulky)) == {"much"}


async def _small() -> str:
    return "small"


async def test_whoever_waited_for_a_store_that_then_failed_waits_no_longer(
    breaker: Breaker, sick: Sick
) -> None:
    sick.reading = "timeout"
    bulky = [breaker.run_bulky("read", sick.act, "nothing") for _ in range(50)]
    began = time.monotonic()
    assert set(await asyncio.gather(*bulky)) == {"nothing"}
    assert time.monotonic() - began < 5


async def test_what_is_under_way_ends_before_it_is_closed_and_nothing_begins_after(
    breaker: Breaker,
) -> None:
    """A connection that is being opened while a pool is closed would stay open."""
    gate, begun = asyncio.Event(), asyncio.Event()

    async def act() -> str:
        begun.set()
        await gate.wait()
        return "answer"

    running = asyncio.ensure_future(breaker.run("read", act, "nothing"))
    await begun.wait()
    closing = asyncio.ensure_future(breaker.close())
    await asyncio.sleep(0)
    begun.clear()
    assert await breaker.run("read", act, "nothing") == "nothing"
    assert not begun.is_set()
    assert not closing.done()
    gate.set()
    await closing
    assert running.done()
    assert await running == "answer"
