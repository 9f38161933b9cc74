"""``vary-proxy top``: what a running proxy does, redrawn every second."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vary_proxy.cli import control, looking, panel

_EVERY = 1.0  # seconds


@click.command("top")
@control.admin_option
@click.option("--once", is_flag=True, help="One picture, and done; so it is without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line each second.")
def command(admin: str, once: bool, as_json: bool) -> int:
    """Watch a running proxy: hits, latency, origins, rules, and who is blocked.

    `q` or Ctrl-C ends it.
    """
    try:
        if as_json:
            return _lines(admin, once)
        if once or not sys.stdout.isatty():
            width = _width() if sys.stdout.isatty() else 200
            made = panel.lines(looking.told(admin, "/stats"), admin, width)
            click.echo("\n".join(text.rstrip() for _, text in made))
            return 0
        return _live(admin)
    except looking.Refused as refused:
        click.echo(str(refused), err=True)
        return refused.status


def _lines(admin: str, once: bool) -> int:
    while True:
        click.echo(json.dumps(looking.told(admin, "/stats")))
        if once:
            return 0
        sys.stdout.flush()
        time.sleep(_EVERY)


def _live(admin: str) -> int:
    from rich.console import Console
    from rich.live import Live

    first = looking.told(admin, "/stats")  # before the screen is ours: what fails is told there
    console = Console()
    with (
        _terminated(),
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as view,
    ):
        view.update(_picture(first, admin, console.width), refresh=True)
        while not pressed(_EVERY):
            try:
                picture = _picture(looking.told(admin, "/stats"), admin, console.width)
            except looking.Refused as refused:
                picture = _text([("bold red", f"{refused}; trying again")])
            view.update(picture, refresh=True)
    return 0


def _picture(told: dict[str, Any], admin: str, width: int) -> Any:
    return _text([*panel.lines(told, admin, width), ("", ""), ("dim", "q ends")])


def _text(lines: list[panel.Line]) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for style, line in lines:
        text.append(line + "\n", style or None)
    return text


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does, so that the terminal is given back."""

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """What waits so many seconds, and says whether `q` was pressed meanwhile."""
    if not sys.stdin.isatty():

        def slept(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield slept
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([keyboard], [], [], left)[0]:
                typed = os.read(keyboard, 64)
                if not typed or {*typed} & {*b"qQ"}:
                    return True
        return False

    tty.setcbreak(keyboard)
    try:
        yield pressed
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
