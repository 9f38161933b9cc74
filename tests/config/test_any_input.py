"""Whatever a file holds, loading it gives settings or a ConfigError, soon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vary_proxy.config import ConfigError, loads
from vary_proxy.configuration import yaml12
from vary_proxy.configuration.descriptions import DESCRIPTIONS
from vary_proxy.configuration.problems import Problem

SEEDS = [path.read_text("latin-1") for path in sorted(Path(__file__).parent.glob("cases/*.yaml"))]
WORDS = sorted({key for keys in DESCRIPTIONS.values() for key in keys})
VALUES = ["off", "null", "~", "1h", "64KiB", "*", "~(a+)+", "/x/**", "${A}", "${", "http://a:1", ""]
GOOD = b"origins: {main: 'http://a.example'}"
BRIEF = settings(max_examples=150, deadline=None)


def judged(
    data: bytes, flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Problem, ...]:
    """Every problem, each with its place and a remedy, on one line; anything else is raised."""
    try:
        loads(data, "f.yaml", flags or {}, environ or {"A": "1"})
    except ConfigError as error:
        problems = error.problems
    else:
        return ()
    assert problems
    for problem in problems:
        assert problem.where
        assert problem.what
        assert problem.remedy
        assert "\n" not in str(problem)
    return problems


@BRIEF
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    judged(data)


@BRIEF
@given(st.text("ab:-?#&*!|>'\"%@`{}[], \n\t~$0", max_size=200))
def test_any_yaml_punctuation(text: str) -> None:
    judged(text.encode())


def trees() -> st.SearchStrategy[Any]:
    leaves = st.sampled_from(VALUES + WORDS) | st.integers() | st.booleans() | st.none()
    keys = st.sampled_from(WORDS) | st.sampled_from(["404", "5xx", "main"])
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=20,
    )


@BRIEF
@given(st.dictionaries(st.sampled_from(sorted(DESCRIPTIONS["Settings"])), trees(), max_size=6))
def test_any_tree_of_known_words(tree: dict[str, Any]) -> None:
    judged(yaml.safe_dump(tree).encode())


@BRIEF
@given(st.sampled_from(SEEDS), st.data())
def test_any_file_with_lines_lost_doubled_and_swapped(seed: str, data: st.DataObject) -> None:
    lines = seed.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(lines) - 1, 0)))
        other = data.draw(
            st.sampled_from([*lines, "", "  - x", "a: b", *VALUES]) if lines else st.just("")
        )
        lines[at : at + data.draw(st.integers(0, 2))] = [other]
    judged("\n".join(lines).encode("latin-1", "replace"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" * 200_000, id="open brackets"),
        pytest.param(b"{a: " * 100_000, id="open braces"),
        pytest.param(b"- " * 200_000, id="dashes on one line"),
        pytest.param(b"? " * 100_000, id="question marks"),
        pytest.param(b"a: " + b"x" * (yaml12.MAX_BYTES - 10), id="one long scalar"),
        pytest.param(b"x" * (yaml12.MAX_BYTES + 1), id="too large"),
        pytest.param(b"&a " * 100_000, id="anchors"),
        pytest.param(b"rules: [" + b"{}, " * 50_000 + b"]", id="many rules"),
        pytest.param(b"\n".join(b"k%d: 1" % n for n in range(20_000)), id="many keys"),
        pytest.param(b"listen: [" + b"':1', " * 20_000 + b"]", id="many listeners"),
    ],
)
@pytest.mark.timeout(60)
def test_large_and_deep_input_ends_soon(data: bytes) -> None:
    assert judged(data)


@BRIEF
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_flag(key: str, value: str) -> None:
    judged(GOOD, {key: value})


@BRIEF
@given(
    st.sampled_from([name.upper() for name in WORDS]), st.lists(st.sampled_from(WORDS)), st.text()
)
def test_any_variable(first: str, others: list[str], value: str) -> None:
    name = "_".join(["VARY_PROXY", first, *(one.upper() for one in others)])
    judged(GOOD, {}, {name: value})
