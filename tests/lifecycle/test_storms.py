"""Signals that come by the hundred, and files that change under them: nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.lifecycle.command import Command, get, letters, soon


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def written(path: Path, url: str, workers: int) -> None:
    new = path.with_suffix(".new")
    new.write_text(
        f"listen: ['127.0.0.1:0']\norigins: {{main: '{url}'}}\nlog: {{access: off}}\n"
        f"server: {{workers: {workers}, drain: {{delay: 0s}}}}\n"
    )
    new.replace(path)


def test_hangups_by_the_hundred_cut_nothing_and_the_last_word_holds(
    start: type[Command], tmp_path: Path, workers: int
) -> None:
    path = tmp_path / "p.yaml"
    with letters("A") as (a, _), letters("B") as (b, _):
        written(path, a, workers)
        proxy = start("-c", str(path), "--no-watch")
        port = proxy.port()
        seen: Counter[bytes] = Counter()
        wrong: list[str] = []
        ended = threading.Event()

        def ask() -> None:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                while not ended.is_set():
                    connection.request("GET", "/")
                    answer = connection.getresponse()
                    seen[answer.read()] += answer.status == 200
            except Exception as error:
                wrong.append(repr(error))
            connection.close()

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for one in clients:
            one.start()
        for turn in range(60):
            if turn % 5 == 4:
                path.write_text("rules: [")
            else:
                written(path, (b, a)[turn % 2], workers)
            for _ in range(5):
                proxy.send(signal.SIGHUP)
                time.sleep(0.002)
        written(path, b, workers)
        proxy.send(signal.SIGHUP)

        def settled() -> bool:
            return all(get(port) == b"BB" for _ in range(6))

        soon(settled, 30)
        ended.set()
        for one in clients:
            one.join()
        assert wrong == []
        assert set(seen) == {b"AA", b"BB"}
        proxy.send(signal.SIGHUP)  # one that meets the end
        proxy.send(signal.SIGTERM)
        assert proxy.ends() == 0
        assert not any("Traceback" in line for line in proxy.said)


def test_a_hangup_while_draining_changes_nothing_about_the_end(
    start: type[Command], workers: int
) -> None:
    with letters("A") as (url, origin):
        said = ["--set", "server.drain.delay=300ms", "--set", "log.access=off"]
        proxy = start("--origin", url, "--listen", "127.0.0.1:0", "--workers", str(workers), *said)
        port = proxy.port()
        bodies: list[bytes] = []
        client = threading.Thread(target=lambda: bodies.append(get(port, "/slow")))
        client.start()
        assert origin.asked.wait(30)
        proxy.send(signal.SIGTERM)
        proxy.hears("draining")
        for _ in range(10):
            proxy.send(signal.SIGHUP)
        origin.go.set()
        client.join()
        assert bodies == [b"AA"]
        assert proxy.ends() == 0


def test_a_hangup_while_starting_does_not_end_it(
    start: type[Command], workers: int, tmp_path: Path
) -> None:
    """Its default is to end a process; one comes early where a file was just written."""
    with letters("A") as (url, _):
        written(tmp_path / "p.yaml", url, workers)
        proxy = start("-c", str(tmp_path / "p.yaml"))
        status = Path(f"/proc/{proxy.process.pid}/status")

        def is_taken() -> bool:
            told = dict(
                line.split(":\t") for line in status.read_text().splitlines() if ":\t" in line
            )
            return bool((int(told["SigIgn"], 16) | int(told["SigCgt"], 16)) & 1)

        soon(is_taken, 30)
        while not any(line.startswith("store ") for line in proxy.said):
            proxy.send(signal.SIGHUP)
            time.sleep(0.01)
            assert proxy.process.poll() is None, proxy.said
        assert get(proxy.port()) == b"AA"
