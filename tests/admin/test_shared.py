"""Purges of a store that two proxies share: what one purges is gone from both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.admin.conftest import ADMIN, LETS_IN, Origin, Proxy, Start
from tests.store.servers import RedisServer, running


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
async def pair(
    start: Start, redis: RedisServer, request: pytest.FixtureRequest
) -> tuple[Proxy, Proxy]:
    name = "".join(one for one in request.node.name if one.isalnum())[:60]
    more = f"{ADMIN}store: {{type: redis, url: {redis.url}, namespace: {name}, timeout: 5s}}\n"
    return await start(more), await start(more)


async def become(pair: tuple[Proxy, Proxy], target: str, stored: bool) -> None:
    """Wait until both answer from the cache, or until neither does."""
    host = {"Host": "one.example", "Cache-Control": "only-if-cached"}
    wanted = {200} if stored else {504}
    async with asyncio.timeout(30):
        while {(await one.ask(one.url + target, headers=host)).status for one in pair} != wanted:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("body", "resources"),
    [
        ({"url": "http://one.example/a"}, 1),
        ({"url": "http://one.example/a", "headers": {"Origin": "https://a.example"}}, 0),
        ({"prefix": "http://one.example/a"}, 1),
        ({"pattern": "http://one.*/?"}, 2),
        ({"tag": "news"}, None),
        ({"all": True}, None),
    ],
)
async def test_what_one_purges_both_forget(
    pair: tuple[Proxy, Proxy], origin: Origin, body: dict[str, Any], resources: int, soft: bool
) -> None:
    origin.fields = {"Cache-Tag": "news"}
    await pair[0].ask(f"{pair[0].url}/a", headers={"Host": "one.example"})
    origin.fields = {}
    await pair[0].ask(f"{pair[0].url}/b", headers={"Host": "one.example"})
    await become(pair, "/a", stored=True)
    await become(pair, "/b", stored=True)
    answer = await pair[0].purge(**body, soft=soft)
    assert answer.status == 200, answer.text
    assert answer.json()["resources"] == resources
    assert answer.json()["done"] is True
    await become(pair, "/a", stored=resources == 0)
    await become(pair, "/b", stored="all" not in body and "pattern" not in body)


async def test_a_dry_run_shows_what_it_can(pair: tuple[Proxy, Proxy]) -> None:
    await pair[0].ask(f"{pair[0].url}/a", headers={"Host": "one.example"})
    await become(pair, "/a", stored=True)
    answer = await pair[0].purge(prefix="/", dry_run=True)
    assert answer.json()["resources"] == 1
    refused = await pair[0].purge(tag="news", dry_run=True)
    assert refused.status == 400
    assert "dry run" in refused.json()["error"]
    await become(pair, "/a", stored=True)


async def test_a_purge_by_pattern_streams_and_never_asks_for_all_keys(
    pair: tuple[Proxy, Proxy], redis: RedisServer
) -> None:
    await pair[0].ask(f"{pair[0].url}/a", headers={"Host": "one.example"})
    await become(pair, "/a", stored=True)
    driver = pair[0].app.store.shared.driver  # type: ignore[attr-defined]
    await driver.client.config_resetstat()
    headers = {**LETS_IN, "Accept": "application/x-ndjson"}
    answer = await pair[0].ask(
        f"{pair[0].admin}/purge", "POST", json={"pattern": "/*"}, headers=headers
    )
    first, *_, last = map(json.loads, answer.text.splitlines())
    assert 0 < first["fraction"] <= 1
    assert last["resources"] == 1
    calls = await driver.client.info("commandstats")
    assert "cmdstat_scan" in calls
    assert "cmdstat_unlink" in calls
    assert not {"cmdstat_keys", "cmdstat_flushdb", "cmdstat_flushall"} & calls.keys()


async def test_lookups_say_which_tier_answered(pair: tuple[Proxy, Proxy]) -> None:
    one, other = pair
    await one.ask(f"{one.url}/a", headers={"Host": "one.example"})
    await become(pair, "/a", stored=True)
    text = await other.metrics()
    assert 'vary_proxy_cache_lookups_total{result="hit",tier="shared"}' in text
    in_memory = 'vary_proxy_cache_lookups_total{result="hit",tier="memory"}'
    async with asyncio.timeout(30):  # memory is believed once its subscription is there
        while in_memory not in await other.metrics():
            await other.ask(f"{other.url}/a", headers={"Host": "one.example"})


async def test_a_purge_while_the_store_is_away_is_made_up_for(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(RedisServer(tmp_path_factory.mktemp("away"))) as server:
        proxy = await start(f"{ADMIN}store: {{type: redis, url: {server.url}, timeout: 5s}}\n")
        await proxy.get("/a")
        server.kill()
        answer = await proxy.purge(url=f"{proxy.url}/a")
        assert answer.json()["done"] is False
        assert not await proxy.is_stored("/a")
        owed = (await proxy.purge(all=True)).json()
        assert owed["done"] is False
        looked_for = await proxy.purge(prefix="/")  # nobody can say what there is
        assert looked_for.status == 503
        assert looked_for.json()["error"].startswith("not done: ")


@pytest.mark.parametrize("known", [True, False])
async def test_a_purge_of_some_variants_while_the_store_is_away_is_made_up_for(
    start: Start, tmp_path_factory: pytest.TempPathFactory, known: bool
) -> None:
    with running(RedisServer(tmp_path_factory.mktemp("some"))) as server:
        proxy = await start(f"{ADMIN}store: {{type: redis, timeout: 1s, url: {server.url}}}\n")
        await proxy.get("/a", origin="https://a.example")
        assert await proxy.is_stored("/a", origin="https://a.example")
        server.pause()
        if not known:
            proxy.app.store.forget()  # type: ignore[union-attr]
        answer = await proxy.purge(url=f"{proxy.url}/a", headers={"Origin": "https://a.example"})
        assert answer.json()["done"] is False
        server.resume()
        breaker = proxy.app.store.shared.breaker  # type: ignore[union-attr]
        async with asyncio.timeout(30):
            while not (breaker.readable and breaker.writable):
                await asyncio.sleep(0.01)
        assert not await proxy.is_stored("/a", origin="https://a.example")


async def test_operations_on_the_store_are_timed_and_their_failures_counted(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(RedisServer(tmp_path_factory.mktemp("timed"))) as server:
        proxy = await start(f"store: {{type: redis, url: {server.url}, timeout: 5s}}\n")
        await proxy.get("/a")
        assert "vary_proxy_store_duration_seconds_count{op=" in await proxy.metrics()
        assert "vary_proxy_store_errors_total{" not in await proxy.metrics()
        assert "\nvary_proxy_store_available 1.0\n" in await proxy.metrics()
        server.kill()
        assert (await proxy.get("/b")).status == 200
        assert "vary_proxy_store_errors_total{kind=" in await proxy.metrics()
        assert "\nvary_proxy_store_available 0.0\n" in await proxy.metrics()
        assert (await proxy.ask(f"{proxy.probes}/readyz")).status == 200  # the origin answers


async def test_what_a_rule_makes_fresh_for_a_week_is_kept_for_a_week(
    start: Start, redis: RedisServer, origin: Origin
) -> None:
    store = f"store: {{type: redis, url: {redis.url}, namespace: week, timeout: 5s}}\n"
    proxy = await start(f"{store}defaults: {{cache: {{ttl: 7d, stale_if_error: 2d}}}}\n")
    origin.fields = {"Cache-Control": "max-age=1"}
    await proxy.get("/a")
    client = proxy.app.store.shared.driver.client  # type: ignore[attr-defined]
    names: list[bytes] = []
    async with asyncio.timeout(30):
        while len(names) < 2:  # the row and its block
            names = [name async for name in client.scan_iter(match="week:1:{*}:[rb]*")]
    lives = 9 * 86400 + 3600  # fresh, then stale but usable, and the margin
    for name in names:
        assert lives - 10 < await client.ttl(name) <= lives
