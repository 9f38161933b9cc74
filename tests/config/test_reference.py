"""The page of all keys: whole, right about defaults, and the same as what ships."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import run
from vary_proxy.configuration.reference import markdown
from vary_proxy.configuration.schema import schema

PAGE = Path("config/reference.md")


def test_the_page_that_ships_is_the_one_that_is_printed() -> None:
    printed = run("schema", "--table").stdout
    assert PAGE.read_text("utf-8") == printed, f"run: vary-proxy schema --table > {PAGE}"


def test_every_description_of_the_schema_stands_there() -> None:
    said: list[str] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key == "description" and isinstance(value, str):
                said.append(value)
            elif isinstance(value, dict | list):
                walk(value)

    walk(schema())
    page = markdown()
    missing = {one for one in said if one.replace("|", "\\|") not in page}
    assert missing == {text for text in missing if text.startswith("Lifetime")}  # within a ttl


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("listen", "`0.0.0.0:8080`"),
        ("server.limits.head", "`32KiB`"),
        ("server.drain.delay", "`5s`"),
        ("origins.NAME.host", "`upstream`"),
        ("origins.NAME.origin_header", "`auto`"),
        ("defaults.vary.mode", "`repair`"),
        ("defaults.cache.variants", "`64`"),
        ("store.memory.max", "`256MiB`"),
        ("admin.address", "`off`"),
        ("cors.NAME.origins", "required"),
    ],
)
def test_defaults_are_those_that_hold(key: str, default: str) -> None:
    found = re.search(rf"^\| `{re.escape(key)}` \|[^|]*\| ([^|]*) \|", markdown(), re.M)
    assert found is not None
    assert found[1] == default
