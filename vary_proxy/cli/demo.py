"""``vary-proxy demo``: the whole story on one machine, with nothing else installed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import webbrowser

import click

PORT = 8100

_TELL = """\
vary-proxy demo

  the page    {page:<28}  open this in a browser
  the bucket  {bucket:<28}  an origin that answers as Amazon S3 does
  the proxy   {proxy:<28}  the same, with Vary repaired

Ctrl-C stops all three."""


class ListenAddress(click.ParamType[tuple[str, int]]):
    """HOST:PORT, ``[::1]:PORT``, or a port alone."""

    name = "ADDR"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        host, _, port = str(value).rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not an address; write HOST:PORT, for example 127.0.0.1:8100")
        return host.strip("[]") or "127.0.0.1", int(port)


@click.command("demo")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port of the page; 0 takes any free one. [default: {PORT}, or any when it is taken]",
)
@click.option("--listen", type=ListenAddress(), help="Address of the page, instead of --port.")
@click.option(
    "--open/--no-open",
    "show",
    default=True,
    help="Open the page in a browser, when there is a screen.",
)
def command(port: int | None, listen: tuple[str, int] | None, show: bool) -> None:
    """Show the canvas bug, and its cure, in your own browser.

    Starts an S3-like origin, the proxy in front of it, and a page that loads the same picture
    through both.
    """
    if port is not None and listen is not None:
        raise click.UsageError("--port and --listen are two ways to say one thing; give one")
    host, wanted = listen or ("127.0.0.1", port)
    try:
        asyncio.run(_serve(host, wanted, show))
    except OSError as error:
        at = f"{host}:{PORT if wanted is None else wanted}"
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise click.ClickException(
            f"cannot listen on {at}: {reason}; choose another port with --port"
        ) from None


async def _serve(host: str, port: int | None, show: bool) -> None:
    """Run until SIGINT or SIGTERM. Raises OSError when the page's port cannot be had."""
    from vary_proxy.demo.front import Front
    from vary_proxy.demo.show import Show

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stage = Show(Front(), host, PORT if port is None else port)
    try:
        try:
            addresses = await stage.start()
        except OSError:
            if port is not None:
                raise
            stage = Show(Front(), host, 0)
            addresses = await stage.start()
        click.echo(
            _TELL.format(page=addresses.page + "/", bucket=addresses.bucket, proxy=addresses.proxy)
        )
        sys.stdout.flush()
        if show and _has_screen():
            # Some browsers are waited for: a thread, which does not keep the process.
            threading.Thread(target=webbrowser.open, args=(addresses.page,), daemon=True).start()
        await stop.wait()
    finally:
        await stage.close()


def _has_screen() -> bool:
    if not sys.stdout.isatty():
        return False
    linux = sys.platform.startswith("linux")
    return not linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
