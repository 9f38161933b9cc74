"""What else goes wrong while the checker judges: clocks, configurations, Redis, workers.

Each is a coroutine that runs for ever; ``during`` runs some of them beside a block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from tests.hold.worlds import Clock, Front
from tests.lifecycle.command import Command
from tests.store.servers import RedisServer
from tests.wire.rawclient import Client


class World(Protocol):
    """What troubles need of a world: its lot, its clock, and where they are counted."""

    dice: random.Random
    clock: Clock
    astray: float
    seen: Counter[str]


WOBBLE = 10.0  # seconds by which a clock is wrong, either way
LEAP = 700.0  # seconds: longer than anything stays fresh


@contextlib.asynccontextmanager
async def during(*lives: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs *lives* meanwhile. Raises what one of them raised."""
    tasks = [asyncio.create_task(life) for life in lives]
    try:
        yield
    finally:
        # A client of Redis can lose a cancellation that comes together with an answer.
        while any(not task.done() for task in tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.2)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def clock_jumps(world: World) -> None:
    """The clock is set wrong and right again, and sometimes far ahead for good."""
    world.astray = 2 * WOBBLE
    wrong = 0.0
    try:
        while True:
            await asyncio.sleep(world.dice.uniform(0.02, 0.2))
            if world.dice.random() < 0.1:
                world.clock.now += LEAP
            else:
                world.clock.now -= wrong
                wrong = world.dice.uniform(-WOBBLE, WOBBLE)
                world.clock.now += wrong
            world.seen["clock jumps"] += 1
    finally:
        world.clock.now -= wrong


async def reloads(edge: Front, world: World) -> None:
    while True:
        await asyncio.sleep(world.dice.uniform(0.02, 0.2))
        outcome = await edge.app.reload(alone=True)
        assert outcome.ok, outcome
        world.seen["reloads"] += 1


async def redis_troubles(server: RedisServer, world: World) -> None:
    """It is paused, killed, emptied, and filled with what is not ours."""
    try:
        while True:
            await asyncio.sleep(world.dice.uniform(0.1, 0.5))
            trouble = world.dice.choice(("pauses", "kills", "emptied", "garbage"))
            world.seen[f"redis {trouble}"] += 1
            if trouble == "pauses":
                server.pause()
                await asyncio.sleep(world.dice.uniform(0.05, 0.6))
                server.resume()
            elif trouble == "kills":
                server.kill()
                await asyncio.sleep(world.dice.uniform(0, 0.4))
                await asyncio.to_thread(server.start)
            else:
                await _meddle(server, world.dice, empty=trouble == "emptied")
    finally:
        if server.is_running:
            server.resume()
        else:
            server.start()


async def _meddle(server: RedisServer, dice: random.Random, *, empty: bool) -> None:
    async with Redis.from_url(server.url) as redis:
        if empty:
            await redis.flushall()
            return
        for _ in range(20):
            name = await redis.randomkey()
            if name is not None and await redis.type(name) == b"hash":
                for key, value in (await redis.hgetall(name)).items():
                    if dice.random() < 0.5:
                        await redis.hset(name, key, _spoiled(value, dice))
            elif name is not None and await redis.type(name) == b"string":
                await redis.set(name, _spoiled(await redis.get(name) or b"", dice), keepttl=True)


def _spoiled(value: bytes, dice: random.Random) -> bytes:
    data = bytearray(value or b"x")
    at = dice.randrange(len(data))
    match dice.randrange(3):
        case 0:
            data[at] ^= 1 << dice.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data[at:at] = os.urandom(9)
    return bytes(data)


@dataclass
class Outside:
    """A proxy that runs by itself, on a port of this machine."""

    command: Command
    port: int
    clients: list[Client] = field(default_factory=list)
    lane: object = None  # what answers with one memory; None: each connection may have its own

    async def client(self) -> Client:
        pair = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        self.clients.append(Client(*pair))
        return self.clients[-1]


@contextlib.asynccontextmanager
async def outside(path: Path, text: str, workers: int = 2) -> AsyncIterator[Outside]:
    """The command itself, with *workers*, by the configuration *text*."""
    path.write_text(text)
    command = Command("--config", str(path), "--workers", str(workers))
    try:
        yield Outside(command, await asyncio.to_thread(command.port))
    finally:
        await asyncio.to_thread(command.close)


async def worker_kills(edge: Outside, world: World, lacking: Callable[[float], None]) -> None:
    """One worker after the other is killed; *lacking* is told for how many seconds each."""
    loop = asyncio.get_running_loop()
    count = len(edge.command.workers())
    while True:
        await asyncio.sleep(world.dice.uniform(0.2, 0.6))
        before = edge.command.workers()
        victim = world.dice.choice(before)
        os.kill(victim, signal.SIGKILL)
        world.seen["worker kills"] += 1
        begun = loop.time()
        while victim in (now := edge.command.workers()) or len(now) < count:
            await asyncio.sleep(0.01)
        lacking(loop.time() - begun)
