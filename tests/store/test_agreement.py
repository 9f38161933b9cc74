"""Whatever happens in whatever order, every worker sees what one store alone would hold.

A walk of random operations by three workers on one Redis, beside a model made of the core's
own functions. Then the same with the server going away and coming back: what is served must
still be something that was stored, under the key and for the requester that it was stored for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.builders import Clock, Heard, body_of, digest, found, put, stored
from tests.store.conftest import eventually
from tests.store.servers import MemcachedServer, RedisServer
from vary_proxy.core import variants
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import breaker as breaker_module
from vary_proxy.store.layered import LayeredStore

KEYS = [b"/%d" % number for number in range(4)]
ORIGINS = [None, *(b"https://%d.example" % number for number in range(4))]
TAGS = ["news", "sport"]
LIMIT = 4
STEPS = ["put"] * 5 + ["purge", "drop", "freshen", "add", "tag", "load"]
Opened = Callable[..., LayeredStore]


BARRIERS = (b"barrier 0", b"barrier 1", b"barrier 3")  # on each node of a cluster of three


class Model:
    """What one store alone would hold."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.held: dict[bytes, Resource] = {}
        self.bodies: dict[bytes, bytes] = {}

    def set(self, key: bytes, resource: Resource | None) -> None:
        if resource is not None and resource.variants:
            self.held[key] = resource
        else:
            self.held.pop(key, None)

    def put(self, key: bytes, response: StoredResponse, body: bytes) -> None:
        whole = replace(response, body=Body(digest(body), len(body)))
        self.bodies[whole.body.digest] = body
        joined = variants.joined(self.held.get(key), whole, LIMIT, self.clock())
        if joined is not None:
            self.held[key] = joined

    def purge_tag(self, tag: bytes) -> None:
        for key, resource in list(self.held.items()):
            kept = [one for one in resource.variants if one.fields.get(b"cache-tag") != tag]
            self.set(key, Resource(tuple(kept)))


class Walk:
    def __init__(
        self, seed: int, workers: list[LayeredStore], clock: Clock, steps: list[str]
    ) -> None:
        self.steps = steps
        self.random = random.Random(seed)
        self.workers = workers
        self.clock = clock
        self.model = Model(clock)
        self.heard = [Heard(one) for one in workers if one._notices is not None]

    async def settle(self) -> None:
        """Until every worker has heard of all that happened: each node's notices come in order."""
        for one in self.heard:
            one.subjects.clear()
        for worker in self.workers:
            for barrier in BARRIERS:
                await worker.purge(barrier)
        await eventually(
            lambda: all(
                one.subjects.count(barrier) == len(self.workers) - 1
                for one in self.heard
                for barrier in BARRIERS
            )
        )

    def response(self) -> StoredResponse:
        choice = self.random
        self.clock.now += choice.choice([0, 1, 90])
        return stored(choice.choice(ORIGINS), born=self.clock.now, cache_tag=choice.choice(TAGS))

    async def step(self) -> None:
        choice, model = self.random, self.model
        worker, key = choice.choice(self.workers), choice.choice(KEYS)
        held = model.held.get(key)
        match choice.choice(self.steps):
            case "put":
                response, body = self.response(), b"%d" % choice.randrange(8) * 1000
                await put(worker, key, response, body, max_variants=LIMIT)
                model.put(key, response, body)
            case "purge":
                assert await worker.purge(key) == (0 if held is None else len(held.variants))
                model.held.pop(key, None)
            case "drop" if held is not None:
                gone = choice.choice(held.variants)
                await worker.drop(key, gone)
                model.set(key, Resource(tuple(one for one in held.variants if one != gone)))
            case "freshen" if held is not None:
                old = choice.choice(held.variants)
                new = replace(old, born=self.clock.now, received=self.clock.now)
                await worker.replace(key, old, new, await worker.since(key))
                model.set(key, variants.replaced(held, old, new))
            case "add" if held is not None:
                body = choice.choice(held.variants).body
                response = replace(self.response(), body=body)
                joined = variants.joined(held, response, LIMIT, self.clock())
                assert await worker.add(key, response, LIMIT, await worker.since(key)) == (
                    joined is not None
                )
                model.set(key, held if joined is None else joined)
            case "tag":
                tag = choice.choice(TAGS)
                assert await worker.purge_tag(tag.encode())
                model.purge_tag(tag.encode())
            case _:
                await found(worker, key)

    async def agree(self) -> None:
        for worker in self.workers:
            for key in KEYS:
                assert await found(worker, key) == self.model.held.get(key)

    async def bodies_agree(self) -> None:
        for key, resource in self.model.held.items():
            for one in resource.variants:
                for worker in self.workers:
                    assert await body_of(worker, key, one) == self.model.bodies[one.body.digest]


