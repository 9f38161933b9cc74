"""What is owed to a shared store, and what may have to be said to it twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vary_proxy.store import debts as module
from vary_proxy.store import notices
from vary_proxy.store.debts import Debts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Taker:
    """A store that writes down which purges it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    async def advance(self, tag: bytes | None, *, soft: bool, message: bytes) -> int:
        self.told.append(message)
        return 1

    async def wipe(self, row: str, generation: bytes, message: bytes) -> None:
        self.told.append(message)


async def told(debts: Debts) -> list[bytes]:
    taker = Taker()
    await debts.repay(taker, lambda kind, subject: kind + subject)  # type: ignore[arg-type]
    assert not debts
    return taker.told


async def test_only_the_last_purges_are_said_again(clock: Clock) -> None:
    debts = Debts()
    debts.settle(True, notices.PURGED, b"long ago")
    clock.now += 60
    debts.settle(True, notices.PURGED, b"/1")
    debts.settle(True, notices.TAG, b"news")
    assert not debts
    debts.doubt()
    assert debts.cover(b"/1")
    assert not debts.cover(b"long ago")
    assert await told(debts) == [b"tnews", b"p/1"]
    debts.doubt()
    assert not debts, "once will do"


async def test_a_purge_of_everything_is_said_again(clock: Clock) -> None:
    debts = Debts()
    debts.settle(True, notices.ALL)
    debts.doubt()
    assert debts.cover(b"anything")
    assert await told(debts) == [b"a"]


async def test_of_more_than_can_be_remembered_everything_is_owed(clock: Clock) -> None:
    debts = Debts()
    for number in range(20_000):
        debts.settle(True, notices.PURGED, b"%d" % number)
    debts.doubt()
    assert await told(debts) == [b"a"]
    clock.now += 60
    debts.settle(True, notices.PURGED, b"/1")
    debts.doubt()
    assert await told(debts) == [b"p/1"], "long ago it was too much"


async def test_what_could_not_be_done_is_owed_until_it_is(clock: Clock) -> None:
    debts = Debts()
    debts.settle(False, notices.PURGED, b"/1")
    clock.now += 3600
    assert debts.cover(b"/1")
    assert await told(debts) == [b"p/1"]


class Busy(Taker):
    """A store that others go on purging from while it is told."""

    def __init__(self, debts: Debts) -> None:
        super().__init__()
        self._debts = debts
        self.meanwhile = [b"/1", b"/2"]
        self.fails_after = 100

    async def advance(self, tag: bytes | None, *, soft: bool, message: bytes) -> int:
        if len(self.told) == self.fails_after:
            raise ConnectionError
        self._debts.owe_tag(b"news")
        self._debts.owe(b"/later")
        return await super().advance(tag, soft=soft, message=message)

    async def wipe(self, row: str, generation: bytes, message: bytes) -> None:
        if len(self.told) == self.fails_after:
            raise ConnectionError
        while self.meanwhile:
            self._debts.owe(self.meanwhile.pop())
        await super().wipe(row, generation, message)


async def test_a_key_that_is_owed_again_while_debts_are_repaid_stays_owed() -> None:
    debts = Debts()
    debts.owe(b"/1")
    await debts.repay(Busy(debts), lambda kind, subject: kind + subject)  # type: ignore[arg-type]
    assert debts.cover(b"/1")
    assert debts.cover(b"/2")
    assert sorted(await told(debts)) == [b"p/1", b"p/2"]


@pytest.mark.parametrize("owe", [Debts.owe_all, lambda debts: debts.owe_tag(b"news")])
async def test_what_is_owed_behind_a_purge_of_many_stays_owed(owe: Callable[[Debts], None]) -> None:
    debts = Debts()
    owe(debts)
    busy = Busy(debts)
    busy.fails_after = 1
    with pytest.raises(ConnectionError):
        await debts.repay(busy, lambda kind, subject: kind + subject)  # type: ignore[arg-type]
    assert debts.cover(b"/later")
    assert set(await told(debts)) >= {b"tnews", b"p/later"}


async def test_what_is_owed_takes_little_memory_however_long_its_names(clock: Clock) -> None:
    debts = Debts()
    for number in range(2_000):
        debts.owe(b"%08192d" % number)
    assert len(debts) < 1_100
    assert debts.cover(b"anything"), "everything is owed instead"
    assert (await told(debts))[0] == b"a"
