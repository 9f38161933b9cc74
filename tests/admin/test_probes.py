"""The probes listener: alive, ready, and not ready first of all when it drains."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from aiohttp import web

from tests.admin.conftest import Origin, Start
from vary_proxy.cli import status
from vary_proxy.observation import probes
from vary_proxy.observation.eyes import Eyes


async def test_alive_ready_and_healthy(start: Start) -> None:
    proxy = await start("")
    for path, said in (("livez", "alive\n"), ("readyz", "ready\n")):
        answer = await proxy.ask(f"{proxy.probes}/{path}")
        assert (answer.status, answer.text) == (200, said)
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    health = (await proxy.ask(f"{proxy.probes}/healthz")).json()
    assert health["status"] == "ready"
    assert health["store"]["type"] == "memory"


async def test_readiness_falls_first_while_a_request_still_runs(
    start: Start, origin: Origin
) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await go.wait()
        return web.Response(text="late")

    origin.handler = slowly
    proxy = await start("")
    request = asyncio.ensure_future(proxy.get("/slow"))
    await arrived.wait()
    drain = asyncio.ensure_future(proxy.app.drain(patient=False))
    await asyncio.sleep(0)
    ready = await proxy.ask(f"{proxy.probes}/readyz")
    assert (ready.status, ready.text) == (503, "draining\n")
    assert (await proxy.ask(f"{proxy.probes}/livez")).status == 200
    assert "vary_proxy_requests_in_flight 1.0" in await proxy.metrics()
    go.set()
    assert (await request).text == "late"
    assert await drain is True


async def test_probes_do_not_shadow_the_traffic_port(start: Start, origin: Origin) -> None:
    proxy = await start("")
    for path in ("/livez", "/readyz", "/metrics", "/"):
        assert (await proxy.get(path)).text == "content"
    assert len(origin.asked) == 4
    assert (await proxy.ask(f"{proxy.probes}/")).status == 404
    assert (await proxy.ask(f"{proxy.probes}/livez", "POST")).status == 405


async def test_the_health_command(start: Start, capsys: object) -> None:
    proxy = await start("")
    asked = ["health", "--ready", "--probes", proxy.probes]
    assert await asyncio.to_thread(status, asked) == 0
    proxy.app.draining = True
    assert await asyncio.to_thread(status, asked) == 1
    assert await asyncio.to_thread(status, ["health", "--probes", proxy.probes]) == 0
    await proxy.app.close()
    assert await asyncio.to_thread(status, ["health", "--probes", "http://127.0.0.1:1"]) == 3


def test_who_configures_no_listener_pays_for_none() -> None:
    code = (
        "import sys; from vary_proxy.app import App; from vary_proxy.config import loads;"
        "App(loads(b'origins: {a: \"http://a\"}', 'f.yaml', {}, environ={}));"
        "costly = {'prometheus_client', 'redis', 'aiocache', 'vary_proxy.admin', 'click', 'rich'};"
        "print(sorted(costly & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


async def connected(url: str, said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    return reader, writer


@pytest.mark.parametrize("first", [b"", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_a_head_that_drips_in_is_not_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(probes, "HEAD_SECONDS", 0.3)
    proxy = await start()
    for url in (proxy.probes, proxy.admin):
        reader, writer = await connected(url, first + b"GET /livez HTTP/1.1\r\nHost")
        async with asyncio.timeout(30):
            answered = await reader.read()  # to its end
        assert (b"HTTP/1.1" in answered) is bool(first)
        writer.close()


async def test_a_request_that_is_there_may_take_longer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "HEAD_SECONDS", 0.1)

    async def slow(accept: str) -> tuple[bytes, str]:
        await asyncio.sleep(0.5)
        return b"counted", "text/plain"

    monkeypatch.setattr(Eyes, "_rendered", lambda self, accept: slow(accept))
    proxy = await start()
    assert await proxy.metrics() == "counted"


async def test_connections_without_end_make_room_for_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "MOST_CONNECTIONS", 8)
    proxy = await start()
    silent = [await connected(proxy.probes, b"GET /") for _ in range(20)]
    assert (await proxy.ask(f"{proxy.probes}/livez")).status == 200
    async with asyncio.timeout(30):
        for reader, _ in silent[:12]:
            assert await reader.read() == b""
    assert not silent[-1][0].at_eof()
    for _, writer in silent:
        writer.close()
