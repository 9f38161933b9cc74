"""The commands that control a running proxy: what they print, and their exit statuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from tests.admin.conftest import TOKEN, Proxy
from vary_proxy.cli import status

Run = Callable[..., Awaitable[int]]


@pytest.fixture
def run(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against the proxy; its exit status."""
    monkeypatch.setenv("VARY_PROXY_ADMIN_TOKEN", TOKEN)

    async def one(*args: str, admin: str | None = None) -> int:
        return await asyncio.to_thread(status, [*args, "--admin", admin or proxy.admin])

    return one


async def test_purge(proxy: Proxy, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for origin in ("https://a.example", "https://b.example"):
        await proxy.get("/a", origin=origin)
    url = f"{proxy.url}/a"
    assert await run("purge", url, "-H", "Origin: https://a.example", "--dry-run") == 0
    assert capsys.readouterr().out == "would be purged: 1 stored response of 1 resource\n"
    assert await run("purge", "--prefix", proxy.url + "/", "--soft") == 0
    assert capsys.readouterr().out == "marked stale: 2 stored responses of 1 resource\n"
    assert await run("purge", url, "--json") == 0
    assert json.loads(capsys.readouterr().out)["stored_responses"] == 2
    assert await run("purge", "--all") == 0
    assert await run("purge", "--tag", "t") == 0
    assert capsys.readouterr().out.endswith("purged: 0 stored responses of 0 resources\n")


async def test_purge_by_pattern(proxy: Proxy, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for target in ("/img/a.png", "/img/b.png", "/img/a.css"):
        await proxy.get(target)
    assert await run("purge", "--pattern", f"{proxy.url}/img/*.png", "--dry-run") == 0
    assert capsys.readouterr().out == "would be purged: 2 stored responses of 2 resources\n"
    assert await run("purge", "--pattern", "/img/*.png", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {
        "kind": "pattern",
        "value": "/img/*.png",
        "soft": False,
        "dry_run": False,
        "resources": 2,
        "stored_responses": 2,
        "done": True,
        "missing": 0,
    }
    assert told.err == ""  # no bar where there is no terminal
    assert await proxy.is_stored("/img/a.css")


class Half:
    """An admin listener that tells of half a purge, and goes on for ever."""

    def __init__(self) -> None:
        self.told, self.left = asyncio.Event(), asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
            b'{"looked_at":2000,"purged":1500,"fraction":0.5}\n'
            b'{"looked_at":2001,"purged":1500,"fraction":0.5}\n'
        )
        self.told.set()
        while await reader.read(1024):
            pass
        self.left.set()
        writer.close()


def _interruptible() -> None:
    """Hear Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_an_interrupted_purge_shows_a_bar_on_a_terminal_and_says_what_was_done() -> None:
    half = Half()
    server = await asyncio.start_server(half.answer, "127.0.0.1", 0)
    admin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    terminal, end = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "vary_proxy", "purge", "--pattern", "/img/*", "--json", "--admin", admin),
            stdout=asyncio.subprocess.PIPE,
            stderr=end,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            preexec_fn=_interruptible,
        )
        os.close(end)
        shown = b""
        while b"1500 of 2000 looked at" not in shown:
            shown += await asyncio.to_thread(os.read, terminal, 4096)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
        await asyncio.wait_for(half.left.wait(), 30)
        with contextlib.suppress(OSError):  # the terminal ends with an error
            while True:
                shown += await asyncio.to_thread(os.read, terminal, 4096)
    finally:
        os.close(terminal)
        server.close()
    assert process.returncode == 130
    assert out == b""
    assert b"50%" in shown
    assert b"interrupted; purged: 1500 resources, of 2000 resources looked at" in shown


@pytest.mark.parametrize(
    "args",
    [
        ("purge",),
        ("purge", "--pattern", "*.png"),
        ("purge", "--pattern", "/a", "--prefix", "/a"),
        ("purge", "/a", "--all"),
        ("purge", "/a", "-H", "no field"),
        ("purge", "no url"),
        ("inspect", "/no-host"),
        ("inspect",),
    ],
)
async def test_wrong_usage_is_status_2(
    run: Run, args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(*args) == 2
    assert capsys.readouterr().err


async def test_inspect(proxy: Proxy, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    await proxy.get("/a", origin="https://a.example")
    assert await run("inspect", f"{proxy.url}/a") == 0
    out = capsys.readouterr().out
    assert "200  fresh, 0 s old of 3600  7 bytes  [defaults]" in out
    assert "selected by  origin: https://a.example" in out
    assert await run("inspect", f"{proxy.url}/nothing") == 1
    assert "nothing is stored of" in capsys.readouterr().out
    assert await run("inspect", f"{proxy.url}/a", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["variants"]) == 1


async def test_stats(proxy: Proxy, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("stats") == 0  # before the first request
    for _ in range(4):
        await proxy.get("/a", origin="https://evil.example")
    capsys.readouterr()
    assert await run("stats") == 0
    out = capsys.readouterr().out
    assert "4, 75.0 % answered without the origin" in out
    assert "4  https://evil.example  origin  [defaults]" in out
    assert await run("stats", "--json") == 0
    assert json.loads(capsys.readouterr().out)["totals"]["requests"] == 4


async def test_reload_says_what_is_wrong(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("reload") == 1
    told = capsys.readouterr()
    assert "test.yaml" in told.err
    assert "the old configuration goes on" in told.out


@pytest.mark.parametrize("command", [("stats",), ("purge", "--all"), ("reload",)])
async def test_not_reached_is_status_3(
    run: Run, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(*command, admin="http://127.0.0.1:9") == 3
    assert await run(*command, admin="nonsense") == 3
    assert "cannot reach" in capsys.readouterr().err


async def test_a_wrong_token_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VARY_PROXY_ADMIN_TOKEN", "wrong")
    assert await run("stats") == 1
    err = capsys.readouterr().err
    assert "VARY_PROXY_ADMIN_TOKEN" in err
    assert "wrong" not in err
