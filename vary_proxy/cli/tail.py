"""``vary-proxy tail``: the request log of a running proxy, as it is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from vary_proxy.cli import control, looking

_SECONDS = 60.0  # without a sign of life
_COLORS = {"2": "green", "3": "cyan", "4": "yellow", "5": "red"}
_STATUS = re.compile(r"[1-5]([0-9][0-9]|xx)", re.I)


@click.command("tail")
@click.option("--rule", "rules", multiple=True, metavar="NAME", help="Only what this rule served.")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", help="Only these: 404, or 5xx."
)
@click.option(
    "--cache", "caches", multiple=True, metavar="VERDICT",
    type=click.Choice(
        ("hit", "miss", "stale", "validated", "collapsed", "pass", "error", "edge")
    ),
    help="Only these: hit, miss, stale, validated, collapsed, pass, error or edge.",
)  # fmt: skip
@control.admin_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line.")
def command(
    rules: tuple[str, ...],
    statuses: tuple[str, ...],
    caches: tuple[str, ...],
    admin: str,
    as_json: bool,
) -> int:
    """Show requests as they are answered, by all workers; each option may be repeated.

    Secrets are masked. Who reads too slowly misses lines, and is told how many.
    """
    wrong = next((one for one in statuses if not _STATUS.fullmatch(one)), None)
    if wrong is not None:
        raise click.UsageError(f"{wrong!r} is no status; write 404, or 5xx")
    query = [("rule", one) for one in rules] + [("status", one) for one in statuses]
    path = "/tail?" + urlencode(query + [("cache", one) for one in caches])
    try:
        for line, told in _lines(admin, path):
            _tell(line, told, as_json)
    except looking.Refused as refused:
        click.echo(str(refused), err=True)
        return refused.status
    click.echo(f"{admin} has ended the stream", err=True)
    return control.UNREACHABLE


def _lines(admin: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with looking.stream(admin, path, _SECONDS) as response:
        while line := response.readline():
            if text := line.decode("utf-8", "replace").strip():
                yield text, control.read(text)


def _tell(line: str, told: dict[str, Any], as_json: bool) -> None:
    if "status" not in told:
        click.echo(f"{told['lost']} lines lost: they are read too slowly", err=True)
    if as_json:
        click.echo(line)
    elif "status" in told:
        click.echo(_shown(told), color=False if os.environ.get("NO_COLOR") else None)


def _shown(told: dict[str, Any]) -> str:
    status = str(told["status"])
    seconds = told["seconds"]
    took = f"{seconds * 1000:.0f} ms" if seconds else "–"
    rest = [f"[{told['rule']}]"] if told["rule"] else []
    rest += [told["reason"]] if told.get("reason") else []
    rest += [f"CORS: {told['cors_reason']}"] if told.get("cors_reason") else []
    if told.get("vary_added"):
        rest.append(f"Vary + {told['vary_added']}")
    line = (
        f"{told['time'][11:23]}  {click.style(status, fg=_COLORS.get(status[0]))} "
        f"{told['cache']:<9} {took:>8}  {told['method']} "
    )
    return line + looking.harmless(f"{told['host']}{told['path']}  {'  '.join(rest)}")
