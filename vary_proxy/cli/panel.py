"""What ``top`` shows, as lines of text: made from one answer of the admin listener.

Lines are pairs of a style and a text, so that the same ones serve a terminal and a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vary_proxy.cli.looking import harmless

Line = tuple[str, str]
WINDOW = 60  # seconds that rates are taken over
_BARS = "▁▂▃▄▅▆▇█"
_HEADING = "bold"


def lines(told: dict[str, Any], where: str, width: int) -> list[Line]:
    """All of it, the most telling first; *width* in columns."""
    recent = _recent(told)
    name = max(12, min(38, width - 54))  # columns of what a row is named by
    made: list[Line] = [
        (_HEADING, _headline(told, where)),
        ("", _sentence(told, recent)),
        *_failing(told, recent),
        *_who(told),
        ("", ""),
        *_rates(told, recent, width),
        ("", ""),
        *_blocked(told, name),
        *_cors(told),
        *_rules(told, name),
        *_origins(told, name),
        *_store(told),
    ]
    return [(style, text[:width]) for style, text in made]


class _Recent:
    """Sums over the last seconds of the history."""

    def __init__(self, rows: Sequence[Sequence[float]], now: float, uptime: float) -> None:
        self.last = int(now) - 1  # the second under way is not whole
        self.seconds = max(1, min(WINDOW, int(uptime)))
        by_second = {int(row[0]): row for row in rows if row[0] > self.last - self.seconds}
        self.rows = [row for second, row in by_second.items() if second <= self.last]
        self.per_second = [
            int(by_second[second][1]) if second in by_second else 0
            for second in range(self.last - self.seconds + 1, self.last + 1)
        ]

    def total(self, column: int) -> float:
        return sum(row[column] for row in self.rows)


def _recent(told: dict[str, Any]) -> _Recent:
    return _Recent(told["history"], told["now"], told["uptime"])


def _headline(told: dict[str, Any], where: str) -> str:
    workers = told.get("workers", 1)
    several = f", {workers} workers" if workers > 1 else ""
    stale = "" if told["reloaded"] else "  THE LAST CONFIGURATION WAS REFUSED"
    return (
        f"vary-proxy {told['version']}  {told['state']}, up {_span(told['uptime'])}{several}"
        f"  {where}{stale}"
    )


def _sentence(told: dict[str, Any], recent: _Recent) -> str:
    requests, cached = recent.total(1), recent.total(2)
    if not requests:
        return f"No request in the last {recent.seconds} seconds."
    return (
        f"Last {recent.seconds} s: the cache answered {share(cached, requests)} of "
        f"{requests:.0f} requests; origins were asked {recent.total(5):.0f} times."
    )


def _failing(told: dict[str, Any], recent: _Recent) -> list[Line]:
    errors, requests = recent.total(3), recent.total(1)
    if not errors:
        return []
    names = [one["origin"] for one in told["origins"] if one["failed"]]
    whose = f"; origins that have failed: {', '.join(names)}" if names else ""
    return [("red", f"{errors:.0f} of {requests:.0f} requests failed (5xx){whose}")]


def _who(told: dict[str, Any]) -> list[Line]:
    names = list(dict.fromkeys(one["origin"] or "(none)" for one in told["blocked"]))
    if not names:
        return []
    said = ", ".join(map(harmless, names[:3])) + (" …" if len(names) > 3 else "")
    return [("red", f"CORS blocks {len(names)} origin{'s'[: len(names) > 1]}: {said}")]


def _rates(told: dict[str, Any], recent: _Recent, width: int) -> list[Line]:
    latency, totals = told["latency"], told["totals"]
    requests = recent.total(1)
    seconds = recent.seconds
    bars = _spark(recent.per_second[-max(10, width - 46) :])
    return [
        ("", f"requests   {requests / seconds:>9.1f} /s   "
             f"{totals['requests']:>12} in all   {bars}"),
        ("", f"hits       {share(recent.total(2), requests):>9}      "
             f"{share(totals['from_cache'], totals['requests']):>12} in all"),
        ("", f"to origins {recent.total(5) / seconds:>9.1f} /s   "
             f"{totals['origin_requests']:>12} in all"),
        ("", f"sent       {_size(recent.total(7) / seconds):>9} /s   "
             f"{_size(totals['bytes']):>12} in all"),
        ("", f"errors     {recent.total(3):>9.0f}      {totals['errors']:>12} in all"),
        ("", f"latency    cache {_quantiles(latency['cache'])}; "
             f"origin {_quantiles(latency['origin'])}"),
    ]  # fmt: skip


def _blocked(told: dict[str, Any], name: int) -> list[Line]:
    if not told["blocked"]:
        return []
    found = [(_HEADING, f"  {'BLOCKED BY CORS':<{name}} {'times':>10}  {'reason':<14}  rule")]
    found += [
        (
            "red",
            f"  {harmless(one['origin'] or '(none)')[:name]:<{name}} {one['count']:>10}  "
            f"{one['reason'][:14]:<14}  {one['rule'][:18]}",
        )
        for one in told["blocked"][:6]
    ]
    return [*found, ("", "")]


def _cors(told: dict[str, Any]) -> list[Line]:
    verdicts: dict[str, int] = {}
    for one in told["cors"]:
        verdicts[one["decision"]] = verdicts.get(one["decision"], 0) + one["count"]
    if not verdicts:
        return []
    said = "   ".join(f"{name} {count}" for name, count in verdicts.items())
    return [("", f"CORS       {said}"), ("", "")]


def _rules(told: dict[str, Any], name: int) -> list[Line]:
    columns = (("requests", 10), ("hits", 7), ("blocked", 7), ("p50", 9), ("p99", 9))
    found = [_table_head("RULE", name, *columns)]
    busiest = sorted(told["rules"], key=lambda one: -one["requests"])
    found += [
        (
            "",
            f"  {one['rule'][:name]:<{name}} {one['requests']:>10}  "
            f"{share(one['from_cache'], one['requests']):>7}  {one['blocked']:>7}  "
            f"{ms(one['latency']['p50']):>9}  {ms(one['latency']['p99']):>9}",
        )
        for one in busiest[:12]
    ]
    return [*found, ("", "")]


def _origins(told: dict[str, Any], name: int) -> list[Line]:
    columns = (("asked", 10), ("", 7), ("failed", 7), ("p50", 9), ("p99", 9))
    found = [_table_head("ORIGIN", name, *columns)]
    found += [
        (
            "yellow" if one["failed"] else "",
            f"  {(one['origin'] + '  ' + one['url'])[:name]:<{name}} {one['requests']:>10}  "
            f"{one['failed']:>16}  {ms(one['latency']['p50']):>9}  {ms(one['latency']['p99']):>9}",
        )
        for one in told["origins"]
    ]
    return [*found, ("", "")]


def _store(told: dict[str, Any]) -> list[Line]:
    store = told["store"]
    return [
        (
            "",
            f"store      {store['type']}: {store['stored_responses']} responses of "
            f"{store['resources']} URLs, {_size(store['bytes'])} of {_size(store['max'])}, "
            f"{store['evictions']} evicted"
            + ("" if store.get("available", True) else "; THE SHARED STORE IS AWAY"),
        )
    ]


def _table_head(first: str, width: int, *columns: tuple[str, int]) -> Line:
    rest = "  ".join(f"{name:>{size}}" for name, size in columns)
    return _HEADING, f"  {first:<{width}} {rest}"


def _spark(values: Sequence[int]) -> str:
    most = max(values, default=0)
    return "".join(_BARS[round(value / most * 7)] if most else _BARS[0] for value in values)


def _quantiles(latency: dict[str, Any]) -> str:
    return f"{ms(latency['p50'])} median, {ms(latency['p99'])} p99"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.3g} ms"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _span(seconds: float) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days:.0f}d {hours % 24:.0f}h"
    if hours:
        return f"{hours:.0f}h {minutes % 60:.0f}m"
    return f"{minutes:.0f}m {seconds % 60:.0f}s" if minutes else f"{seconds:.0f}s"
