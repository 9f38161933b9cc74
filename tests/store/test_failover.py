"""A node of Redis dies under clients whose every answer is judged: nobody is harmed, and when
another has taken its place the store is used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tests.hold import troubles
from tests.hold.callers import Callers
from tests.hold.pages import pages
from tests.hold.realm import Realm
from tests.hold.realms import Sort, inside
from tests.hold.verdicts import answers_in
from tests.hold.worlds import Front
from tests.store.builders import put, stored
from tests.store.conftest import eventually
from tests.store.fleets import Cluster, Watched, is_primary, tell
from tests.store.servers import RedisServer
from vary_proxy.store import layout
from vary_proxy.store.layered import LayeredStore

_numbers = itertools.count()
A = b"https://a.example"
CLIENTS = 4  # each with up to six requests at once
BACK = 30.0  # seconds, on a busy machine, from a new primary to a store that is used: one to four


@pytest.fixture
def own_watched(tmp_path: Path) -> Iterator[Watched]:
    servers = Watched(tmp_path)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries, each with a replica."""
    servers = Cluster(tmp_path, replicas=1)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


@pytest.mark.parametrize(("way", "memory"), [("kill", "0"), ("pause", "1MiB")])
async def test_a_promotion_by_sentinels_costs_nobody_anything(
    own_watched: Watched, way: str, memory: str
) -> None:
    async with _judged(own_watched.url, memory) as edge:
        await _lose(edge, own_watched.primary, own_watched.replica, way)


async def test_nodes_of_a_cluster_that_die_cost_nobody_anything(own_cluster: Cluster) -> None:
    async with _judged(own_cluster.url, "0") as edge:
        for number, way in ((0, "pause"), (1, "kill")):
            await _lose(edge, own_cluster.primaries[number], own_cluster.replicas[number], way)


@contextlib.asynccontextmanager
async def _judged(url: str, memory: str) -> AsyncIterator[Front]:
    """A proxy in front of Redis at *url*, and its clients: any wrong answer, or an error of
    the proxy's making, is raised in the end."""
    dice = random.Random(7)
    realm = Realm(pages(60, dice, large=0.0), dice)
    where = f'type: redis, url: "{url}", namespace: fail{next(_numbers)}, timeout: 250ms'
    store = f"{{{where}, memory: {{max: {memory}, max_object: {min(memory, '64KiB')}}}}}"
    over = asyncio.Event()
    async with inside(Sort(), realm, store) as (doors, _), troubles.during(realm.live()):
        callers = asyncio.get_running_loop().create_task(_ask(Callers(realm), doors[0], over))
        try:
            yield doors[0]
        finally:
            over.set()
            await callers
        assert answers_in(realm.seen) > 100


async def _ask(callers: Callers, edge: Front, over: asyncio.Event) -> None:
    while not over.is_set():
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(callers.call([edge], 10))


async def _lose(edge: Front, dies: RedisServer, replica: RedisServer, way: str) -> None:
    """*dies* is no more, *replica* takes its place, and the store is used again."""
    await asyncio.sleep(0.4)
    getattr(dies, way)()
    try:
        await eventually(lambda: asyncio.to_thread(is_primary, replica), 15)
        await eventually(lambda: _uses(edge), BACK)
        await asyncio.sleep(0.2)
    finally:
        if dies.is_running:
            dies.resume()


async def test_a_purge_that_the_new_primary_never_heard_of_is_not_lost(
    opened: Callable[..., LayeredStore], own_watched: Watched, namespace: str
) -> None:
    """Replication is asynchronous: what was the last to be said may die with the old primary."""
    store = opened("redis", url=own_watched.url, timeout=0.5)
    await store.load(b"somebody asks")
    for key, tag in ((b"purged", "other"), (b"softly", "other"), (b"tagged", "news")):
        await put(store, key, stored(A, cache_tag=tag), key)
    await put(store, b"kept", stored(A), b"kept")
    await asyncio.gather(*(store.shared.load(b"%d" % number) for number in range(8)))
    last = f"{namespace}:{layout.row(b'kept')}"
    await eventually(lambda: tell(own_watched.replica, "HEXISTS", last, "i"))
    # Connections that are there go on; a replica that comes back does not get in.
    tell(own_watched.primary, "CONFIG", "SET", "requirepass", "secret")
    with contextlib.suppress(RedisError):
        tell(own_watched.replica, "CLIENT", "KILL", "TYPE", "master")
    assert await store.purge(b"purged") == 1
    assert await store.purge(b"softly", soft=True) == 1
    assert await store.purge_tag(b"news")
    own_watched.primary.kill()
    await eventually(lambda: asyncio.to_thread(is_primary, own_watched.replica), 15)
    for worker in (store, opened("redis", url=own_watched.url)):
        await eventually(lambda worker=worker: _is_back(worker, b"kept"), BACK)  # type: ignore[misc]
        for key in (b"purged", b"softly", b"tagged"):
            resource = await worker.load(key)
            assert resource is None or all(one.stale for one in resource.variants)


async def _is_back(store: LayeredStore, key: bytes) -> bool:
    """*key* is found; a connection to the old primary may be lost with the first question."""
    found = await store.load(key) is not None
    return found and store.shared.breaker.writable and store.trusted


def _uses(edge: Front) -> bool:
    """The shared store is written to and its notices are heard."""
    store = edge.app.store
    return store.shared.breaker.writable and store.trusted  # type: ignore[attr-defined]
