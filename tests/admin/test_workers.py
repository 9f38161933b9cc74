"""Several workers, each with a memory of its own: the admin listener speaks for all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.admin.conftest import LETS_IN, TOKEN, Origin
from tests.ports import free_port
from tests.real.proxy import configured, running_proxy

_TEXT = """\
origins: {{media: {{url: "{origin}"}}}}
admin: {{address: "127.0.0.1:{port}", token: {token}, purge_from: [127.0.0.1/32]}}
server: {{workers: 2, drain: {{delay: 0s}}}}
log: {{access: off}}
"""


class Pair:
    """Two workers. Every request has a connection of its own, so that either may answer."""

    def __init__(self, traffic: str, admin: str, pid: int) -> None:
        self.traffic, self.admin, self.pid = traffic, admin, pid
        self.sent = 0

    def workers(self) -> list[int]:
        """Their process ids."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(one) for one in children.split()]

    async def send(self, target: str, method: str = "GET", **headers: str) -> int:
        self.sent += 1
        return (await _once(method, self.traffic + target, headers=headers))[0]

    async def ask(self, path: str, **options: Any) -> Any:
        method = "POST" if "json" in options else "GET"
        return (await _once(method, self.admin + path, headers=LETS_IN, **options))[1]

    async def both_hold(self, target: str, origin: Origin) -> None:
        """Ask until each worker has asked the origin once."""
        async with asyncio.timeout(30):
            while origin.asked.count(target) < 2:
                await self.send(target)

    async def held(self, target: str) -> bool:
        """Whether any worker has it; asks often enough to meet both."""
        only = {"Cache-Control": "only-if-cached"}
        return 200 in {await self.send(target, **only) for _ in range(24)}


async def _once(method: str, url: str, **options: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, url, **options) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.read()


@pytest.fixture
async def pair(origin: Origin, tmp_path: Path) -> AsyncIterator[Pair]:
    port = free_port()
    text = _TEXT.format(origin=origin.url, port=port, token=TOKEN)
    manager = running_proxy(tmp_path, *configured(tmp_path, text))
    proxy = await asyncio.to_thread(manager.__enter__)
    try:
        yield Pair(proxy.url, f"http://127.0.0.1:{port}", proxy.pid)
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def test_counts_are_sums_whoever_is_asked(pair: Pair, origin: Origin) -> None:
    await pair.both_hold("/a", origin)
    for _ in range(8):
        told = await pair.ask("/stats")
        assert told["totals"]["requests"] == pair.sent
        assert told["totals"]["origin_requests"] == 2
        assert told["store"]["stored_responses"] == 2
        assert sum(row[1] for row in told["history"]) == pair.sent
        shown = await pair.ask("/inspect", params={"url": f"{pair.traffic}/a"})
        assert len(shown["variants"]) == 2


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["url", "prefix", "all"])
async def test_a_purge_reaches_every_memory(
    pair: Pair, origin: Origin, kind: str, soft: bool
) -> None:
    await pair.both_hold("/a", origin)
    wanted = {"url": f"{pair.traffic}/a", "prefix": f"{pair.traffic}/", "all": True}[kind]
    told = await pair.ask("/purge", json={kind: wanted, "soft": soft, "dry_run": True})
    assert told["stored_responses"] == 2
    assert await pair.held("/a")
    told = await pair.ask("/purge", json={kind: wanted, "soft": soft})
    assert told["stored_responses"] == 2
    assert not await pair.held("/a")


async def test_so_does_the_purge_method(pair: Pair, origin: Origin) -> None:
    await pair.both_hold("/a", origin)
    assert await pair.send("/a", "PURGE") == 200
    assert not await pair.held("/a")


@pytest.mark.parametrize("kind", ["url", "pattern"])
async def test_a_worker_that_does_not_answer_is_told_of_and_purges_on_coming_back(
    pair: Pair, origin: Origin, kind: str
) -> None:
    await pair.both_hold("/a", origin)
    stopped = pair.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        value = {"url": f"{pair.traffic}/a", "pattern": "/*"}[kind]
        told = await pair.ask("/purge", json={kind: value})
        code, out, err = await _command("purge", "/b", admin=pair.admin)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert (told["done"], told["missing"], told["stored_responses"]) == (False, 1, 1)
    assert code == 1
    assert out == "purged: 0 stored responses of 0 resources\n"
    assert err == "1 worker does not answer; it purges on coming back\n"
    async with asyncio.timeout(30):
        while await pair.held("/a"):
            await asyncio.sleep(0.02)
    assert (await pair.ask("/purge", json={kind: value}))["done"]


async def test_a_reload_tells_of_a_worker_that_does_not_answer(
    pair: Pair, origin: Origin, tmp_path: Path
) -> None:
    (file,) = tmp_path.glob("*.yaml")
    stopped = pair.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        file.write_text(file.read_text() + "defaults: {cache: off}\n")
        code, out, err = await _command("reload", admin=pair.admin)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert (code, out) == (1, "reloaded\n")
    assert err == "1 worker does not answer; it reloads on coming back\n"

    async def asked() -> bool:
        """Whether each of a few requests reaches the origin."""
        before = len(origin.asked)
        for _ in range(12):
            await pair.send("/a")
        return len(origin.asked) == before + 12

    async with asyncio.timeout(30):
        while not await asked():
            await asyncio.sleep(0.02)
    assert await _command("reload", admin=pair.admin) == (0, "reloaded\n", "")


async def test_a_reload_that_one_worker_refuses_is_not_taken_for_done(
    pair: Pair, tmp_path: Path
) -> None:
    (file,) = tmp_path.glob("*.yaml")
    file.write_text(file.read_text() + "rules: [\n")
    code, out, err = await _command("reload", admin=pair.admin)
    assert (code, out) == (1, "not reloaded; the old configuration goes on\n")
    assert len(err.splitlines()) == 1  # though all of them refuse it


async def _command(*args: str, admin: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "vary_proxy", *args, "--admin", admin),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "VARY_PROXY_ADMIN_TOKEN": TOKEN},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
