"""Two proxies on one Redis, over real sockets: what one stores is the other's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.store.servers import RedisServer
from vary_proxy import config
from vary_proxy.app import App

_BODY = b"picture" * 20_000  # several blocks


Fleet = tuple[RedisServer, list[App], list[str]]


class Origin:
    """Counts what it is asked, and answers slowly enough for requests to meet."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.gate = asyncio.Event()
        self.port = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head)
                await self.gate.wait()
                writer.write(
                    b'HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: "1"\r\n'
                    b"Content-Length: %d\r\n\r\n" % len(_BODY)
                )
                writer.write(_BODY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    one = Origin()
    await one.start()
    yield one
    assert one.server is not None
    one.server.close()


@pytest.fixture
async def fleet(origin: Origin, tmp_path: Path) -> AsyncIterator[Fleet]:
    redis = RedisServer(tmp_path)
    redis.start()
    text = f"""\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{o: {{url: "http://127.0.0.1:{origin.port}"}}}}
store: {{type: redis, timeout: 5s, url: "{redis.url}"}}
log: {{access: off}}
"""
    apps = [App(config.loads(text.encode(), "fleet.yaml", (), {})) for _ in range(2)]
    bases = [f"http://{(await app.start())[0]}" for app in apps]
    yield redis, apps, bases
    for app in apps:
        await app.close()
    redis.kill()


async def get(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    async with session.get(url, headers={"Host": "media.example"}) as response:
        return await response.read(), response.headers["Cache-Status"]


async def test_five_hundred_requests_to_two_proxies_are_one_to_the_origin(
    origin: Origin, fleet: Fleet
) -> None:
    _, _, bases = fleet
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        asking = [asyncio.ensure_future(get(session, bases[n % 2] + "/a")) for n in range(500)]
        async with asyncio.timeout(30):
            while not origin.asked:
                await asyncio.sleep(0.01)
            origin.gate.set()
            replies = await asyncio.gather(*asking)
    assert all(body == _BODY for body, _ in replies)
    assert len(origin.asked) == 1


async def test_what_one_has_stored_is_a_hit_on_the_other_and_outlives_a_dead_redis(
    origin: Origin, fleet: Fleet
) -> None:
    redis, _, bases = fleet
    origin.gate.set()
    async with aiohttp.ClientSession() as session:
        await get(session, bases[0] + "/a")
        status = ""
        async with asyncio.timeout(20):
            while not status.startswith("vary-proxy; hit"):  # published after its last byte
                body, status = await get(session, bases[1] + "/a")
                assert body == _BODY
        assert len(origin.asked) == 1
        redis.kill()
        for base in bases:
            for path in ("/a", "/b"):
                body, _ = await get(session, base + path)
                assert body == _BODY


@pytest.mark.parametrize("dead", [False, True], ids=["while Redis is well", "while it is away"])
async def test_what_is_under_way_settles_though_the_store_is_listened_to(
    origin: Origin, fleet: Fleet, dead: bool
) -> None:
    redis, apps, bases = fleet
    origin.gate.set()
    async with aiohttp.ClientSession() as session:
        await get(session, bases[0] + "/a")
        if dead:
            redis.kill()
            await get(session, bases[0] + "/b")
        async with asyncio.timeout(10):
            await apps[0].tasks.settle()
        assert len(apps[0].exchange.flights) == 0
        if not dead:  # it is published
            _, status = await get(session, bases[1] + "/a")
            assert status.startswith("vary-proxy; hit")
