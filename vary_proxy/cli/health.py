"""``vary-proxy health``: ask the probes listener, for HEALTHCHECK and scripts."""

from __future__ import annotations

from typing import Any

import click

from vary_proxy.cli import live
from vary_proxy.cli.options import configuration_options, file_of, loaded


@click.command("health")
@click.option("--ready", is_flag=True, help="Also that traffic is welcome: not while draining.")
@click.option("--probes", metavar="URL", help="The probes. [default: where the file says]")
@configuration_options
def command(ready: bool, probes: str | None, **given: Any) -> int:
    """Ask a running proxy on this machine whether it is alive.

    Exit status: 0 yes, 1 no, 2 usage, 3 not reached.
    """
    where = probes or _listener(given)
    try:
        status, text = live.exchange(where, "GET", "/readyz" if ready else "/livez", {}, None)
    except (OSError, ValueError) as error:
        click.echo(f"cannot reach {where}: {live.why(error)}; is the proxy running?", err=True)
        return 3
    click.echo(text.strip())
    return 0 if status == 200 else 1


def _listener(given: dict[str, Any]) -> str:
    from vary_proxy.observation.explaining import reachable

    if file_of(given) is None and not given["origin"]:
        given = given | {"origin": ("http://127.0.0.1",)}  # what it stands before is not asked
    address = loaded(given).settings.probes.address
    if address is None:
        what = "no probes listener is configured"
        raise click.UsageError(f"{what}; set probes.address, or say where it is by --probes URL")
    return reachable(address)
