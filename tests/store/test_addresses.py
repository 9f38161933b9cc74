"""Wherever Redis is: a unix socket, behind TLS, Sentinel or a Cluster; and any aiocache cache."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from tests.ports import free_port
from tests.store.builders import KEY, body_of, put, stored
from tests.store.conftest import eventually
from tests.store.fleets import Cluster, Watched
from tests.store.servers import RedisServer
from vary_proxy.store import breaker as breaker_module
from vary_proxy.store import layout
from vary_proxy.store._aiocache import StoreUrlError, read_url
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.opening import open_store
from vary_proxy.store.redis import RedisDriver

A, B = b"https://a.example", b"https://b.example"
Opened = Callable[..., LayeredStore]


async def story(one: LayeredStore, other: LayeredStore) -> None:
    """What must work wherever the store is: two workers, large bodies, notices, purges."""
    for worker in (one, other):
        await worker.load(b"somebody asks")
    await eventually(lambda: one.trusted and other.trusted)
    body = os.urandom(700_000)
    published = await put(one, KEY, stored(A, cache_tag="news"), body)
    await put(one, b"small", stored(A), b"small")
    assert await other.load(KEY) is not None
    assert await body_of(other, KEY, published) == body
    await put(other, KEY, stored(B), b"for b")
    await eventually(lambda: one.peek(KEY) is None)
    resource = await one.load(KEY)
    assert resource is not None
    assert len(resource.variants) == 2
    assert await other.purge(KEY) == 2
    await eventually(lambda: one.peek(KEY) is None)
    assert await one.load(KEY) is None
    seen = [progress async for progress in other.purge_matching(lambda key: key == b"small")]
    assert seen[-1].purged == 1
    await eventually(lambda: one.peek(b"small") is None)
    assert await one.load(b"small") is None
    await put(one, KEY, stored(A, cache_tag="news"), b"news")
    assert await other.purge_tag(b"news")
    await eventually(lambda: one.peek(KEY) is None)
    assert await one.load(KEY) is None
    assert await one.purge_all()


async def test_a_unix_socket(opened: Opened, redis_server: RedisServer) -> None:
    await story(
        opened("redis", url=redis_server.socket_url), opened("redis", url=redis_server.socket_url)
    )


async def test_tls(opened: Opened, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    server = RedisServer(
        tmp_path,
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(tmp_path / "cert.pem")),
        *("--tls-key-file", str(tmp_path / "key.pem")),
        *("--tls-ca-cert-file", str(tmp_path / "ca.pem")),
    )
    server.start()
    try:
        url = f"rediss://127.0.0.1:{port}/0"
        trusted = f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}"
        await story(opened("redis", url=trusted), opened("redis", url=trusted))
        suspicious = opened("redis", url=url)
        assert await suspicious.load(KEY) is None
        assert not suspicious.shared.breaker.readable, "a certificate that nobody vouches for"
    finally:
        server.kill()


async def test_a_user_who_may_do_no_more_than_readme_says(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    """The line of README, with this test's namespace, makes a user for whom everything works."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    line = next(one for one in readme.splitlines() if one.startswith("ACL SETUSER "))
    words = line.replace("~vp:", f"~{namespace}:").replace("&vp:", f"&{namespace}:").split()
    async with Redis(port=redis_server.port) as direct:
        await direct.execute_command(*words)
        try:
            url = f"redis://vary-proxy:secret@127.0.0.1:{redis_server.port}/0"
            one, other = opened("redis", url=url), opened("redis", url=url)
            await story(one, other)
            assert await one.flights.acquire(KEY, b"v", b"a", 5.0)
            assert await one.flights.lead(KEY, b"v", b"a", 5.0, None) > 0
            await one.flights.release(KEY, b"v", b"a", 5.0, None)
            for worker in (one, other):
                assert not worker.shared.breaker.errors
            told = await direct.execute_command("ACL", "LOG")
            assert [entry for entry in told if "vary-proxy" in str(entry)] == []
        finally:
            await direct.execute_command("ACL", "DELUSER", "vary-proxy")


async def test_a_cluster_of_three(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path)
    try:
        await asyncio.to_thread(cluster.start)
        await _of_three(opened, cluster, monkeypatch)
    finally:
        cluster.kill()


