"""``vary-proxy validate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from vary_proxy.cli.options import file_of, tell
from vary_proxy.config import load
from vary_proxy.configuration.problems import ConfigError, Problem


@click.command("validate")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-c", "--config", "path", metavar="FILE", envvar="VARY_PROXY_CONFIG")
@click.option("--json", "as_json", is_flag=True, help="Every problem as JSON, on stdout.")
def command(files: tuple[str, ...], path: str | None, as_json: bool) -> int:
    """Check configuration files; every error at once, with its line and its remedy.

    Without FILE, the one that run would read. Variables of the environment count as they
    would for run.
    """
    names = files or (file_of({"path": path}) or "vary-proxy.yaml",)
    missing = [name for name in names if not Path(name).exists()]
    if missing:
        raise click.UsageError(f"there is no file {missing[0]}")
    found = {name: _problems(name) for name in names}
    if as_json:
        click.echo(_json(found))
    else:
        _print(found)
    return 1 if any(found.values()) else 0


def _problems(name: str) -> tuple[Problem, ...]:
    try:
        configuration = load(name, (), os.environ)
    except ConfigError as error:
        return error.problems
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    return ()


def _print(found: dict[str, tuple[Problem, ...]]) -> None:
    for name, problems in found.items():
        tell(ConfigError(problems))
        many = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        click.echo(f"{name}: {many}" if problems else f"{name}: valid", err=bool(problems))


def _json(found: dict[str, tuple[Problem, ...]]) -> str:
    import json

    def written(problem: Problem) -> dict[str, Any]:
        return {key: getattr(problem, key) for key in ("where", "path", "what", "remedy")}

    files = [
        {"file": name, "valid": not problems, "problems": list(map(written, problems))}
        for name, problems in found.items()
    ]
    return json.dumps({"files": files}, indent=2)
