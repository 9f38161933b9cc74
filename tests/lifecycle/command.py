"""``vary-proxy run`` as a process of its own, ended with the test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Command:
    def __init__(self, *args: str) -> None:
        clean = {key: one for key, one in os.environ.items() if not key.startswith("VARY_PROXY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vary_proxy", "run", *args],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=clean,
        )  # fmt: skip
        self.said: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.said.append(line.rstrip("\n"))
                self._news.notify_all()

    def hears(self, pattern: str, seconds: float = 90.0) -> str:
        """The first line in which *pattern* is found. Fails when none comes."""

        def found() -> str | None:
            return next((line for line in self.said if re.search(pattern, line)), None)

        with self._news:
            assert self._news.wait_for(found, seconds), (pattern, self.said)
            line = found()
        assert line is not None
        return line

    def port(self) -> int:
        """The first port of the traffic, once it serves."""
        line = self.hears("^listening on ")
        self.hears("^store ")
        return int(line.split(",")[0].rpartition(":")[2])

    def workers(self) -> list[int]:
        """The processes that it has started."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def serving(self) -> int:
        """The one process that answers: its only worker, or itself."""
        (one,) = self.workers() or [self.process.pid]
        return one

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        status = self.process.wait(90)
        self._reader.join(90)
        return status

    def close(self) -> None:
        with contextlib.suppress(OSError):
            for pid in self.workers():
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._reader.join(90)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start() -> Iterator[type[Command]]:
    """Starts the command with arguments, and ends it with the test."""
    made: list[Command] = []

    class Kept(Command):
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            made.append(self)

    yield Kept
    for one in made:
        one.close()


class Letters(BaseHTTPRequestHandler):
    """Answers with the server's letter; under /slow when ``go`` is set."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked = threading.Event()
    go = threading.Event()
    letter = b"A"

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            self.asked.set()
            self.go.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(self.letter * 2)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A proxy that was killed has left: that is what these tests do."""


@contextlib.contextmanager
def letters(letter: str) -> Iterator[tuple[str, type[Letters]]]:
    """An origin in a thread: its URL, and its handler."""
    kind = type(
        "One",
        (Letters,),
        {"letter": letter.encode(), "asked": threading.Event(), "go": threading.Event()},
    )
    with served(kind) as url:
        try:
            yield url, kind
        finally:
            kind.go.set()


@contextlib.contextmanager
def served(kind: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An origin in a thread, which answers by *kind*: its URL."""
    with _Server(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def get(port: int, path: str = "/", timeout: float = 30) -> bytes:
    """One request on a connection of its own. Fails unless it is answered with 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


def soon(claim: object, seconds: float = 60.0) -> None:
    """Wait for *claim*, a function, to hold. Fails when it does not."""
    assert callable(claim)
    until = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.02)
