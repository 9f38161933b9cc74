"""``vary-proxy schema``."""

from __future__ import annotations

import click


@click.command("schema")
@click.option("--table", is_flag=True, help="For people: every key, its values, its default.")
def command(table: bool) -> None:
    """Print the JSON Schema of the configuration.

    Editors complete and check by it: save it beside the file, and begin the file with
    `# yaml-language-server: $schema=./vary-proxy.schema.json`.
    """
    if table:
        from vary_proxy.configuration.reference import markdown

        click.echo(markdown())
        return
    import json

    from vary_proxy.configuration.schema import schema

    click.echo(json.dumps(schema(), indent=2))
