"""The access log: whole lines of all workers, in the file that is there, and no request waits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle.command import ROOT, Command, get, letters, soon
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.observation import accesslog
from vary_proxy.observation.accesslog import AccessLog
from vary_proxy.observation.logfile import LogFile, Turns


def request(target: bytes = b"/a", *pairs: tuple[bytes, bytes]) -> Request:
    return Request(b"GET", target, Fields(pairs), authority=b"a.example", client="127.0.0.1")


def reply(**record: Any) -> Reply:
    return Reply(200, Fields(), record=Record(**{"rule": "r", "cache": "hit", **record}))


@contextlib.contextmanager
def logging_to(path: Path, form: str = "json") -> Iterator[AccessLog]:
    log = AccessLog(form, LogFile(str(path)))
    try:
        yield log
    finally:
        log.close()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("seconds", [0.0, 0.25])
def test_a_line_is_the_same_rendered_at_once_or_in_two_steps(
    tmp_path: Path, seconds: float
) -> None:
    asked = request(
        b'/%41"bytes":0,"seconds":0.0?X-Amz-Signature=s&b=%s\xff',
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    )
    given = reply(cors="refused", cors_reason="origin", vary_added=(b"Origin",))
    with logging_to(tmp_path / "log") as log:
        for sent in (7, 8, 9):
            log(asked, given, sent, seconds)
    found = lines(tmp_path / "log")
    assert [one["bytes"] for one in found] == [7, 8, 9]
    assert len({one["id"] for one in found}) == 3
    for one in found:
        assert one["path"] == '/%41"bytes":0,"seconds":0.0?X-Amz-Signature=***&b=%s\\xff'
        assert (one["seconds"], one["status"], one["trace"]) == (seconds, 200, "a" * 32)
        assert (one["cors"], one["cors_reason"], one["vary_added"]) == (
            "refused", "origin", "Origin",
        )  # fmt: skip
        assert one["time"].endswith("Z")
        assert next(iter(one)) == "time"


def test_two_requests_that_look_alike_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        for number in range(accesslog._MOST_KNOWN + 50):
            log(request(b"/%d" % number), reply(), 1, 0.0)
    found = [one["path"] for one in lines(tmp_path / "log")]
    assert found == [f"/{number}" for number in range(accesslog._MOST_KNOWN + 50)]


@pytest.mark.parametrize(
    "target",
    [
        b"/a?%s=secret", b"/a?b=1&%s=secret", b"/a?b=1;%s=secret", b"/a?%s=secret;c=2&d=3",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", [b"X-Amz-Signature", b"x%2damz%2Dsecurity-token", b"%53ignature", b"AWSAccessKeyId"]
)
def test_a_secret_in_a_query_is_masked_however_its_name_is_spelled(
    target: bytes, name: bytes
) -> None:
    assert accesslog.masked(target % name) == (target.replace(b"secret", b"***") % name).decode()
    assert accesslog.masked(b"/a?signatures=2&b=c;d=e") == "/a?signatures=2&b=c;d=e"


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("combined", '127.0.0.1 - - [{}] "GET /a HTTP/1.1" 200 5'),
        ("logfmt", "method=GET host=a.example path=/a status=200 bytes=5"),
        ("pretty", "200 hit"),
    ],
)
def test_other_forms(tmp_path: Path, form: str, line: str) -> None:
    with logging_to(tmp_path / "log", form) as log:
        log(request(), reply(), 5, 0.0)
    text = (tmp_path / "log").read_text()
    before, _, after = line.partition("{}")
    assert before in text
    assert after in text
    assert text.endswith("\n")


def test_a_file_that_was_moved_is_opened_anew(tmp_path: Path) -> None:
    """logrotate's ``create``: the new file is made for us, with or without a signal."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    with logging_to(path) as log:
        log(request(b"/1"), reply(), 1, 0.0)
        soon(lambda: path.read_text())
        path.rename(old)
        log(request(b"/2"), reply(), 1, 0.0)  # nobody has made a new one: it goes to the old
        soon(lambda: len(lines(old)) == 2)
        assert not path.exists()
        path.touch(0o600)
        log(request(b"/3"), reply(), 1, 0.0)
        soon(lambda: path.read_text())
        assert path.stat().st_mode & 0o777 == 0o600
        path.unlink()
        log.reopen()
        log(request(b"/4"), reply(), 1, 0.0)
        soon(lambda: path.exists() and path.read_text())
    assert [one["path"] for one in lines(path)] == ["/4"]


def test_a_file_that_cannot_be_opened_is_told_once_and_the_old_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    with logging_to(path) as log:
        log(request(b"/1"), reply(), 1, 0.0)
        soon(lambda: path.read_text())
        path.rename(old)
        path.mkdir()
        soon(lambda: "not opened anew" in caplog.text)
        for target in (b"/2", b"/3"):
            log(request(target), reply(), 1, 0.0)
            soon(lambda target=target: target.decode() in old.read_text())
    assert [one["path"] for one in lines(old)] == ["/1", "/2", "/3"]
    assert caplog.text.count("not opened anew") == 1


