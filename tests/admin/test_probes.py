"""The probes listener: alive, ready, and not ready first of all when it drains."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from aiohttp import web

from tests.admin.conftest import Origin, Start
from vary_proxy.cli import status


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
