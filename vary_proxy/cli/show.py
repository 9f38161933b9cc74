"""``vary-proxy config show``."""

from __future__ import annotations

from typing import Any

import click

from vary_proxy.cli.groups import Known
from vary_proxy.cli.options import configuration_options, loaded


@click.group("config", cls=Known)
def command() -> None:
    """The effective configuration."""


@command.command("show", short_help="Every value that holds, and where it came from.")
@configuration_options
@click.option("--json", "as_json", is_flag=True, help="As JSON: settings, and sources by path.")
def show(as_json: bool, **given: Any) -> None:
    """Show every value that holds, and where it came from; secrets are masked."""
    from vary_proxy.configuration import showing

    found = loaded(given)
    tree = showing.tree(found.settings, found.private)
    if not as_json:
        click.echo(showing.text(tree, found.provenance))
        return
    import json

    sources = showing.sources(tree, found.provenance)
    click.echo(json.dumps({"settings": tree, "sources": sources}, indent=2))
