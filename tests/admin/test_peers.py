"""What workers tell each other arrives, though late; who has not heard is not taken to have."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from vary_proxy.exchange import Exchange
from vary_proxy.store.memory import MemoryStore
from vary_proxy.tasks import Tasks
from vary_proxy.workers import echoing, peers
from vary_proxy.workers.echoing import VERB, Echoing
from vary_proxy.workers.peers import Peers

Make = Callable[..., Peers]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_PATIENCE", 0.4)
    monkeypatch.setattr(peers, "_BEAT", 0.1)
    monkeypatch.setattr(peers, "_AGAIN", 0.05)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the worker *name*, which knows *others*."""
    async with AsyncExitStack() as stack:

        def one(name: str, *others: str) -> Peers:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.bind(str(tmp_path / name))
            sock.listen(8)
            sock.setblocking(False)
            made = Peers(sock, [str(tmp_path / other) for other in others])
            stack.callback(sock.close)
            stack.push_async_callback(made.close)
            return made

        yield one


class Heard(list[bytes]):
    """Answers with what was said, ``seconds`` later."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    async def answer(self, said: bytes) -> bytes:
        await asyncio.sleep(self.seconds)
        self.append(said)
        return said.upper()


async def until(heard: Heard, count: int) -> None:
    async with asyncio.timeout(30):
        while len(heard) < count:
            await asyncio.sleep(0.01)


async def test_everybody_who_answers_is_heard(make: Make) -> None:
    one, two, three = make("1", "2", "3"), make("2"), make("3")
    for other in (two, three):
        await other.serve({"say": Heard().answer})
    assert await one.tell("say", b"a", b"all") == ([b"A", b"A"], 0)
    assert await one.ask("say", b"a") == [b"A", b"A"]


async def test_who_takes_long_and_gives_signs_of_life_is_waited_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_PATIENCE", 2.0)  # a busy machine gives its signs late
    one, two = make("1", "2"), make("2")
    heard = Heard(2.5)  # longer than anybody waits without a sign
    await two.serve({"say": heard.answer})
    assert await one.tell("say", b"a", b"all") == ([b"A"], 0)


async def test_who_does_not_answer_is_counted_and_hears_it_once_on_coming_back(make: Make) -> None:
    one, two = make("1", "2"), make("2")
    assert await one.tell("say", b"a", b"all") == ([], 1)
    assert await one.tell("say", b"b", b"all") == ([], 1)
    heard = Heard()
    await two.serve({"say": heard.answer})
    await until(heard, 2)
    await asyncio.sleep(0.3)
    assert sorted(heard) == [b"a", b"b"]


async def test_who_cannot_be_told_is_told_again_until_told(make: Make, tmp_path: Path) -> None:
    one = make("1", "2")
    assert await one.tell("say", b"a", b"all") == ([], 1)  # nobody listens there
    heard = Heard()
    await make("2").serve({"say": heard.answer})
    await until(heard, 1)
    assert heard == [b"a"]


async def test_who_has_missed_too_much_is_told_of_everything_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_MOST_OWED", 3)
    monkeypatch.setattr(peers, "_AGAIN", 0.5)
    one = make("1", "2")
    for number in range(4):
        assert await one.tell("say", b"%d" % number, b"all") == ([], 1)
    heard = Heard()
    await make("2").serve({"say": heard.answer})
    await until(heard, 1)
    assert heard == [b"all"]


async def test_what_fails_at_the_other_end_is_counted_and_not_repeated(make: Make) -> None:
    one, two = make("1", "2"), make("2")
    tries: list[bytes] = []

    async def failing(said: bytes) -> bytes:
        tries.append(said)
        raise RuntimeError("no")

    await two.serve({"say": failing})
    assert await one.tell("say", b"a", b"all") == ([], 1)
    await asyncio.sleep(0.3)
    assert tries == [b"a"]


async def test_what_stands_for_too_much_is_not_lost_behind_what_was_being_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_MOST_OWED", 3)
    one = make("1", "2")
    told: list[bytes] = []

    async def telling(address: str, verb: str, said: bytes) -> bytes:
        told.append(said)
        if said == b"0":
            for number in range(1, 4):
                one._owe(address, verb, b"%d" % number, b"all")
        return b""

    monkeypatch.setattr(one, "_one", telling)
    one._owe("2", "say", b"0", b"all")
    await one._tasks.settle()
    assert told == [b"0", b"all"]


class Missed(list[None]):
    """How often somebody did not hear in time of what is invalid."""

    def count_one(self) -> None:
        self.append(None)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.close()


def echo(made: Peers, tasks: Tasks, missed: Missed) -> Echoing:
    """Of a worker whose store is its memory."""

    def nothing() -> Exchange:
        raise AssertionError("an invalidation in memory asks for no exchange")

    return Echoing(made, tasks, MemoryStore(1 << 20, 1 << 20, time.time), nothing, missed.count_one)


async def test_a_worker_that_is_silent_holds_no_invalidation_up_and_hears_of_it_late(
    make: Make, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_PATIENCE", 1.5)
    monkeypatch.setattr(echoing, "WAIT", 0.05)
    one, silent, well = make("1", "2", "3"), make("2"), make("3")
    heard, late, missed = Heard(), Heard(), Missed()
    await well.serve({VERB: heard.answer})
    speaking = echo(one, tasks, missed)
    await speaking.say([b"/a"])
    assert not missed  # the patience that others have with it is longer
    assert heard == [echoing.encoded([b"/a"])]
    async with asyncio.timeout(30):
        while not missed:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(echoing, "WAIT", 300.0)
    monkeypatch.setattr(peers, "_PATIENCE", 300.0)
    for key in (b"/b", b"/c", b"/b"):
        async with asyncio.timeout(30):  # it is not waited for any more
            await speaking.say([key])
    monkeypatch.setattr(peers, "_PATIENCE", 1.0)
    assert len(heard) == 4
    await silent.serve({VERB: late.answer})
    async with asyncio.timeout(30):
        while {key for said in late for key in echoing.decoded(said) or ()} != {
            b"/a",
            b"/b",
            b"/c",
        }:
            await asyncio.sleep(0.01)
    assert len(late) <= 3  # what came up while it was spoken to goes together


async def test_many_invalidations_at_once_are_few_messages(make: Make, tasks: Tasks) -> None:
    one, two = make("1", "2"), make("2")
    heard, missed = Heard(), Missed()
    await two.serve({VERB: heard.answer})
    speaking = echo(one, tasks, missed)
    keys = [b"/%d" % number for number in range(500)]
    await asyncio.gather(*(speaking.say([key]) for key in keys))
    assert {key for said in heard for key in echoing.decoded(said) or ()} == set(keys)
    assert len(heard) <= 2
    assert not missed


async def test_more_than_a_message_takes_is_everything(
    make: Make, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echoing, "_MOST", 2)
    one, two = make("1", "2"), make("2")
    heard, missed = Heard(), Missed()
    await two.serve({VERB: heard.answer})
    await echo(one, tasks, missed).say([b"/a", b"/b", b"/c"])
    assert [echoing.decoded(said) for said in heard] == [None]
