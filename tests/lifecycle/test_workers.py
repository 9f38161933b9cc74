"""Several workers: one port, one voice, and one end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.lifecycle.command import Letters, get, letters, served, soon
from tests.ports import free_port


@pytest.fixture
def origin() -> Iterator[tuple[str, type[Letters]]]:
    with letters("A") as made:
        yield made


def flags(url: str, *more: str, workers: int = 2) -> list[str]:
    said = ["--origin", url, "--listen", "127.0.0.1:0", "--workers", str(workers)]
    settings = ["server.drain.delay=0", "log.access=off", "probes.address=127.0.0.1:0", *more]
    return said + [word for one in settings for word in ("--set", one)]


def requests_counted(probes: int) -> int:
    page = get(probes, "/metrics").decode()
    lines = re.findall(r"^vary_proxy_requests_total\{.*\} (\S+)$", page, re.MULTILINE)
    return int(sum(map(float, lines)))


def test_they_share_a_port_and_speak_with_one_voice(start, origin) -> None:  # type: ignore[no-untyped-def]
    probes = free_port()
    proxy = start(*flags(origin[0], f"probes.address=127.0.0.1:{probes}"))
    port = proxy.port()
    words = [line.split(" ")[0] for line in proxy.said]
    assert words[:4] == ["warning:", "listening", "origin", "store"]
    assert len(set(words)) == len(words)
    assert "each of 2 workers keeps a store of its own" in proxy.said[0]
    assert len(proxy.workers()) == 2
    for _ in range(40):
        assert get(port) == b"AA"
    soon(lambda: requests_counted(probes) == 40)  # the last is counted when it has been sent
    shares = {requests_counted(probes) for _ in range(12)}
    assert shares == {40}  # whoever answers: the sum
    assert get(probes, "/readyz") == b"ready\n"
    proxy.send(signal.SIGTERM)
    assert proxy.ends() == 0
    assert [line for line in proxy.said if "draining" in line] == [
        "draining; a second signal ends now"
    ]


def test_both_answer(start, origin) -> None:  # type: ignore[no-untyped-def]
    proxy = start(*flags(origin[0]))
    port = proxy.port()
    one, other = proxy.workers()
    for stopped, answering in ((one, other), (other, one)):
        os.kill(stopped, signal.SIGSTOP)
        outcomes: set[str] = set()
        for _ in range(60):  # some connections are dealt to each of them
            try:
                assert get(port, timeout=0.5) == b"AA"
                outcomes.add("answered")
            except TimeoutError:
                outcomes.add("waits")
            if len(outcomes) == 2:
                break
        os.kill(stopped, signal.SIGCONT)
        assert outcomes == {"answered", "waits"}, answering


def test_a_fallen_worker_is_back_while_the_other_serves(start, origin) -> None:  # type: ignore[no-untyped-def]
    proxy = start(*flags(origin[0]))
    port = proxy.port()
    took = []
    for _ in range(3):
        before = proxy.workers()
        fallen = max(before)  # the youngest: from the second turn on, one that was restarted
        os.kill(fallen, signal.SIGKILL)
        began = time.monotonic()
        soon(lambda fallen=fallen: len(set(proxy.workers()) - {fallen}) == 2)
        for _ in range(20):
            assert get(port) == b"AA"
        took.append(time.monotonic() - began)
    assert min(took) < 5  # at the least where nothing else held the machine up
    proxy.hears("ended by signal 9; it is started again in 0.4 s")
    proxy.send(signal.SIGINT)
    assert proxy.ends() == 0


def test_the_worst_status_counts(start, origin) -> None:  # type: ignore[no-untyped-def]
    proxy = start(*flags(origin[0], "server.drain.timeout=100ms"))
    with socket.create_connection(("127.0.0.1", proxy.port())) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert origin[1].asked.wait(30)
        proxy.send(signal.SIGTERM)
        assert proxy.ends() == 4


def test_a_running_request_is_finished_and_a_second_signal_ends_now(start, origin) -> None:  # type: ignore[no-untyped-def]
    for second in (False, True):
        origin[1].asked.clear()
        origin[1].go.clear()
        proxy = start(*flags(origin[0]))
        port = proxy.port()
        bodies: list[bytes] = []

        def ask(port: int = port, bodies: list[bytes] = bodies) -> None:
            try:
                bodies.append(get(port, "/slow"))
            except OSError:
                bodies.append(b"cut")

        client = threading.Thread(target=ask)
        client.start()
        assert origin[1].asked.wait(30)
        proxy.send(signal.SIGTERM)
        proxy.hears("draining")
        if second:
            proxy.send(signal.SIGTERM)
            assert proxy.ends() == 130
        origin[1].go.set()
        client.join()
        assert proxy.ends() == (130 if second else 0)
        assert bodies == [b"cut" if second else b"AA"]


def test_a_reload_reaches_all(start, origin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "p.yaml"

    def written(url: str) -> None:
        path.write_text(
            f"listen: ['127.0.0.1:0']\norigins: {{main: '{url}'}}\nlog: {{access: off}}\n"
            "server: {workers: 3, drain: {delay: 0s}}\n"
        )

    with letters("B") as (other, _):
        written(origin[0])
        proxy = start("-c", str(path), "--no-watch")
        port = proxy.port()
        assert {get(port) for _ in range(12)} == {b"AA"}
        written(other)
        proxy.send(signal.SIGHUP)
        for slot in range(3):
            proxy.hears(f"INFO worker {slot}: the configuration was reloaded")
        assert {get(port) for _ in range(12)} == {b"BB"}
        fallen = proxy.workers()[0]
        os.kill(fallen, signal.SIGKILL)
        soon(lambda: sum("the configuration was reloaded" in line for line in proxy.said) == 4)
        assert {get(port) for _ in range(24)} == {b"BB"}  # it begins where the others stand
        path.write_text("rules: [")
        proxy.send(signal.SIGHUP)
        for slot in range(3):
            proxy.hears(f"ERROR worker {slot}: not reloaded.*p.yaml:2:")
        assert {get(port) for _ in range(12)} == {b"BB"}
        fallen = proxy.workers()[0]
        os.kill(fallen, signal.SIGKILL)
        soon(lambda: sum("not reloaded" in line for line in proxy.said) == 4)
        soon(lambda: len(set(proxy.workers()) - {fallen}) == 3)
        assert {get(port) for _ in range(48)} == {b"BB"}  # as the others, also where it cannot read


def test_a_taken_port_is_told_once(start, origin) -> None:  # type: ignore[no-untyped-def]
    first = start(*flags(origin[0]))
    port = first.port()
    second = start(*flags(origin[0]), "--listen", f"127.0.0.1:{port}")
    assert second.ends() == 1
    (line,) = second.said
    assert line.startswith(f"not started: cannot listen on 127.0.0.1:{port}: another program")


def test_what_a_worker_cannot_do_is_told_once(start, origin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    proxy = start(*flags(origin[0], f"log.access={tmp_path}/none/access.log", workers=3))
    assert proxy.ends() == 1
    assert sum(line.startswith("not started: ") for line in proxy.said) == 1
    assert not any(line.startswith("listening") for line in proxy.said)


def test_a_unix_socket_is_shared(start, origin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "p.sock"
    proxy = start(*flags(origin[0]), "--listen", f"unix:{path}")
    proxy.hears("^store ")

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b""))

    assert all(ask().endswith(b"AA") for _ in range(10))
    fallen = proxy.workers()[0]
    os.kill(fallen, signal.SIGKILL)
    assert all(ask().endswith(b"AA") for _ in range(10))
    proxy.hears("ended by signal 9")
    proxy.send(signal.SIGTERM)
    assert proxy.ends() == 0
    assert not path.exists()


def test_workers_end_with_their_supervisor(start, origin) -> None:  # type: ignore[no-untyped-def]
    proxy = start(*flags(origin[0]))
    proxy.port()
    workers = proxy.workers()
    assert len(workers) == 2
    proxy.send(signal.SIGKILL)
    soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers) or _ended(workers))


def _ended(pids: list[int]) -> bool:
    """True when all are gone, or are only waiting to be collected."""
    states = []
    for pid in pids:
        try:
            states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        except FileNotFoundError:
            continue
    return set(states) <= {"Z"}


def test_who_fell_before_the_end_does_not_count_as_cut_by_it(start, origin) -> None:  # type: ignore[no-untyped-def]
    """The supervisor learns of both at once, and the fall came first."""
    proxy = start(*flags(origin[0]))
    proxy.port()
    fallen = proxy.workers()[0]
    proxy.send(signal.SIGSTOP)
    os.kill(fallen, signal.SIGKILL)
    soon(lambda: _ended([fallen]))
    proxy.send(signal.SIGTERM)
    proxy.send(signal.SIGCONT)
    assert proxy.ends() == 0


class Versions(Letters):
    """Gives the number of the unsafe requests so far, to be kept."""

    count = 0

    def do_GET(self) -> None:
        self._say(str(type(self).count))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).count += 1
        self._say("done")

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(text.encode())


def put(port: int, path: str, timeout: float = 30) -> bytes | None:
    """The answer to an unsafe request; None when it does not come in time."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("PUT", path, b"x")
        return connection.getresponse().read()
    except TimeoutError:
        return None
    finally:
        connection.close()


