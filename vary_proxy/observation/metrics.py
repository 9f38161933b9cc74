"""Renders what was counted as Prometheus metrics: base units, bounded labels.

The tally counts while requests are answered; only a scrape makes metrics of it, in one pass,
so that ``prometheus_client`` costs nothing between scrapes and its locks nothing ever. Each
app has a registry of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from vary_proxy import __version__
from vary_proxy.observation.tally import BOUNDS, Tally, Timed
from vary_proxy.store.base import StoreStats


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked at each scrape, beside the tally."""

    in_flight: Callable[[], int]
    store: Callable[[], StoreStats]
    reloaded: Callable[[], bool]  # whether the last configuration was taken
    origins: Callable[[], Mapping[str, object]]  # by name; some know of retries and of health
    lost_lines: Callable[[], int] = lambda: 0  # of the access log


class Metrics:
    """The metrics of one app."""

    def __init__(self, tally: Tally, sources: Sources) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Collector(tally, sources))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics in the format that *accept* asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Collector(Collector):
    def __init__(self, tally: Tally, sources: Sources) -> None:
        self._tally = tally
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        yield from _traffic(self._tally)
        yield from _cors(self._tally)
        yield from _cache(self._tally)
        yield from _store(self._tally, self._sources.store())
        yield from _origins(self._tally)
        yield from _care(self._sources.origins())
        yield from self._process()

    def _process(self) -> Iterator[Metric]:
        yield _gauge("requests_in_flight", "Requests being answered.", self._sources.in_flight())
        yield _gauge(
            "config_last_reload_successful",
            "1 when the newest configuration is the one in use, else 0.",
            float(self._sources.reloaded()),
        )
        lost = _counter("access_log_lost", "Lines of the access log that could not be written.")
        lost.add_metric([], self._sources.lost_lines())
        yield lost
        build = GaugeMetricFamily(
            "vary_proxy_build_info", "1, labelled with the version.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build


def _traffic(tally: Tally) -> Iterator[Metric]:
    requests = _counter("requests", "Requests answered.", "rule", "method", "code", "cache")
    for (rule, method, status, cache), count in list(tally.requests.items()):
        requests.add_metric([rule, method, str(status), cache], count)
    yield requests
    duration = _histogram(
        "request_duration_seconds", "Time until the reply was written.", "rule", "cache"
    )
    sent = _counter("response_bytes", "Bytes of content sent to clients.", "rule", "cache")
    for labels, timed in list(tally.timed.items()):
        _observed(duration, labels, timed)
        sent.add_metric(labels, timed.bytes)
    yield duration
    yield sent
    yield _counted(
        "collapsed_requests",
        "Requests that rode on the fetch of another.",
        {(rule,): count for rule, count in tally.collapsed.items()},
        "rule",
    )


def _cors(tally: Tally) -> Iterator[Metric]:
    yield _counted(
        "vary_repairs",
        "Responses of origins by what was done to their Vary; complete: nothing was missing.",
        tally.vary,
        "rule",
        "action",
    )
    yield _counted(
        "cors_decisions",
        "Requests by CORS verdict; a reason says why a browser keeps the response from its page.",
        tally.cors,
        "rule",
        "decision",
        "reason",
    )
    yield _counted("preflights", "Preflights by who answered.", tally.preflights, "rule", "result")


def _cache(tally: Tally) -> Iterator[Metric]:
    yield _counted(
        "cache_lookups", "Look-ups by where they ended.", tally.lookups, "tier", "result"
    )
    yield _counted(
        "cache_stores", "Responses stored, or why not.", tally.stores, "result", "reason"
    )
    yield _counted(
        "cache_purged",
        "Purges by what they were by.",
        {(kind,): count for kind, count in tally.purged.items()},
        "kind",
    )


def _store(tally: Tally, stats: StoreStats) -> Iterator[Metric]:
    yield _gauge(
        "cache_variants",
        "Stored responses per resource in memory, on average.",
        stats.stored_responses / stats.resources if stats.resources else 0.0,
    )
    for name, text, value in (
        ("cache_bytes", "Bytes held.", stats.bytes),
        ("cache_stored_responses", "Stored responses held.", stats.stored_responses),
    ):
        gauge = GaugeMetricFamily(f"vary_proxy_{name}", text, labels=["tier"])
        gauge.add_metric(["memory"], value)
        yield gauge
    evictions = {("memory", "room"): stats.evictions}
    yield _counted("cache_evictions", "Stored responses evicted.", evictions, "tier", "reason")
    if tally.tiers or tally.failures:
        yield _counted("store_errors", "Operations that failed.", tally.failures, "op", "kind")
    if tally.tiers:
        duration = _histogram(
            "store_duration_seconds", "Time of operations on the shared store.", "op"
        )
        for op, timed in list(tally.operations.items()):
            _observed(duration, (op,), timed)
        yield duration
        yield _gauge(
            "store_available",
            "0 while the shared store is not asked, because it failed.",
            float(stats.available),
        )


def _origins(tally: Tally) -> Iterator[Metric]:
    yield _counted(
        "origin_requests",
        "Requests to origins by status, or by why there was none (RFC 9209).",
        tally.asked,
        "origin",
        "code",
    )
    duration = _histogram(
        "origin_duration_seconds", "Time until the origin's response head.", "origin"
    )
    for name, timed in list(tally.asked_timed.items()):
        _observed(duration, (name,), timed)
    yield duration


def _care(origins: Mapping[str, object]) -> Iterator[Metric]:
    """What origins that retry and check their health know of that; the others are healthy."""
    retries = _counter("origin_retries", "Requests sent again, by the failure.", "origin", "reason")
    healthy = GaugeMetricFamily(
        "vary_proxy_origin_healthy", "0 while every URL of it is set aside.", labels=["origin"]
    )
    for name, one in origins.items():
        origin = getattr(one, "reached", one)  # beneath what continues broken bodies
        for reason, count in dict(getattr(origin, "retries", {})).items():
            retries.add_metric([name, reason], count)
        healthy.add_metric([name], float(getattr(origin, "is_healthy", True)))
    yield retries
    yield healthy


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"vary_proxy_{name}", text, labels=labels)


def _counted(name: str, text: str, counts: Mapping[Any, int], *labels: str) -> CounterMetricFamily:
    family = _counter(name, text, *labels)
    for values, count in list(counts.items()):
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"vary_proxy_{name}", text, value=value)


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"vary_proxy_{name}", text, labels=labels)


_EDGES = (*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in BOUNDS), "+Inf")


def _observed(family: HistogramMetricFamily, labels: tuple[str, ...], timed: Timed) -> None:
    total = 0
    buckets: list[tuple[str, float]] = []
    for edge, count in zip(_EDGES, timed.buckets, strict=True):
        total += count
        buckets.append((edge, float(total)))
    family.add_metric(labels, buckets, timed.seconds)
