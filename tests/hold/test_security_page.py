"""SECURITY.md names tests that exist, and limits that hold by default."""

from __future__ import annotations

import re
from pathlib import Path

from vary_proxy.settings import Server

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| \*\*.*\| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 10
    for row in rows:
        names = re.findall(r"`([^`]+)`", row)
        assert names
        for name in names:
            path = name if "/" in name else f"tests/hold/{name}"
            assert list(ROOT.glob(path)), name


def test_only_the_loopback_network_is_trusted_by_default() -> None:
    assert [str(network) for network in Server().trusted_proxies] == ["127.0.0.0/8"]