def test_an_unsafe_method_invalidates_in_every_worker(start, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    probes = free_port()
    monkeypatch.setattr(Versions, "count", 0)
    with served(Versions) as url:
        proxy = start(*flags(url, f"probes.address=127.0.0.1:{probes}"))
        port = proxy.port()
        for version in range(4):
            assert {get(port, "/a") for _ in range(24)} == {b"%d" % version}  # both hold it
            assert put(port, "/a") == b"done"
        assert {get(port, "/a") for _ in range(24)} == {b"4"}
        assert "vary_proxy_store_errors_total{" not in get(probes, "/metrics").decode()


NO_PROCESS = """
import os, signal, sys, time
from vary_proxy.workers import supervisor

fork, forks = os.fork, 0

def full():
    global forks
    forks += 1
    if forks in eval(sys.argv[1]):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()

os.fork = full

def work(post):
    post.report("")
    if post.again:
        print("back", flush=True)
        os.kill(os.getppid(), signal.SIGTERM)
        supervisor.listen_to_signals()
        time.sleep(60)  # until that signal is passed on
    os._exit(1)

open_before = len(os.listdir("/dev/fd"))
tell = lambda said: said.startswith("not") and print(said, flush=True)
one = supervisor.Supervisor(1, work, lambda: print("serving", flush=True), tell)
print(one.run())
print(len(os.listdir("/dev/fd")) - open_before)
"""


@pytest.mark.parametrize(
    ("refused", "printed", "again"),
    [((2, 3), ["serving", "back", "143", "0"], 3), ((1,), ["not started: worker 0", "1", "0"], 0)],
)
def test_where_no_process_is_to_be_had_it_is_tried_again(
    refused: tuple[int, ...], printed: list[str], again: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NO_PROCESS, repr(refused)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = ended.stdout.splitlines()
    assert [line[: len(begin)] for line, begin in zip(lines, printed, strict=True)] == printed
    assert "Resource temporarily unavailable" in ended.stderr + ended.stdout
    assert ended.stderr.count("it is started again") == again


READ_ONLY = """
import sys, tempfile
tempfile.tempdir = "/nowhere"  # as where the root is read-only, and nothing is mounted
from vary_proxy.__main__ import main
sys.argv = ["vary-proxy", "run", "--listen", "127.0.0.1:0", "--workers", "2", "--origin", "http://a"]
sys.exit(main())
"""


def test_several_workers_need_no_place_for_files() -> None:
    command = [sys.executable, "-c", READ_ONLY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        told = [line for line, _ in zip(started.stderr, range(2), strict=False)]
        started.send_signal(signal.SIGINT)
        told += started.stderr
        assert started.wait(30) == 0, told
    assert any(line.startswith("listening on") for line in told), told
