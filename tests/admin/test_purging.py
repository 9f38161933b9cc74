"""Purges: exactly what was named goes, softly or wholly, and what is under way with it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from tests.admin.conftest import ADMIN, LETS_IN, TOKEN, Origin, Proxy, Start

A, B = "https://a.example", "https://b.example"
FROM_HERE = f'admin: {{address: "127.0.0.1:0", token: {TOKEN}, purge_from: [127.0.0.1/32]}}\n'


async def fill(proxy: Proxy) -> None:
    """``/img/1`` for two sites and none, ``/img/2`` and ``/doc/1`` for none."""
    for headers in ({}, {"origin": A}, {"origin": B}):
        await proxy.get("/img/1", **headers)
    await proxy.get("/img/2")
    await proxy.get("/doc/1")


async def held(proxy: Proxy) -> set[str]:
    """What of that is still answered fresh."""
    found = {target for target in ("/img/1", "/img/2", "/doc/1") if await proxy.is_stored(target)}
    sites = {"a": A, "b": B}
    more = {name for name, one in sites.items() if await proxy.is_stored("/img/1", origin=one)}
    return found | more


ALL = {"/img/1", "/img/2", "/doc/1", "a", "b"}


@pytest.mark.parametrize(
    ("body", "left", "resources", "responses"),
    [
        ({"url": "{url}/img/1"}, {"/img/2", "/doc/1"}, 1, 3),
        ({"url": "/img/1"}, {"/img/2", "/doc/1"}, 1, 3),
        ({"url": "{url}/img/1", "headers": {"Origin": A}}, ALL - {"a"}, 1, 1),
        ({"url": "{url}/img/1", "headers": {"Origin": "https://c.example"}}, ALL, 0, 0),
        ({"url": "{url}/img"}, ALL, 0, 0),
        ({"url": "http://other.example/img/1"}, ALL, 0, 0),
        ({"prefix": "{url}/img/"}, {"/doc/1"}, 2, 4),
        ({"prefix": "/img/"}, {"/doc/1"}, 2, 4),
        ({"prefix": "http://other.example/"}, ALL, 0, 0),
        ({"pattern": "{url}/img/*"}, {"/doc/1"}, 2, 4),
        ({"pattern": "/img/?"}, {"/doc/1"}, 2, 4),
        ({"pattern": "/**/1"}, {"/img/2"}, 2, 4),
        ({"pattern": "http://127.0.0.*/img/1"}, ALL - {"/img/1", "a", "b"}, 1, 3),
        ({"pattern": "http://*.example/**"}, ALL, 0, 0),
        ({"pattern": "/*"}, ALL, 0, 0),
        ({"all": True}, set(), 3, 5),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_is_named_goes_and_nothing_else(
    proxy: Proxy,
    body: dict[str, Any],
    left: set[str],
    resources: int,
    responses: int,
    soft: bool,
    dry_run: bool,
) -> None:
    await fill(proxy)
    await fill(proxy)  # and once more, so that some are served by the fast lane
    wanted = {
        key: value.format(url=proxy.url) if isinstance(value, str) else value
        for key, value in body.items()
    }
    answer = await proxy.purge(**wanted, soft=soft, dry_run=dry_run)
    assert answer.status == 200, answer.text
    told = answer.json()
    assert (told["resources"], told["stored_responses"]) == (resources, responses)
    assert told["done"] is True
    assert await held(proxy) == (ALL if dry_run else left)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cache-Tag", "x, news,y"),
        ("Surrogate-Key", "x news y"),
        ("xkey", "news"),
        ("Cache-Groups", '"x", "news"'),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
async def test_by_tag(proxy: Proxy, origin: Origin, name: str, value: str, soft: bool) -> None:
    origin.fields = {name: value}
    await proxy.get("/tagged")
    origin.fields = {name: value.replace("news", "newsletter")}
    await proxy.get("/other")
    told = (await proxy.purge(tag="news", soft=soft)).json()
    assert (told["resources"], told["stored_responses"]) == (1, 1)
    assert not await proxy.is_stored("/tagged")
    assert await proxy.is_stored("/other")


async def test_a_soft_purge_costs_a_validation_and_no_body(proxy: Proxy, origin: Origin) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": '"1"', "Cache-Control": "max-age=3600"}
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304, headers=headers)
        return web.Response(text="content", headers=headers)

    origin.handler = answer
    await proxy.get("/a")
    await proxy.purge(url=f"{proxy.url}/a", soft=True)
    again = await proxy.get("/a")
    assert again.text == "content"
    assert "fwd-status=304" in again.headers["cache-status"]
    assert await proxy.is_stored("/a")


async def test_what_is_under_way_is_not_stored(proxy: Proxy, origin: Origin) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await go.wait()
        return web.Response(text="old", headers={"Cache-Control": "max-age=3600"})

    origin.handler = slowly
    request = asyncio.ensure_future(proxy.get("/a"))
    await arrived.wait()
    assert (await proxy.purge(url=f"{proxy.url}/a")).json()["done"]
    go.set()
    assert (await request).text == "old"  # who waited for it gets it
    await proxy.app.tasks.settle()
    assert not await proxy.is_stored("/a")


async def test_every_rule_that_could_have_stored_it_is_purged(start: Start) -> None:
    proxy = await start(
        ADMIN + "rules:\n"
        "  - {name: minimal, match: {headers: {X-Kind: m}}, vary: minimal}\n"
        "  - {name: plain, match: {headers: {X-Kind: p}}, vary: if-missing}\n"
    )
    for kind in ("m", "p", "none"):
        await proxy.get("/a", x_kind=kind)
    told = (await proxy.purge(url=f"{proxy.url}/a")).json()
    assert (told["resources"], told["stored_responses"]) == (3, 3)
    for kind in ("m", "p", "none"):
        assert not await proxy.is_stored("/a", x_kind=kind)


async def test_kept_preflights_go_with_their_url(start: Start, origin: Origin) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        allowed = {"Access-Control-Allow-Origin": A, "Access-Control-Max-Age": "600"}
        return web.Response(status=204, headers=allowed)

    origin.handler = answer
    proxy = await start(f"{ADMIN}defaults: {{preflight: cache}}\n")
    asked = {"origin": A, "access_control_request_method": "PUT"}
    for _ in range(2):
        await proxy.get("/a", "OPTIONS", **asked)
    assert len(origin.asked) == 1
    await proxy.purge(url=f"{proxy.url}/a")
    await proxy.get("/a", "OPTIONS", **asked)
    assert len(origin.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "/a", "tag": "b"},
        {"url": "not a url"},
        {"url": ""},
        {"prefix": "img"},
        {"pattern": "*.png"},
        {"pattern": "http://h"},
        {"pattern": ""},
        {"pattern": "/a", "prefix": "/a"},
        {"tag": ""},
        {"tag": "a", "headers": {"Origin": A}},
        {"url": "/a", "headers": {"Origin": A}},
        {"url": "http://h/a", "headers": {"bad name": "x"}},
        {"url": "http://h/a", "unknown": 1},
        {"all": "yes"},
    ],
)
async def test_what_cannot_be_meant_is_refused(proxy: Proxy, body: dict[str, Any]) -> None:
    await proxy.get("/a")
    answer = await proxy.purge(**body)
    assert answer.status == 400
    assert answer.json()["error"]
    assert await proxy.is_stored("/a")


async def test_a_pattern_is_of_the_path_and_of_the_path_with_its_query(proxy: Proxy) -> None:
    for target in ("/a.png?v=1", "/a.png?v=2", "/a.css"):
        await proxy.get(target)
    assert (await proxy.purge(pattern="/*.png?v=2")).json()["resources"] == 1
    assert await proxy.is_stored("/a.png?v=1")
    assert (await proxy.purge(pattern="/*.png")).json()["resources"] == 1
    assert not await proxy.is_stored("/a.png?v=1")
    assert await proxy.is_stored("/a.css")


async def test_a_purge_streams_how_far_it_has_come(proxy: Proxy) -> None:
    for number in range(1100):
        await proxy.get(f"/img/{number}")
    answer = await proxy.ask(
        f"{proxy.admin}/purge",
        "POST",
        json={"pattern": "/img/*"},
        headers={**LETS_IN, "Accept": "application/x-ndjson"},
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    *lines, last = map(json.loads, answer.text.splitlines())
    assert lines[0] == {"looked_at": 512, "purged": 511, "fraction": 512 / 1100}
    assert last == (await proxy.purge(pattern="/img/*")).json() | {
        "resources": 1100,
        "stored_responses": 1100,
    }


@pytest.mark.parametrize("body", [{"pattern": "*"}, {"url": "/a", "tag": "b"}])
async def test_what_is_refused_is_so_before_anything_streams(
    proxy: Proxy, body: dict[str, str]
) -> None:
    headers = {**LETS_IN, "Accept": "application/x-ndjson"}
    answer = await proxy.ask(f"{proxy.admin}/purge", "POST", json=body, headers=headers)
    assert answer.status == 400
    assert answer.json()["error"]


async def test_purges_are_counted(proxy: Proxy) -> None:
    await proxy.purge(url="/a")
    await proxy.purge(all=True)
    await proxy.purge(all=True, dry_run=True)
    text = await proxy.metrics()
    assert 'vary_proxy_cache_purged_total{kind="url"} 1.0' in text
    assert 'vary_proxy_cache_purged_total{kind="all"} 1.0' in text


async def test_the_purge_method_from_an_address_that_may(start: Start, origin: Origin) -> None:
    proxy = await start(FROM_HERE)
    await fill(proxy)
    answer = await proxy.get("/img/1", "PURGE")
    assert answer.status == 200
    assert answer.json()["stored_responses"] == 3
    assert await held(proxy) == {"/img/2", "/doc/1"}
    assert origin.asked.count("/img/1") == 3  # it never reaches the origin


@pytest.mark.parametrize("name", ["x_forwarded_for", "forwarded", "via"])
async def test_the_purge_method_through_another_proxy_is_refused(start: Start, name: str) -> None:
    proxy = await start(FROM_HERE)
    await fill(proxy)
    assert (await proxy.get("/img/1", "PURGE", **{name: "127.0.0.1"})).status == 403
    assert await held(proxy) == ALL


async def test_the_purge_method_from_elsewhere_is_refused(start: Start) -> None:
    proxy = await start(FROM_HERE.replace("127.0.0.1/32", "192.0.2.0/24"))
    await fill(proxy)
    assert (await proxy.get("/img/1", "PURGE")).status == 403
    assert await held(proxy) == ALL
