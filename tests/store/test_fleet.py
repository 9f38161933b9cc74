"""One flight per variant for a whole fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.builders import KEY
from tests.store.conftest import eventually
from tests.store.servers import RedisServer
from vary_proxy.store.fleet import FleetFlights
from vary_proxy.store.layered import LayeredStore

V = b"origin\0https://a.example"
Opened = Callable[..., LayeredStore]


@pytest.fixture
def two(opened: Opened, redis_server: RedisServer) -> tuple[FleetFlights, FleetFlights]:
    return tuple(opened("redis", url=redis_server.url).flights for _ in range(2))  # type: ignore[return-value]


async def test_one_of_many_gets_the_flight(two: tuple[FleetFlights, FleetFlights]) -> None:
    asked = [
        flights.acquire(KEY, V, b"%d" % number, 5.0) for number, flights in enumerate(two * 25)
    ]
    assert sum(await asyncio.gather(*asked)) == 1


async def test_variants_and_resources_fly_apart(two: tuple[FleetFlights, FleetFlights]) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 5.0)
    assert await other.acquire(KEY, V + b"x", b"b", 5.0)
    assert await other.acquire(KEY + b"x", V, b"b", 5.0)
    assert not await other.acquire(KEY, V, b"b", 5.0)


async def test_those_who_watch_hear_at_once_that_it_is_over(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 30.0)
    assert not await other.watch(KEY, V, 0.05)
    watches = [
        asyncio.get_running_loop().create_task(flights.watch(KEY, V, 10.0)) for flights in two * 3
    ]
    await asyncio.sleep(0.3)  # also time for the subscription
    assert not any(watch.done() for watch in watches)
    started = time.perf_counter()
    await one.release(KEY, V, b"a")
    assert all(await asyncio.gather(*watches))
    assert time.perf_counter() - started < 0.6
    assert await other.acquire(KEY, V, b"b", 5.0)


async def test_only_its_owner_ends_or_prolongs_a_flight(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 5.0)
    await other.release(KEY, V, b"b")
    assert not await other.acquire(KEY, V, b"b", 5.0)
    assert not await other.renew(KEY, V, b"b", 5.0)
    assert await one.renew(KEY, V, b"a", 5.0)


async def test_a_dead_leader_is_replaced_when_its_time_is_over(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 0.2)
    assert await other.watch(KEY, V, 5.0)
    assert await other.acquire(KEY, V, b"b", 5.0)
    assert not await one.renew(KEY, V, b"a", 5.0)


async def test_without_a_store_everybody_fetches(opened: Opened, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)  # never started
    store = opened("redis", url=server.url, timeout=0.25)
    for owner in (b"a", b"b"):
        assert await store.flights.acquire(KEY, V, owner, 5.0)
    assert await store.flights.watch(KEY, V, 5.0)
    await store.flights.release(KEY, V, b"a")
    await eventually(lambda: not store.shared.breaker.writable)
