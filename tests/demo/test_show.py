"""The three servers of the demo, asked without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.ports import free_port
from vary_proxy.demo.front import Front
from vary_proxy.demo.origin import VARY
from vary_proxy.demo.show import Addresses, Show


@pytest.fixture
async def show() -> AsyncIterator[Addresses]:
    stage = Show(Front())
    yield await stage.start()
    await stage.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def exchanges(client: aiohttp.ClientSession, show: Addresses, run: str) -> list[Any]:
    async with client.get(f"{show.page}/traffic", params={"run": run}) as reply:
        found: list[Any] = await reply.json()
        return found


async def test_everything_that_the_page_needs_comes_from_its_own_server(
    show: Addresses, client: aiohttp.ClientSession
) -> None:
    kinds = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
    for path, kind in kinds.items():
        async with client.get(show.page + path) as reply:
            assert (reply.status, reply.content_type) == (200, kind)
            text = await reply.text()
        assert "https://" not in text
        assert "{{" not in text
    async with client.get(show.page + "/origin.py") as reply:
        assert reply.status == 404


async def test_traffic_is_told_by_door_and_by_run(
    show: Addresses, client: aiohttp.ClientSession
) -> None:
    path = "/gallery/abc123/dunes.png"
    for base in (show.bucket, show.proxy, show.proxy):
        async with client.get(base + path) as reply:
            assert (reply.status, reply.content_type) == (200, "image/png")
    direct, upstream, miss, hit = await exchanges(client, show, "abc123")
    assert [one["door"] for one in (direct, upstream, miss, hit)] == [
        *("direct", "origin"),
        *("proxy", "proxy"),
    ]
    assert "vary" not in dict(direct["answered"])
    assert "vary" not in dict(upstream["answered"])
    assert dict(miss["answered"])["vary"] == VARY
    assert [name.lower() for name in miss["vary_added"]] == VARY.lower().split(", ")
    assert (miss["cache"], hit["cache"]) == ("miss", "hit")
    assert await exchanges(client, show, "other") == []


async def test_the_counts_are_sent_as_they_change(
    show: Addresses, client: aiohttp.ClientSession
) -> None:
    async def counts() -> Any:
        async for line in events.content:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
        raise AssertionError("the stream ended")

    async with asyncio.timeout(30), client.get(show.page + "/events") as events:
        assert await counts() == {}
        async with client.get(show.proxy + "/gallery/abc123/rings.png") as reply:
            await reply.read()
        while (last := await counts()).get("miss") != 1:
            pass
        assert last == {"origin": 1, "miss": 1, "repair": 1}


async def test_a_crowd_is_answered_by_the_proxy_and_counted(
    show: Addresses, client: aiohttp.ClientSession
) -> None:
    wish = {"target": "/gallery/abc123/julia.png", "visitors": 40}
    async with client.post(show.page + "/crowd", json=wish) as reply:
        counts = await reply.json()
    assert counts["direct"] == 40
    assert counts["hit"] + counts["miss"] == 40
    assert counts["origin"] <= 3  # two variants; the second may be filled by validation
    assert await exchanges(client, show, "abc123") == []


@pytest.mark.parametrize(
    "said",
    ["x", "[]", "\u00ff", '{"visitors": "x"}', '{"visitors": 1e400}', '{"visitors": null}'],
)
async def test_what_no_page_of_ours_says_is_refused(
    show: Addresses, client: aiohttp.ClientSession, said: str
) -> None:
    if said.startswith("{"):
        said = said.replace("{", '{"target": "/gallery/a1/dunes.png", ')
    async with client.post(show.page + "/crowd", data=said.encode("latin-1")) as reply:
        assert reply.status == 400


@pytest.mark.parametrize("target", ["http://other.example/", "/gallery/../x.png", "/admin", ""])
async def test_a_crowd_goes_nowhere_else(
    show: Addresses, client: aiohttp.ClientSession, target: str
) -> None:
    wish = {"target": target, "visitors": 1}
    async with client.post(show.page + "/crowd", json=wish) as reply:
        assert reply.status == 400


def neighbour_of_a_free_port() -> socket.socket:
    """A socket that listens, on the port above a free one."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return socket.create_server(("127.0.0.1", port + 1))


async def test_the_other_two_are_near_the_page_or_anywhere_free() -> None:
    with neighbour_of_a_free_port() as taken:
        port = taken.getsockname()[1]
        stage = Show(Front(), port=port - 1)
        try:
            addresses = await stage.start()
        finally:
            await stage.close()
    assert addresses.page == f"http://127.0.0.1:{port - 1}"
    assert len({addresses.page, addresses.bucket, addresses.proxy}) == 3
    assert f"http://127.0.0.1:{port}" not in (addresses.bucket, addresses.proxy)


async def test_it_closes_while_somebody_watches(client: aiohttp.ClientSession) -> None:
    stage = Show(Front())
    addresses = await stage.start()
    async with client.get(addresses.page + "/events") as events:
        await events.content.readline()
        async with asyncio.timeout(30):
            await stage.close()
            await events.content.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(addresses.page)
