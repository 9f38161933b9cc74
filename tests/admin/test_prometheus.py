"""Alerts and dashboard against what the program really exports, by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.admin.conftest import Start
from tests.store.servers import RedisServer, running
from vary_proxy.observation import tally as tallies
from vary_proxy.observation.metrics import Metrics, Sources
from vary_proxy.store.base import StoreStats

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "config/prometheus/alerts.yaml"
CASES = Path(__file__).parent / "alerts.test.yaml"
DASHBOARD = ROOT / "config/grafana/vary-proxy.json"

GIVEN_BY_PROMETHEUS = {"job", "instance"}
VERDICTS = {"hit", "stale", "validated", "miss", "collapsed", "edge", "pass", "error", "none"}


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """What it says; it must be content."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing; `make test` installs Debian's prometheus"
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@cache
def exported() -> dict[str, set[str]]:
    """Every series that the program can export, and its labels: one of each kind was counted."""
    tally = tallies.Tally(tiers=True)
    timed = tallies.Timed()
    tally.requests["r", "GET", 200, "hit"] += 1
    tally.timed["r", "hit"] = tally.asked_timed["o"] = tally.operations["load"] = timed
    tally.vary["r", "added"] += 1
    tally.cors["r", "allowed", "none"] += 1
    tally.preflights["r", "synthesized"] += 1
    tally.lookups["memory", "hit"] += 1
    tally.stores["stored", "none"] += 1
    tally.collapsed["r"] += 1
    tally.purged["url"] += 1
    tally.asked["o", "200"] += 1
    tally.failures["load", "timeout"] += 1
    origins = {"o": SimpleNamespace(retries={"connection_terminated": 1}, is_healthy=True)}
    sources = Sources(lambda: 0, StoreStats, lambda: True, lambda: origins)
    text, _ = Metrics(tally, sources).render()
    return {
        sample.name: set(sample.labels)
        for family in parsed(text.decode())
        for sample in family.samples
    }


def dashboard() -> Iterator[tuple[str, str]]:
    """Title and expression of everything that a panel asks for."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alerts() -> Iterator[tuple[str, str]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = [
    pytest.param(expr, id=f"{kind}: {name}")
    for kind, found in (("alert", alerts()), ("panel", dashboard()))
    for name, expr in found
]
SERIES = re.compile(r"\b((?:vary_proxy|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_every_series_and_label_is_one_that_the_program_exports(expr: str) -> None:
    asked = SERIES.findall(expr)
    assert asked, "it asks for nothing of ours"
    known: set[str] = set(GIVEN_BY_PROMETHEUS)
    for name, matchers in asked:
        assert name in exported(), name
        labels = exported()[name] | GIVEN_BY_PROMETHEUS
        known |= labels
        for label, _, _ in MATCHER.findall(matchers):
            assert label in labels, f"{name} has no label {label}"
    for labels in GROUPED.findall(expr):
        assert {one.strip() for one in labels.split(",")} <= known


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_every_value_that_is_asked_for_can_be_there(expr: str) -> None:
    possible = {
        "result": set(tallies._LOOKED_UP.values()),
        "cache": VERDICTS,
        "action": {"complete", "added", "repaired", "replaced", "stripped", "star", "none"},
    }
    for label, _, values in MATCHER.findall(expr):
        if label in possible:
            assert set(values.split("|")) <= possible[label]


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_counters_are_asked_for_their_rate_and_gauges_are_not(expr: str) -> None:
    for name, _ in SERIES.findall(expr):
        rated = re.search(rf"rate\({name}\b", expr) is not None
        counts = name.endswith(("_total", "_bucket", "_count", "_sum"))
        assert rated == counts, name


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    shown = {name for _, expr in dashboard() for name, _ in SERIES.findall(expr)}
    ours = {name for name in exported() if name.startswith("vary_proxy_")}
    spare = re.compile(r"_(count|sum)$|^vary_proxy_build_info$")
    assert {name for name in ours - shown if not spare.search(name)} == set()


def test_no_panel_covers_another_and_each_says_its_unit() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    for panel in panels:
        place: dict[str, int] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["fieldConfig"]["defaults"]["unit"]


def test_promtool_accepts_the_alerts_and_what_the_panels_ask(tmp_path: Path) -> None:
    assert "SUCCESS: 10 rules found" in promtool("check", "rules", ALERTS)
    asked = [
        {"record": f"panel:{at}", "expr": expr.replace("$__rate_interval", "5m")}
        for at, (_, expr) in enumerate(dashboard())
    ]
    written: dict[str, Any] = {"groups": [{"name": "dashboard", "rules": asked}]}
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump(written))
    assert f"{len(asked)} rules found" in promtool("check", "rules", tmp_path / "panels.yaml")


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(CASES, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / CASES.name)
    listed = set(re.findall(r"VaryProxy\w+", CASES.read_text()))
    assert listed == {name for name, _ in alerts()}


async def test_promtool_has_nothing_to_say_of_a_live_scrape(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(RedisServer(tmp_path_factory.mktemp("scraped"))) as server:
        proxy = await start(f"store: {{type: redis, url: {server.url}, timeout: 5s}}\n")
        for target in ("/a", "/a", "/b"):
            await proxy.get(target, origin="https://a.example")
        server.kill()
        await proxy.get("/c")
        scraped = await proxy.metrics()
    assert "vary_proxy_store_errors_total{" in scraped
    assert promtool("check", "metrics", text=scraped) == ""
