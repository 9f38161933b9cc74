"""``vary-proxy run`` from start to end: three lines, signals, a taken port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lifecycle.command import ROOT, Command, Letters, get, letters

AT_ONCE = ("--set", "server.drain.delay=0")
Start = type[Command]
Origin = tuple[str, type[Letters]]  # its URL, and its handler


@pytest.fixture
def origin() -> Iterator[Origin]:
    with letters("A") as made:
        yield made


def before(origin: Origin, *args: str, listen: str = "127.0.0.1:0") -> tuple[str, ...]:
    """The arguments of one that stands before *origin*."""
    return ("--origin", origin[0], "--listen", listen, *args)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_it_says_three_lines_serves_and_ends_cleanly(
    start: Start, origin: Origin, loop: str, number: signal.Signals
) -> None:
    proxy = start(*before(origin, "--loop", loop, *AT_ONCE))
    port = proxy.port()
    where = f"listening on http://127.0.0.1:{port}"
    assert proxy.said == [where, f"origin {origin[0]}", "store memory, 256MiB"]
    assert get(port) == b"AA"
    proxy.send(number)
    assert proxy.ends() == 0
    with pytest.raises(ConnectionRefusedError):
        get(port)


def test_a_running_request_is_finished_before_the_end(start: Start, origin: Origin) -> None:
    proxy = start(*before(origin, *AT_ONCE))
    port = proxy.port()
    bodies: list[bytes] = []
    client = threading.Thread(target=lambda: bodies.append(get(port, "/slow")))
    client.start()
    assert origin[1].asked.wait(30)
    proxy.send(signal.SIGTERM)
    proxy.hears("draining")
    origin[1].go.set()
    client.join()
    assert proxy.ends() == 0
    assert bodies == [b"AA"]


def test_a_second_signal_ends_it_now(start: Start, origin: Origin) -> None:
    proxy = start(*before(origin))
    with socket.create_connection(("127.0.0.1", proxy.port())) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert origin[1].asked.wait(30)
        proxy.send(signal.SIGTERM)
        proxy.hears("draining")
        proxy.send(signal.SIGTERM)
        assert proxy.ends() == 130


def test_a_drain_that_takes_too_long_is_told(start: Start, origin: Origin) -> None:
    proxy = start(*before(origin, "--set", "server.drain.timeout=100ms", *AT_ONCE))
    with socket.create_connection(("127.0.0.1", proxy.port())) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert origin[1].asked.wait(30)
        proxy.send(signal.SIGTERM)
        assert proxy.ends() == 4


@pytest.mark.parametrize("key", ["listen", "probes.address", "admin.address"])
def test_a_taken_port_is_told_plainly(start: Start, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = ("--set", "listen=127.0.0.1:0", "--set", f"{key}=127.0.0.1:{port}")
        proxy = start("--origin", "http://127.0.0.1:1", *free)
        assert proxy.ends() == 1
    assert proxy.said == [
        f"not started: cannot listen on 127.0.0.1:{port}: "
        "another program listens there; stop it or choose another port"
    ]


def test_a_log_that_cannot_be_written_is_told_plainly(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "none" / "access.log"
    proxy = start(
        "--origin", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--set", f"log.access={path}"
    )
    assert proxy.ends() == 1
    (line,) = proxy.said
    assert line.startswith("not started: ")


def test_a_unix_socket(start: Start, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    proxy = start(*before(origin, *AT_ONCE, listen=f"unix:{path}"))
    assert proxy.hears("") == f"listening on unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    proxy.send(signal.SIGTERM)
    assert proxy.ends() == 0


def test_explain_live_shows_what_the_proxy_answers(start: Start, origin: Origin) -> None:
    port = start(*before(origin)).port()
    done = subprocess.run(
        [sys.executable, "-m", "vary_proxy", "explain", "GET", "http://x.example//a%2Fb", "--live",
         "--via", f"http://127.0.0.1:{port}", "--origin", origin[0]],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert f"http://127.0.0.1:{port} answers 200" in done.stdout
    assert "Vary: Origin, Access-Control-Request-Headers" in done.stdout
