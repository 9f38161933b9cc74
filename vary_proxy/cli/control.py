"""One request to the admin listener of a running proxy, for the commands that control it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from vary_proxy.cli import live

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT = "http://127.0.0.1:8082"
TOKEN = "VARY_PROXY_ADMIN_TOKEN"  # noqa: S105  its name, not the token
UNREACHABLE = 3

_OPTION = click.option(
    "--admin", metavar="URL", envvar="VARY_PROXY_ADMIN", default=DEFAULT, show_default=True,
    help=f"The admin listener; the token is taken from ${TOKEN}.",
)  # fmt: skip


def admin_option(command: F) -> F:
    """Adds --admin."""
    return _OPTION(command)


def ask(
    admin: str,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> tuple[int, Any]:
    """Status and JSON of the answer.

    Raises click.exceptions.Exit, after a message: 3 when it cannot be reached or speaks another
    language, 1 when it refuses the token.
    """
    headers = {"Host": "localhost"} if admin.startswith("unix:") else {}
    if token := os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        status, text = live.exchange(admin, method, target, headers, data)
        told = json.loads(text)
    except (OSError, ValueError) as error:
        click.echo(f"cannot reach {admin}: {error}", err=True)
        raise click.exceptions.Exit(UNREACHABLE) from None
    if status in (401, 403):
        click.echo(f"refused by {admin}: {said(told)}; set {TOKEN}", err=True)
        raise click.exceptions.Exit(1)
    return status, told


def done(status: int, told: Any) -> Any:
    """*told* by an answer that is good. Raises click.exceptions.Exit, after a message."""
    if status != 200:
        click.echo(said(told), err=True)
        raise click.exceptions.Exit(2 if status == 400 else 1)
    return told


def said(told: Any) -> str:
    """What an answer says is wrong."""
    error = told.get("error") if isinstance(told, dict) else None
    return str(error or told)
