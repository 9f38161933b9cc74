"""What all fuzzing programs share: targets side by side, each in a process of its own.

    python -m tests.hold.fuzz_… [--seconds 60] [--jobs 1] [--seed N] [TARGET …]

A line for each target says how many inputs there were, and what was found; the program fails
when anything was. VARY_PROXY_FUZZ_SECONDS is another way to say for how long, each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

SECONDS = float(os.environ.get("VARY_PROXY_FUZZ_SECONDS", "60"))
SHOWN = 3000  # characters of what a target said last
HERE = "--here"  # the process that fuzzes


@dataclass(frozen=True)
class Report:
    """``inputs`` are different ones, or those that were kept; None: not counted."""

    executions: int
    inputs: int | None = None
    coverage: int | None = None  # edges that were reached
    found: str = ""

    def __str__(self) -> str:
        counted = [f"{self.executions:>10} executions"]
        counted += [] if self.inputs is None else [f"{self.inputs:>8} inputs"]
        counted += [] if self.coverage is None else [f"{self.coverage:>6} edges"]
        return ", ".join((*counted, self.found or "nothing found"))


@dataclass(frozen=True)
class Chosen:
    seconds: float
    seed: int
    corpus: Path | None = None  # for those that keep inputs


def main(
    title: str,
    targets: Sequence[str],
    fuzz: Callable[[str, Chosen], Report],
    given: Sequence[str] | None = None,
) -> int:
    """Fuzz the targets that were asked for; 1 when anything was found."""
    options = argparse.ArgumentParser(description=title)
    options.add_argument("targets", nargs="*", metavar="TARGET", default=list(targets))
    options.add_argument("--seconds", type=float, default=SECONDS, help="for each target")
    options.add_argument("--jobs", type=int, default=1, help="targets side by side")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of all that is drawn")
    options.add_argument("--corpus", type=Path, help="where coverage keeps its inputs")
    asked = options.parse_args(given)
    if unknown := sorted(set(asked.targets) - set(targets)):
        options.error(f"no target {', '.join(unknown)}; there are {', '.join(targets)}")
    chosen = Chosen(asked.seconds, asked.seed, asked.corpus)

    def one(name: str) -> bool:
        report = fuzz(name, chosen)
        print(f"{name:<16} {report}", flush=True)
        return bool(report.found)

    with ThreadPoolExecutor(max(1, asked.jobs)) as pool:
        return int(any(list(pool.map(one, asked.targets))))


def apart(module: str) -> Callable[[str, Chosen], Report]:
    """Fuzzes in processes of *module*, which ends in ``say`` there."""

    def fuzz(name: str, chosen: Chosen) -> Report:
        command = [sys.executable, "-m", module, HERE, name, str(chosen.seconds), str(chosen.seed)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return Report(0, found=f"FOUND\n{done.stderr[-SHOWN:]}")
        return Report(**json.loads(done.stdout.splitlines()[-1]))

    return fuzz


def say(report: Report) -> None:
    """Tell the process that waits for this one."""
    print(json.dumps(asdict(report)), flush=True)
