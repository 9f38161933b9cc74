"""``vary-proxy stats``: what a running proxy has counted."""

from __future__ import annotations

from typing import Any

import click

from vary_proxy.cli import control, looking


@click.command("stats")
@control.admin_option
@click.option("--json", "as_json", is_flag=True, help="As JSON; it has much more.")
def command(admin: str, as_json: bool) -> int:
    """Show hits, latency, what was done to Vary, and who is blocked, since the start."""
    told = control.done(*control.ask(admin, "GET", "/stats"))
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
    else:
        click.echo("\n".join(_lines(told)))
    return 0


def _lines(told: dict[str, Any]) -> list[str]:
    totals, latency, store = told["totals"], told["latency"], told["store"]
    lines = [
        f"requests   {totals['requests']}, {_share(totals['from_cache'], totals['requests'])}"
        " answered without the origin",
        f"latency    {_ms(latency['cache']['p50'])} from the cache, "
        f"{_ms(latency['origin']['p50'])} from the origin (medians)",
        f"Vary       {totals['repaired']} of {totals['judged']} origin responses repaired",
        f"store      {store['stored_responses']} stored responses, {store['bytes'] / 2**20:.1f} "
        f"of {store['max'] / 2**20:.0f} MiB in memory",
        f"blocked    {totals['blocked']} by CORS",
    ]
    for one in told["blocked"][:10]:
        origin = one["origin"] or "(none)"
        shown = looking.harmless(origin)
        lines.append(f"  {one['count']:>6}  {shown}  {one['reason']}  [{one['rule']}]")
    return lines


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.3g} ms"
