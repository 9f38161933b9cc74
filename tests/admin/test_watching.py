"""``vary-proxy tail`` and ``top``: what they show, of whom, and how they leave the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.admin.conftest import LETS_IN, TOKEN, Origin, Proxy, Start
from tests.lifecycle.command import Command, get, letters
from tests.ports import free_port
from vary_proxy.cli import panel, status, tail
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.observation import tailing
from vary_proxy.observation.tailing import Feeds, Question, Wanted

ROOT = Path(__file__).resolve().parents[2]


class Listener:
    """One stream of the admin listener."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Any:
        async with asyncio.timeout(30):
            while True:
                line = (await self.response.content.readline()).strip()
                if line:
                    return json.loads(line)


@contextlib.asynccontextmanager
async def listening(proxy: Proxy, query: str = "") -> AsyncIterator[Listener]:
    async with proxy.client.get(f"{proxy.admin}/tail{query}", headers=LETS_IN) as response:
        assert response.status == 200
        yield Listener(response)


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.005)


async def test_a_listener_gets_every_line_with_secrets_masked(proxy: Proxy) -> None:
    async with listening(proxy) as listener:
        await proxy.get("/a?X-Amz-Signature=secret", origin="https://a.example")
        await proxy.get("/b")
        await proxy.get("/b")
        first = await listener.next()
        assert (first["path"], first["status"]) == ("/a?X-Amz-Signature=***", 200)
        found = [await listener.next() for _ in range(2)]
        assert [(one["path"], one["cache"]) for one in found] == [("/b", "miss"), ("/b", "hit")]
    assert proxy.app.eyes.feeds is not None
    await until(lambda: not proxy.app.eyes.feeds)
    assert len(proxy.app.observers) == 2  # what nobody listens to costs nothing


async def test_listeners_choose(proxy: Proxy) -> None:
    async with (
        listening(proxy, "?cache=hit") as hits,
        listening(proxy, "?status=5xx&status=404") as bad,
        listening(proxy, "?rule=nobody") as none,
    ):
        for _ in range(3):
            await proxy.get("/a")
        await proxy.get("/n", cache_control="only-if-cached")
        assert (await hits.next())["cache"] == "hit"
        assert (await bad.next())["status"] == 504
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await none.next()


@pytest.mark.parametrize("query", ["?status=abc", "?status=6xx", "?statu=200", "?status=²"])
async def test_a_wrong_choice_is_refused(proxy: Proxy, query: str) -> None:
    answer = await proxy.ask(f"{proxy.admin}/tail{query}", headers=LETS_IN)
    assert answer.status == 400


async def test_nobody_listens_without_the_token(proxy: Proxy) -> None:
    assert (await proxy.ask(f"{proxy.admin}/tail")).status == 401
    assert not proxy.app.eyes.feeds


async def test_there_is_an_end_to_listeners(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "MOST_LISTENERS", 1)
    async with listening(proxy):
        refused = await proxy.ask(f"{proxy.admin}/tail", headers=LETS_IN)
        assert refused.status == 503
        assert "listen already" in refused.json()["error"]


def told(feeds_to: list[Any], cache: str = "hit", code: int = 200) -> None:
    request = Request(b"GET", b"/a", Fields())
    reply = Reply(code, Fields(), record=Record(rule="r", cache=cache))
    for observer in tuple(feeds_to):
        observer(request, reply, 5, 0.0)


def test_a_slow_listener_loses_lines_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tailing, "MOST_WAITING", 10)
    observers: list[Any] = []
    feeds = Feeds(observers)
    slow, other = Question("slow", Wanted()), Question("other", Wanted(caches=("miss",)))
    assert (feeds.take(slow).lines, feeds.take(other).lines) == ([], [])
    for _ in range(25):
        told(observers)
    told(observers, "miss")
    batch = feeds.take(slow)
    assert (len(batch.lines), batch.lost) == (10, 16)
    assert len(feeds.take(other).lines) == 1
    told(observers)
    batch = feeds.take(slow)
    assert (len(batch.lines), batch.lost) == (1, 0)
    for question in (slow, other):
        feeds.take(Question(question.name, question.wanted, last=True))
    assert observers == []


def test_a_queue_that_nobody_asks_for_any_more_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "MOST_WAITING", 1)
    now = 0.0
    observers: list[Any] = []
    feeds = Feeds(observers, lambda: now)
    feeds.take(Question("gone", Wanted()))
    told(observers)
    told(observers)
    assert len(feeds) == 1
    now = 61.0
    told(observers)
    assert (len(feeds), observers) == (0, [])


def test_a_queue_of_a_fallen_worker_that_nothing_comes_into_goes_too() -> None:
    now = 0.0
    observers: list[Any] = []
    feeds = Feeds(observers, lambda: now)
    for at in range(tailing.MOST_LISTENERS):
        feeds.take(Question(f"gone {at}", Wanted(caches=("no such",))))
    assert not feeds.has_room()
    now = 61.0
    assert feeds.has_room()
    assert (len(feeds), observers) == (0, [])
    feeds.take(Question("gone", Wanted()))
    now = 122.0
    feeds.take(Question("mine", Wanted()))
    assert (len(feeds), len(observers)) == (1, 1)