def test_a_closed_stdout_is_told_at_the_start(tmp_path: Path) -> None:
    args = "-m vary_proxy run --origin http://127.0.0.1:9 --listen 127.0.0.1:0 >&-"
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} {args}"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert "stdout is closed; name another place in log.access" in done.stderr


def test_a_file_that_was_truncated_is_written_from_its_beginning(tmp_path: Path) -> None:
    """logrotate's ``copytruncate``."""
    path = tmp_path / "log"
    with logging_to(path) as log:
        log(request(b"/1"), reply(), 1, 0.0)
        soon(lambda: path.read_text())
        os.truncate(path, 0)
        log(request(b"/2"), reply(), 1, 0.0)
    assert [one["path"] for one in lines(path)] == ["/2"]
    assert b"\0" not in path.read_bytes()


def test_a_full_device_costs_lines_and_nothing_else() -> None:
    log = AccessLog("json", LogFile("/dev/full"))
    for _ in range(5):
        log(request(), reply(), 1, 0.0)
    soon(lambda: log.lost == 5)
    log.close()


def test_a_line_torn_by_a_full_device_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    out = LogFile(str(path))
    write, room = os.write, 10

    def short(descriptor: int, data: Any) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        taken, room = data[:room], room - len(data[:room])
        return write(descriptor, taken)

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        out.write(b'{"first":1}\n')
    with pytest.raises(OSError, match="No space"):
        out.write(b'{"lost":0}\n')
    room = 1  # ends the torn line, and no more
    with pytest.raises(OSError, match="No space"):
        out.write(b'{"lost":0}\n')
    room = 1000
    out.write(b'{"second":2}\n')
    out.close()
    assert path.read_bytes() == b'{"first":1\n{"second":2}\n'


def test_a_pipe_that_nobody_reads_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesslog, "_MOST_WAITING", 1000)
    reading, writing = os.pipe()
    log = AccessLog("json", LogFile(f"/dev/fd/{writing}"))
    for _ in range(20_000):  # were one of them delayed, it would be for ever
        log(request(), reply(), 1, 0.0)
    soon(lambda: log.lost > 10_000)
    os.close(reading)
    os.close(writing)
    log.close()


def test_large_requests_are_not_held_for_a_pipe_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    log = AccessLog("json", LogFile(f"/dev/fd/{writing}"))
    cookie = (b"cookie", b"c" * 30_000)
    tracemalloc.start()
    for number in range(8000):
        at = b"/%d?" % number + b"a" * 8000
        log(request(at, (cookie[0], b"%d" % number + cookie[1])), reply(cache="miss"), 1, 0.1)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 64 << 20  # those that wait, and those that are being written
    assert log.lost > 3000
    os.close(reading)
    os.close(writing)
    log.close()
    assert log.lost == 8000


def test_lines_of_several_processes_on_one_pipe_are_whole() -> None:
    reading, writing = os.pipe()
    turns = Turns()
    children = []
    for letter in (b"a", b"b", b"c"):
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            out = LogFile(f"/dev/fd/{writing}", turns)
            for _ in range(30):
                out.write((letter * 5000 + b"\n") * 4)
            os._exit(0)
        children.append(pid)
    os.close(writing)
    turns.close()
    text = bytearray()
    while data := os.read(reading, 1 << 16):
        text += data
    os.close(reading)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    found = bytes(text).splitlines()
    assert len(found) == 360
    assert {len(line) for line in found} == {5000}
    assert all(len(set(line)) == 1 for line in found)


# The program itself


def test_workers_log_to_one_pipe_and_to_one_file_that_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with letters("A") as (url, _):
        proxy = Command(
            "--origin", url, "--listen", "127.0.0.1:0", "--workers", "2",
            "--set", f"log.access={path}", "--set", "server.drain.delay=0",
        )  # fmt: skip
        try:
            port = proxy.port()
            for number in range(20):
                get(port, f"/{number}")
            soon(lambda: len(path.read_text().splitlines()) == 20)
            path.rename(tmp_path / "access.log.1")
            proxy.send(signal.SIGHUP)
            soon(path.exists)
            for number in range(20, 40):
                get(port, f"/{number}")
            proxy.send(signal.SIGTERM)
            assert proxy.ends() == 0
        finally:
            proxy.close()
    both = lines(tmp_path / "access.log.1") + lines(path)
    assert sorted(int(one["path"][1:]) for one in both) == list(range(40))


def test_a_reader_of_stdout_that_has_left_is_counted_in_the_metrics(tmp_path: Path) -> None:
    from tests.ports import free_port

    probes = free_port()
    with letters("A") as (url, _):
        process = subprocess.Popen(
            [sys.executable, "-m", "vary_proxy", "run", "--origin", url,
             "--listen", "127.0.0.1:0", "--set", f"probes.address=127.0.0.1:{probes}",
             "--set", "server.drain.delay=0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            line = process.stderr.readline()
            drained = threading.Thread(target=process.stderr.read)
            drained.start()
            port = int(line.rpartition(":")[2])
            get(port, "/seen")
            assert json.loads(process.stdout.readline())["path"] == "/seen"
            process.stdout.close()
            get(port, "/lost")

            def lost() -> bool:
                return b"vary_proxy_access_log_lost_total 1.0" in get(probes, "/metrics")

            soon(lost)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            drained.join()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
