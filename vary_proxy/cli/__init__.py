"""The command line. Each family of verbs is a module of its own, imported when it is asked for.

Results go to stdout, messages to stderr. Exit status: 0 done, 1 the thing asked about is bad,
2 usage, 3 could not reach it, 130 interrupted; ``run`` adds 4, the drain timed out.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from vary_proxy.cli.groups import Known

_VERBS = {
    "run": ("run", "Serve: one origin by flag, or all that a file says."),
    "demo": ("demo", "Show the canvas bug, and its cure, in your own browser."),
    "init": ("init", "Write a commented configuration to start from."),
    "import": ("importing", "Write a configuration from that of S3, nginx or an Ingress."),
    "validate": ("validate", "Check a configuration file; every error at once."),
    "config": ("show", "Show the effective configuration, and where each value came from."),
    "schema": ("schema", "Print the JSON Schema of the configuration, for editors."),
    "explain": ("explain", "Say what would become of a request, and by which line of the file."),
    "doctor": ("doctor", "Examine what a live server's CORS, Vary and caching have wrong."),
    "purge": ("purge", "Take a URL, a tag, a prefix, a pattern or everything out of the cache."),
    "warm": ("warm", "Ask for URLs before anybody else does, so that they are stored."),
    "inspect": ("inspect", "Show what is stored of a URL."),
    "top": ("top", "Watch a running proxy: hits, latency, origins, who is blocked."),
    "tail": ("tail", "Show requests as they are answered."),
    "stats": ("stats", "Show what a running proxy has counted."),
    "reload": ("reload", "Let a running proxy read its configuration again."),
    "health": ("health", "Ask a running proxy whether it is alive, or ready."),
    "version": ("version", "Print the version."),
    "completion": ("completion", "Print the completion script for a shell."),
}


class _ReaderLeft(Exception):
    """Nobody reads our output any more. (Of a broken pipe click would make a failure.)"""


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ReaderLeft from None


class _Verbs(Known):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _read():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with _read():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = import_module(f"vary_proxy.cli.{_VERBS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # from the table: help imports no command
            formatter.write_dl([(verb, text) for verb, (_, text) in _VERBS.items()])


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _write_no_more() -> None:
    """What is left in buffers goes nowhere, so that the end of Python is not a failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from vary_proxy import __version__

        click.echo(f"vary-proxy {__version__}")
        ctx.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the version.",
)  # fmt: skip
def cli() -> None:
    """A caching reverse proxy that repairs Vary, so that CORS works behind every cache."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; no error of the user's ends in a traceback."""
    sys.exit(status(args))


def status(args: list[str] | None = None) -> int:
    """As ``main``, but the exit status is returned."""
    try:
        result = cli.main(args, prog_name="vary-proxy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (_ReaderLeft, BrokenPipeError):
        _write_no_more()
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _write_no_more()
        click.echo(f"cannot write the output: {os.strerror(error.errno)}", err=True)
        return 1
    return result if isinstance(result, int) else 0
