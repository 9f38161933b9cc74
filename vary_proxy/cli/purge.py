"""``vary-proxy purge``: by URL, tag, prefix or pattern, or everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from vary_proxy.cli import control


@click.command("purge")
@click.argument("url", required=False)
@click.option(
    "--tag", metavar="TAG", help="What bears it in Cache-Tag, Surrogate-Key, xkey or Cache-Groups."
)
@click.option("--prefix", metavar="URL", help="Every URL that begins so; /path is on every host.")
@click.option(
    "--pattern",
    metavar="GLOB",
    help="Every URL that is so: 'https://host/img/*.png', or '/img/**' on every host.",
)
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
    pattern: str | None,
    everything: bool,
    soft: bool,
    headers: tuple[str, ...],
    dry_run: bool,
    admin: str,
    as_json: bool,
) -> int:
    """Purge a URL with all its variants, or what the options name.

    In a pattern * stays within one segment of the path, ** does not, ? is one character; it is
    held against the path, and against the path with its query.

    Exit status: 0 done, also where nothing was stored; 1 not done yet; 2 usage; 3 not reached;
    130 interrupted, after saying what was done.
    """
    wanted: dict[str, Any] = {
        "url": url, "tag": tag, "prefix": prefix, "pattern": pattern, "all": everything,
    }  # fmt: skip
    named = {key: value for key, value in wanted.items() if value}
    if len(named) != 1:
        raise click.UsageError("name one: URL, --tag, --prefix, --pattern or --all")
    fields = dict(map(_field, headers))
    body = {**named, "headers": fields, "soft": soft, "dry_run": dry_run}
    told = control.done(*_followed(admin, body))
    if as_json:
        import json

        click.echo(json.dumps(told))
    else:
        click.echo(sentence(told))
    if not told["done"]:
        click.echo(_owed(told), err=True)
    return 0 if told["done"] else 1


def _followed(admin: str, body: dict[str, Any]) -> tuple[int, Any]:
    """What came of it; a bar on stderr, where that is a terminal, says how far it is."""
    last = {"purged": 0, "looked_at": 0}
    with _Bar() as show:

        def heard(line: dict[str, Any]) -> None:
            last.update(line)
            show(line)

        try:
            return control.follow(admin, "/purge", body, heard)
        except KeyboardInterrupt:
            pass
    outcome = sentence({**body, "resources": last["purged"], "stored_responses": None})
    looked_at = _some(last["looked_at"], "resource")
    click.echo(f"interrupted; {outcome}, of {looked_at} looked at", err=True)
    raise KeyboardInterrupt


class _Bar:
    def __init__(self) -> None:
        self._progress: Any = None

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        return self._show if sys.stderr.isatty() else lambda line: None

    def _show(self, line: dict[str, Any]) -> None:
        if self._progress is None:
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[counted]}"),
            )
            console = Console(stderr=True)
            self._progress = progress.Progress(*columns, console=console, transient=True)
            self._progress.add_task("purging", total=None, counted="")
            self._progress.start()
        fraction = line["fraction"]
        self._progress.update(
            self._progress.task_ids[0],
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            counted=f"{line['purged']} of {line['looked_at']} looked at",
        )

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _owed(told: dict[str, Any]) -> str:
    missing = told["missing"]
    if missing:
        does = "does not answer; it purges" if missing == 1 else "do not answer; they purge"
        return f"{_some(missing, 'worker')} {does} on coming back"
    return "the shared store is away; it is purged as soon as it is back"


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
