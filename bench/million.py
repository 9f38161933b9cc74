"""Distinct objects without end through a small cache: what does the process come to weigh?

    python -m bench.million [--count 1000000] [--store memory|redis] [--max 64]

Each object is asked for once, and one of twenty again a little later, so that every segment
of the cache and its fast lane are in use. Bodies are of sizes as on the web, 6 KiB in the mean
and some of hundreds; heads are as those of S3. Nothing is sent over sockets but to Redis, which
is started here with a bound of its own. The bound is 1.5 times the configured size of the cache
and 64 MiB, the program itself included; a process that ever weighs more ends the run with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from vary_proxy import config
from vary_proxy.core.message import Fields, Request, Response
from vary_proxy.exchange import Exchange
from vary_proxy.fitting import opened
from vary_proxy.hot import Hot
from vary_proxy.origin import Interim, Naming
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks

MIB = 1 << 20
_STEPS = 20  # lines that are printed
_SOME = os.urandom(4 * MIB)
_REDIS_MAX = "256mb"


def size(chance: random.Random) -> int:
    """Bytes of one body: log-normal, 6 KiB in the mean, and at most half a mebibyte."""
    return min(MIB // 2, int(chance.lognormvariate(7.8, 1.35)))


class Answer:
    """A response with its body at hand in one piece."""

    def __init__(self, number: int, length: int) -> None:
        date = formatdate(time.time(), usegmt=True).encode()
        self.length = length
        self.close_delimited = False
        self._start = number % (len(_SOME) - length)
        self.head = Response(
            200,
            Fields(
                (
                    (b"date", date),
                    (b"etag", b'"%032x"' % number),
                    (b"last-modified", date),
                    (b"content-type", b"image/png"),
                    (b"cache-control", b"public, max-age=86400"),
                    (b"content-length", b"%d" % length),
                    (b"accept-ranges", b"bytes"),
                    (b"server", b"AmazonS3"),
                    (b"x-amz-request-id", b"%016x" % number),
                    (b"x-amz-id-2", b"%076x" % number),
                )
            ),
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        yield bytes(memoryview(_SOME)[self._start : self._start + self.length])

    async def close(self) -> None:
        pass


class Endless:
    """An origin that has every object."""

    naming = Naming(b"origin.example", host=b"origin.example")

    def __init__(self, seed: int) -> None:
        self.asked = 0
        self._chance = random.Random(seed)

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> Answer:
        self.asked += 1
        return Answer(self.asked, size(self._chance))

    async def close(self) -> None:
        pass


class Nobody:
    """A client that sends no body and wants no interim responses."""

    body = None

    async def interim(self, response: Response) -> None:
        pass

    def gone(self) -> bool:
        return False


@dataclass(frozen=True)
class Weighed:
    """Bytes: of the process at its peak, what it may weigh, and what the cache says it holds."""

    peak: int
    bound: int
    held: int
    resources: int
    hits: int


def resident(what: str = "VmHWM") -> int:
    """Bytes of this process now (VmRSS) or at its peak."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def run(count: int, store: str, most: int, *, seed: int = 1) -> Weighed:
    """*store* is YAML; *most* its configured bytes in memory."""
    text = f"version: 1\norigins: {{media: {{url: http://origin.example}}}}\nstore: {store}\n"
    loaded = config.loads(text.encode(), "million.yaml", (), {})
    tasks = Tasks()
    held = opened(loaded.settings.store, tasks, time.time)
    origin = Endless(seed)
    exchange = Exchange(loaded.rules, {"media": origin}, held, tasks, time.time)
    hot = Hot(held, time.time, loaded.rules.header_names, most // 4)  # as App makes it
    exchange.on_hit, exchange.on_edge = hot.learn, hot.learn_edge
    bound = most * 3 // 2 + 64 * MIB
    chance, hits = random.Random(seed), 0
    try:
        for number in range(count):
            await _ask(exchange, number)
            if number % 20 == 0:
                before = origin.asked
                await _ask(exchange, number - chance.randrange(min(number + 1, 500)))
                hits += origin.asked == before
            if len(tasks) > 64:
                await tasks.settle()
            if number % max(1, count // _STEPS) == 0:
                print(_line(number, held, bound), flush=True)
        stats = held.stats()
        return Weighed(resident(), bound, stats.bytes, stats.resources, hits)
    finally:
        await held.close()
        await tasks.close()


async def _ask(exchange: Exchange, number: int) -> None:
    request = Request(
        b"GET", b"/bucket/objects/%08d.png" % number, Fields(), authority=b"a.example"
    )
    reply = await exchange.answer(request, Nobody())
    assert reply.status == 200
    if reply.stream is not None:
        async for _ in reply.stream:
            pass


def _line(number: int, store: Store, bound: int) -> str:
    stats = store.stats()
    return (
        f"{number:>9}  weighs {resident('VmRSS') / MIB:6.1f} MiB, at most "
        f"{resident() / MIB:6.1f} of {bound / MIB:.0f}; "
        f"holds {stats.bytes / MIB:6.1f} MiB in {stats.resources} resources"
    )


@contextmanager
def _redis() -> Iterator[str]:
    from tests.store.servers import RedisServer

    with tempfile.TemporaryDirectory() as directory:
        bounds = ("--maxmemory", _REDIS_MAX, "--maxmemory-policy", "allkeys-lru")
        server = RedisServer(Path(directory), *bounds)
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--store", choices=("memory", "redis"), default="memory")
    parser.add_argument("--max", type=int, default=64, help="MiB of store.memory.max")
    said = parser.parse_args()
    memory = f"memory: {{max: {said.max}MiB}}"
    if said.store == "memory":
        weighed = asyncio.run(run(said.count, f"{{{memory}}}", said.max * MIB))
    else:
        with _redis() as url:
            store = f"{{type: redis, url: '{url}', timeout: 2s, {memory}}}"
            weighed = asyncio.run(run(said.count, store, said.max * MIB))
    print(
        f"{said.count} objects, store {said.store}, cache {said.max} MiB: at most "
        f"{weighed.peak / MIB:.1f} MiB, bound {weighed.bound / MIB:.0f} MiB; "
        f"holds {weighed.held / MIB:.1f} MiB in {weighed.resources} resources; {weighed.hits} hits"
    )
    return 0 if weighed.peak <= weighed.bound else 1


if __name__ == "__main__":
    sys.exit(main())
