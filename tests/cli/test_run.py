"""``vary-proxy run`` from start to end: three lines, signals, a taken port."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = ("--set", "server.drain.delay=0")


class Slow(BaseHTTPRequestHandler):
    """Answers at once, or under /slow when the test lets it."""

    asked = threading.Event()
    go = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.asked.set()
            self.go.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    Slow.asked.clear()
    Slow.go.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Slow.go.set()
        server.shutdown()
        thread.join()


class Proxy:
    def __init__(self, *args: str) -> None:
        clean = {key: one for key, one in os.environ.items() if not key.startswith("VARY_PROXY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vary_proxy", "run", *args],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=clean,
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def started(self) -> tuple[str, int]:
        """What was said, and the port."""
        said = [self.line() for _ in range(3)]
        found = re.search(r":(\d+)$", said[0])
        assert found, said
        return "\n".join(said), int(found[1])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start() -> Iterator[type[Proxy]]:
    made: list[Proxy] = []

    class Kept(Proxy):
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            made.append(self)

    yield Kept
    for one in made:
        one.process.kill()
        one.process.wait()
        assert one.process.stderr is not None
        one.process.stderr.close()


def get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_it_says_three_lines_serves_and_ends_cleanly(
    start: type[Proxy], origin: str, loop: str, number: signal.Signals
) -> None:
    proxy = start("--origin", origin, "--listen", "127.0.0.1:0", "--loop", loop, *AT_ONCE)
    said, port = proxy.started()
    assert said == f"listening on http://127.0.0.1:{port}\norigin {origin}\nstore memory, 256MiB"
    assert get(port, "/") == b"ok"
    assert proxy.end(number) == 0
    with pytest.raises(ConnectionRefusedError):
        get(port, "/")


def test_a_running_request_is_finished_before_the_end(start: type[Proxy], origin: str) -> None:
    proxy = start("--origin", origin, "--listen", "127.0.0.1:0", *AT_ONCE)
    _, port = proxy.started()
    bodies: list[bytes] = []
    client = threading.Thread(target=lambda: bodies.append(get(port, "/slow")))
    client.start()
    assert Slow.asked.wait(30)
    proxy.process.send_signal(signal.SIGTERM)
    assert "draining" in proxy.line()
    Slow.go.set()
    client.join()
    assert proxy.process.wait(30) == 0
    assert bodies == [b"ok"]


def test_a_second_signal_ends_it_now(start: type[Proxy], origin: str) -> None:
    proxy = start("--origin", origin, "--listen", "127.0.0.1:0")
    _, port = proxy.started()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert Slow.asked.wait(30)
        proxy.process.send_signal(signal.SIGTERM)
        assert "draining" in proxy.line()
        assert proxy.end(signal.SIGTERM) == 130


def test_a_drain_that_takes_too_long_is_told(start: type[Proxy], origin: str) -> None:
    drain = ("--set", "server.drain.timeout=100ms")
    proxy = start("--origin", origin, "--listen", "127.0.0.1:0", *drain, *AT_ONCE)
    _, port = proxy.started()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert Slow.asked.wait(30)
        assert proxy.end(signal.SIGTERM) == 4


@pytest.mark.parametrize("key", ["listen", "probes.address", "admin.address"])
def test_a_taken_port_is_told_plainly(start: type[Proxy], key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = ("--set", "listen=127.0.0.1:0", "--set", f"{key}=127.0.0.1:{port}")
        proxy = start("--origin", "http://127.0.0.1:1", *free)
        assert proxy.process.wait(30) == 1
        said = proxy.line()
    assert said == (
        f"not started: cannot listen on 127.0.0.1:{port}: "
        "another program listens there; stop it or choose another port"
    )
    assert proxy.line() == ""


def test_a_log_that_cannot_be_written_is_told_plainly(start: type[Proxy], tmp_path: Path) -> None:
    path = tmp_path / "none" / "access.log"
    proxy = start(
        "--origin", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--set", f"log.access={path}"
    )
    assert proxy.process.wait(30) == 1
    assert proxy.line().startswith("not started: ")
    assert proxy.line() == ""


def test_a_unix_socket(start: type[Proxy], origin: str, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    proxy = start("--origin", origin, "--listen", f"unix:{path}", *AT_ONCE)
    assert proxy.line() == f"listening on unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert proxy.end(signal.SIGTERM) == 0


def test_explain_live_shows_what_the_proxy_answers(start: type[Proxy], origin: str) -> None:
    proxy = start("--origin", origin, "--listen", "127.0.0.1:0")
    _, port = proxy.started()
    done = subprocess.run(
        [sys.executable, "-m", "vary_proxy", "explain", "GET", "http://x.example//a%2Fb", "--live",
         "--via", f"http://127.0.0.1:{port}", "--origin", origin],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert f"http://127.0.0.1:{port} answers 200" in done.stdout
    assert "Vary: Origin, Access-Control-Request-Headers" in done.stdout
