"""Fixtures: nginx with all its faults once per session, and what doctor says of a URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.test_commands import run
from tests.doctor.sites import A, B, Nginx, running


@dataclass(frozen=True)
class Told:
    """What doctor said: its exit status, and the whole record."""

    status: int
    record: dict[str, Any]

    @property
    def opinion(self) -> dict[str, Any]:
        """That on the first URL, as users of it get it."""
        target = self.record["targets"][0]
        return target["via"] or target["direct"]

    @property
    def findings(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.opinion["findings"]}


def examined(*args: str) -> Told:
    """What doctor says of the URLs among *args*, asked as A and B."""
    done = run("doctor", *args, "--origin-header", A, "--origin-header", B, "--json")
    assert done.stdout, done.stderr
    return Told(done.returncode, json.loads(done.stdout))


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with running(tmp_path_factory.mktemp("nginx")) as started:
        yield started
