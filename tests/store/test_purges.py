"""Purges of many resources: by tag and of all in constant time, by prefix with progress."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.store.builders import KEY, found, put, stored
from tests.store.conftest import SHARED
from tests.store.servers import MemcachedServer, RedisServer
from vary_proxy.core.message import Fields
from vary_proxy.store import layout
from vary_proxy.store.driver import Unsupported
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.shared import SharedStore
from vary_proxy.store.tags import MOST, tags_of

A = b"https://a.example"
Opened = Callable[..., LayeredStore]


@pytest.fixture(params=SHARED)
def many(request: pytest.FixtureRequest, opened: Opened) -> Callable[[], SharedStore]:
    """Opens workers, without memory, on one store."""
    server = request.getfixturevalue(request.param)
    if request.param != "memcached_server":
        return lambda: opened("redis", url=server.url).shared
    options = {"endpoint": "127.0.0.1", "port": server.port}
    return lambda: opened("aiocache", backend="aiocache.MemcachedCache", options=options).shared


async def test_a_purge_by_tag_takes_what_bears_it_and_nothing_else(
    many: Callable[[], SharedStore],
) -> None:
    one, other = many(), many()
    await put(one, b"1", stored(A, cache_tag="news, front"))
    await put(one, b"2", stored(A, surrogate_key="news sport"))
    await put(one, b"3", stored(A, xkey="sport"))
    await put(one, b"4", stored(A, cache_groups='"news", "x"'))
    await put(one, b"5", stored(A))
    assert await other.purge_tag(b"news")
    assert [await found(one, key) is not None for key in (b"1", b"2", b"3", b"4", b"5")] == [
        False,
        False,
        True,
        False,
        True,
    ]


async def test_a_soft_purge_by_tag_marks_stale(many: Callable[[], SharedStore]) -> None:
    one, other = many(), many()
    old = await put(one, b"1", stored(A, cache_tag="news"), b"body")
    await put(one, b"2", stored(A, cache_tag="sport"))
    assert await other.purge_tag(b"news", soft=True)
    resource = await found(one, b"1")
    assert resource is not None
    assert resource.variants == (old.marked_stale(),)
    untouched = await found(one, b"2")
    assert untouched is not None
    assert not untouched.variants[0].stale


async def test_a_soft_purge_of_all_marks_all_stale(many: Callable[[], SharedStore]) -> None:
    store = many()
    await put(store, b"1", stored(A))
    assert await store.purge_all(soft=True)
    resource = await found(store, b"1")
    assert resource is not None
    assert resource.variants[0].stale


async def test_a_purge_of_one_tag_looks_at_no_resource(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    store = opened("redis", url=redis_server.url).shared
    for number in range(20):
        await put(store, b"%d" % number, stored(A, cache_tag="news"))
    client = store.driver.client  # type: ignore[attr-defined]
    await client.config_resetstat()
    assert await store.purge_tag(b"news")
    calls = await client.info("commandstats")
    commands = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in calls.items()}
    assert sum(commands.values()) < 15
    assert not {"keys", "flushdb", "flushall", "scan"} & commands.keys()


async def test_what_is_stored_after_a_purge_by_tag_stays(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url).shared
    await put(store, b"1", stored(A, cache_tag="news"))
    assert await store.purge_tag(b"news")
    assert await found(store, b"1") is None
    await put(store, b"1", stored(A, cache_tag="news"))
    assert await found(store, b"1") is not None
    assert await store.purge_all()
    assert await found(store, b"1") is None
    await put(store, b"1", stored(A, cache_tag="news"))
    assert await found(store, b"1") is not None


async def test_freshening_after_a_soft_purge_by_tag_makes_it_usable_again(
    opened: Opened, redis_server: RedisServer
) -> None:
    store = opened("redis", url=redis_server.url).shared
    await put(store, KEY, stored(A, cache_tag="news"), b"body")
    await store.purge_tag(b"news", soft=True)
    resource = await found(store, KEY)
    assert resource is not None
    (stale,) = resource.variants
    fresh = stored(A, cache_tag="news", born=stale.born + 60)
    fresh = type(fresh)(fresh.status, fresh.fields, stale.body, fresh.selecting, fresh.born, 0.0)
    await store.replace(KEY, stale, fresh, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (fresh,)


async def test_when_the_epochs_are_lost_everything_counts_as_purged(
    opened: Opened, redis_url: str, namespace: str
) -> None:
    """Better cold than wrong: which tags were purged is not known any more."""
    store = opened("redis", url=redis_url).shared
    await put(store, KEY, stored(A, cache_tag="news"))
    assert await store.purge_tag(b"sport")
    assert await found(store, KEY) is not None
    await store.driver.client.unlink(f"{namespace}:{layout.EPOCHS}")  # type: ignore[attr-defined]
    assert await store.purge_tag(b"news")
    assert await found(store, KEY) is None


async def test_a_purge_by_prefix_tells_how_far_it_has_come(opened: Opened, redis_url: str) -> None:
    store = opened("redis", url=redis_url)
    for number in range(1200):
        await put(store, b"/img/%d" % number if number % 3 else b"/doc/%d" % number, stored(A))
    dry = [
        one
        async for one in store.purge_matching(lambda key: key.startswith(b"/img/"), dry_run=True)
    ]
    assert (dry[-1].looked_at, dry[-1].purged) == (1200, 800)
    assert len(dry) > 1
    assert await store.load(b"/img/1") is not None
    done = [one async for one in store.purge_matching(lambda key: key.startswith(b"/img/"))]
    assert (done[-1].looked_at, done[-1].purged) == (1200, 800)
    assert await store.load(b"/img/1") is None
    assert await store.load(b"/doc/0") is not None
    client = store.shared.driver.client  # type: ignore[attr-defined]
    calls = await client.info("commandstats")
    assert "cmdstat_keys" not in calls


async def test_a_namespace_is_not_touched_by_its_neighbours_purges(
    opened: Opened, redis_server: RedisServer, namespace: str
) -> None:
    mine = opened("redis", url=redis_server.url)
    other = opened("redis", url=redis_server.url, namespace=namespace + "x")
    await put(other, KEY, stored(A))
    await mine.purge(KEY)
    await mine.purge_all()
    assert sum([one.looked_at async for one in mine.purge_matching(lambda key: True)]) == 0
    assert await found(other, KEY) is not None


async def test_a_cache_that_cannot_list_its_keys_says_so(
    opened: Opened, memcached_server: MemcachedServer
) -> None:
    options = {"endpoint": "127.0.0.1", "port": memcached_server.port}
    store = opened("aiocache", backend="aiocache.MemcachedCache", options=options)
    with pytest.raises(Unsupported, match="cannot list its keys"):
        async for _ in store.purge_matching(lambda key: True):
            pass


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        pytest.param((), (), id="none"),
        pytest.param(((b"cache-tag", b"a, b,,c"),), (b"a", b"b", b"c"), id="by comma"),
        pytest.param(((b"surrogate-key", b"a  b"),), (b"a", b"b"), id="by space"),
        pytest.param(((b"xkey", b"a"), (b"xkey", b"b a")), (b"a", b"b"), id="two lines, one twice"),
        pytest.param(
            ((b"cache-groups", b'"one two", "th\\"ree";x=1'),),
            (b"one two", b'th"ree'),
            id="RFC 9875: strings",
        ),
        pytest.param(((b"cache-tag", b",".join(b"%d" % n for n in range(999))),), MOST, id="many"),
    ],
)
def test_tags(fields: tuple[tuple[bytes, bytes], ...], tags: tuple[bytes, ...] | int) -> None:
    found = tags_of(Fields(fields))
    assert (len(found) if isinstance(tags, int) else found) == tags
