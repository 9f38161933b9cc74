"""One request to the admin listener of a running proxy, for the commands that control it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlencode

import click

from vary_proxy.cli import live

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT = "http://127.0.0.1:8082"
TOKEN = "VARY_PROXY_ADMIN_TOKEN"  # noqa: S105  its name, not the token
UNREACHABLE = 3
_STRANGER = "what answers there is no admin listener of vary-proxy"
STREAM = "application/x-ndjson"
PATIENCE = 60.0  # seconds without a line

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
    headers, data = _head(admin, body)
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        status, text = live.exchange(admin, method, target, headers, data)
        told = read(text)
    except (OSError, ValueError) as error:
        raise _unreachable(admin, error) from None
    return _let_in(admin, status, told), told


class Told(dict[str, Any]):
    """What was told; where something of it is missing, somebody else has told it."""

    def __missing__(self, key: str) -> NoReturn:
        click.echo(f"{_STRANGER} (it says nothing of {key}); say where it is by --admin", err=True)
        raise click.exceptions.Exit(UNREACHABLE)


def read(text: str | bytes) -> Told:
    """*text* as what an admin listener told. Raises ValueError."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError(_STRANGER)
    return Told(told)


def follow(
    admin: str, path: str, body: Mapping[str, Any], heard: Callable[[Any], None]
) -> tuple[int, Any]:
    """As ``ask``, of what takes its time: *heard* is told of every line but the last."""
    headers, data = _head(admin, body)
    headers["Accept"] = STREAM
    try:
        connection = live.connect(admin, PATIENCE)
        try:
            connection.request("POST", path, data, headers)
            response = connection.getresponse()
            told: Any = None
            for line in response:
                if told is not None:
                    heard(told)
                told = read(line)
            if told is None:
                raise ValueError("it broke off")
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreachable(admin, error) from None
    status = _let_in(admin, response.status, told)
    return (503 if status == 200 and "error" in told else status), told


def _head(admin: str, body: Mapping[str, Any] | None) -> tuple[dict[str, str], bytes | None]:
    headers = fields(admin)
    if body is None:
        return headers, None
    headers["Content-Type"] = "application/json"
    return headers, json.dumps(body).encode()


def fields(admin: str) -> dict[str, str]:
    """What every request to *admin* has. Raises click.UsageError for a token that cannot be."""
    headers = {"Host": "localhost"} if admin.startswith("unix:") else {}
    if token := os.environ.get(TOKEN):
        if not token.isascii() or not token.isprintable():
            raise click.UsageError(f"{TOKEN} holds what no field can carry: a line end, perhaps")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _unreachable(admin: str, error: Exception) -> click.exceptions.Exit:
    click.echo(unreachable(admin, error), err=True)
    return click.exceptions.Exit(UNREACHABLE)


def unreachable(admin: str, error: Exception) -> str:
    """That *admin* was not reached, why, and what to do."""
    remedy = "run the proxy with --set admin.address=127.0.0.1:8082, or say where by --admin"
    return f"cannot reach {admin}: {live.why(error)}; {remedy}"


def _let_in(admin: str, status: int, told: Any) -> int:
    if status in (401, 403):
        click.echo(f"refused by {admin}: {said(told)}; set {TOKEN}", err=True)
        raise click.exceptions.Exit(1)
    return status


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
