"""Every dependency has a lower bound, and `make lowest` holds to it."""

from __future__ import annotations

import tomllib

import pytest

from tests.setup.lowest import PROJECT, constraints


def test_every_requirement_becomes_its_lower_bound() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    lines = constraints(project)
    assert len(lines) >= len(project["dependencies"])
    said = " ".join(project["dependencies"])
    for line in lines:
        name, _, version = line.partition("==")
        if name in said:
            assert f">={version}" in said


def test_names_are_read_without_extras_and_markers() -> None:
    project = {
        "dependencies": ["redis[hiredis]>=7.1,<9", "uvloop>=0.21; sys_platform != 'win32'"],
        "optional-dependencies": {"aws": ["botocore>=1.40"], "dev": ["pytest"]},
    }
    assert constraints(project) == ["redis==7.1", "uvloop==0.21", "botocore==1.40"]


def test_a_requirement_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="'click' has no lower bound"):
        constraints({"dependencies": ["click"]})
