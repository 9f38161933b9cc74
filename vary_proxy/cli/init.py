"""``vary-proxy init``: a commented starter file. ``vary_proxy/presets`` holds them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

PRESETS = {
    "minimal": ("minimal.yaml", "one origin, cached as it asks, Vary repaired"),
    "s3": ("s3-public.yaml", "a public bucket of Amazon S3"),
    "s3-private": ("s3-private.yaml", "a private bucket, read with keys of your own (SigV4)"),
    "minio": ("s3-server.yaml", "MinIO, or another S3 server of your own"),
    "canvas": ("canvas-images.yaml", "images for canvas and WebGL, any site"),
    "fonts": ("fonts.yaml", "web fonts, any site"),
    "ranges": ("video-ranges.yaml", "video, PMTiles, GeoTIFF: readers of ranges"),
    "uploads": ("uploads.yaml", "uploads by signed URLs, from your pages only"),
    "app": ("application.yaml", "before an application that writes its own CORS fields"),
    "api": ("api-with-credentials.yaml", "an API with cookies, from your pages only"),
    "cloudfront": ("behind-cloudfront.yaml", "between CloudFront and a bucket"),
}
_THERE = "is there already; write --force, or another name"
_LISTED = "\n".join(f"  {name:<11} {what}" for name, (_, what) in PRESETS.items())


@click.command("init", epilog=f"\b\nPresets:\n{_LISTED}")
@click.argument("path", metavar="[FILE]", default="vary-proxy.yaml")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="minimal", show_default=True,
    metavar="NAME", help="What it is to start from; see below.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(path: str, preset: str, force: bool) -> int:
    """Write a commented configuration to start from; - is stdout.

    Every file is valid as it stands: change the origin's URL, and run it.
    """
    text = read(preset)
    if path == "-":
        click.echo(text, nl=False)
        return 0
    try:
        with Path(path).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        is_directory = Path(path).is_dir()
        there = "is a directory; name a file in it" if is_directory else _THERE
        click.echo(f"{path} {there}", err=True)
        return 1
    except OSError as error:
        click.echo(f"{path}: cannot write it: {error.strerror}", err=True)
        return 1
    schema = Path(path).with_name("vary-proxy.schema.json")
    click.echo(
        f"wrote {path} ({preset}: {PRESETS[preset][1]})\n"
        f"  completion in editors:  vary-proxy schema > {schema}\n"
        f"  check it, run it:       vary-proxy validate {path} && vary-proxy run -c {path}",
        err=True,
    )
    return 0


def read(preset: str) -> str:
    """The file of *preset*."""
    return (files("vary_proxy") / "presets" / PRESETS[preset][0]).read_text("utf-8")
