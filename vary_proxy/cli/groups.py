"""A group of commands that says which there are when it is asked for another."""

from __future__ import annotations

import click


class Known(click.Group):
    """``noun`` is what its members are called in the message."""

    noun = "command"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            from vary_proxy.configuration.problems import one_of

            ctx.fail(f"there is no {self.noun} {args[0]!r}; {one_of(args[0], known)}")
        return super().resolve_command(ctx, args)
