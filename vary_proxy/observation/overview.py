"""What was counted, as one plain value: for the dashboard, ``stats`` and whoever asks.

Everything is counted since the start, but for ``history``, which has a row for each of the
last seconds in which something happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vary_proxy import __version__
from vary_proxy.core import freshness
from vary_proxy.core.policy import Policy
from vary_proxy.observation import together
from vary_proxy.observation.tally import BOUNDS, FROM_CACHE, Timed
from vary_proxy.observation.together import Seen
from vary_proxy.store.base import StoreStats

if TYPE_CHECKING:
    from vary_proxy.observation.eyes import Eyes, Watchable

HISTORY = (
    "second", "requests", "from_cache", "errors", "blocked", "origin", "seconds", "bytes",
)  # fmt: skip
_BLOCKED = ("origin", "reason", "rule", "count", "method", "path", "at")


async def overview(app: Watchable, eyes: Eyes) -> dict[str, Any]:
    """All of it. Seconds, bytes, Unix instants; a quantile is None where nothing was timed."""
    tally = await together.everybody(app, eyes)
    now = eyes.clock()
    return {
        "version": __version__,
        "state": eyes.unready(app) or "ready",
        "workers": tally.workers,
        "reloaded": tally.reloaded,
        "now": now,
        "uptime": max(0.0, now - tally.started),
        "totals": _totals(tally),
        "latency": {
            "cache": _latency(one for (_, c), one in tally.timed.items() if c in FROM_CACHE),
            "origin": _latency(one for (_, c), one in tally.timed.items() if c not in FROM_CACHE),
        },
        "cache": dict(_summed((cache, n) for (_, _, _, cache), n in tally.requests.items())),
        "rules": _rules(app.loaded.rules.policies, tally),
        "vary": [
            {"rule": rule, "said": said, "sent": sent, "count": count}
            for rule, pairs in tally.pairs.items()
            for (said, sent), count in Counter(pairs).most_common()
        ],
        "cors": _rows(("rule", "decision", "reason"), tally.cors),
        "preflights": _rows(("rule", "result"), tally.preflights),
        "blocked": [{name: getattr(one, name) for name in _BLOCKED} for one in tally.blocked[:50]],
        "stores": _rows(("result", "reason"), tally.stores),
        "origins": _origins(app, tally),
        "store": _store(app, tally.stats),
        "history": [[getattr(moment, name) for name in HISTORY] for moment in tally.history],
    }


def _totals(tally: Seen) -> dict[str, int]:
    requests = tally.requests.items()
    return {
        "requests": sum(tally.requests.values()),
        "from_cache": sum(n for (_, _, _, cache), n in requests if cache in FROM_CACHE),
        "errors": sum(n for (_, _, status, _), n in requests if status >= 500),
        "blocked": sum(n for (_, _, why), n in tally.cors.items() if why != "none"),
        "collapsed": sum(tally.collapsed.values()),
        "repaired": sum(n for (_, did), n in tally.vary.items() if did in _REPAIRS),
        "judged": sum(tally.vary.values()),  # responses of origins whose Vary was looked at
        "origin_requests": sum(tally.asked.values()),
        "bytes": sum(one.bytes for one in tally.timed.values()),
    }


_REPAIRS = frozenset(("added", "repaired", "replaced", "stripped"))


def _rules(policies: Sequence[Policy], tally: Seen) -> list[dict[str, Any]]:
    requests = _summed((rule, n) for (rule, _, _, _), n in tally.requests.items())
    cached = _summed(
        (rule, n) for (rule, _, _, cache), n in tally.requests.items() if cache in FROM_CACHE
    )
    blocked = _summed((rule, n) for (rule, _, why), n in tally.cors.items() if why != "none")
    return [
        {
            "rule": one.rule,
            "where": one.where,
            "vary": one.vary.mode.value,
            "cors": one.cors_mode.value,
            "preflight": one.preflight.value,
            "cache": one.cache.enabled,
            "requests": requests[one.rule],
            "from_cache": cached[one.rule],
            "blocked": blocked[one.rule],
            "latency": _latency(t for (rule, _), t in tally.timed.items() if rule == one.rule),
        }
        for one in policies
    ]


def _origins(app: Watchable, tally: Seen) -> list[dict[str, Any]]:
    found = []
    for name, origin in app.loaded.settings.origins.items():
        codes = {code: n for (one, code), n in tally.asked.items() if one == name}
        timed = tally.asked_timed.get(name)
        found.append(
            {
                "origin": name,
                "url": str(origin.url),
                "requests": sum(codes.values()),
                "failed": sum(n for code, n in codes.items() if not "100" <= code < "500"),
                "codes": codes,
                "latency": _latency(() if timed is None else (timed,)),
            }
        )
    return found


def _store(app: Watchable, held: StoreStats) -> dict[str, Any]:
    said = app.loaded.settings.store
    return {
        "type": said.type,
        "max": said.memory.max,
        "available": held.available,
        "bytes": held.bytes,
        "resources": held.resources,
        "stored_responses": held.stored_responses,
        "evictions": held.evictions,
    }


def _rows(names: Sequence[str], counts: Mapping[Any, int]) -> list[dict[str, Any]]:
    return [
        {**dict(zip(names, key, strict=True)), "count": count}
        for key, count in Counter(counts).most_common()
    ]


def _summed(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, count in pairs:
        found[name] += count
    return found


def _latency(several: Iterable[Timed]) -> dict[str, Any]:
    """Count and quantiles of all of them together, in seconds."""
    buckets = [0] * (len(BOUNDS) + 1)
    for timed in several:
        buckets = [have + more for have, more in zip(buckets, timed.buckets, strict=True)]
    found: dict[str, Any] = {f"p{share}": quantile(buckets, share / 100) for share in (50, 95, 99)}
    return {"count": sum(buckets), **found}


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Seconds below which *share* of what the buckets count lies, evenly spread within each."""
    rank, seen = share * sum(buckets), 0
    for at, count in enumerate(buckets):
        if count and seen + count >= rank:
            low = BOUNDS[at - 1] if at else 0.0
            high = BOUNDS[at] if at < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * (rank - seen) / count
        seen += count
    return None


def inspected(found: Iterable[Any], now: float) -> list[dict[str, Any]]:
    """What is stored of a URL: one value for each variant."""
    return [
        {
            "key": _text(key).replace("\0", " "),
            "rule": policy.rule,
            "status": one.status,
            "selecting": {
                _text(name): None if value is None else _text(value)
                for name, value in one.selecting
            },
            "age": round(freshness.current_age(one, now), 3),
            "lifetime": freshness.stored_lifetime(one, policy.cache),
            "stale": one.stale,
            "bytes": one.body.length,
            "whole": one.part is None,
            "fields": [[_text(name), _text(value)] for name, value in one.fields.items],
        }
        for key, policy, resource in found
        for one in resource.variants
    ]


def _text(value: bytes) -> str:
    return value.decode("latin-1")
