"""Starts the suite's origin and the proxy under test, and stops them.

Everything listens on the loopback interface, on a port of its own, and ends with the block
that started it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.suite import HERE, SUITE

START = 20.0  # seconds that a server may take


class NotStarted(Exception):
    """A server did not come up; the message is what it printed."""


@contextmanager
def origin(directory: Path = SUITE) -> Iterator[str]:
    """The suite's origin; yields its URL."""
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            ["node", str(HERE / "origin.mjs"), str(directory), f"{scratch}/pid"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with _stopping(process):
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found is None:
                raise NotStarted(f"the suite's origin said {line!r}")
            yield found[0]


@contextmanager
def proxy(origin_url: str, rules: str | None) -> Iterator[str]:
    """vary-proxy in front of *origin_url*, with *rules* as its configuration; yields its URL.

    Without rules only the origin is configured.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "vary_proxy", "run", "--listen", f"127.0.0.1:{port}"]
        if rules is None:
            command += ["--origin", origin_url]
        else:
            file = Path(scratch, "rules.yaml")
            file.write_text(rules.replace("ORIGIN", origin_url))
            command += ["-c", str(file)]
        with program(command, port, Path(scratch, "log")):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def program(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Any server, from when it accepts connections on *port*."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    with _stopping(process):
        deadline = time.monotonic() + START
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{' '.join(command)}\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield


def free_port() -> int:
    """A port of the loopback interface on which nothing listened just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _stopping(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
