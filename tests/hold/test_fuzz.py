"""The fuzzers themselves, for a moment each; `make fuzz` runs them for as long as you like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hold import fuzz_coverage, fuzz_fields
from tests.hold.fuzz_parsers import TARGETS, run


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_any_bytes_are_answered_or_refused(target: Callable[[bytes], None]) -> None:
    assert run(target, 0.5, number=1) > 20


@pytest.mark.parametrize("target", fuzz_fields.TARGETS, ids=lambda target: target.__name__)
def test_any_value_is_read_in_one_way_or_in_none(target: Callable[[bytes], None]) -> None:
    assert run(target, 0.25, number=1, samples=fuzz_fields.SAMPLES) > 10


def test_inputs_are_led_by_the_branches_that_they_reach(tmp_path: Path) -> None:
    done = fuzz_coverage.apart("head", tmp_path, "-runs=3000", "-seed=1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 3000 runs" in done.stderr
    begun = {path.name for path in fuzz_coverage.seeded(tmp_path / "only samples").iterdir()}
    assert {path.name for path in (tmp_path / "head").iterdir()} > begun  # it found new branches


def test_what_a_fuzzer_finds_is_a_failure(tmp_path: Path) -> None:
    done = fuzz_coverage.apart("planted", tmp_path, "-runs=100000", "-seed=1")
    assert done.returncode != 0
    assert "planted fails on b'" in done.stderr
