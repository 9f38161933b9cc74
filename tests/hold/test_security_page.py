"""SECURITY.md promises nothing that no test shows, and names the limits that hold by default."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from vary_proxy import flights
from vary_proxy.configuration import quantities
from vary_proxy.configuration.settings import Server, Store
from vary_proxy.core.policy import CachePolicy
from vary_proxy.core.ranges import MOST_RANGES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
PROMISES = re.findall(r"^\| \*\*.+?\*\*.* \| (.+) \|$", TEXT, re.MULTILINE)
LIMITS = dict(re.findall(r"^\| `?([^`|]+?)`? \| (\w+) \| .+ \|$", TEXT, re.MULTILINE))


@cache
def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def test_every_promise_names_tests_that_exist() -> None:
    assert len(PROMISES) >= 15
    for names in PROMISES:
        held_by = re.findall(r"`([^`]+)`", names)
        assert held_by
        for name in held_by:
            file, _, test = name.partition("::")
            path = ROOT / (file if "/" in file else f"tests/hold/{file}")
            assert path.is_file(), name
            assert not test or (test in names_in(path) and test.startswith("test_")), name


def test_every_promise_in_bold_is_a_row_of_the_table() -> None:
    part = TEXT.split("## What it promises")[1].split("\n## ")[0]
    assert len(PROMISES) == len(re.findall(r"^\| \*\*", part, re.MULTILINE))


def _default(setting: str) -> object:
    first, *names = setting.split(".")
    value: object = {"server": Server(), "store": Store()}[first]
    for name in names:
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("setting", [name for name in LIMITS if "." in name])
def test_the_limits_are_the_defaults(setting: str) -> None:
    said, value = LIMITS[setting], _default(setting)
    if setting.startswith("server.timeouts."):
        assert quantities.duration(said) == value
    elif said.isdigit():
        assert int(said) == value
    else:
        assert quantities.size(said) == value


def test_the_limits_without_a_setting_of_that_name_are_so_too() -> None:
    assert int(LIMITS["variants of one URL"]) == CachePolicy().max_variants
    assert int(LIMITS["ranges in one request"]) == MOST_RANGES
    assert quantities.duration(LIMITS["waiting for another's fetch"]) == flights.RIDE_SECONDS


def test_every_limit_and_deadline_of_the_server_is_listed() -> None:
    for group in ("limits", "timeouts"):
        for name in type(getattr(Server(), group)).__struct_fields__:
            assert f"server.{group}.{name}" in LIMITS


def test_the_readme_says_the_same() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = readme.split("\n## Limits\n")[1].split("\n## ")[0]
    plain = rows.replace(" ", "")
    for setting in ("head", "line", "fields", "target", "body", "connections"):
        (row,) = [line for line in plain.splitlines() if f"`{setting}`" in line]
        assert re.search(rf"\b{LIMITS[f'server.limits.{setting}']}\b", row), setting


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
