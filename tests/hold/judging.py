"""`make judge`: worlds of every kind, one after the other, until so many answers were judged.

    python -m tests.hold.judging [--answers 1000000] [--seed 1] [--each 5000]

Each world has a seed of its own, which is printed when an answer in it was wrong. What meets
what is a matter of moments too: the same seed makes the same world, not the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path

from tests.hold import troubles
from tests.hold.checker import World, pages
from tests.hold.worlds import CONFIG, Front, Origin, front
from tests.store.servers import RedisServer

CLIENTS = 24
TIMES = "timeouts: {first_byte: 200ms, idle: 500ms}"
MEMORY = "{type: memory, memory: {max: 2MiB}}"
_numbers = itertools.count()


@dataclass(frozen=True)
class Kind:
    """What sort of world: its lane, its store, how often the origin fails, and what else does."""

    fast: bool
    redis: bool = False
    faults: float = 0.0
    clock: bool = False
    reloads: bool = False
    breaks: bool = False  # Redis does


KINDS = [
    *(Kind(fast, redis, faults) for fast in (True, False) for redis in (False, True)
      for faults in (0.0, 0.08)),
    *(Kind(fast, redis, 0.05, True, True, redis) for fast in (True, False)
      for redis in (False, True)),
]  # fmt: skip


def store_of(kind: Kind, server: RedisServer | None) -> str:
    if not kind.redis or server is None:
        return MEMORY
    patience = "300ms" if kind.breaks else "5s"  # on a busy machine Redis is no slower than we
    where = f'type: redis, url: "{server.url}", namespace: judge{next(_numbers)}'
    return f"{{{where}, timeout: {patience}, memory: {{max: 1MiB, max_object: 64KiB}}}}"


async def judged(kind: Kind, answers: int, seed: int, server: RedisServer | None = None) -> World:
    """A world in which *answers* were judged. Raises AssertionError at the first wrong one."""
    dice = random.Random(seed)
    world = World(pages(80, dice), dice, kind.faults)
    store, times = store_of(kind, server), TIMES if kind.faults else ""
    async with front(
        fast=kind.fast, store=store, origin=times, clock=world.clock, reloads=troubles.RELOADS
    ) as edge:
        edge.origin.on_connection = world.connection
        async with troubles.during(world.live(), *_troubles(kind, edge, world, server)):
            await ask(world, edge, answers)
    return world


def _troubles(
    kind: Kind, edge: Front, world: World, server: RedisServer | None
) -> list[Coroutine[object, object, None]]:
    lives = []
    if kind.clock:
        lives.append(troubles.clock_jumps(world))
    if kind.reloads:
        lives.append(troubles.reloads(edge, world))
    if kind.breaks and server is not None:
        lives.append(troubles.redis_troubles(server, world))
    return lives


async def ask(world: World, edge: Front | troubles.Outside, answers: int) -> None:
    each = answers // CLIENTS + 1
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(world.client(edge, each))


@contextlib.asynccontextmanager
async def workers(
    directory: Path, seed: int, faults: float = 0.03
) -> AsyncIterator[tuple[World, troubles.Outside]]:
    """A world whose proxy is the command itself with two workers, on the machine's clock.

    Each keeps a store of its own, so nothing is invalidated by PUT in it.
    """
    dice = random.Random(seed)
    world = World(pages(80, dice), dice, faults, speed=1.0, puts=0.0, losable=True)
    origin = Origin()
    origin.on_connection = world.connection
    await origin.start()
    text = CONFIG.format(
        at="127.0.0.1", port=origin.port, host="preserve", trusted="[]",
        server=", drain: {delay: 0s}",
        origin=", " + TIMES, store=MEMORY, rules="probes: {address: '127.0.0.1:0'}",
    )  # fmt: skip
    try:
        async with troubles.outside(directory / "judge.yaml", text) as edge:
            yield world, edge
    finally:
        await origin.stop()


async def with_worker_kills(directory: Path, answers: int, seed: int) -> World:
    """A world in which *answers* were judged while workers were killed."""
    lacking: list[float] = []
    async with workers(directory, seed) as (world, edge):
        kills = troubles.worker_kills(edge, world, lacking.append)
        async with troubles.during(world.live(), kills):
            await ask(world, edge, answers)
            while not lacking:
                await ask(world, edge, CLIENTS)
    assert max(lacking) < 5, lacking  # a worker is back within 5 s
    return world


async def until_judged(answers: int, seed: int, each: int) -> None:
    total: Counter[str] = Counter()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory))
        server.start()
        try:
            for number in itertools.count(seed):
                at = (number - seed) % (len(KINDS) + 1)
                kind = KINDS[at] if at < len(KINDS) else None
                try:
                    if kind is None:
                        world = await with_worker_kills(Path(directory), each, number)
                    else:
                        world = await judged(kind, each, number, server)
                except BaseException:
                    print(f"wrong in the world of seed {number}: {kind or 'workers'}", flush=True)
                    raise
                total += world.seen
                count = answers_in(total)
                print(f"{time.monotonic() - begun:7.0f} s {count:>9} answers, seed {number}: "
                      f"{kind or 'workers killed'}", flush=True)  # fmt: skip
                if count >= answers:
                    break
        finally:
            server.kill()
    print(f"{answers_in(total)} answers judged from seed {seed} on, none wrong")
    print(", ".join(f"{name}: {count}" for name, count in sorted(total.items())))


def answers_in(seen: Counter[str]) -> int:
    """Those that a client was given: whole or cut, with a status."""
    return sum(count for name, count in seen.items() if name.isdigit() or name == "cut")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="random requests, judged byte by byte")
    options.add_argument("--answers", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--each", type=int, default=5_000, help="answers in one world")
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)  # faults are what it is about
    asyncio.run(until_judged(chosen.answers, chosen.seed, chosen.each))
    sys.exit(0)
