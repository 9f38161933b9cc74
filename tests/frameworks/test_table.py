"""The table of the README: made from answers, and right about what a cache mixes up."""

from __future__ import annotations

import re

import pytest

from tests.frameworks.origins import Framework
from tests.frameworks.table import TITLES, row, versions_of

# What the origin server alone lets a cache mix up, of those whose version is fixed here.
MIXED_UP = {"express": "no", "hono": "no", "koa": "no", "hono-etag": "yes", "s3": "yes"}


@pytest.mark.parametrize("policy", TITLES)
async def test_nothing_is_mixed_up_behind_the_proxy(framework: Framework, policy: str) -> None:
    title, *cells = [one.strip() for one in (await row(framework, policy)).strip("|").split("|")]
    alone, behind = cells[:5], cells[5:]
    assert title == framework.program.title
    assert alone[-1] == MIXED_UP.get(framework.name, alone[-1])
    assert behind[-1] == "no"
    for name, says, leaves in zip(
        ("none", "allowed", "stranger"), alone[:3], behind[:3], strict=True
    ):
        assert re.match(r"OHM / ", leaves), name
        assert says.split(" / ")[1] == leaves.split(" / ")[1], name
    assert behind[3] == behind[1], "a 304 carries what the 200 does"


def test_versions_are_those_installed(framework: Framework) -> None:
    found = versions_of(framework.program)
    assert all(re.match(r"\d+\.\d+", number) for number in found.values())
