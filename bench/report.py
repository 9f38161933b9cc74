"""Medians over rounds, ratios within a round, and the table that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench.load import Measure
from bench.scenarios import BY_NAME, Scenario

OURS = "vary-proxy"
PEERS = ("nginx", "varnish")
Rounds = Sequence[Mapping[str, Measure]]  # by server, for each round


def ratios(rounds: Rounds, peer: str) -> list[float]:
    """Our CPU per request as a share of *peer*'s, for each round that has both."""
    return [one[OURS].cpu_us / one[peer].cpu_us for one in rounds if peer in one]


def cpu_us(rounds: Rounds, server: str) -> float | None:
    """The median CPU per request in µs; None for a server that was not asked."""
    found = [one[server].cpu_us for one in rounds if server in one]
    return median(found) if found else None


def rate(rounds: Rounds, server: str) -> float | None:
    found = [one[server].rate for one in rounds if server in one]
    return median(found) if found else None


def table(results: Mapping[str, Rounds]) -> str:
    """Markdown: a row for each scenario."""
    rows = [
        "| scenario | CPU µs: vary-proxy | nginx | Varnish | / nginx | / Varnish | target | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [_row(BY_NAME[name], rounds, results) for name, rounds in results.items()]
    return "\n".join(rows)


def _row(scenario: Scenario, rounds: Rounds, results: Mapping[str, Rounds]) -> str:
    costs = [_number(cpu_us(rounds, name)) for name in (OURS, *PEERS)]
    shares = [_spread(ratios(rounds, peer)) for peer in PEERS]
    targets, met = [], []
    for peer, most in scenario.targets.items():
        share = _share(scenario, rounds, results, peer)
        shown = "" if peer != "itself" or share is None else f" (is {share:.2f})"
        against = scenario.beside if peer == "itself" else peer
        targets.append(f"≤ {most:g} × {against}{shown}")
        met.append("–" if share is None else "yes" if share <= most else "**no**")
    cells = (scenario.title, *costs, *shares, ", ".join(targets) or "–", ", ".join(met) or "–")
    return "| " + " | ".join(cells) + " |"


def _share(
    scenario: Scenario, rounds: Rounds, results: Mapping[str, Rounds], peer: str
) -> float | None:
    if peer != "itself":
        found = ratios(rounds, peer)
        return median(found) if found else None
    ours, other = cpu_us(rounds, OURS), cpu_us(results.get(scenario.beside, ()), OURS)
    return ours / other if ours is not None and other is not None else None


def rates(results: Mapping[str, Rounds]) -> str:
    """Markdown: requests/s, the median latency, and what reached the origin."""
    rows = [
        "| scenario | requests/s: vary-proxy | nginx | Varnish "
        "| median ms: vary-proxy | nginx | Varnish | our requests to the origin |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in results.items():
        speeds = [_whole(rate(rounds, server)) for server in (OURS, *PEERS)]
        waits = [_milliseconds(rounds, server) for server in (OURS, *PEERS)]
        share = median(one[OURS].origin_share for one in rounds)
        cells = (BY_NAME[name].title, *speeds, *waits, f"{share:.1%}")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _milliseconds(rounds: Rounds, server: str) -> str:
    found = [one[server].median_us for one in rounds if server in one]
    return f"{median(found) / 1000:.2f}" if found else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def _spread(values: Sequence[float]) -> str:
    """The median, and the least and the most of all rounds."""
    if not values:
        return "–"
    return f"**{median(values):.2f}** ({min(values):.2f}–{max(values):.2f})"
