"""The public HTTP cache suite: its tests, and what a result means.

A result is ``true`` or a pair of error name and message. What it means depends on the kind of
the test (required, optimal, or a mere question) and on the tests it builds upon; the reading
here is that of the suite's own ``lib/display.mjs``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SUITE = HERE.parent / "node" / "node_modules" / "http-cache-tests"

Results = Mapping[str, Any]

PASSING = frozenset(("pass", "yes"))


@dataclass(frozen=True, slots=True)
class Test:
    """One test as the suite describes it."""

    __test__ = False  # not one of ours

    id: str
    suite: str
    name: str
    kind: str  # required | optimal | check
    depends_on: tuple[str, ...]
    browser_only: bool


def catalogue(directory: Path = SUITE) -> dict[str, Test]:
    """Every test that concerns a shared cache, by id, in the suite's order."""
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is missing: run `npm ci` in tests/node")
    listed = subprocess.run(
        ["node", str(HERE / "list.mjs"), str(directory)], check=True, capture_output=True
    )
    found = [
        Test(**{**one, "depends_on": tuple(one["depends_on"])}) for one in json.loads(listed.stdout)
    ]
    return {test.id: test for test in found if not test.browser_only}


def classify(known: Mapping[str, Test], results: Results) -> dict[str, str]:
    """Test id -> outcome.

    ``pass`` and ``fail`` for required and optimal tests, ``yes`` and ``no`` for questions;
    ``setup``, ``retry`` and ``dependency`` where the test could not say, ``untested`` where
    there is no result.
    """
    return {name: _outcome(known, results, name) for name in known}


def _outcome(known: Mapping[str, Test], results: Results, name: str) -> str:
    test, result = known.get(name), results.get(name)
    if test is None or result is None:
        return "untested"
    if any(_outcome(known, results, one) not in PASSING for one in test.depends_on):
        return "dependency"
    if result is True:
        return "yes" if test.kind == "check" else "pass"
    error, message = result
    if error == "Setup":
        return "retry" if message == "retry" else "setup"
    return "no" if test.kind == "check" else "fail"


@dataclass(frozen=True, slots=True)
class Count:
    """How many tests of one kind there are, and how many passed."""

    passed: int
    total: int

    def __str__(self) -> str:
        return f"{self.passed}/{self.total}"


def count(known: Mapping[str, Test], outcomes: Mapping[str, str], kind: str) -> Count:
    """Passed and all tests of *kind*; a test that could not say has not passed."""
    of_kind = [name for name, test in known.items() if test.kind == kind]
    return Count(sum(outcomes[name] in PASSING for name in of_kind), len(of_kind))
