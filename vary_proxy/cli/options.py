"""What the commands that read a configuration share: its file, and the flags above it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from vary_proxy.config import Loaded, load, loads
from vary_proxy.configuration.overrides import ORIGIN, Override, from_flag
from vary_proxy.configuration.problems import ConfigError, Problem

F = TypeVar("F", bound=Callable[..., Any])

LOOKED_FOR = ("vary-proxy.yaml", "/etc/vary-proxy/vary-proxy.yaml")

_NOWHERE = f"no configuration: there is neither {LOOKED_FOR[0]} here nor {LOOKED_FOR[1]}"
_REMEDY = "name the origin by --origin URL, a file by -c FILE, or begin one with vary-proxy init"

_OPTIONS = (
    click.option(
        "-c", "--config", "path", metavar="FILE", envvar="VARY_PROXY_CONFIG",
        help=f"The configuration. [default: {LOOKED_FOR[0]}, or {LOOKED_FOR[1]}, if there]",
    ),
    click.option("--origin", multiple=True, metavar="URL", help="The origin; needs no file."),
    click.option("--listen", multiple=True, metavar="ADDR", help="host:port or unix:/path."),
    click.option("--store", metavar="URL", help="memory, or where the shared store is."),
    click.option("--workers", metavar="N", help="Processes that share the port, or auto."),
    click.option(
        "--cors-origins", multiple=True, metavar="ORIGIN",
        help="Write the CORS fields ourselves, for this origin; may be repeated.",
    ),
    click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE",
        help="Any value, by its path: --set store.memory.max=1GiB.",
    ),
)  # fmt: skip


def configuration_options(command: F) -> F:
    """Adds the options whose values ``loaded`` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def loaded(given: Mapping[str, Any]) -> Loaded:
    """The configuration that the options *given* ask for; warnings are told.

    Raises click.exceptions.Exit once the problems were printed: 2 when only flags are wrong.
    """
    path = file_of(given)
    try:
        made = load(path, overrides(given), os.environ)
    except ConfigError as error:
        told = error if path is not None else _without_file(error)
        raise click.exceptions.Exit(tell(told)) from None
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    return made


def _without_file(error: ConfigError) -> ConfigError:
    """*error*, of no file at all, with what was looked for where an origin is missing."""
    missing = Problem("", "", _NOWHERE, _REMEDY)
    return ConfigError(missing if one.path == "origins" else one for one in error.problems)


def rereader(given: Mapping[str, Any], found: Loaded) -> Callable[..., Loaded]:
    """What reads *found* again, as it is by then, under the same flags. Raises ConfigError.

    It may be given the text to be read instead of the file's.
    """

    def again(text: bytes | None = None) -> Loaded:
        if text is None or found.path is None:
            return load(found.path, overrides(given), os.environ)
        return loads(text, str(found.path), overrides(given), os.environ)

    return again


def tell(error: ConfigError) -> int:
    """Print the problems, one a line; the exit status that they call for."""
    for problem in error.problems:
        click.echo(str(problem), err=True)
    return 2 if all(problem.where.startswith("--") for problem in error.problems) else 1


def overrides(given: Mapping[str, Any]) -> list[Override]:
    """What the flags set, in their order. Raises ConfigError."""
    read = [from_flag(assignment) for assignment in given.get("assignments", ())]
    wrong = [one for one in read if isinstance(one, Problem)]
    if wrong:
        raise ConfigError(wrong)
    policy = _cors(given.get("cors_origins") or ())  # before --set, which may say more of it
    return policy + [one for one in read if isinstance(one, Override)] + _named(given)


def _named(given: Mapping[str, Any]) -> list[Override]:
    found: list[Override] = []
    if urls := given.get("origin"):
        key = "url" if len(urls) == 1 else "urls"
        found.append(Override((*ORIGIN, key), ",".join(urls), "--origin"))
    if addresses := given.get("listen"):
        found.append(Override(("listen",), ",".join(addresses), "--listen"))
    if given.get("workers"):
        found.append(Override(("server", "workers"), given["workers"], "--workers"))
    if store := given.get("store"):
        shared = "://" in store
        found.append(Override(("store", "type"), "redis" if shared else store, "--store"))
        found += [Override(("store", "url"), store, "--store")] if shared else []
    return found


def _cors(origins: tuple[str, ...]) -> list[Override]:
    """The policy that --cors-origins makes: ours to write, for every request.

    Readers of ranges (video, PMTiles, GeoTIFF) get along with it, and browsers keep preflights.
    """
    listed = [one for text in origins for one in _listed(text)]
    if not listed:
        return []
    said: list[tuple[tuple[str | int, ...], str]] = [
        (("cors", "flags", "max_age"), "24h"),
        (("defaults", "cors", "policy"), "flags"),
        (("defaults", "cors", "mode"), "override"),
        (("defaults", "preflight"), "synthesize"),
    ]
    for key, values in (("origins", listed), ("headers", _ASKED), ("expose", _READ)):
        said += [(("cors", "flags", key, at), one) for at, one in enumerate(values)]
    return [Override(path, text, "--cors-origins") for path, text in said]


_ASKED = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
_READ = ("ETag", "Content-Range", "Content-Length", "Accept-Ranges", "Last-Modified")


def _listed(text: str) -> list[str]:
    """Origins separated by commas; a pattern, which may hold commas itself, stands alone."""
    return [text] if text.startswith("~") else [one for one in text.split(",") if one]


def file_of(given: Mapping[str, Any]) -> str | None:
    """The file to read; None where there is none, or flags stand in for it."""
    if given.get("path") or given.get("origin"):
        return given.get("path")
    return next(filter(is_there, LOOKED_FOR), None)


def is_there(name: str) -> bool:
    """Whether a file, or what nobody but its reader can tell, has that *name*."""
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a directory that is closed to us: to read it says why
        return True
