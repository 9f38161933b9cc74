"""What ``top`` shows, as lines of text: made from one answer of the admin listener.

Lines are pairs of a style and a text, so that the same ones serve a terminal and a pipe.
"""

from __future__ import annotations

import textwrap
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
    made: list[Line] = [
        (_HEADING, _headline(told, where)),
        *_wrapped([("", _sentence(told, recent)), *_failing(told, recent), *_who(told)], width),
        ("", ""),
        *_wrapped(_rates(told, recent, width), width),
        ("", ""),
        *_blocked(told, width),
        *_wrapped(_cors(told), width),
        *_rules(told, width),
        *_origins(told, width),
        *_wrapped(_store(told), width),
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


def _blocked(told: dict[str, Any], width: int) -> list[Line]:
    if not told["blocked"]:
        return []
    head = _row(width, "BLOCKED BY CORS", ("times", 9), ("reason", -14), ("rule", -18))
    found = [(_HEADING, head)]
    for one in told["blocked"][:6]:
        cells = (str(one["count"]), 9), (one["reason"], -14), (one["rule"], -18)
        found.append(("red", _row(width, harmless(one["origin"] or "(none)"), *cells)))
    return [*found, ("", "")]


def _cors(told: dict[str, Any]) -> list[Line]:
    verdicts: dict[str, int] = {}
    for one in told["cors"]:
        verdicts[one["decision"]] = verdicts.get(one["decision"], 0) + one["count"]
    if not verdicts:
        return []
    said = "   ".join(f"{name} {count}" for name, count in verdicts.items())
    return [("", f"CORS       {said}"), ("", "")]


def _rules(told: dict[str, Any], width: int) -> list[Line]:
    columns = (("requests", 9), ("hits", 7), ("blocked", 7), ("p50", 9), ("p99", 9))
    found = [(_HEADING, _row(width, "RULE", *columns))]
    for one in sorted(told["rules"], key=lambda one: -one["requests"])[:12]:
        cells = (
            (str(one["requests"]), 9),
            (share(one["from_cache"], one["requests"]), 7),
            (str(one["blocked"]), 7),
            (ms(one["latency"]["p50"]), 9),
            (ms(one["latency"]["p99"]), 9),
        )
        found.append(("", _row(width, one["rule"], *cells)))
    return [*found, ("", "")]


def _origins(told: dict[str, Any], width: int) -> list[Line]:
    columns = (("asked", 9), ("failed", 16), ("p50", 9), ("p99", 9))
    found = [(_HEADING, _row(width, "ORIGIN", *columns))]
    for one in told["origins"]:
        cells = (
            (str(one["requests"]), 9),
            (str(one["failed"]), 16),
            (ms(one["latency"]["p50"]), 9),
            (ms(one["latency"]["p99"]), 9),
        )
        style = "yellow" if one["failed"] else ""
        found.append((style, _row(width, f"{one['origin']}  {one['url']}", *cells)))
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


def _row(width: int, name: str, *cells: tuple[str, int]) -> str:
    """A line of a table; *cells* are texts and their columns, below 0 to the left.

    What does not fit is left out whole: half a number would be another one.
    """
    columns = max(20, min(38, width - 54))
    line = f"  {name[:columns]:<{columns}}"
    for text, size in cells:
        cell = f"  {text:>{size}}" if size > 0 else f"  {text[:-size]:<{-size}}"
        if len(line) + len(cell.rstrip()) > width:
            break
        line += cell
    return line


def _wrapped(lines: Sequence[Line], width: int) -> list[Line]:
    return [
        (style, part)
        for style, text in lines
        for part in textwrap.wrap(text, max(20, width), subsequent_indent="  ") or [""]
    ]


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
