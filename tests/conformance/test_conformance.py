"""vary-proxy against the public HTTP cache suite: nothing may become worse than recorded."""

from __future__ import annotations

import pytest

from tests.conformance import runner, suite

KNOWN = suite.catalogue()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("profile", list(runner.PROFILES))
def test_nothing_is_worse_than_recorded(profile):
    found = runner.run_profile(profile)
    worse, _ = runner.changes(found, runner.recorded(profile))
    assert worse == []


@pytest.mark.parametrize("profile", list(runner.PROFILES))
def test_every_deviation_has_its_reason(profile):
    without = [
        name
        for name, one in runner.recorded(profile).items()
        if KNOWN[name].kind != "check" and not one.get("reason")
    ]
    assert without == []
