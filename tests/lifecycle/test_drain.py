"""The end of one process: readiness first, then traffic, then the connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.lifecycle.parts import Client, asked, origin, running, until


def written(path: Path, url: str, delay: str) -> None:
    path.write_text(
        f"listen: ['127.0.0.1:0']\nprobes: '127.0.0.1:0'\norigins: {{main: '{url}'}}\n"
        f"log: {{access: off}}\nserver: {{drain: {{delay: {delay}, timeout: 10s}}}}\n"
    )


@pytest.fixture
def an_hour(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Whoever sleeps for an hour does so until this is set."""
    over, sleep = asyncio.Event(), asyncio.sleep

    async def sleeps(seconds: float) -> None:
        await (over.wait() if seconds == 3600 else sleep(seconds))

    monkeypatch.setattr(asyncio, "sleep", sleeps)
    return over


async def test_readiness_falls_first_and_traffic_goes_on(
    tmp_path: Path, an_hour: asyncio.Event
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a.url, "1h")
        async with running(path) as (app, port):
            probes = int(app.eyes.bound["probes"].rpartition(":")[2])
            assert (await asked(probes, "/readyz")).status == 200
            idle = await Client.at(port)
            assert (await idle.get("/x")).status == 200
            busy = await Client.at(port)
            slow = asyncio.ensure_future(busy.get("/slow"))
            await a.begun.wait()

            drain = asyncio.ensure_future(app.drain())
            await until(lambda: app.draining)
            assert (await asked(probes, "/readyz")).status == 503
            assert (await asked(probes, "/livez")).status == 200
            assert (await asked(port, "/new")).status == 200
            answer = await idle.get("/x")
            assert answer.status == 200
            assert "connection" not in answer.fields
            an_hour.set()

            assert await idle.is_closed()
            with pytest.raises(OSError, match="Conne"):
                await asked(port, "/late")
            assert (await asked(probes, "/readyz")).status == 503
            assert not drain.done()
            a.go.set()
            answer = await slow
            assert (answer.status, answer.body) == (200, b"AA")
            assert answer.fields.get("connection", "close") == "close"
            assert await drain is True
            for client in (idle, busy):
                client.close()


async def test_who_is_impatient_waits_for_no_balancer(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a.url, "1h")
        async with running(path) as (app, port):
            async with asyncio.timeout(30):
                assert await app.drain(patient=False) is True
            with pytest.raises(OSError, match="Conne"):
                await asked(port, "/late")