@pytest.mark.parametrize("seed", range(3))
async def test_workers_agree_with_one_store_alone(
    opened: Opened, redis_url: str, clock: Clock, seed: int
) -> None:
    workers = [opened("redis", url=redis_url) for _ in range(3)]
    for worker in workers:
        await worker.load(b"somebody asks")
    await eventually(lambda: all(worker.trusted for worker in workers))
    walk = Walk(seed, workers, clock, STEPS)
    for _ in range(60):
        await walk.step()
        await walk.settle()
        await walk.agree()
    await walk.bodies_agree()


@pytest.mark.parametrize("seed", range(5))
async def test_so_they_do_on_memcached(
    opened: Opened, memcached_server: MemcachedServer, clock: Clock, seed: int
) -> None:
    options = {"endpoint": "127.0.0.1", "port": memcached_server.port}
    workers = [
        opened("aiocache", backend="aiocache.MemcachedCache", options=options) for _ in range(2)
    ]
    # Purges by tag go by the clock there, with a margin: what follows at once is dropped too.
    walk = Walk(seed, workers, clock, [step for step in STEPS if step != "tag"])
    for _ in range(60):
        await walk.step()
        await walk.agree()
    await walk.bodies_agree()


async def test_a_server_that_comes_and_goes_under_load_yields_no_wrong_answer(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.2)
    server = RedisServer(tmp_path)
    server.start()
    workers = [opened("redis", url=server.url, timeout=0.25) for _ in range(2)]
    wrong: list[str] = []
    answers = rounds = 0
    over = asyncio.Event()

    async def client(seed: int) -> None:
        nonlocal answers, rounds
        choice = random.Random(seed)
        while not over.is_set():
            worker, key = choice.choice(workers), choice.choice(KEYS)
            origin = choice.choice(ORIGINS)
            mine = b"%b for %b" % (key, origin or b"nobody")
            rounds += 1
            resource = await found(worker, key)
            for one in () if resource is None else resource.variants:
                if one.selecting != ((b"origin", origin),):
                    continue
                body = await body_of(worker, key, one)
                if body is not None and body[: len(mine)] != mine:
                    wrong.append(f"{mine!r}: {body[:60]!r}")
                answers += body is not None
            body = mine + bytes(choice.choice([10, 200_000]))
            writer = worker.writer(key, len(body), 64, await worker.since(key))
            if writer is not None:
                async with writer:
                    await writer.write(body)
                    await writer.commit(stored(origin))
            if choice.random() < 0.1:
                await worker.purge(key)
            await asyncio.sleep(0.002)

    loop = asyncio.get_running_loop()
    clients = [loop.create_task(client(seed)) for seed in range(6)]
    try:
        for number in range(6):
            await asyncio.sleep(0.15)
            if number % 3 == 2:
                server.pause()
                await asyncio.sleep(0.5)
                server.resume()
            else:
                server.kill()
                await asyncio.sleep(0.1)
                server.start()
        over.set()
        await asyncio.gather(*clients)
        assert wrong == []
        assert answers > 0
        await eventually(lambda: all(one.shared.breaker.writable for one in workers), 6)
    finally:
        over.set()
        server.kill()
    assert rounds > 50
