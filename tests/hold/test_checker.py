"""All of it at once, judged byte by byte; VARY_PROXY_HOLD_ANSWERS sets how many answers.

`make judge` goes on through world after world, to a million answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hold.checker import World
from tests.hold.judging import KINDS, Kind, answers_in, judged, with_worker_kills
from tests.store.servers import RedisServer

ANSWERS = int(os.environ.get("VARY_PROXY_HOLD_ANSWERS", "1000"))
SEED = int(os.environ.get("VARY_PROXY_HOLD_SEED", "20"))
pytestmark = pytest.mark.timeout(24 * 3600 if ANSWERS > 1000 else 120)


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that may be paused, killed and emptied."""
    server = RedisServer(tmp_path_factory.mktemp("judged"))
    server.start()
    yield server
    server.kill()


def _name(kind: Kind) -> str:
    lane = "fast lane" if kind.fast else "long way"
    store = "Redis" if kind.redis else "memory"
    weather = "all goes wrong" if kind.clock else "faults" if kind.faults else "calm"
    return f"{lane}, {store}, {weather}"


@pytest.mark.parametrize("kind", KINDS, ids=_name)
async def test_no_answer_is_wrong(kind: Kind, own_redis: RedisServer) -> None:
    world = await judged(kind, ANSWERS, SEED, own_redis)
    seen = world.seen
    _saw_enough(world)
    assert bool(kind.faults) == ("cut" in seen or "502" in seen)
    assert bool(kind.clock) == (seen["clock jumps"] > 0) == (seen["reloads"] > 0)
    assert kind.breaks == any(name.startswith("redis") for name in seen)


async def test_no_answer_is_wrong_while_workers_are_killed(tmp_path: Path) -> None:
    world = await with_worker_kills(tmp_path, ANSWERS, SEED)
    _saw_enough(world)
    assert world.seen["worker kills"] > 0


def _saw_enough(world: World) -> None:
    assert answers_in(world.seen) >= ANSWERS * 0.95  # some clients leave before theirs
    assert world.seen["200"] > ANSWERS // 2
    assert {"204", "206", "304", "416"} <= set(world.seen)


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
        await judged(Kind(fast=True, faults=0.05), 1500, SEED + seed)
