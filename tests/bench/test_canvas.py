"""What README says that caches make of a picture, then the same with CORS: as it is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.canvas import CACHES, Story, bucket, told

RIGHT, WRONG = Story(True, True, True, True), Story(False, False, False, False)
EXPECTED = {
    "**vary-proxy**, `run --origin`": RIGHT,
    "nginx, `proxy_cache`": WRONG,
    "nginx with `Origin` in key and Vary": RIGHT,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_cache_makes_of_it_what_is_said(name: str) -> None:
    with bucket() as origin:
        assert told(name, origin) == EXPECTED[name]


def test_readme_has_a_line_for_each() -> None:
    readme = Path("README.md").read_text("utf-8")
    for name in CACHES:
        found = EXPECTED.get(name, RIGHT if "Vary" in name else WRONG)
        cell = "yes" if found == RIGHT else "**no**"
        assert f"| {name} | {' | '.join([cell] * 4)} |" in readme
