"""``vary-proxy doctor``: what a live server's CORS, Vary and caching have wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

_LEVELS = ("info", "warning", "error", "critical", "never")
_OPTIONS = (
    click.option(
        "--origin-header", "origins", multiple=True, metavar="ORIGIN",
        help="An origin that is to be allowed; a second one is compared with it.",
    ),
    click.option(
        "--via", metavar="PROXY", envvar="VARY_PROXY_VIA",
        help="Ask also through the proxy at http://host:port; what it says is what counts.",
    ),
    click.option(
        "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
        help="A field of every request but preflights; its value is not shown.",
    ),
    click.option("--json", "as_json", is_flag=True, help="As JSON, on stdout."),
    click.option("--junit", metavar="FILE", help="Also as JUnit XML; - is stdout."),
    click.option("--html", metavar="FILE", help="Also as a page that loads nothing; - is stdout."),
    click.option(
        "--fail-on", "threshold", type=click.Choice(_LEVELS), default="error", show_default=True,
        help="The least severity that makes the exit status 1.",
    ),
    click.option("--timeout", type=click.FloatRange(0.1, 120), default=10.0, show_default=True,
                 metavar="SECONDS", help="For one answer."),
    click.option("--cacert", metavar="FILE", help="Certificates to trust instead of the system's."),
    click.option("--insecure", is_flag=True, help="Believe any certificate."),
    click.option("--admin", metavar="URL", help="The proxy's admin listener: tell whom it blocks."),
    click.option("-v", "--verbose", is_flag=True, help="With every field, and all the proof."),
)  # fmt: skip


def _with_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("doctor")
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@_with_options
def command(
    urls: tuple[str, ...],
    origins: tuple[str, ...],
    via: str | None,
    headers: tuple[str, ...],
    **given: Any,
) -> int:
    """Examine what a live server says to whom, and what caches will make of it.

    It is asked at most 36 times about each URL, one request after another: plain, with several
    origins and look-alikes, conditional, for a part, for what is not there, and preflights;
    never by a method that changes something. A redirect is not followed, but its target is asked
    too where that is on the same server. With several URLs, errors are compared with what the
    server says where all is well.

    Exit status: 0 nothing bad, 1 something is, 2 usage, 3 a URL could not be reached.
    """
    from vary_proxy.doctor import examining
    from vary_proxy.doctor.asking import Manner
    from vary_proxy.doctor.masking import Masks
    from vary_proxy.doctor.report import Asked, report

    if [given["junit"], given["html"], "-" if given["as_json"] else None].count("-") > 1:
        raise click.UsageError("two forms cannot both go to stdout; name a file for one")
    fields = tuple(map(_field, headers))
    blocked = _blocked(given["admin"])
    manner = Manner(fields, given["cacert"], not given["insecure"], given["timeout"])
    named = tuple(map(_origin, origins))
    masks = Masks.of(fields)
    asking = examining.examine(urls, named, manner, via, lambda one: _progress(masks.text(one)))
    try:
        examined = asyncio.run(asking)
    except ValueError as error:
        raise click.UsageError(masks.text(str(error))) from None
    told = report(examined, Asked(given["threshold"], masks, blocked))
    if not _write(told, given):
        return 1
    return 3 if told["unreached"] else 1 if told["failed"] else 0


def _write(told: dict[str, Any], given: dict[str, Any]) -> bool:
    """Every form that was asked for; False, after a message, when a file cannot be written."""
    from vary_proxy.doctor import html, junit

    forms, written = (("junit", junit.document), ("html", html.document)), True
    for key, document in forms:
        if given[key] not in (None, "-"):
            try:
                Path(given[key]).write_text(document(told), encoding="utf-8")
            except OSError as error:
                click.echo(f"{given[key]}: cannot write it: {error.strerror}", err=True)
                written = False  # what was found is told all the same
    out = next((document for key, document in forms if given[key] == "-"), None)
    if given["as_json"]:
        click.echo(json.dumps(told, indent=2))
    elif out is not None:
        click.echo(out(told), nl=False)
    else:
        _print(told, given["verbose"])
    return written


def _print(told: dict[str, Any], verbose: bool) -> None:
    from vary_proxy.doctor import text

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    paint = _painted if colour else text.plain
    for line in text.lines(told, paint, verbose=verbose):
        click.echo(line, color=colour)


_STYLES: dict[str, dict[str, Any]] = {
    "critical": {"fg": "magenta", "bold": True},
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "info": {"fg": "blue"},
    "good": {"fg": "green"},
    "head": {"bold": True},
    "dim": {"dim": True},
    "code": {"fg": "cyan"},
}


def _painted(text: str, style: str) -> str:
    return click.style(text, **_STYLES[style])


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"asking {what} …", err=True)


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    value = value.strip(" \t")
    if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise click.UsageError("-H takes a field; write -H 'Authorization: Bearer …'")
    if not value.isprintable():
        raise click.UsageError(f"-H {name}: a value with characters that no field can carry")
    if name.lower() in _OURS:
        remedy = "use --origin-header" if name.lower() == "origin" else "leave it out"
        raise click.UsageError(f"-H {name}: doctor sets it by itself; {remedy}")
    return name, value


_OURS = frozenset(("origin", "if-none-match", "if-modified-since", "range", "connection",
                   "content-length", "transfer-encoding", "accept-encoding"))  # fmt: skip


def _origin(text: str) -> str:
    from vary_proxy.core.corsorigins import PolicyError, exact_origin

    try:
        return exact_origin(text, ("--origin-header",)).decode()
    except PolicyError as error:
        raise click.UsageError(f"--origin-header: {error.what}; {error.remedy}") from None


def _blocked(admin: str | None) -> tuple[dict[str, Any], ...]:
    """Whom the proxy has blocked, most often first."""
    if admin is None:
        return ()
    from vary_proxy.cli import control

    told = control.done(*control.ask(admin, "GET", "/stats"))
    return tuple(_dicts(told.get("blocked")))


def _dicts(given: Any) -> Iterator[dict[str, Any]]:
    for one in given if isinstance(given, list) else ():
        if isinstance(one, dict) and isinstance(one.get("count"), int):
            yield one
