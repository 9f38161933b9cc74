"""Processes that share a store make one fetch of one variant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.exchange import Exchange


class Ears:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        await self.event.wait()
        self.event.clear()
        return True


class Fleet:
    """The lock that a shared store gives, in memory. ``silent``: it lets everybody go.

    Nothing is read along: that takes the blocks of a real store (tests/fleet).
    """

    def __init__(self) -> None:
        self.held: dict[tuple[bytes, bytes], bytes] = {}
        self.listening: set[Ears] = set()
        self.silent = False

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool:
        return self.silent or self.held.setdefault((key, variant), owner) == owner

    async def lead(self, key: bytes, variant: bytes, owner: bytes, *said: object) -> int:
        return int(self.held.get((key, variant)) == owner)

    async def release(self, key: bytes, variant: bytes, owner: bytes, *said: object) -> None:
        if self.held.get((key, variant)) == owner:
            del self.held[key, variant]
        for ears in self.listening:
            ears.event.set()

    async def follow(self, key: bytes, variant: bytes) -> tuple[bytes, None]:
        return self.held.get((key, variant), b""), None

    async def read(self, *said: object) -> None:
        return None

    @contextmanager
    def ears(self, key: bytes, variant: bytes) -> Iterator[Ears]:
        ears = Ears()
        self.listening.add(ears)
        yield ears
        self.listening.discard(ears)


class Pair:
    """Two processes: exchanges of their own over one store and one origin."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.edges = [Edge(), Edge()]
        first = self.edges[0]
        for edge in self.edges:
            edge.origin, edge.store, edge.clock = first.origin, first.store, first.clock
            edge.exchange = Exchange(
                edge.rules,
                {edge.rules.policy.origin: edge.origin},
                edge.store,
                edge.tasks,
                edge.clock,
                fleet=self.fleet,
            )
        self.origin = first.origin


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    one = Pair()
    yield one
    for edge in one.edges:
        await edge.tasks.close()


async def test_hundreds_of_requests_to_two_processes_are_one_to_the_origin(pair: Pair) -> None:
    gate = asyncio.Event()
    pair.origin.replies(200, cache_control=b"max-age=60", body=b"x" * 1000, gate=gate)
    waiting = [asyncio.ensure_future(pair.edges[n % 2].get("/a")) for n in range(500)]
    while pair.origin.asked < 1:
        await asyncio.sleep(0)
    gate.set()
    replies = await asyncio.gather(*waiting)
    assert {reply.body for reply in replies} == {b"x" * 1000}
    assert pair.origin.asked == 1
    assert sum("collapsed" in reply.cache_status for reply in replies) == 499


async def test_what_cannot_be_shared_is_fetched_by_each_at_once(pair: Pair) -> None:
    for _ in range(2):
        pair.origin.replies(200, cache_control=b"private", body=b"x")
    replies = await asyncio.gather(*(edge.get("/a") for edge in pair.edges))
    assert [reply.status for reply in replies] == [200, 200]
    assert pair.origin.asked == 2
    assert pair.fleet.held == {}


async def test_a_failed_leader_is_followed(pair: Pair) -> None:
    pair.origin.fails()
    pair.origin.replies(200, cache_control=b"max-age=60", body=b"x")
    replies = await asyncio.gather(*(edge.get("/a") for edge in pair.edges))
    assert sorted(reply.status for reply in replies) == [200, 502]


async def test_a_store_that_does_not_answer_lets_everybody_fetch(pair: Pair) -> None:
    pair.fleet.silent = True
    for _ in range(2):
        pair.origin.replies(200, cache_control=b"max-age=60", body=b"x")
    replies = await asyncio.gather(*(edge.get("/a") for edge in pair.edges))
    assert [reply.status for reply in replies] == [200, 200]


async def test_another_variant_does_not_wait(pair: Pair) -> None:
    gate = asyncio.Event()
    pair.origin.replies(200, cache_control=b"max-age=60", acao=b"https://a", gate=gate)
    leader = asyncio.ensure_future(pair.edges[0].get("/a", origin=b"https://a"))
    while pair.origin.asked < 1:
        await asyncio.sleep(0)
    pair.origin.replies(200, cache_control=b"max-age=60", acao=b"https://b")
    assert (await pair.edges[1].get("/a", origin=b"https://b")).status == 200
    gate.set()
    assert (await leader)["access-control-allow-origin"] == b"https://a"
