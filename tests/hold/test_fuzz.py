"""The fuzzers themselves, for a moment each; `make fuzz` runs them for as long as you like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hold import fuzz_coverage, fuzz_fields, fuzz_grammars, fuzz_parsers, fuzzing
from tests.hold.fuzz_grammars import GRAMMARS, Found
from tests.hold.fuzz_parsers import TARGETS, run
from vary_proxy.configuration import showing
from vary_proxy.core import framing, syntax, wire
from vary_proxy.origins import httpreader
from vary_proxy.store import codec


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


@pytest.mark.parametrize("name", GRAMMARS)
def test_what_grammars_make_is_read_as_it_was_meant(name: str) -> None:
    report = fuzz_grammars.run(GRAMMARS[name], 0, number=1, most=30)
    assert report.executions >= 20
    assert report.inputs is not None
    assert report.inputs > 10


def first_length(lines: tuple[bytes, ...]) -> int:
    """As careless readers do: the first line counts, and whatever Python takes for a number."""
    try:
        return int(lines[0].split(b",")[0])
    except ValueError:
        raise httpreader.malformed("Content-Length is malformed") from None


def any_size(line: bytes) -> int:
    try:
        return abs(int(line.split(b";")[0], 16))  # a negative one would never end
    except ValueError:
        raise framing._broken() from None


# Grammar -> where a fault that real proxies had is put.
PLANTED = {
    "requests": (wire, "_persists", lambda fields, version: True),
    "chunks": (framing, "_size", any_size),
    "answers": (httpreader, "_length", first_length),
    "values": (syntax, "members", lambda value: value.split(b",")),
    "records": (codec, "_plausible", lambda record: True),
    "files": (showing, "_quoted", lambda word: word),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_grammar_finds_the_fault_that_was_planted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*PLANTED[name])
    with pytest.raises(Found):
        fuzz_grammars.run(GRAMMARS[name], 0, number=1, most=300)


def test_targets_run_side_by_side_and_say_what_they_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--seconds", "0.2", "--jobs", "2", "head", "chunks"]
    fuzz = fuzzing.apart(fuzz_parsers.__name__)
    assert fuzzing.main("", ["head", "chunks"], fuzz, asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["chunks", "head"]
    assert all(line.endswith("executions, nothing found") for line in lines)


def test_a_program_fails_when_a_target_found_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fuzz(name: str, chosen: fuzzing.Chosen) -> fuzzing.Report:
        return fuzzing.Report(7, 5, 3, "FOUND" if name == "b" else "")

    assert fuzzing.main("", ["a", "b"], fuzz, []) == 1
    assert capsys.readouterr().out.count("7 executions,        5 inputs,      3 edges") == 2
    with pytest.raises(SystemExit):
        fuzzing.main("", ["a", "b"], fuzz, ["c"])
