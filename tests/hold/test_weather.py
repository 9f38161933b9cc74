"""Redis in every weather, while each answer is judged: full, evicting, emptied, cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.hold import troubles
from tests.hold.callers import Callers
from tests.hold.realm import Realm
from tests.hold.realms import CLIENTS, Sort, ask, inside, purges, races, realm_of, store_of
from tests.hold.verdicts import answers_in
from tests.store.servers import RedisServer, running
from tests.store.test_refusals import say

ANSWERS = 400
EVICTING = (
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl",
)  # fmt: skip
Lives = Coroutine[object, object, None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path)) as one:
        yield one


@pytest.fixture
async def direct(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=server.port) as client:
        yield client


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="vary_proxy")
    return lambda: [
        text for one in caplog.records if (text := one.getMessage()).startswith("store ")
    ]


async def judged(
    sort: Sort,
    server: RedisServer,
    *lives: Lives,
    until: Callable[[], Awaitable[bool]] | None = None,
) -> tuple[Realm, list[int]]:
    """What was judged, nothing of it wrong; and the errors that each proxy counted.

    More is asked *until* that has come about.
    """
    realm = realm_of(sort, 5)
    realm.lossy = True
    callers = Callers(realm)
    async with (
        inside(sort, realm, store_of(sort, server)) as (doors, purge),
        troubles.during(
            realm.live(), purges(callers, [*doors], purge), races(callers, [*doors]), *lives
        ),
    ):
        await ask(callers, [*doors], ANSWERS)
        while until is not None and not await until():
            await ask(callers, [*doors], CLIENTS)
        errors = [sum(one.app.store.shared.breaker.errors.values()) for one in doors]  # type: ignore[attr-defined]
    assert answers_in(realm.seen) > ANSWERS / 2
    return realm, errors


async def narrow(direct: Redis, policy: str, room: int) -> None:
    await direct.config_set("maxmemory-policy", policy)
    used = (await direct.info("memory"))["used_memory"]
    await direct.config_set("maxmemory", used + room)


@pytest.mark.parametrize("policy", EVICTING)
async def test_what_redis_evicts_makes_no_answer_wrong(
    policy: str, server: RedisServer, direct: Redis, lines: Callable[[], list[str]]
) -> None:
    await narrow(direct, policy, 4 << 20)
    store = "redis" if policy == "allkeys-lru" else "redis alone"

    async def evicts() -> bool:
        return (await direct.info("stats"))["evicted_keys"] > 50  # type: ignore[no-any-return]

    await judged(Sort(True, store, 2, large=0.3), server, until=evicts)
    # What clients send takes room too, so that a small server may be full for a moment.
    assert all("): raise its maxmemory" in one or "back after" in one for one in lines())
    assert len(lines()) <= 8


@pytest.mark.parametrize("store", ["redis", "redis alone"])
async def test_a_full_redis_takes_purges_all_the_same(
    store: str, server: RedisServer, direct: Redis, lines: Callable[[], list[str]]
) -> None:
    """What it has it keeps, and every proxy sees it: so a purge that it did not take would show."""
    filling = _fills(direct)

    async def was_full() -> bool:
        return bool(lines())

    await judged(Sort(True, store, 2, large=0.3), server, filling, until=was_full)
    assert len(lines()) <= 8


async def _fills(direct: Redis) -> None:
    await direct.config_set("maxmemory-policy", "noeviction")
    while True:
        await asyncio.sleep(0.3)
        await direct.config_set("maxmemory", 1)
        await asyncio.sleep(0.5)
        await direct.config_set("maxmemory", 0)


async def test_redis_emptied_in_the_middle_of_large_bodies(
    server: RedisServer, direct: Redis, lines: Callable[[], list[str]]
) -> None:
    async def empties() -> None:
        while True:
            for empty in ("FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"):
                await asyncio.sleep(0.06)
                await say(direct, *empty.split())

    await judged(Sort(True, "redis alone", 3, large=0.7), server, empties())
    assert lines() == []


async def test_connections_to_redis_cut_again_and_again(server: RedisServer, direct: Redis) -> None:
    async def cuts() -> None:
        while True:
            await asyncio.sleep(0.3)
            await direct.client_kill_filter(skipme=True)

    await judged(Sort(True, "redis", 2, large=0.3, breaks=True), server, cuts())
