"""``vary-proxy purge``: by URL, tag, prefix, or everything."""

from __future__ import annotations

from typing import Any

import click

from vary_proxy.cli import control


@click.command("purge")
@click.argument("url", required=False)
@click.option(
    "--tag", metavar="TAG", help="What bears it in Cache-Tag, Surrogate-Key, xkey or Cache-Groups."
)
@click.option("--prefix", metavar="URL", help="Every URL that begins so; /path is on every host.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--soft", is_flag=True, help="Mark stale: to be validated before the next use.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Only the variants of URL that a request with this field would get.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@control.admin_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    url: str | None,
    tag: str | None,
    prefix: str | None,
    everything: bool,
    soft: bool,
    headers: tuple[str, ...],
    dry_run: bool,
    admin: str,
    as_json: bool,
) -> int:
    """Purge a URL with all its variants, or what the options name.

    Exit status: 0 done, also where nothing was stored; 1 not done yet; 2 usage; 3 not reached.
    """
    wanted: dict[str, Any] = {"url": url, "tag": tag, "prefix": prefix, "all": everything}
    named = {key: value for key, value in wanted.items() if value}
    if len(named) != 1:
        raise click.UsageError("name one: URL, --tag, --prefix or --all")
    fields = dict(map(_field, headers))
    body = {**named, "headers": fields, "soft": soft, "dry_run": dry_run}
    told = control.done(*control.ask(admin, "POST", "/purge", body=body))
    if as_json:
        import json

        click.echo(json.dumps(told))
    else:
        click.echo(sentence(told))
    if not told["done"]:
        click.echo("the shared store is away; it is purged as soon as it is back", err=True)
    return 0 if told["done"] else 1


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{header!r} is no field; write -H 'Origin: https://a.example'")
    return name.strip(), value.strip(" \t")


def sentence(told: dict[str, Any]) -> str:
    """What was purged, in words."""
    did = "marked stale" if told["soft"] else "purged"
    did = f"would be {did}" if told["dry_run"] else did
    resources, responses = told["resources"], told["stored_responses"]
    if resources is None:
        return f"{did}: {told['value'] or 'everything'}"
    if responses is None:
        return f"{did}: {_some(resources, 'resource')}"
    return f"{did}: {_some(responses, 'stored response')} of {_some(resources, 'resource')}"


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
