"""All of it at once, judged byte by byte; VARY_PROXY_HOLD_ANSWERS sets how many answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.hold.checker import World, pages
from tests.hold.worlds import front
from tests.store.conftest import redis_server  # noqa: F401  the fixture
from tests.store.servers import RedisServer

ANSWERS = int(os.environ.get("VARY_PROXY_HOLD_ANSWERS", "1500"))
SEED = int(os.environ.get("VARY_PROXY_HOLD_SEED", "20"))
CLIENTS = 24
TIMES = "timeouts: {first_byte: 200ms, idle: 500ms}"


@contextlib.asynccontextmanager
async def living(world: World) -> AsyncIterator[None]:
    life = asyncio.create_task(world.live())
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait((life,))


async def judged(store: str, *, fast: bool, faults: float, seed: int = SEED) -> World:
    """A world in which ANSWERS were judged. Raises AssertionError at the first wrong one."""
    dice = random.Random(seed)
    world = World(pages(80, dice), dice, faults)
    clock = world.clock
    times = TIMES if faults else ""
    async with front(fast=fast, store=store, origin=times, clock=clock) as edge, living(world):
        edge.origin.on_connection = world.connection
        each = ANSWERS // CLIENTS + 1
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(world.client(edge, each))
    assert world.seen.total() >= ANSWERS
    assert world.seen["200"] > ANSWERS // 2
    assert {"204", "206", "304", "416"} <= set(world.seen)
    return world


MEMORY = "{type: memory, memory: {max: 2MiB}}"


@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
@pytest.mark.parametrize("faults", [0.0, 0.08], ids=["calm", "faults"])
async def test_no_answer_is_wrong(fast: bool, faults: float) -> None:
    world = await judged(MEMORY, fast=fast, faults=faults)
    assert bool(faults) == ("cut" in world.seen or "502" in world.seen)


@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
async def test_no_answer_is_wrong_with_redis(
    fast: bool,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    store = f'{{type: redis, url: "{redis_server.url}", namespace: hold{int(fast)}, timeout: 5s, '
    await judged(store + "memory: {max: 1MiB, max_object: 64KiB}}", fast=fast, faults=0.05)


async def _nothing(*_: object) -> int:
    return 0


@pytest.mark.parametrize(
    ("where", "broken"),
    [
        pytest.param("vary_proxy.store.memory.MemoryStore.purge", _nothing, id="invalidation"),
        pytest.param("vary_proxy.core.keys.matches", lambda *_: True, id="variants"),
        pytest.param("vary_proxy.core.storing.shares_authorized", lambda _: True, id="personal"),
    ],
)
async def test_the_judge_sees_what_is_wrong(
    where: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, broken)
    with pytest.raises(ExceptionGroup):
        await _many_worlds()


async def _many_worlds() -> None:
    # Which requests meet is a matter of moments: one world may be spared, a dozen are not.
    for seed in range(12):
        await judged(MEMORY, fast=True, faults=0.05, seed=SEED + seed)
