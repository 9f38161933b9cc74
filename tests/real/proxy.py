"""A vary-proxy process: ``vary-proxy run``, as users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 90.0  # seconds


@dataclass(frozen=True)
class Proxy:
    """``url`` has no trailing slash; ``log`` holds all that it printed."""

    url: str
    pid: int
    log: Path

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes of resident memory now (VmRSS), or at its peak (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
        assert found, status
        return int(found[1]) * 1024


@contextmanager
def running_proxy(
    directory: Path, *args: str | Path, program: Sequence[str] = ("-m", "vary_proxy")
) -> Iterator[Proxy]:
    """``vary-proxy run ARGS`` on a free loopback port, until the block ends.

    *program* is what Python runs as vary-proxy.
    """
    log = directory / "vary-proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *program, "run", *args, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1"},
        )
        try:
            yield Proxy(_listening(process, log), process.pid, log)
        finally:
            process.kill()
            process.wait()


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the process says it listens on."""
    deadline = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        said = re.search(rb"listen\S*\s.*?(http://127\.0\.0\.1:[1-9]\d*)", log.read_bytes())
        if said:
            return said[1].decode()
        time.sleep(0.02)
    raise AssertionError(f"vary-proxy did not start:\n{log.read_text(errors='replace')}")


def configured(directory: Path, text: str) -> tuple[str, Path]:
    """``-c FILE`` for a configuration of this *text*."""
    path = directory / "vary-proxy.yaml"
    path.write_text(text)
    return "-c", path
