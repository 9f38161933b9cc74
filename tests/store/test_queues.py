"""What goes and what stays when there is no room."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from bench import evictions
from vary_proxy.store.queues import Queues

ROOM = 1000


@dataclass
class One:
    cost: int = 0
    uses: int = 0


class Cache:
    """As a store uses the queues."""

    def __init__(self, room: int = ROOM) -> None:
        self.queues: Queues[One] = Queues(room)

    def ask(self, name: str, cost: int = 10) -> bool:
        key = name.encode()
        if self.queues.use(key) is not None:
            return True
        one = One()
        self.queues.enter(key, one)
        self.queues.weigh(key, one, cost)
        while (victim := self.queues.victim(key)) is not None:
            self.queues.leave(victim)
        return False

    def holds(self, name: str) -> bool:
        return self.queues.get(name.encode()) is not None


def test_a_scan_leaves_what_is_in_use() -> None:
    cache = Cache()
    for _ in range(3):
        for number in range(80):
            cache.ask(f"used {number}")
    for number in range(100_000):
        cache.ask(f"once {number}")
    assert sum(cache.holds(f"used {number}") for number in range(80)) == 80


def test_what_was_in_use_once_goes_for_what_is_so_now() -> None:
    cache = Cache()
    for _ in range(5):
        for number in range(80):
            cache.ask(f"old {number}")
    for _ in range(8):
        for number in range(80):
            cache.ask(f"new {number}")
    assert sum(cache.holds(f"new {number}") for number in range(80)) == 80
    assert sum(cache.holds(f"old {number}") for number in range(80)) <= 20


def test_what_comes_back_soon_after_it_left_stays() -> None:
    cache = Cache()
    for number in range(60):  # most of the room is in use
        cache.ask(f"used {number}")
        cache.ask(f"used {number}")
    for name in ("back", *(f"once {number}" for number in range(60))):
        cache.ask(name)
    assert not cache.holds("back")
    cache.ask("back")
    for number in range(60, 100):
        cache.ask(f"once {number}")
    assert cache.holds("back")


def test_what_is_put_last_stays_whatever_its_size_if_it_fits_at_all() -> None:
    cache = Cache()
    for number in range(200):
        cache.ask(f"small {number}")
    cache.ask("large", ROOM)
    assert cache.holds("large")
    assert len(cache.queues) == 1
    cache.ask("too large", ROOM + 1)
    assert not cache.holds("too large")
    assert cache.queues.bytes <= ROOM


def test_growing_and_shrinking_is_counted() -> None:
    cache = Cache()
    for number in range(50):
        cache.ask(f"{number}")
    one = cache.queues.get(b"7")
    assert one is not None
    cache.queues.weigh(b"7", one, 600)
    while (victim := cache.queues.victim(b"7")) is not None:
        cache.queues.leave(victim)
    assert cache.holds("7")
    cache.queues.weigh(b"7", one, 10)
    assert cache.queues.bytes == 10 * len(cache.queues)
    for name, _ in list(cache.queues.items()):
        cache.queues.leave(name)
    assert cache.queues.bytes == 0


def test_the_bound_holds_and_the_sum_is_right_whatever_is_done() -> None:
    chance = random.Random(5)
    cache = Cache()
    for _ in range(20_000):
        name = f"{int(chance.paretovariate(0.6)) % 500}"
        held = cache.queues.get(name.encode())
        if held is not None and chance.random() < 0.05:
            cache.queues.leave(name.encode())
        else:
            cache.ask(name, chance.choice((1, 10, 100, 400)))
        assert cache.queues.bytes <= ROOM
    assert cache.queues.bytes == sum(one.cost for _, one in cache.queues.items())


@pytest.mark.parametrize("name", evictions.TRACES)
def test_the_store_keeps_as_much_as_the_policy_it_follows(name: str) -> None:
    trace = evictions.TRACES[name](12_000, 2_000, random.Random(3))
    bound = sum(dict(trace).values()) // 10
    ours = evictions.play(trace, bound, evictions.POLICIES["ours"])
    assert ours >= evictions.play(trace, bound, evictions.POLICIES["S3-FIFO"]) - 0.02
    lru = evictions.play(trace, bound, evictions.POLICIES["LRU"])
    assert ours > lru or name == "popularity that moves on"
