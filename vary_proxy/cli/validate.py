"""``vary-proxy validate``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vary_proxy.cli.options import LOOKED_FOR, file_of, tell
from vary_proxy.config import Loaded, load, loads
from vary_proxy.configuration.problems import ConfigError, Problem
from vary_proxy.configuration.yaml12 import MAX_BYTES

_STDIN = "stdin"


@click.command("validate")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-c", "--config", "path", metavar="FILE", envvar="VARY_PROXY_CONFIG")
@click.option("--json", "as_json", is_flag=True, help="Every problem as JSON, on stdout.")
def command(files: tuple[str, ...], path: str | None, as_json: bool) -> int:
    """Check configuration files; every error at once, with its line and its remedy.

    Without FILE, the one that run would read; - is stdin. Variables of the environment count
    as they would for run.
    """
    found_by_itself = file_of({"path": path})
    if not files and found_by_itself is None:
        raise click.UsageError(f"there is no file {' and no '.join(LOOKED_FOR)}; name one")
    names = files or (str(found_by_itself),)
    missing = [name for name in names if name != "-" and _is_missing(name)]
    if missing:
        raise click.UsageError(f"there is no file {missing[0]}")
    found = {_STDIN if name == "-" else name: _problems(name) for name in names}
    if as_json:
        click.echo(_json(found))
    else:
        _print(found)
    return 1 if any(found.values()) else 0


def _is_missing(name: str) -> bool:
    try:
        os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it cannot be looked at: to read it says why
        pass
    return False


def _problems(name: str) -> tuple[Problem, ...]:
    try:
        configuration = _loaded(name)
    except ConfigError as error:
        return error.problems
    for warning in (*configuration.warnings, *_absent(configuration)):
        click.echo(f"warning: {warning}", err=True)
    return ()


def _loaded(name: str) -> Loaded:
    if name != "-":
        return load(name, (), os.environ)
    return loads(sys.stdin.buffer.read(MAX_BYTES + 1), _STDIN, (), os.environ)


def _absent(configuration: Loaded) -> Iterator[str]:
    """The files of certificates that are not there: run would not start."""
    settings, beside = configuration.settings, (configuration.path or Path()).parent
    said: list[tuple[str, Any]] = [
        *((f"listen[{at}].tls", one.tls) for at, one in enumerate(settings.listen)),
        *((f"origins.{name}.tls", one.tls) for name, one in settings.origins.items()),
    ]
    for path, tls in said:
        for key in ("ca", "cert", "key"):
            file = getattr(tls, key, None)
            if file and not (beside / file).is_file():
                where = configuration.provenance.get(f"{path}.{key}", "")
                what = f"there is no file {beside / file}; run will not start without it"
                yield str(Problem(where, f"{path}.{key}", what))


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
