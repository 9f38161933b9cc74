"""Two workers and a second proxy on one Redis, as processes of their own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from tests.fleet.conftest import HOST, Body, Origin, text
from tests.real.proxy import configured, running_proxy
from tests.store.servers import RedisServer


async def test_five_hundred_requests_to_two_workers_and_another_proxy_are_one_to_the_origin(
    origin: Origin, redis: RedisServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    body = Body([os.urandom(100_000), os.urandom(400_000)], gates=[gate])
    origin.bodies = [body]
    here, there = tmp_path / "workers", tmp_path / "alone"
    for directory in (here, there):
        directory.mkdir()
    workers = "server: {workers: 2}\n"

    async def get(url: str) -> tuple[bytes, str]:
        async with session.get(f"{url}/a", headers=HOST) as response:
            return await response.read(), response.headers["Cache-Status"]

    with (
        running_proxy(here, *configured(here, text(origin, redis, workers))) as two,
        running_proxy(there, *configured(there, text(origin, redis))) as one,
    ):
        asking = [asyncio.ensure_future(get((two, one)[n % 2].url)) for n in range(500)]
        await origin.is_asked()
        async with asyncio.timeout(40):
            await asyncio.sleep(0.5)  # for the last of them to be on their way
            gate.set()
            replies = await asyncio.gather(*asking)
    assert all(content == body.whole for content, _ in replies)
    assert origin.asked == 1
    assert sum("stored" in status for _, status in replies) == 1
