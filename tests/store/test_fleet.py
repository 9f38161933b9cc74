"""One flight per variant for a whole fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.builders import KEY, stored
from tests.store.conftest import eventually
from tests.store.servers import RedisServer
from vary_proxy.core.stored import Body
from vary_proxy.store import codec
from vary_proxy.store.codec import Headway
from vary_proxy.store.fleet import ALONE, FOLLOWED, LOST, FleetFlights
from vary_proxy.store.layered import LayeredStore

HEAD = replace(stored(b"https://a.example"), body=Body(bytes(codec.DIGEST), 0))
V = b"origin\0https://a.example"
Opened = Callable[..., LayeredStore]


@pytest.fixture
def two(opened: Opened, redis_url: str) -> tuple[FleetFlights, FleetFlights]:
    return tuple(opened("redis", url=redis_url).flights for _ in range(2))  # type: ignore[return-value]


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


def headway(size: int, tail: bytes = b"", *, done: bool = False) -> Headway:
    head = codec.encode_variant(KEY, HEAD)
    return Headway(KEY, b"a", head, None, b"t" * codec.TOKEN, size, tail, done)


async def test_those_who_follow_hear_at_once_that_it_is_over(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 30.0)
    with other.ears(KEY, V) as ears:
        assert await other.follow(KEY, V) == (b"a", None)
        await eventually(lambda: other._hub.sure)
        started = time.perf_counter()
        await one.release(KEY, V, b"a", 5.0, None)
        assert await ears.wait(10.0)
        assert time.perf_counter() - started < 0.6
    assert await other.follow(KEY, V) == (b"", None)
    assert await other.acquire(KEY, V, b"b", 5.0)


async def test_a_leader_hears_at_once_that_somebody_follows_and_tells_how_far_it_is(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 30.0)
    assert await one.lead(KEY, V, b"a", 30.0, None) == ALONE
    with one.ears(KEY, V) as leader, other.ears(KEY, V) as follower:
        await eventually(lambda: one._hub.sure and other._hub.sure)
        assert await other.follow(KEY, V) == (b"a", None)
        assert await leader.wait(10.0)
        assert await one.lead(KEY, V, b"a", 30.0, headway(0, b"beginning")) == FOLLOWED
        assert await follower.wait(10.0)
    told = await other.follow(KEY, V)
    assert told is not None
    owner, found = told
    assert owner == b"a"
    assert found == (headway(0, b"beginning"), HEAD)
    await one.release(KEY, V, b"a", 30.0, headway(9, done=True))
    told = await other.follow(KEY, V)
    assert told is not None
    assert told[0] == b""
    assert told[1] is not None
    assert told[1][0].done


async def test_only_its_owner_ends_or_prolongs_a_flight(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 5.0)
    await other.release(KEY, V, b"b", 5.0, None)
    assert not await other.acquire(KEY, V, b"b", 5.0)
    assert await other.lead(KEY, V, b"b", 5.0, headway(1)) == LOST
    assert await other.follow(KEY, V) == (b"a", None)
    assert await one.lead(KEY, V, b"a", 5.0, None) == FOLLOWED


async def test_a_dead_leader_is_replaced_when_its_time_is_over(
    two: tuple[FleetFlights, FleetFlights],
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 0.2)
    await eventually(lambda: other.acquire(KEY, V, b"b", 5.0))
    assert await one.lead(KEY, V, b"a", 5.0, headway(1)) == LOST


async def test_what_is_not_a_headway_of_ours_is_none(
    two: tuple[FleetFlights, FleetFlights], namespace: str
) -> None:
    one, other = two
    assert await one.acquire(KEY, V, b"a", 5.0)
    await one.lead(KEY, V, b"a", 5.0, headway(1))
    client = one._driver.client
    (name,) = [name async for name in client.scan_iter(match=f"{namespace}:*:f:*:h")]
    said = await client.get(name)
    for wrong in (b"", b"garbage", said[:-1], said.replace(b"logo", b"LOGO")):
        await client.set(name, wrong, px=5000)
        assert await other.follow(KEY, V) == (b"a", None)


async def test_without_a_store_everybody_fetches(opened: Opened, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)  # never started
    store = opened("redis", url=server.url, timeout=0.25)
    for owner in (b"a", b"b"):
        assert await store.flights.acquire(KEY, V, owner, 5.0)
    assert await store.flights.follow(KEY, V) is None
    assert await store.flights.lead(KEY, V, b"a", 5.0, headway(1)) == LOST
    await store.flights.release(KEY, V, b"a", 5.0, None)
    await eventually(lambda: not store.shared.breaker.writable)
