"""``vary-proxy explain``: what would become of a request, by which line, and why."""

from __future__ import annotations

import re
from typing import Any

import click

from vary_proxy.cli.options import configuration_options, loaded
from vary_proxy.core.message import Fields, Request

_URL = re.compile(r"(?:(?P<scheme>https?)://(?P<authority>[^/?#]*))?(?P<target>[^#]*)", re.S)


@click.command("explain")
@click.argument("method")
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A field.")
@configuration_options
@click.option("--live", is_flag=True, help="Also send it through the proxy given by --via.")
@click.option(
    "--via", metavar="URL", help="The running proxy, for --live. [default: where the file says]"
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    method: str,
    url: str,
    headers: tuple[str, ...],
    live: bool,
    via: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Explain a request: the rule and its line, the key, Vary in and out, lifetimes.

    URL is whole, or a path. Nothing is sent, unless --live is given.
    """
    from vary_proxy.observation import explaining

    request = _request(method, url, headers)
    configuration = loaded(given)
    told = explaining.explain(configuration, request)
    if live:
        answer = _ask(via or explaining.own_address(configuration.settings), request)
        if answer is None:
            return 3
        told["live"] = answer
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(explaining.text(told))
    return 0


def _request(method: str, url: str, headers: tuple[str, ...]) -> Request:
    found = _URL.fullmatch(url)
    target = (found["target"] or "/") if found else ""
    if found is None or not (target.startswith("/") or target == "*") or not url.isascii():
        raise click.UsageError(f"{url!r} is no URL; write http://host/path, or /path, in ASCII")
    if re.search(r"[\x00-\x20\x7f]", url) or not re.fullmatch(
        r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", method
    ):
        raise click.UsageError("a method or URL with characters that no request can carry")
    pairs = [_field(header) for header in headers]
    fields = Fields(tuple((name, value) for name, value in pairs if name != b"host"))
    hosts = [value for name, value in pairs if name == b"host"]
    authority = hosts[0] if hosts else (found["authority"] or "").encode()
    scheme = (found["scheme"] or "http").encode()
    return Request(method.encode(), target.encode(), fields, scheme, authority)


def _field(header: str) -> tuple[bytes, bytes]:
    name, colon, value = header.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise click.UsageError(f"{header!r} is no field; write -H 'Origin: https://a.example'")
    return name.lower().encode(), value.strip(" \t").encode("latin-1", "replace")


def _ask(proxy: str, request: Request) -> dict[str, Any] | None:
    """What the proxy answers; None, and a message, when it cannot be reached."""
    from vary_proxy.cli import live

    try:
        return live.ask(proxy, request)
    except (OSError, ValueError) as error:
        click.echo(f"cannot reach {proxy}: {live.why(error)}", err=True)
        return None
