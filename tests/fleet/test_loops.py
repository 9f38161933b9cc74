"""Proxies whose origins lead back to them say so at once; those in a row are no loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import aiohttp
import pytest

from tests.fleet.conftest import HOST, Body, Origin
from tests.real.proxy import configured, running_proxy
from tests.serving import listening
from tests.store.servers import RedisServer
from vary_proxy import config
from vary_proxy.app import App

# Else what one proxy tells the next tells their requests apart.
STRANGERS = "server: {trusted_proxies: [192.0.2.0/24]}\n"
SOON = 4.5  # seconds; a loop that is not seen takes five at least, and ten as a rule
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"]


class Turns:
    """Passes each connection on to one of the ports that it was told of, in turn."""

    def __init__(self) -> None:
        self._next: Iterator[int] = iter(())

    def to(self, *ports: int) -> None:
        self._next = cycle(ports)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_connection("127.0.0.1", next(self._next))
        try:
            await asyncio.gather(_pump(reader, out), _pump(back, writer))
        finally:
            for one in (out, writer):
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


class Ring:
    """Starts proxies, and what stands before them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def turns(self) -> tuple[Turns, int]:
        made = Turns()
        return made, await self._stack.enter_async_context(listening(made))

    async def proxy(self, origin: int, redis: RedisServer | None = None, more: str = "") -> int:
        """One before *origin*; where it listens."""
        store = (
            "" if redis is None else f'store: {{type: redis, url: "{redis.url}", timeout: 5s}}\n'
        )
        said = (
            'version: 1\nlisten: [{address: "127.0.0.1:0"}]\nlog: {access: off}\n'
            f'origins: {{o: {{url: "http://127.0.0.1:{origin}", host: preserve}}}}\n{store}{more}'
        )
        app = App(config.loads(said.encode(), "ring.yaml", (), {}))
        self._stack.push_async_callback(app.close)
        (bound,) = await app.start()
        return int(bound.rpartition(":")[2])


@pytest.fixture
async def ring() -> AsyncIterator[Ring]:
    async with AsyncExitStack() as stack:
        yield Ring(stack)


async def ask(
    session: aiohttp.ClientSession, port: int, method: str = "GET", **fields: str
) -> tuple[int, str, float]:
    """Status, Proxy-Status and seconds."""
    began = time.monotonic()
    url = f"http://127.0.0.1:{port}/a"
    async with session.request(method, url, headers={**HOST, **fields}) as reply:
        await reply.read()
        return reply.status, reply.headers.get("Proxy-Status", ""), time.monotonic() - began


def assert_seen(found: tuple[int, str, float]) -> None:
    status, why, seconds = found
    assert (status, why) == (502, "vary-proxy; error=proxy_loop_detected")
    assert seconds < SOON


@pytest.mark.parametrize("instances", [1, 2, 3])
async def test_every_method_is_told_at_once(
    ring: Ring, session: aiohttp.ClientSession, instances: int
) -> None:
    back, first = await ring.turns()
    port = first
    for _ in range(instances):
        port = await ring.proxy(port)
    back.to(port)
    for method in METHODS:
        assert_seen(await ask(session, port, method))
    assert_seen(await ask(session, port, Range="bytes=0-9"))
    assert_seen(await ask(session, port, Authorization="Basic eDp5"))
    together = [ask(session, port) for _ in range(20)]
    for found in await asyncio.gather(*together):
        assert_seen(found)


async def test_whoever_waits_for_a_loop_is_told_of_it_as_well(
    ring: Ring, session: aiohttp.ClientSession, redis: RedisServer
) -> None:
    """Two balanced proxies each before the other two, all on one Redis."""
    (here, to_here), (there, to_there) = await ring.turns(), await ring.turns()
    heres = [await ring.proxy(to_there, redis, STRANGERS) for _ in range(2)]
    theres = [await ring.proxy(to_here, redis, STRANGERS) for _ in range(2)]
    here.to(*heres)
    there.to(*theres)
    for port in heres + theres:
        for method in METHODS[:3]:
            assert_seen(await ask(session, port, method))
    together = [ask(session, port) for port in (heres + theres) * 5]
    for found in await asyncio.gather(*together):
        assert_seen(found)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "Redis"])
async def test_workers_see_what_another_of_them_sent_on(
    ring: Ring, session: aiohttp.ClientSession, redis: RedisServer, tmp_path: Path, shared: bool
) -> None:
    back, port = await ring.turns()
    said = (
        f'origins: {{o: {{url: "http://127.0.0.1:{port}", host: preserve}}}}\n'
        f"{STRANGERS[:-2]}, workers: 3}}\nlog: {{access: off}}\n"
    )
    if shared:
        said += f'store: {{type: redis, url: "{redis.url}", timeout: 5s}}\n'
    with running_proxy(tmp_path, *configured(tmp_path, said)) as proxy:
        front = int(proxy.url.rpartition(":")[2])
        back.to(front)
        for method in METHODS * 3:
            assert_seen(await ask(session, front, method))


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "Redis"])
@pytest.mark.parametrize("depth", [2, 4])
async def test_a_row_of_proxies_is_no_loop(
    ring: Ring,
    session: aiohttp.ClientSession,
    redis: RedisServer,
    origin: Origin,
    shared: bool,
    depth: int,
) -> None:
    origin.bodies = [Body([b"whole"])]
    port = origin.port
    for _ in range(depth):
        port = await ring.proxy(port, redis if shared else None)
    for _ in range(2):
        status, _, seconds = await ask(session, port)
        assert (status, origin.asked) == (200, 1)
        assert seconds < SOON


async def test_proxies_of_one_configuration_in_a_row_are_no_loop(
    ring: Ring, session: aiohttp.ClientSession, redis: RedisServer, origin: Origin, tmp_path: Path
) -> None:
    """As where a name means the other to one of them, and the origin to that other."""
    origin.bodies = [Body([b"whole"])]
    turns, port = await ring.turns()
    said = (
        f'origins: {{o: {{url: "http://127.0.0.1:{port}", host: preserve}}}}\n'
        f'store: {{type: redis, url: "{redis.url}", timeout: 5s}}\n'
        f"log: {{access: off}}\n{STRANGERS}"
    )
    with (
        running_proxy(tmp_path, *configured(tmp_path, said)) as outer,
        running_proxy(tmp_path, *configured(tmp_path, said)) as inner,
    ):
        turns.to(int(inner.url.rpartition(":")[2]), origin.port)
        status, _, seconds = await ask(session, int(outer.url.rpartition(":")[2]))
    assert (status, origin.asked) == (200, 1)
    assert seconds < SOON


async def test_the_fetch_of_a_made_up_loop_fails_for_nobody_else(
    ring: Ring, session: aiohttp.ClientSession, origin: Origin
) -> None:
    """A stranger's Via is long enough for the inner proxy to refuse what the outer one asks."""
    gate = asyncio.Event()
    origin.bodies = [Body([b"wh", b"ole"], gates=[gate])]
    port = await ring.proxy(await ring.proxy(origin.port))
    made_up = {"Via": ", ".join(["1.1 vary-proxy"] * 7)}
    asked = [ask(session, port, **made_up), *[ask(session, port) for _ in range(5)]]
    asking = [asyncio.ensure_future(one) for one in asked]
    assert_seen(await asking[0])
    gate.set()
    assert {(await one)[0] for one in asking[1:]} == {200}
    assert origin.asked == 1
