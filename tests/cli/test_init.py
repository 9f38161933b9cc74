"""``vary-proxy init``: a file to start from, never one that is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_commands import run
from vary_proxy.cli.init import PRESETS, read


def test_it_writes_a_file_that_validates(tmp_path: Path) -> None:
    done = run("init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "wrote vary-proxy.yaml" in done.stderr
    assert (tmp_path / "vary-proxy.yaml").read_text() == read("minimal")
    assert run("validate", cwd=tmp_path).stdout == "vary-proxy.yaml: valid\n"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_by_name_on_stdout(preset: str) -> None:
    done = run("init", "--preset", preset, "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, read(preset), "")


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    there = tmp_path / "mine.yaml"
    there.write_text("mine\n")
    done = run("init", "mine.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "mine.yaml is there already; write --force, or another name" in done.stderr
    assert there.read_text() == "mine\n"
    assert run("init", "--force", "--preset", "s3", "mine.yaml", cwd=tmp_path).returncode == 0
    assert there.read_text() == read("s3")


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    nowhere = run("init", "no/where.yaml", cwd=tmp_path)
    assert nowhere.returncode == 1
    assert nowhere.stderr == "no/where.yaml: cannot write it: No such file or directory\n"
    unknown = run("init", "--preset", "font", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "'fonts'" in unknown.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_tells_every_preset() -> None:
    told = run("init", "--help").stdout
    for name, (_, what) in PRESETS.items():
        assert f"{name:<11} {what}\n" in told
