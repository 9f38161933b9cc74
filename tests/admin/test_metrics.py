"""What /metrics says after known traffic, and that its form is as promtool wants it."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.admin.conftest import Origin, Proxy, Start

RULES = """\
cors: {app: {origins: ["https://ok.example"], methods: [GET, PUT]}}
rules:
  - name: api
    match: {path: "/api/**"}
    cors: {policy: app, mode: override}
    preflight: synthesize
"""


async def value(proxy: Proxy, name: str, **labels: str) -> float:
    """The sum of the samples called *name* that have these *labels*; 0 where there is none."""
    return sum(
        sample.value
        for family in parsed(await proxy.metrics())
        for sample in family.samples
        if sample.name == f"vary_proxy_{name}" and labels.items() <= sample.labels.items()
    )


async def traffic(proxy: Proxy) -> None:
    for target in ("/a", "/a", "/api/1", "/api/1"):
        for origin in ("https://ok.example", "https://evil.example"):
            await proxy.get(target, origin=origin)
    await proxy.get("/a")
    await proxy.get("/api/1", "OPTIONS", origin="https://ok.example",
                    access_control_request_method="PUT")  # fmt: skip
    await proxy.get("/b", "REPORT")


async def test_what_was_done_is_counted(start: Start, origin: Origin) -> None:
    proxy = await start(RULES)
    await traffic(proxy)
    requests = "requests_total"
    assert await value(proxy, requests) == 11
    assert await value(proxy, requests, rule="defaults", cache="hit", code="200") == 2
    assert await value(proxy, requests, rule="defaults", cache="miss") == 3
    assert await value(proxy, requests, method="other") == 1
    assert await value(proxy, "request_duration_seconds_count") == 11
    assert await value(proxy, "response_bytes_total", rule="defaults", cache="hit") == 14
    assert await value(proxy, "origin_requests_total", origin="media", code="200") == len(
        origin.asked
    )
    assert await value(proxy, "origin_duration_seconds_count", origin="media") == len(origin.asked)
    assert await value(proxy, "cache_lookups_total", tier="memory", result="hit") == 5
    assert await value(proxy, "cache_stores_total", result="stored") == 4
    assert await value(proxy, "cache_stored_responses", tier="memory") == 4
    assert await value(proxy, "cache_bytes", tier="memory") > 4 * len("content")
    assert await value(proxy, "preflights_total", rule="api", result="synthesized") == 1
    assert await value(proxy, "config_last_reload_successful") == 1


async def test_repairs_are_counted_once_for_each_answer_of_the_origin(start: Start) -> None:
    proxy = await start(RULES)
    for _ in range(3):  # one miss, two hits
        await proxy.get("/a")
    assert await value(proxy, "vary_repairs_total", rule="defaults", action="added") == 1


async def test_blocked_requests_are_counted_by_reason_and_rule(start: Start) -> None:
    proxy = await start(RULES)
    await traffic(proxy)
    blocked = "cors_decisions_total"
    assert await value(proxy, blocked, rule="api", decision="refused", reason="origin") == 2
    assert await value(proxy, blocked, rule="api", decision="allowed", reason="none") == 3
    assert await value(proxy, blocked, rule="defaults", decision="absent") == 2


async def test_an_origin_that_is_gone_is_counted_by_reason(start: Start, origin: Origin) -> None:
    origin.url = "http://127.0.0.1:9"
    proxy = await start("")
    assert (await proxy.get("/a")).status == 502
    assert await value(proxy, "origin_requests_total", code="connection_refused") == 1
    assert await value(proxy, "requests_total", code="502", cache="error") == 1


async def test_retries_and_health_are_told_by_origins_that_know_of_them(start: Start) -> None:
    class Cared:
        is_healthy = False

        def __init__(self) -> None:
            self.retries = Counter({"connection_refused": 3})

        async def close(self) -> None:
            pass

    proxy = await start("")
    assert await value(proxy, "origin_healthy", origin="media") == 1
    await proxy.app.origins["media"].close()
    proxy.app.origins = {"media": Cared()}  # type: ignore[dict-item]  # all that is asked
    assert await value(proxy, "origin_healthy", origin="media") == 0
    assert await value(proxy, "origin_retries_total", reason="connection_refused") == 3


async def test_no_label_is_the_clients_to_choose(start: Start) -> None:
    proxy = await start(RULES)
    await traffic(proxy)
    before = await proxy.metrics()
    for number in range(50):
        await proxy.get(
            f"/api/{number}?q={number}",
            ("REPORT", "SEARCH", "LOCK")[number % 3],
            origin=f"https://{number}.example",
        )
    after = await proxy.metrics()
    grown = set(_series(after)) - set(_series(before))
    assert len(grown) < 40, sorted(grown)  # the few of a method that the proxy does not know
    assert "example" not in re.sub(r"# HELP.*", "", after)


def _series(text: str) -> list[str]:
    return [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]


_UNITS = ("_seconds", "_bytes", "_total", "_info", "_celsius", "_ratio")
_PLAIN = (
    "requests_in_flight", "cache_stored_responses", "cache_variants",
    "config_last_reload_successful", "cache_bytes", "build_info", "origin_healthy",
)  # fmt: skip


async def test_the_form_is_as_promtool_wants_it(start: Start) -> None:
    proxy = await start(RULES)
    await traffic(proxy)
    text = await proxy.metrics()
    assert text.endswith("\n")
    helped = Counter(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE))
    typed = Counter(re.findall(r"^# TYPE (\S+) \w+$", text, re.MULTILINE))
    assert helped == typed
    assert set(helped.values()) == {1}
    assert [name for name, times in Counter(_series(text)).items() if times > 1] == []
    for family in parsed(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        for sample in family.samples:
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels)
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
                assert sample.value >= 0
            else:
                assert not sample.name.endswith("_total"), sample.name
        if family.name.startswith("vary_proxy_") and family.type != "counter":
            plain = family.name.removeprefix("vary_proxy_")
            assert family.name.endswith(_UNITS) or plain in _PLAIN, family.name
        assert not re.search(r"milli|micro|_ms$|kilo|minutes|hours", family.name)
        if family.type == "histogram":
            _check_buckets(family)


def _check_buckets(family: object) -> None:
    """Buckets are cumulative, and the last is the count."""
    rows: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    counts = {}
    for sample in family.samples:  # type: ignore[attr-defined]  # a Metric
        labels = dict(sample.labels)
        if sample.name.endswith("_bucket"):
            edge = float(labels.pop("le"))
            rows.setdefault(tuple(sorted(labels.items())), []).append((edge, sample.value))
        elif sample.name.endswith("_count"):
            counts[tuple(sorted(labels.items()))] = sample.value
    assert rows
    for labels, buckets in rows.items():
        assert buckets == sorted(buckets)
        assert [n for _, n in buckets] == sorted(n for _, n in buckets)
        assert buckets[-1] == (float("inf"), counts[labels])


async def test_open_metrics_for_those_who_ask(start: Start) -> None:
    proxy = await start(RULES)
    await traffic(proxy)
    text = await proxy.metrics("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert "vary_proxy_requests" in {family.name for family in open_metrics(text)}


@pytest.mark.parametrize("name", [
    "requests_total", "requests_in_flight", "request_duration_seconds", "response_bytes_total",
    "vary_repairs_total", "cors_decisions_total", "preflights_total", "cache_lookups_total",
    "cache_stores_total", "cache_variants", "cache_bytes", "cache_stored_responses",
    "cache_evictions_total", "cache_purged_total", "collapsed_requests_total",
    "origin_requests_total", "origin_duration_seconds", "origin_retries_total", "origin_healthy",
    "config_last_reload_successful",
    "build_info",
])  # fmt: skip
async def test_every_metric_is_there_before_the_first_request(start: Start, name: str) -> None:
    proxy = await start("")
    assert f"# TYPE vary_proxy_{name} " in await proxy.metrics()
