"""``vary-proxy inspect``: what is stored of a URL, variant by variant."""

from __future__ import annotations

from typing import Any

import click

from vary_proxy.cli import control


@click.command("inspect")
@click.argument("url")
@control.admin_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every field.")
def command(url: str, admin: str, as_json: bool) -> int:
    """Show every stored response of URL: what selects it, its age, its lifetime.

    Exit status: 0 shown, 1 nothing is stored, 2 usage, 3 not reached.
    """
    told = control.done(*control.ask(admin, "GET", "/inspect", {"url": url}))
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
    elif told["variants"]:
        click.echo("\n\n".join(map(_variant, told["variants"])))
    else:
        click.echo(f"nothing is stored of {url}")
    return 0 if told["variants"] else 1


def _variant(one: dict[str, Any]) -> str:
    left = one["lifetime"] - one["age"]
    fresh = "purged softly" if one["stale"] else f"{'fresh' if left > 0 else 'stale'}"
    whole = "" if one["whole"] else ", a part"
    lines = [
        f"{one['status']}  {fresh}, {one['age']:.0f} s old of {one['lifetime']:.0f}"
        f"  {one['bytes']} bytes{whole}  [{one['rule']}]"
    ]
    for name, value in one["selecting"].items():
        lines.append(f"  selected by  {name}: {'(absent)' if value is None else value}")
    told = ("vary", "etag", "cache-control", "access-control-allow-origin", "content-type")
    lines += [f"  {name}: {value}" for name, value in one["fields"] if name in told]
    return "\n".join(lines)
