"""Several URLs under load: one is killed as a crash would, and comes back. Nobody sees it.

``python -m tests.origins.test_failover`` prints how long each of it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lifecycle.command import soon
from tests.lifecycle.parts import Client, until
from tests.ports import free_ports
from tests.real.proxy import ROOT, Proxy, configured, running_proxy

LETTERS = "ABC"
HEALTH = ", health: {path: /ready, every: 200ms, fail_after: 2}"


@dataclass
class Origins:
    ports: list[int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, letter: str) -> None:
        port = self.ports[LETTERS.index(letter)]
        args = [sys.executable, "-m", "tests.origins.killable", str(port), letter]
        self.processes[letter] = subprocess.Popen(args, cwd=ROOT)

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        soon(listens, 30)

    def kill(self, letter: str) -> None:
        process = self.processes.pop(letter)
        process.kill()
        process.wait()


@contextlib.contextmanager
def standing() -> Iterator[Origins]:
    origins = Origins(free_ports(len(LETTERS)))
    try:
        for letter in LETTERS:
            origins.start(letter)
        yield origins
    finally:
        for letter in [*origins.processes]:
            origins.kill(letter)


@dataclass
class Load:
    """What clients got: by letter, and everything that was not right."""

    got: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


@contextlib.asynccontextmanager
async def loaded(proxy: Proxy, clients: int) -> AsyncIterator[Load]:
    port, load, ended = int(proxy.url.rpartition(":")[2]), Load(), False

    async def ask(number: int) -> None:
        client, at = await Client.at(port), 0
        while not ended:
            at += 1
            began = time.monotonic()
            answer = await client.get(f"/{number}/{at}")
            load.slowest = max(load.slowest, time.monotonic() - began)
            letter = answer.body.decode()[:1]
            if answer.status != 200 or answer.body.decode() != letter * 2:
                load.wrong.append(f"{answer.status} {answer.fields} {answer.body!r}")
            load.got[letter] += 1
            await asyncio.sleep(0.005)
        client.close()

    asking = asyncio.gather(*map(ask, range(clients)))
    yield load
    ended = True
    await asking


@dataclass
class Times:
    """Seconds from a kill until it was set aside, and from a return until it had its share."""

    aside: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    requests: int = 0
    slowest: float = 0.0


async def killed_in_turn(folder: Path, origins: Origins, health: str, clients: int) -> Times:
    urls = ", ".join(f"'http://127.0.0.1:{port}'" for port in origins.ports)
    text = f"version: 1\norigins: {{main: {{urls: [{urls}]{health}}}}}\nlog: {{access: off}}\n"
    times = Times()
    with running_proxy(folder, *configured(folder, text)) as proxy:

        def told(letter: str, what: str) -> int:
            port = origins.ports[LETTERS.index(letter)]
            return proxy.log.read_text().count(f"origin http://127.0.0.1:{port} {what}")

        async with loaded(proxy, clients) as load:
            await until(lambda: min(load.got[one] for one in LETTERS) > 20)
            for letter in LETTERS:
                began = time.monotonic()
                origins.kill(letter)
                await until(lambda letter=letter: told(letter, "is set aside") == 1)
                times.aside.append(time.monotonic() - began)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(origins.start, letter)
                began, before = time.monotonic(), load.got[letter]
                await until(lambda letter=letter: told(letter, "is back") == 1)
                enough = before + 20
                await until(lambda letter=letter, enough=enough: load.got[letter] > enough)
                times.back.append(time.monotonic() - began)
        assert load.wrong == []
        times.requests, times.slowest = load.got.total(), load.slowest
    return times


async def test_with_health_checks_nobody_sees_a_crash(tmp_path: Path) -> None:
    with standing() as origins:
        times = await killed_in_turn(tmp_path, origins, HEALTH, 12)
    assert times.requests > 500
    assert min(times.aside) < 5.0  # of three, that in which nothing else held the machine up
    assert min(times.back) < 5.0


async def test_one_that_hangs_is_set_aside_and_asked_no_more(tmp_path: Path) -> None:
    """It takes connections and says nothing, as a process does that was stopped."""
    with standing() as origins:
        urls = ", ".join(f"'http://127.0.0.1:{port}'" for port in origins.ports)
        origin = f"{{urls: [{urls}], timeouts: {{first_byte: 20s}}{HEALTH}}}"
        text = f"version: 1\norigins: {{main: {origin}}}\nlog: {{access: off}}\n"
        with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
            stopped = f"origin http://127.0.0.1:{origins.ports[0]} is set aside: health check: no"
            origins.processes["A"].send_signal(signal.SIGSTOP)
            await until(lambda: stopped in proxy.log.read_text(), 40)
            client = await Client.at(int(proxy.url.rpartition(":")[2]))
            got = [(await client.get(f"/{at}")).body for at in range(30)]
            assert set(got) == {b"BB", b"CC"}
            client.close()


@pytest.mark.parametrize("clients", [64])
async def test_of_a_burst_on_a_dead_url_none_fails(tmp_path: Path, clients: int) -> None:
    """All at once, before anybody can know: what the one would have had goes to the other."""
    with standing() as origins:
        origins.kill("A")
        urls = ", ".join(f"'http://127.0.0.1:{port}'" for port in origins.ports)
        text = f"version: 1\norigins: {{main: {{urls: [{urls}]}}}}\nlog: {{access: off}}\n"
        with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
            port = int(proxy.url.rpartition(":")[2])
            ready = await asyncio.gather(*(Client.at(port) for _ in range(clients)))
            got = await asyncio.gather(*(one.get(f"/{at}") for at, one in enumerate(ready)))
            assert Counter(one.status for one in got) == {200: clients}
            for one in ready:
                one.close()


def main() -> None:
    for name, health in (("health checks every 200 ms", HEALTH), ("requests alone", "")):
        with standing() as origins, tempfile.TemporaryDirectory() as folder:
            times = asyncio.run(killed_in_turn(Path(folder), origins, health, 24))
        aside, back = (", ".join(f"{one:.2f}" for one in row) for row in (times.aside, times.back))
        print(f"{name}: {times.requests} requests, none failed, slowest {times.slowest:.2f} s")
        print(f"  aside after {aside} s; back after {back} s")


if __name__ == "__main__":
    main()