async def _of_three(opened: Opened, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened("redis", url=cluster.url), opened("redis", url=cluster.url)
    await story(one, other)
    keys = [b"/%d" % number for number in range(30)]
    for key in keys:
        await put(one, key, stored(A), b"body of " + key)
    for key in keys:
        resource = await other.load(key)
        assert resource is not None
        assert await body_of(other, key, resource.variants[0]) == b"body of " + key
    holding = []
    for node in cluster.nodes:
        async with Redis(port=node.port) as client:
            holding.append(await client.dbsize())
    assert all(holding), "resources spread over the nodes"
    seen = [progress async for progress in one.purge_matching(lambda key: key.startswith(b"/"))]
    assert seen[-1].purged == len(keys)
    # One node goes: nobody is harmed, and when it is back all is used again.
    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.3)
    hurried = opened("redis", url=cluster.url, timeout=0.25).shared
    cluster.nodes[2].kill()
    started = time.perf_counter()
    for key in keys:
        await hurried.load(key)
        await hurried.purge(key)
    assert time.perf_counter() - started < 10
    cluster.nodes[2].start()
    for key in keys:
        await eventually(lambda key=key: _is_kept(one, key), 10)


async def _is_kept(store: LayeredStore, key: bytes) -> bool:
    writer = store.shared.writer(key, 4, 64, await store.shared.since(key))
    if writer is None:
        return False
    async with writer:
        await writer.write(b"body")
        await writer.commit(stored(A))
    return await store.shared.load(key) is not None


async def test_sentinel_finds_the_new_primary_when_the_old_one_dies(
    opened: Opened, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.5)
    watched = Watched(tmp_path)
    try:
        await asyncio.to_thread(watched.start)
        primary, replica, sentinel = watched.primary, watched.replica, watched.sentinels[0]
        url = watched.url
        one, other = opened("redis", url=url), opened("redis", url=url)
        await story(one, other)
        after = {"url": url, "namespace": namespace + "x"}  # where nothing was purged
        one, hurried = opened("redis", **after), opened("redis", **after, timeout=1.0)
        await put(one, KEY, stored(A), b"replicated")
        async with Redis(port=replica.port) as client:
            space = hurried.shared.driver.cache.namespace  # type: ignore[attr-defined]
            await eventually(lambda: client.hexists(f"{space}:{layout.row(KEY)}", "i"))
            async with Redis(port=sentinel.port, decode_responses=True) as watch:
                await eventually(lambda: _knows_a_replica(watch), 15)
            primary.kill()
            assert await hurried.load(b"anything") is None
            await eventually(lambda: _is_primary(client), 15)
        await eventually(lambda: hurried.shared.breaker.writable, 10)
        await eventually(lambda: hurried.shared.load(KEY))
        await eventually(lambda: one.shared.breaker.writable, 10)
        await put(one, KEY, stored(B), b"new")
        await eventually(lambda: hurried.trusted, 10)
    finally:
        watched.kill()


async def _knows_a_replica(watch: Redis) -> bool:
    return len(await watch.execute_command("SENTINEL", "REPLICAS", "main")) == 1


async def _is_primary(client: Redis) -> bool:
    return (await client.info("replication"))["role"] == "master"


@pytest.mark.parametrize(
    ("url", "kind", "label"),
    [
        ("redis://cache:6379/1", "plain", "redis://cache:6379/1"),
        ("redis://me:secret@cache/0", "plain", "redis://cache/0"),
        ("rediss://:secret@cache:6380", "plain", "rediss://cache:6380"),
        ("unix:///run/redis.sock?db=2", "plain", "unix:///run/redis.sock"),
        ("redis+sentinel://:p@a:1,b:2/main/3", "sentinel", "redis+sentinel://a:1,b:2/main/3"),
        ("redis+cluster://a,b:7000", "cluster", "redis+cluster://a,b:7000"),
        ("rediss+cluster://a", "cluster", "rediss+cluster://a"),
    ],
)
def test_addresses_are_read_and_shown_without_secrets(url: str, kind: str, label: str) -> None:
    target = read_url(url)
    assert (target.kind, target.label) == (kind, label)
    assert "secret" not in repr(target.label)


