"""Starts the suite's origin and the proxy under test, and stops them.

Everything listens on the loopback interface, on a port of its own, and ends with the block
that started it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.suite import HERE, SUITE
from tests.real.proxy import configured, running_proxy

START = 60.0  # seconds that a server may take


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
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if rules is None:
            args: tuple[str | Path, ...] = ("--origin", origin_url)
        else:
            args = configured(folder, rules.replace("ORIGIN", origin_url))
        with running_proxy(folder, *args) as started:
            yield started.url


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