async def test_a_stuck_listener_delays_no_request(start: Start, origin: Origin) -> None:
    proxy = await start()
    reader, writer = await asyncio.open_connection(
        *proxy.admin.removeprefix("http://").split(":"), limit=1024
    )
    writer.write(
        f"GET /tail HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(300):
        assert (await proxy.get("/" + "a" * 4000)).status == 200
    assert proxy.app.eyes.feeds is not None
    assert len(proxy.app.eyes.feeds) == 1
    writer.transport.abort()


# The programs, as people run them


@pytest.fixture
def running() -> Iterator[tuple[int, str]]:
    """A proxy of two workers with an admin listener: its port, and where that is."""
    admin = free_port()
    with letters("A") as (url, _):
        proxy = Command(
            "--origin", url, "--listen", "127.0.0.1:0", "--workers", "2",
            "--set", "log.access=off", "--set", "server.drain.delay=0",
            "--set", f"admin.address=127.0.0.1:{admin}", "--set", f"admin.token={TOKEN}",
        )  # fmt: skip
        try:
            yield proxy.port(), f"http://127.0.0.1:{admin}"
        finally:
            proxy.close()


def program(*args: str, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "VARY_PROXY_ADMIN_TOKEN": TOKEN, "TERM": "xterm", "COLUMNS": "120"}
    return subprocess.Popen(
        [sys.executable, "-m", "vary_proxy", *args], text=True, cwd=ROOT, env=environ, **options
    )


def test_tail_shows_the_lines_of_all_workers(running: tuple[int, str]) -> None:
    port, admin = running
    stop = threading.Event()

    def ask() -> None:
        number = 0
        while not stop.is_set():
            get(port, f"/{number}?X-Amz-Credential=secret")
            number += 1

    process = program("tail", "--json", "--status", "2xx", "--admin", admin, stdout=subprocess.PIPE)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline()) for _ in range(40)]
        assert [one["time"] for one in found] == sorted(one["time"] for one in found)
        # Connections are dealt out: thirty in a row by one of two workers do not happen. A line
        # is made when its request has ended, which another worker's next one may overtake.
        numbers = {int(one["path"][1:].partition("?")[0]) for one in found}
        assert {*range(min(numbers) + 2, min(numbers) + 32)} <= numbers
        assert all(one["path"].endswith("X-Amz-Credential=***") for one in found)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        stop.set()
        asking.join()
        process.kill()
        process.wait()
        process.stdout.close()


