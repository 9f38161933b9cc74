"""The metrics of several workers as those of one: counters and histograms are sums.

So are most gauges: requests in flight, bytes held. Where a sum would say nothing, the worst
of them counts: one worker that refused a configuration, the oldest start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_Combine = Callable[[Sequence[float]], float]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_NOT_SUMMED: dict[str, _Combine] = {
    "vary_proxy_build_info": max,
    "vary_proxy_config_last_reload_successful": min,
    "vary_proxy_origin_healthy": min,
    "vary_proxy_store_available": min,
    "vary_proxy_cache_variants": _mean,
    "process_start_time_seconds": min,
    "process_max_fds": min,
    "python_info": max,
}


def render(pages: Iterable[bytes], accept: str = "") -> tuple[bytes, str]:
    """One page for all *pages*, in the format that *accept* asks for, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Sum(pages))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Sum(Collector):
    def __init__(self, pages: Iterable[bytes]) -> None:
        self._pages = tuple(pages)

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]] = {}
        for page in self._pages:
            for family in text_string_to_metric_families(page.decode()):
                families.setdefault(family.name, family)
                samples = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    samples.setdefault(key, []).append(sample.value)
        for name, family in families.items():
            combine = min if name.endswith("_created") else _NOT_SUMMED.get(name, sum)
            whole = Metric(name, family.documentation, family.type)
            for (sample_name, labels), seen in values[name].items():
                whole.add_sample(sample_name, dict(labels), combine(seen))
            yield whole