def test_what_an_address_says_is_used() -> None:
    target = read_url("rediss+sentinel://me:p%40ss@a,b:27000/main/3?sentinel_password=x")
    assert target.nodes == (("a", 26379), ("b", 27000))
    assert target.service == "main"
    assert dict(target.options) == {
        "username": "me",
        "password": "p@ss",
        "ssl": True,
        "db": 3,
        "sentinel_password": "x",
    }
    assert read_url("redis+cluster://a").nodes == (("a", 6379),)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a",
        "redis",
        "memcached://a",
        "redis+sentinel://a:1",
        "redis+cluster://",
        "redis+cluster://a:notaport",
        "redis+ring://a",
    ],
)
def test_an_address_that_cannot_be_used_says_what_could(url: str) -> None:
    with pytest.raises(StoreUrlError, match="redis://host:6379/0") as error:
        read_url(url)
    assert str(error.value).startswith("store.url: ")


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("aiocache.NoSuchCache", "cannot be imported"),
        ("no_such_module.Cache", "cannot be imported"),
        ("nodots", "cannot be imported"),
        ("os.path.join", "is not an aiocache.BaseCache"),
        ("collections.OrderedDict", "is not an aiocache.BaseCache"),
    ],
)
def test_a_backend_that_cannot_be_used_says_so(opened: Opened, backend: str, said: str) -> None:
    with pytest.raises(StoreUrlError, match=said):
        opened("aiocache", backend=backend)


def test_a_namespace_that_would_break_keys_is_refused(opened: Opened) -> None:
    for namespace in ("", "a b", "{a}", "a*", "x" * 65):
        with pytest.raises(StoreUrlError, match=r"store\.namespace"):
            opened("redis", namespace=namespace)


async def test_an_aiocache_cache_in_memory_will_do(opened: Opened) -> None:
    store = opened("aiocache", backend="aiocache.SimpleMemoryCache")
    body = os.urandom(400_000)
    published = await put(store, KEY, stored(A), body)
    assert await store.load(KEY) is not None
    assert await body_of(store, KEY, published) == body


@pytest.mark.filterwarnings("ignore:Call to deprecated .*:DeprecationWarning:aiocache")
async def test_aiocaches_own_redis_cache_will_do(opened: Opened, redis_server: RedisServer) -> None:
    options = {"endpoint": "127.0.0.1", "port": str(redis_server.port)}
    store = opened("aiocache", backend="aiocache.RedisCache", options=options)
    published = await put(store, KEY, stored(A), b"\x00\xff")
    other = opened("aiocache", backend="aiocache.RedisCache", options=options)
    assert await other.load(KEY) is not None
    assert await body_of(other, KEY, published) == b"\x00\xff"


async def test_memcached_that_stops_harms_nobody(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.store.servers import MemcachedServer

    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.5)
    server = MemcachedServer(tmp_path)
    server.start()
    options = {"endpoint": "127.0.0.1", "port": server.port}
    patient = opened("aiocache", backend="aiocache.MemcachedCache", options=options)
    store = opened(
        "aiocache", backend="aiocache.MemcachedCache", options=options, timeout=0.5
    ).shared
    keys = [b"%d" % number for number in range(10)]
    try:
        for key in keys:
            await put(patient, key, stored(A), b"body of " + key)
        server.pause()
        started = time.perf_counter()
        await asyncio.gather(*(store.load(key) for key in keys))
        assert time.perf_counter() - started < 2
        assert store.writer(KEY, 5, 64, await store.since(KEY)) is None
        server.resume()
        await eventually(lambda: store.breaker.writable, 6)
        for key in reversed(keys):
            await eventually(lambda key=key: store.load(key))
            resource = await patient.load(key)
            assert resource is not None
            assert await body_of(patient, key, resource.variants[0]) == b"body of " + key
        server.kill()
        for key in keys:
            assert await store.load(key) is None
        server.start()
        await eventually(lambda: store.breaker.writable, 6)
        await eventually(lambda: patient.shared.breaker.writable, 6)
        await put(patient, KEY, stored(A))
        await eventually(lambda: store.load(KEY))
    finally:
        server.resume() if server._process else None
        server.kill()


async def test_nothing_reaches_redis_by_pickle_keys_or_flush(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url)
    driver = store.shared.driver
    assert isinstance(driver, RedisDriver)
    assert type(driver.cache.serializer).__name__ == "NullSerializer"
    assert driver.cache.serializer.encoding is None
    with pytest.raises(TypeError, match="KEYS and FLUSHDB"):
        await driver.cache.clear()
    with pytest.raises(TypeError, match="lifetime"):
        await driver.cache.set("key", b"value")


def test_the_memory_store_needs_no_client() -> None:
    """A process without a shared store does not pay for the clients' import."""
    import subprocess
    import sys

    code = (
        "import sys, vary_proxy.store.opening as o; from vary_proxy.tasks import Tasks;"
        "o.open_store('memory', tasks=Tasks(), clock=lambda: 0.0, memory_max=1, "
        "memory_max_object=1); print('redis' in sys.modules, 'aiocache' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert callable(open_store)
