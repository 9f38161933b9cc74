"""Servers shared by the tests of stores, and stores of every kind on them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store.builders import Clock
from tests.store.fleets import Cluster, Watched
from tests.store.servers import MemcachedServer, RedisServer, ValkeyServer, running
from vary_proxy.store.base import Store
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.opening import open_store
from vary_proxy.tasks import Tasks

_numbers = itertools.count()
PATIENT = 5.0  # seconds: a deadline that a busy test machine keeps


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with running(ValkeyServer(tmp_path_factory.mktemp("valkey"))) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three primaries that share the slots."""
    with running(Cluster(tmp_path_factory.mktemp("cluster"))) as servers:
        yield servers


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A primary and its replica behind a Sentinel."""
    with running(Watched(tmp_path_factory.mktemp("watched"))) as servers:
        yield servers


@pytest.fixture(scope="session")
def memcached_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemcachedServer]:
    with running(MemcachedServer(tmp_path_factory.mktemp("memcached"))) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one's own, to be hurt."""
    with running(RedisServer(tmp_path)) as one:
        yield one


@pytest.fixture
async def direct(server: RedisServer) -> AsyncIterator[Redis]:
    """A client of it."""
    async with Redis(port=server.port) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks()
    yield owner
    await owner.close()


@pytest.fixture
def namespace() -> str:
    return f"t{next(_numbers)}"


@pytest.fixture
async def opened(
    tasks: Tasks, clock: Clock, namespace: str
) -> AsyncIterator[Callable[..., LayeredStore]]:
    """Opens stores in one namespace: as many workers as are asked for. Closes them."""
    stores: list[Store] = []

    def opener(kind: str, **options: Any) -> Any:
        settings = {
            "namespace": namespace,
            "memory_max": 16 << 20,
            "memory_max_object": 1 << 20,
            "timeout": PATIENT,
            **options,
        }
        store = open_store(kind, tasks=tasks, clock=clock, **settings)  # type: ignore[arg-type]
        stores.append(store)
        return store

    yield opener
    for store in stores:
        await store.close()


async def eventually(claim: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until *claim* holds; it must within *seconds*."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        value = claim()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


# The fixtures of everything that speaks Redis: whatever promises are made hold on each.
REDIS = ("redis_server", "valkey_server", "cluster", "watched")
SHARED = (*REDIS, "memcached_server")
KINDS = ("memory", *(f"{one}{tier}" for one in SHARED for tier in ("", " layered")))


@pytest.fixture(params=REDIS)
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where some kind of Redis is: the test runs on each."""
    url: str = request.getfixturevalue(request.param).url
    return url


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, opened: Callable[..., LayeredStore]) -> Store:
    """A store of every kind, empty."""
    kind = request.param
    if kind == "memory":
        return opened("memory")
    name, _, tier = kind.partition(" ")
    server = request.getfixturevalue(name)
    if name == "memcached_server":
        options = {"endpoint": "127.0.0.1", "port": server.port}
        layered = opened("aiocache", backend="aiocache.MemcachedCache", options=options)
        return layered if tier else layered.shared
    layered = opened("redis", url=server.url)
    if not tier:
        return layered.shared
    await layered.load(b"somebody asks")  # from here on notices arrive
    await eventually(lambda: layered.trusted)
    return layered
