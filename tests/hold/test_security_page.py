"""SECURITY.md promises nothing that no test shows, and names the limits that hold by default."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from vary_proxy import flights
from vary_proxy.configuration import quantities, reference
from vary_proxy.configuration.settings import Server, Store
from vary_proxy.core.policy import CachePolicy
from vary_proxy.core.ranges import MOST_RANGES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
PROMISES = re.findall(r"^\| \*\*.+?\*\*.* \| (.+) \|$", TEXT, re.MULTILINE)
HELD = re.findall(r"`((?:[\w/]+\.py::)?test_\w+)`", TEXT)
LIMITS = dict(re.findall(r"^\| `?([^`|]+?)`? \| (\d\w*) \| .+ \|$", TEXT, re.MULTILINE))


@cache
def found_in(path: Path) -> set[str]:
    """The tests that pytest finds in a file: functions of the module itself."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        one.name for one in ast.parse(path.read_text("utf-8")).body if isinstance(one, functions)
    }
    return {name for name in found if name.startswith("test_")}


def place_of(name: str) -> tuple[Path, str]:
    """The file and the test that *name* names; one without a file is of test_admitted.py."""
    file, _, test = name.rpartition("::")
    return ROOT / (file if "/" in file else f"tests/hold/{file or 'test_admitted.py'}"), test


def test_every_test_that_is_named_exists() -> None:
    assert len(HELD) > 100
    for name in HELD:
        path, test = place_of(name)
        assert path.is_file(), name
        assert test in found_in(path), name


def test_every_promise_names_its_tests_and_nothing_else() -> None:
    assert len(PROMISES) >= 20
    for names in PROMISES:
        quoted = re.findall(r"`([^`]+)`", names)
        assert quoted
        assert set(quoted) <= set(HELD), names


def test_every_sentence_of_what_it_does_not_do_names_its_test_and_has_one() -> None:
    part = TEXT.split("**What it does not do**")[1].split("\n## ")[0]
    points = part.split("\n- ")[1:]
    assert len(points) >= 8
    for point in points:
        assert re.search(r"`test_\w+`", point), point
    admitted = found_in(ROOT / "tests/hold/test_admitted.py")
    assert admitted == {test for path, test in map(place_of, HELD) if path.stem == "test_admitted"}


def test_every_limit_names_its_test() -> None:
    rows = re.findall(r"^\| .+ \|$", TEXT.split("\n## Limits")[1], re.MULTILINE)[1:]
    assert len(rows) == len(LIMITS)
    for row in rows:
        assert row.rpartition(" | ")[2].strip("` |") in HELD, row


WHOLE = ("test_framing.py", "test_unkeyed.py", "test_private.py", "test_faults.py")
BARE_FRAMING = {  # of requests: what is stored plays no part, or is behind_a_hit's
    "test_what_is_doubtful_reaches_nobody",
    "test_a_broken_body_is_never_a_request",
    "test_what_is_odd_but_clear_is_one_request",
    "test_no_redirect_moves_us",
}
OF_NO_PROXY = {"test_a_pattern_that_could_be_made_slow_is_refused"}  # it never starts
OF_NO_PROXY |= {"test_nobody_waits_over_five_seconds_for_anothers_head"}  # it is a number


def test_what_is_said_to_go_through_both_lanes_and_each_store_does() -> None:
    assert all(f"`{file}`" in TEXT.split("| promise |")[0] for file in WHOLE)
    for path, test in map(place_of, HELD):
        if path.name not in WHOLE or test in OF_NO_PROXY:
            continue
        text = path.read_text("utf-8")
        before, _, body = text.partition(f"def {test}(")
        marks = before.rpartition("\n\n\n")[2]
        lanes = "@LANES" in marks or "front(fast=number % 2 == 0)" in body.split("\n\n\n")[0]
        assert lanes, test
        stores = (
            "@ON_EACH_STORE" in marks or 'pytestmark = pytest.mark.usefixtures("each_st' in text
        )
        assert stores or test in BARE_FRAMING, test


def test_every_promise_in_bold_is_a_row_of_the_table() -> None:
    part = TEXT.split("## What it promises")[1].split("\n## ")[0]
    assert len(PROMISES) == len(re.findall(r"^\| \*\*", part, re.MULTILINE))


def _default(setting: str) -> object:
    first, *names = setting.split(".")
    value: object = {"server": Server(), "store": Store()}[first]
    for name in names:
        value = getattr(value, name)
    return value


def _value(setting: str, said: str) -> float:
    if setting.startswith("server.timeouts."):
        return quantities.duration(said)
    return int(said) if said.isdigit() else quantities.size(said)


@pytest.mark.parametrize("setting", [name for name in LIMITS if "." in name])
def test_the_limits_are_the_defaults(setting: str) -> None:
    assert _value(setting, LIMITS[setting]) == _default(setting)


def test_the_limits_without_a_setting_of_that_name_are_so_too() -> None:
    assert int(LIMITS["variants of one URL"]) == CachePolicy().max_variants
    assert int(LIMITS["ranges in one request"]) == MOST_RANGES
    assert quantities.duration(LIMITS["waiting for another's fetch"]) == flights.RIDE_SECONDS


def test_every_limit_and_deadline_of_the_server_is_listed() -> None:
    for group in ("limits", "timeouts"):
        for name in type(getattr(Server(), group)).__struct_fields__:
            assert f"server.{group}.{name}" in LIMITS


def test_the_readme_says_the_same() -> None:
    """What is beyond each, too."""
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = readme.split("\n## Limits\n")[1].split("\n## ")[0]
    plain = rows.replace(" ", "")
    beyond = dict(re.findall(r"^\| `(\S+)` \| \w+ \| (\d+)", TEXT, re.MULTILINE))
    for setting in ("head", "line", "fields", "target", "body", "connections"):
        (row,) = [line for line in plain.splitlines() if f"`{setting}`" in line]
        assert re.search(rf"\b{LIMITS[f'server.limits.{setting}']}\b", row), setting
        assert beyond[f"server.limits.{setting}"] in row
    (head,) = [line for line in plain.splitlines() if "`head`" in line]
    assert f",{LIMITS['server.timeouts.head']}|431,408|" in head
    assert f"|idleconnections|{LIMITS['server.timeouts.idle']}|closed|" in plain
    for name in ("variants of one URL", "ranges in one request"):
        assert f"| {name} | {LIMITS[name]} |" in rows
    assert "| 1.5 × `store.memory.max` + 64 MiB |" in rows
    assert "By 1.5 times the memory tier and 64 MiB" in TEXT


def test_the_table_of_the_schema_says_the_same() -> None:
    table = reference.markdown()
    for setting in LIMITS:
        if "." in setting:
            (row,) = re.findall(rf"^\| `{re.escape(setting)}` \|.*$", table, re.MULTILINE)
            assert _value(setting, row.split(" | ")[2].strip("` ")) == _default(setting), row


def test_only_the_loopback_network_is_trusted_by_default() -> None:
    assert [str(network) for network in Server().trusted_proxies] == ["127.0.0.0/8"]
    assert "loopback network alone" in TEXT


def test_the_page_says_how_to_report_and_what_helps() -> None:
    part = " ".join(TEXT.split("## Reporting")[1].split("\n## ")[0].split())
    for said in ("privately", "Report a vulnerability", "vary-proxy version", "config show"):
        assert said in part


def test_every_target_that_the_page_names_is_one_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in set(re.findall(r"`make (\w+)", TEXT)):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
