"""``vary-proxy completion``."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the completion script for a shell.

    For bash: eval "$(vary-proxy completion bash)".
    """
    from click.shell_completion import get_completion_class

    from vary_proxy.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(cli, {}, "vary-proxy", "_VARY_PROXY_COMPLETE").source())
