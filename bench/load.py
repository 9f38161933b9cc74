"""Drives one server with wrk, and says what a request cost it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process, pinned
from bench.scenarios import Scenario
from bench.servers import LOAD_CORE, program

HEADS = Path(__file__).with_name("heads.lua")
SEED = "7"  # every server and every round is asked the same
_ALL = 180.0  # seconds in which a crowd can ask for everything
_GRACE = 30.0  # seconds beyond its time after which wrk is given up


class Wrong(Exception):
    """A server did not answer as the scenario wants it to."""


@dataclass(frozen=True)
class Measure:
    """What one run of wrk came to."""

    requests: int
    seconds: float
    cpu: float  # seconds, of all the server's processes
    median_us: int
    p99_us: int
    origin_share: float  # requests to the origin, for each that was sent

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.requests * 1e6

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def drive(scenario: Scenario, server: Process, origin: Process, seconds: int) -> Measure:
    """Ask *server* as *scenario* says, for *seconds*. Raises Wrong for answers that are not due."""
    asked, used = asked_of(origin), server.cpu()
    ask = _crowd if scenario.crowd else _wrk
    result = ask(scenario, server, origin, seconds)
    used = server.cpu() - used
    asked = asked_of(origin) - asked - 1  # the question itself is one
    if result["bad_status"] or result["broken"] or not result["requests"]:
        raise Wrong(f"{server.name}, {scenario.name}: {result}")
    return Measure(
        requests=result["requests"],
        seconds=result["microseconds"] / 1e6,
        cpu=used,
        median_us=result["median_us"],
        p99_us=result["p99_us"],
        origin_share=asked / result["requests"],
    )


def _wrk(scenario: Scenario, server: Process, origin: Process, seconds: int) -> dict[str, int]:
    connections = str(scenario.connections)
    command = [program("wrk", "wrk"), "-t1", "-c", connections, "-d", f"{seconds}s"]
    command += ["--timeout", "10s", "-s", str(HEADS), f"http://127.0.0.1:{server.port}/"]
    done = subprocess.run(
        pinned(LOAD_CORE, command),
        env={**os.environ, **_environment(scenario, origin)},
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE,
        check=False,
    )
    return parse(done.stdout) if done.returncode == 0 else _fail(done.stderr)


def _crowd(scenario: Scenario, server: Process, origin: Process, seconds: int) -> dict[str, int]:
    return crowd(server, seconds)


def crowd(server: Process, seconds: int, *more: str) -> dict[str, int]:
    command = [sys.executable, "-m", "bench.crowd", str(server.port), str(seconds), SEED, *more]
    done = subprocess.run(
        pinned(LOAD_CORE, command), capture_output=True, text=True, timeout=_ALL, check=False
    )
    return parse(done.stdout) if done.returncode == 0 else _fail(done.stderr)


def _fail(said: str) -> dict[str, int]:
    raise Wrong(f"wrk failed: {said}")


def _environment(scenario: Scenario, origin: Process) -> dict[str, str]:
    return {
        "BENCH_PATH": scenario.path,
        "BENCH_OBJECTS": str(scenario.objects),
        "BENCH_UNIQUE": str(scenario.unique),
        "BENCH_METHOD": scenario.method,
        "BENCH_ORIGINS": str(scenario.origins),
        "BENCH_ORIGIN_ALWAYS": "1" if scenario.origin_always else "0",
        "BENCH_CLOSING": "1" if scenario.closing else "0",
        "BENCH_FIELDS": _fields(scenario, origin),
        "BENCH_RUN": f"{time.time_ns():x}",
        "BENCH_SEED": SEED,
    }


def parse(output: str) -> dict[str, int]:
    """The figures that heads.lua prints when wrk has ended. Raises Wrong without them."""
    for line in output.splitlines():
        word, _, figures = line.partition(" ")
        if word == "RESULT":
            found: dict[str, int] = json.loads(figures)
            return found
    raise Wrong(f"wrk gave no figures: {output[-500:]}")


def asked_of(origin: Process) -> int:
    """How many requests *origin* has had."""
    _, _, text = get(origin, "/status")
    return int(text.split()[9])  # Active connections: N, server accepts …, A B requests


def check(scenario: Scenario, server: Process, origin: Process) -> None:
    """Ask once. Raises Wrong unless the status is the scenario's."""
    lines = _fields(scenario, origin).split("\r\n")[:-1]
    fields = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
    if scenario.origin_always:
        fields["Origin"] = "https://site-1.sites.example"
    for _ in range(2):  # a Range may be passed on before the whole is stored
        status, _, _ = get(server, f"{scenario.path}1", scenario.method, fields)
    if status != scenario.status:
        raise Wrong(f"{server.name}, {scenario.name}: {status}, not {scenario.status}")


def _fields(scenario: Scenario, origin: Process) -> str:
    if "%ETAG%" not in scenario.fields:
        return scenario.fields
    _, fields, _ = get(origin, f"{scenario.path}1")
    return scenario.fields.replace("%ETAG%", fields["ETag"] or "")


def get(
    server: Process, path: str, method: str = "GET", fields: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=fields or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()
