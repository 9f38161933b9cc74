"""`make soak`: minutes of everything at once over a changing key space, and what it costs.

The origin, the proxy and the clients of tests/hold in one process: answers are judged byte by
byte with faults on, clocks that jump and configurations that reload, while memory, descriptors
and the time of a hit are looked at. They must be at the end what they were after the first tenth.

    python -m bench.soak [--seconds 600] [--store redis://…]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from tests.hold import troubles
from tests.hold.checker import World, pages
from tests.hold.verdicts import answers_in
from tests.hold.worlds import Front, front, get, resident, said

CACHE = 16 << 20
ROUND = 200  # requests of each client between two looks at how things stand
CLIENTS = 16
HITS = 300


@dataclass(frozen=True)
class Look:
    """How things stand: bytes, open descriptors, microseconds of a hit in the middle."""

    memory: int
    files: int
    hit: float


async def look(edge: Front) -> Look:
    took = []
    for _ in range(20):  # until it is stored in spite of the faults
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await edge.get(b"/steady")
    client = await edge.client()
    for _ in range(HITS):
        begun = time.perf_counter()
        answer = await client.ask(get(b"/steady"))
        took.append(time.perf_counter() - begun)
        assert answer.status == 200
    edge.clients.remove(client)
    await client.leave()
    await asyncio.sleep(0.6)  # connections on both sides end
    files = len(list(Path("/proc/self/fd").iterdir()))
    return Look(resident(), files, statistics.median(took) * 1e6)


async def soak(seconds: float, store: str) -> int:
    """0 when all stayed flat; else 1. Raises AssertionError at the first wrong answer."""
    dice = random.Random(time.time())
    world = World(pages(200, dice), dice)
    async with front(
        store=store, origin=TIMES, clock=world.clock, reloads=troubles.RELOADS
    ) as edge:
        edge.origin.on_connection = _steady(edge, world)
        first: Look | None = None
        ends = time.monotonic() + seconds
        begun = time.monotonic()
        while time.monotonic() < ends:
            wrong = (troubles.clock_jumps(world), troubles.reloads(edge, world))
            async with troubles.during(world.live(), *wrong), asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(world.client(edge, ROUND))
            _move_on(world)
            now = await look(edge)
            if first is None and time.monotonic() - begun > seconds / 10:
                first = now
            print(_line(time.monotonic() - begun, world.seen, now), flush=True)
    return _verdict(first or now, now)


TIMES = "timeouts: {first_byte: 200ms, idle: 500ms}"


def _steady(edge: Front, world: World) -> Callable[..., Awaitable[None]]:
    """One page beside the changing ones, for the time of a hit."""
    wire = world.wire

    def answered(asked: object) -> tuple[bytes, str]:
        if asked.target == b"/steady":  # type: ignore[attr-defined]
            return said(b"ok", b"Cache-Control: max-age=99999999"), "length"
        return wire(asked)  # type: ignore[arg-type]

    world.wire = answered  # type: ignore[method-assign]
    return world.connection


def _move_on(world: World) -> None:
    """A tenth of the pages makes room for new ones."""
    count = len(world.pages) // 10
    top = max(page.number for page in world.pages)
    fresh = [replace(page, number=top + 1 + at) for at, page in enumerate(world.pages[:count])]
    world.pages = world.pages[count:] + fresh
    world.by_target |= {page.target: page for page in fresh}
    kept = {page.target for page in world.pages}
    for table in (world.by_target, world.reached, world.settled, world.changed):
        for target in [target for target in table if target not in kept]:
            del table[target]


def _line(elapsed: float, seen: Counter[str], now: Look) -> str:
    return (
        f"{elapsed:6.0f} s  {answers_in(seen):>9} answers  {now.memory / 2**20:6.0f} MiB  "
        f"{now.files:>4} descriptors  {now.hit:5.0f} us a hit"
    )


def _verdict(first: Look, last: Look) -> int:
    flat = {
        "memory": last.memory - first.memory < CACHE // 2 + (32 << 20),
        "descriptors": last.files <= first.files + 8,
        "a hit": last.hit < 2 * first.hit + 200,
    }
    for name, holds in flat.items():
        print(f"{name}: {'flat' if holds else 'NOT flat'}")
    return 0 if all(flat.values()) else 1


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="a soak of the whole proxy")
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--store", default="", help="redis://…, else memory")
    logging.disable(logging.CRITICAL)  # cuts are what it is about
    chosen = options.parse_args()
    kind = f'type: redis, url: "{chosen.store}"' if chosen.store else "type: memory"
    store = f"{{{kind}, memory: {{max: {CACHE // 2**20}MiB}}}}"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(soak(chosen.seconds, store)))
