"""``vary-proxy reload``: let a running proxy read its configuration again."""

from __future__ import annotations

import click

from vary_proxy.cli import control


@click.command("reload")
@control.admin_option
def command(admin: str) -> int:
    """Read the configuration again. One that is wrong changes nothing.

    Exit status: 0 taken, 1 refused, and why, or not heard by a worker, 2 usage, 3 not reached.
    """
    status, told = control.ask(admin, "POST", "/reload", body={})
    if status not in (200, 422):
        control.done(status, told)
    for problem in told["problems"]:
        click.echo(problem, err=True)
    for warning in told["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    for path in told["needs_restart"]:
        click.echo(f"{path} holds after a restart", err=True)
    missing = told["missing"]
    if missing:
        click.echo(_away(missing), err=True)
    click.echo("reloaded" if told["ok"] else "not reloaded; the old configuration goes on")
    return 0 if told["ok"] and not missing else 1


def _away(count: int) -> str:
    if count == 1:
        return "1 worker does not answer; it reloads on coming back"
    return f"{count} workers do not answer; they reload on coming back"