def test_top_without_a_terminal_is_one_picture(running: tuple[int, str]) -> None:
    port, admin = running
    get(port, "/a")
    process = program("top", "--admin", admin, stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "ready, up" in out
    assert "2 workers" in out
    assert re.search(r"RULE +requests", out)
    assert "\x1b" not in out


def _shown(terminal: int, pattern: str) -> str:
    """What the terminal was sent, once *pattern* is in it."""
    seen = ""
    until = time.monotonic() + 30
    while not re.search(pattern, seen, re.DOTALL):
        assert select.select([terminal], [], [], until - time.monotonic())[0], seen
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("ending", "code"), [("q", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_top_leaves_the_terminal_as_it_was(
    running: tuple[int, str], ending: str | signal.Signals, code: int
) -> None:
    port, admin = running
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = program("top", "--admin", admin, stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        _shown(ours, r"\x1b\[\?1049h.*vary-proxy .*q ends")
        get(port, "/a")
        _shown(ours, r" 1 in all")  # redrawn by itself
        if isinstance(ending, str):
            os.write(ours, ending.encode())
        else:
            process.send_signal(ending)
        last = _shown(ours, r"\x1b\[\?1049l")
        assert process.wait(30) == code
        last += _shown(ours, "") if select.select([ours], [], [], 0)[0] else ""
        assert "\x1b[?25h" in last  # the cursor
        assert "Traceback" not in last
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("verb", ["top", "tail"])
def test_not_reached_and_not_let_in(
    verb: str, running: tuple[int, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _, admin = running
    assert status([verb, "--admin", "http://127.0.0.1:9"]) == 3
    assert "cannot reach" in capsys.readouterr().err
    monkeypatch.setenv("VARY_PROXY_ADMIN_TOKEN", "wrong")
    assert status([verb, "--admin", admin]) == 1
    assert "VARY_PROXY_ADMIN_TOKEN" in capsys.readouterr().err
    assert status(["tail", "--status", "wrong"]) == 2


Run = Callable[..., Awaitable[int]]


async def test_top_names_hits_origins_and_who_is_blocked(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VARY_PROXY_ADMIN_TOKEN", TOKEN)
    assert await asyncio.to_thread(status, ["top", "--admin", proxy.admin]) == 0
    assert "No request in the last" in capsys.readouterr().out
    for _ in range(4):
        await proxy.get("/a", origin="https://evil\u202e.example".encode().decode("latin-1"))
    await proxy.stats()  # hits are counted in batches; what is asked for settles them
    proxy.clock.now += 2
    assert await asyncio.to_thread(status, ["top", "--admin", proxy.admin]) == 0
    out = capsys.readouterr().out
    assert "the cache answered 75.0 % of 4 requests; origins were asked 1 times." in out
    assert "CORS blocks 1 origin: https://evil" in out
    assert "\u202e" not in out
    assert re.search(r"media .* 1 +0 ", out)
    assert await asyncio.to_thread(status, ["top", "--once", "--json", "--admin", proxy.admin]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 1


async def test_top_says_first_that_an_origin_fails(
    proxy: Proxy,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def hangs_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    origin.handler = hangs_up
    monkeypatch.setenv("VARY_PROXY_ADMIN_TOKEN", TOKEN)
    for at in range(3):
        assert (await proxy.get(f"/{at}", origin="https://a.example")).status == 502
    proxy.clock.now += 2
    assert await asyncio.to_thread(status, ["top", "--admin", proxy.admin]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 requests failed (5xx); origins that have failed: " in out
    assert "CORS blocks" not in out  # nobody has judged who asks


@pytest.mark.parametrize(("said", "coloured"), [("", True), ("1", False)])
def test_tail_is_coloured_for_terminals_that_want_it(
    said: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    line = {
        "time": "2026-11-22T11:36:03.735Z",
        "status": 200,
        "seconds": 0,
        "cache": "hit",
        "method": "GET",
        "host": "a",
        "path": "/",
        "rule": "",
        "cors_reason": "origin",
    }
    monkeypatch.setenv("NO_COLOR", said)
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    tail._tell(json.dumps(line), line, as_json=False)
    assert ("\x1b" in out.getvalue()) is coloured
    assert "CORS: origin" in out.getvalue()


def test_the_picture_fits_the_terminal() -> None:
    quantiles = {"count": 0, "p50": None, "p95": None, "p99": None}
    told = {
        "version": "1", "state": "ready", "workers": 1, "uptime": 90061, "reloaded": False,
        "now": 100.0, "history": [[99, 10, 5, 0, 0, 5, 0.1, 2048]], "blocked": [], "cors": [],
        "totals": {"requests": 10, "from_cache": 5, "origin_requests": 5, "bytes": 2048,
                   "errors": 0},
        "latency": {"cache": quantiles, "origin": quantiles}, "rules": [], "origins": [],
        "store": {"type": "memory", "stored_responses": 0, "resources": 0, "bytes": 0,
                  "max": 1 << 40, "evictions": 0},
    }  # fmt: skip
    for width in (20, 80, 300):
        made = [text for _, text in panel.lines(told, "here", width)]
        assert all(len(text) <= width for text in made)
    assert "up 1d 1h" in made[0]
    assert "THE LAST CONFIGURATION WAS REFUSED" in made[0]
    assert any("1.0 TiB" in text for text in made)


def test_a_narrow_picture_leaves_out_columns_and_never_a_part_of_a_number() -> None:
    quantiles = {"count": 9, "p50": 0.01234, "p95": 0.02, "p99": 0.1234}
    origin = "https://a-site-with-a-long-name.example"
    told = {
        "version": "1", "state": "ready", "workers": 1, "uptime": 90061, "reloaded": True,
        "now": 100.0, "history": [[99, 10, 5, 3, 0, 5, 0.1, 2048]],
        "blocked": [{"origin": origin, "count": 123456, "reason": "origin", "rule": "canvas"}],
        "cors": [{"decision": "refused", "count": 7}],
        "totals": {"requests": 10, "from_cache": 5, "origin_requests": 5, "bytes": 2048,
                   "errors": 3},
        "latency": {"cache": quantiles, "origin": quantiles},
        "rules": [{"rule": "a-rule-with-a-name", "requests": 123456, "from_cache": 5, "blocked": 7,
                   "latency": quantiles}],
        "origins": [{"origin": "media", "url": "http://10.0.0.1", "requests": 123456, "failed": 77,
                     "latency": quantiles}],
        "store": {"type": "memory", "stored_responses": 0, "resources": 0, "bytes": 0,
                  "max": 1 << 40, "evictions": 0},
    }  # fmt: skip
    for width in range(40, 120):
        made = [text for _, text in panel.lines(told, "here", width)]
        assert all(len(text) <= width for text in made)
        whole = "\n".join(made)
        assert whole.count("123456") == 3
        for number, part in (
            (" 12.3 ms", r" 12\.?3?$"),
            (" 123 ms", r" 123$"),
            (" 77", "media.* 7$"),
        ):
            assert number in whole or not re.search(part, whole, re.M), width
        assert f"  {origin[:20]}" in whole
        assert "origins that have failed: media" in " ".join(whole.split())
