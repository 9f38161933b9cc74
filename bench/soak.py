"""`make soak`: minutes of everything at once over a changing key space, and what it costs.

The origin, the proxy and the clients of tests/hold in one process: answers are judged byte by
byte with faults on, purges, clocks that jump and configurations that reload, while memory,
descriptors and the time of a hit are looked at. They must be at the end what they were after the
first tenth.

    python -m bench.soak [--seconds 600] [--store redis://…]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from tests.hold import troubles
from tests.hold.callers import Callers
from tests.hold.pages import pages
from tests.hold.realm import Realm
from tests.hold.realms import RELOADS, Purging, Sort, ask, inside, purges, races
from tests.hold.verdicts import answers_in
from tests.hold.worlds import Asked, Front, get, resident, said
from vary_proxy.reloading import LOOK_SECONDS

CACHE = 16 << 20
PAGES = 200
ROUND = 6000  # requests between two looks at how things stand
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
    return Look(resident(), await _files(edge), statistics.median(took) * 1e6)


async def _files(edge: Front) -> int:
    """Descriptors that stay when connections at rest have gone, with the origins of before."""
    for _ in RELOADS:
        assert (await edge.app.reload(alone=True)).ok
    least = 1 << 30
    for _ in range(int(LOOK_SECONDS) + 2):
        await asyncio.sleep(1)
        gc.collect()  # an origin is closed once no request knows it
        least = min(least, len(list(Path("/proc/self/fd").iterdir())))
    return least


class Moving(Realm):
    """A realm whose pages give way to others, and one beside them, for the time of a hit."""

    def wire(self, asked: Asked) -> tuple[bytes, str]:
        if asked.target == b"/steady":
            return said(b"ok", b"Cache-Control: max-age=99999999"), "length"
        if (asked.get(b"host"), asked.target.partition(b"?")[0]) not in self.by_key:
            return said(b"", status=b"404 Not Found"), "length"  # it is validated still
        return super().wire(asked)

    def move_on(self) -> None:
        """A tenth of the pages makes room for new ones."""
        count = len(self.pages) // 10
        top = max(page.number for page in self.pages) + 1
        first = min(page.number for page in self.pages)
        fresh = [replace(page, number=page.number - first + top) for page in self.pages[:count]]
        self.pages = self.pages[count:] + fresh
        before = Realm(fresh, self.dice, grace=self.grace)
        for page in fresh:
            key = (page.host, page.target)
            self.by_key[key] = page
            self.born[key] = [self.time]
            self.told[key], self.softly[key] = before.told[key], before.softly[key]
        kept = {(page.host, page.target) for page in self.pages}
        for table in (self.by_key, self.born, self.told, self.softly):
            for key in table.keys() - kept:
                del table[key]  # type: ignore[attr-defined]
        self.gone = {one for one in self.gone if one[0] in kept}
        self.serials.clear()


async def soak(seconds: float, store: str, *, shared: bool) -> int:
    """0 when all stayed flat; else 1. Raises AssertionError at the first wrong answer."""
    dice = random.Random(time.time())
    sort = Sort(faults=0.05, clock=True, reloads=True)
    realm = Moving(pages(PAGES, dice), dice, sort.faults, grace=1.5 if shared else 0.0, dated=False)
    async with inside(sort, realm, store) as (doors, purge):
        edge = doors[0]
        first: Look | None = None
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            await _round(realm, edge, purge)
            realm.move_on()
            now = await look(edge)
            if first is None and time.monotonic() - begun > seconds / 10:
                first = now
            print(_line(time.monotonic() - begun, realm.seen, now), flush=True)
    return _verdict(first or now, now)


async def _round(realm: Realm, edge: Front, purge: Purging) -> None:
    callers = Callers(realm)
    async with troubles.during(
        realm.live(),
        troubles.clock_jumps(realm),
        troubles.reloads(edge, realm),
        purges(callers, [edge], purge),
        races(callers, [edge]),
    ):
        await ask(callers, [edge], ROUND)


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
        sys.exit(runner.run(soak(chosen.seconds, store, shared=bool(chosen.store))))
