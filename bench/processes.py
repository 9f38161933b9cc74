"""Processes that are started, pinned to a core, measured, and stopped by their own id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_STARTING = 20.0  # seconds


class NotStarted(Exception):
    """A server did not come up; the message says where its own words are."""


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """*command*, to run on *core* alone."""
    return ["taskset", "-c", str(core), *command]


class Process:
    """A server with all that it starts. Use as a context."""

    def __init__(self, name: str, command: Sequence[str], port: int, core: int, log: Path) -> None:
        self.name = name
        self.port = port
        self._log = log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                pinned(core, command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        until = time.monotonic() + _STARTING
        while time.monotonic() < until and self._child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise NotStarted(f"{self.name} did not start; it said: {self._log.read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        ended = tree(self._child.pid)
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            for pid in ended:
                kill(pid)
            self._child.wait()

    def cpu(self) -> float:
        """Seconds, user and system, that the server's processes have used so far."""
        return sum(map(cpu_seconds, tree(self._child.pid)))

    def memory(self) -> int:
        """Bytes in use, each shared page counted once among those that share it."""
        return sum(map(resident, tree(self._child.pid)))


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def tree(pid: int) -> list[int]:
    """*pid* and all below it."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    try:
        return read_stat(Path(f"/proc/{pid}/stat").read_text()) / _TICK
    except OSError:
        return 0.0


def read_stat(text: str) -> int:
    """Clock ticks, user and system, of a line of /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return int(fields[11]) + int(fields[12])


def resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
