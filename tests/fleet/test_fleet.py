"""Two proxies on one Redis, over real sockets: what one stores is the other's."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.fleet.conftest import HOST, PATIENCE, Body, Origin, Starter
from tests.store.servers import RedisServer
from vary_proxy.app import App

_BODY = b"picture" * 20_000  # several blocks


@pytest.fixture
def gate(origin: Origin) -> asyncio.Event:
    """The origin answers when it is set."""
    origin.bodies = [Body([_BODY], held=asyncio.Event())]
    assert origin.bodies[0].held is not None
    return origin.bodies[0].held


@pytest.fixture
async def bases(start: Starter) -> list[str]:
    """Where the two proxies are."""
    return [await start() for _ in range(2)]


async def get(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    async with session.get(url, headers=HOST) as response:
        return await response.read(), response.headers["Cache-Status"]


async def test_five_hundred_requests_to_two_proxies_are_one_to_the_origin(
    origin: Origin, gate: asyncio.Event, bases: list[str], session: aiohttp.ClientSession
) -> None:
    asking = [asyncio.ensure_future(get(session, bases[n % 2] + "/a")) for n in range(500)]
    await origin.is_asked()
    gate.set()
    async with asyncio.timeout(PATIENCE):
        replies = await asyncio.gather(*asking)
    assert all(body == _BODY for body, _ in replies)
    assert origin.asked == 1


async def test_what_one_has_stored_is_a_hit_on_the_other_and_outlives_a_dead_redis(
    origin: Origin,
    gate: asyncio.Event,
    bases: list[str],
    session: aiohttp.ClientSession,
    redis: RedisServer,
) -> None:
    gate.set()
    await get(session, bases[0] + "/a")
    status = ""
    async with asyncio.timeout(PATIENCE):
        while not status.startswith("vary-proxy; hit"):  # published after its last byte
            body, status = await get(session, bases[1] + "/a")
            assert body == _BODY
    assert origin.asked == 1
    redis.kill()
    for base in bases:
        for path in ("/a", "/b"):
            body, _ = await get(session, base + path)
            assert body == _BODY


@pytest.mark.parametrize("dead", [False, True], ids=["while Redis is well", "while it is away"])
async def test_what_is_under_way_settles_though_the_store_is_listened_to(
    gate: asyncio.Event,
    bases: list[str],
    session: aiohttp.ClientSession,
    redis: RedisServer,
    apps: list[App],
    dead: bool,
) -> None:
    gate.set()
    await get(session, bases[0] + "/a")
    if dead:
        redis.kill()
        await get(session, bases[0] + "/b")
    async with asyncio.timeout(PATIENCE):
        await apps[0].tasks.settle()
    assert len(apps[0].exchange.flights) == 0
    if not dead:  # it is published
        _, status = await get(session, bases[1] + "/a")
        assert status.startswith("vary-proxy; hit")
