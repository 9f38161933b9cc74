"""``vary-proxy version``."""

from __future__ import annotations

import click

from vary_proxy import __version__


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="With Python's and the packages' versions.")
def command(as_json: bool) -> None:
    """Print the version."""
    if not as_json:
        click.echo(f"vary-proxy {__version__}")
        return
    import json
    import platform

    known = {"vary-proxy": __version__, "python": platform.python_version()}
    click.echo(json.dumps(known | _packages(), indent=2))


def _packages() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("aiohttp", "aiocache", "redis", "uvloop"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
