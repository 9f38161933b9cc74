"""What a request costs here, and what it costs nginx and Varnish: CPU per request, side by side.

    python -m bench [--quick] [--rounds 5] [--seconds 2] [--only NAME,…] [--out FILE]

An origin, the proxy and its peers run on loopback; servers on one core, the load on another.
In each round wrk drives one server after the other with the same heads, and ratios are made
within the round, so that what else the machine does weighs on all alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

from bench import report, servers
from bench.load import Measure, check, crowd, drive
from bench.processes import Process
from bench.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.ports import free_port

_HITS_ONLY = 0.01  # of requests may reach the origin where all are to be hits
Servers = Mapping[str, Process]


def main(arguments: Sequence[str]) -> int:
    asked = _arguments(arguments)
    wanted = [BY_NAME[name] for name in asked.only.split(",")] if asked.only else SCENARIOS
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed: one for the servers, one for the load")
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    results: dict[str, list[dict[str, Measure]]] = {}
    with tempfile.TemporaryDirectory(prefix="vary-proxy-bench-") as made, ExitStack() as stack:
        base = Path(made)
        base.chmod(0o755)
        origin = stack.enter_context(servers.origin(_origin_place(base)))
        plain = _started(stack, base, origin, logged=False)
        memory = "" if asked.only else _memory(plain, origin, asked.seconds)
        logged: Servers = {}
        if any(one.logged for one in wanted):
            logged = _started(stack, base, origin, logged=True)
        for scenario in wanted:
            among = logged if scenario.logged else plain
            results[scenario.name] = _rounds(scenario, among, origin, asked)
        text = _document(results, memory, asked)
        print(text, flush=True)
        if asked.out:
            Path(asked.out).write_text(text)
    return 0


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="bench", description=__doc__)
    reader.add_argument("--quick", action="store_true", help="one short round")
    reader.add_argument("--rounds", type=int, default=5)
    reader.add_argument("--seconds", type=int, default=2, help="for each server and round")
    reader.add_argument("--only", default="", help="names of scenarios, with commas")
    reader.add_argument("--out", default="", help="a file for the tables")
    asked = reader.parse_args(arguments)
    asked.told = " ".join(arguments)
    if asked.quick:
        asked.rounds, asked.seconds = 1, 1
    unknown = sorted(set(filter(None, asked.only.split(","))) - set(BY_NAME))
    if unknown:
        reader.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return asked


def _origin_place(base: Path) -> servers.Place:
    home = base / "origin"
    home.mkdir()
    return servers.Place(home, free_port())


def _started(stack: ExitStack, base: Path, origin: Process, *, logged: bool) -> Servers:
    names = (report.OURS, "nginx") if logged else (report.OURS, *report.PEERS)
    return {
        name: stack.enter_context(servers.start(name, base, origin.port, logged=logged))
        for name in names
    }


def _rounds(
    scenario: Scenario, among: Servers, origin: Process, asked: argparse.Namespace
) -> list[dict[str, Measure]]:
    for server in among.values():
        check(scenario, server, origin)
        _warm(scenario, server, origin)
    rounds: list[dict[str, Measure]] = []
    for number in range(asked.rounds):
        # Whoever goes first in one round goes last in the next.
        order = sorted(among, reverse=bool(number % 2))
        rounds.append({name: drive(scenario, among[name], origin, asked.seconds) for name in order})
        told = ", ".join(f"{name} {one.cpu_us:.1f} µs" for name, one in rounds[-1].items())
        print(f"{scenario.name} {number + 1}/{asked.rounds}: {told}", file=sys.stderr)
    return rounds


def _warm(scenario: Scenario, server: Process, origin: Process) -> None:
    """Have everything stored that is to be a hit, the slow first requests behind us."""
    if scenario.crowd:
        crowd(server, 0, "all")
    elif scenario.method == "GET" and scenario.unique < 1 and scenario.path != "/pass/":
        whole = replace(scenario, fields="", unique=0.0, status=200)
        for _ in range(15):
            if drive(whole, server, origin, 1).origin_share < _HITS_ONLY:
                break
    drive(scenario, server, origin, 1)


def _memory(among: Servers, origin: Process, seconds: int) -> str:
    """Bytes of memory for each stored object of 1 KiB, as Markdown."""
    rows = ["| server | stored | bytes each |", "|---|---|---|"]
    scenario = BY_NAME["miss-1k"]
    for name, server in among.items():
        drive(replace(scenario, path="/cors/"), server, origin, 1)  # what all share is there now
        before = server.memory()
        count = drive(scenario, server, origin, seconds * 2).requests
        grown = server.memory() - before
        rows.append(f"| {name} | {count} | {grown / count:,.0f} |")
    return "\n".join(rows)


def _document(results: Mapping[str, report.Rounds], memory: str, asked: argparse.Namespace) -> str:
    command = "make bench" + (f' ARGS="{asked.told}"' if asked.told else "")
    parts = [
        "# What a request costs",
        f"Measured on {date.today()} by `{command}`: {asked.rounds} rounds of {asked.seconds} s "
        "for each server; medians, in brackets the least and the most.",
        _machine(),
        "CPU is user and system time of all of a server's processes, per request. Ratios are made "
        "within each round. All servers run on one core, the load and the origin on another.",
        report.table(results),
        report.rates(results),
    ]
    if memory:
        parts += ["Memory per stored object of 1 KiB (nginx keeps the object itself on disk):"]
        parts += [memory]
    return "\n\n".join(parts) + "\n"


def _machine() -> str:
    model = _said("sh", "-c", "grep -m1 'model name' /proc/cpuinfo").partition(":")[2].strip()
    nginx = _said(servers.program("nginx", "nginx-light"), "-v").rpartition("/")[2]
    varnish = _said(servers.program("varnishd", "varnish"), "-V").partition("(")[2].partition(" ")
    wrk = _said(servers.program("wrk", "wrk"), "-v").partition("wrk ")[2].partition(" ")[0]
    return (
        f"{model or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; "
        f"Python {platform.python_version()}, aiohttp {version('aiohttp')}, "
        f"uvloop {version('uvloop')}; nginx {nginx}, {varnish[0]}, wrk {wrk}."
    )


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
