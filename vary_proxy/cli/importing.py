"""``vary-proxy import``: other people's configurations, made into one of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vary_proxy.cli.groups import Known

if TYPE_CHECKING:
    from vary_proxy.importing.writing import Writing

_STRICT = click.option(
    "--strict", is_flag=True, help="Exit with status 1 when something could not be taken over."
)


class _Sources(Known):
    noun = "import of"


@click.group("import", cls=_Sources)
def command() -> None:
    """Write a configuration from another program's, on stdout.

    It is valid as it stands, and commented. What cannot be taken over is a comment in it, and
    a warning on stderr.

    Exit status: 0 done, 1 the file cannot be imported, 2 usage.
    """


@command.command("s3-cors", short_help="The CORS configuration of a bucket.")
@click.argument("file")
@click.option("--origin", metavar="URL", help="Where the bucket is. [default: $BUCKET_URL]")
@_STRICT
def s3_cors(file: str, origin: str | None, strict: bool) -> int:
    """The CORS configuration of a bucket, JSON or XML; - is stdin.

    For example: aws s3api get-bucket-cors --bucket NAME | vary-proxy import s3-cors -
    """
    from vary_proxy.importing import s3cors

    data = _read(file)
    return _write(lambda: s3cors.convert(data, _name(file), origin), strict)


def _name(file: str) -> str:
    return "stdin" if file == "-" else file


def _read(file: str) -> bytes:
    """What *file* holds, to just beyond what may be imported."""
    from vary_proxy.importing.writing import MAX_BYTES

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        click.echo(f"{file}: cannot read it: {error.strerror}", err=True)
        raise click.exceptions.Exit(1) from None


def _write(convert: Callable[[], Writing], strict: bool) -> int:
    from vary_proxy.importing.writing import Unreadable, harmless

    try:
        made = convert()
        text = made.text()
    except Unreadable as error:
        click.echo(harmless(str(error)), err=True)
        return 1
    for one in made.left_out:
        click.echo(f"warning: not taken over: {one}", err=True)
    click.echo(text, nl=False)
    return 1 if strict and made.left_out else 0


@command.command("nginx-s3-gateway", short_help="The variables of nginx-s3-gateway.")
@click.argument("file", required=False)
@_STRICT
def nginx_s3_gateway(file: str | None, strict: bool) -> int:
    """The variables of nginx-s3-gateway: of an env file, - for stdin, or of the environment.

    For example: vary-proxy import nginx-s3-gateway settings > vary-proxy.yaml
    """
    from vary_proxy.importing import nginxgateway

    def convert() -> Writing:
        if file is None:
            return nginxgateway.convert(os.environ, "the environment", whole=False)
        said = nginxgateway.read(_read(file), _name(file))
        return nginxgateway.convert(said, _name(file), whole=True)

    return _write(convert, strict)


@command.command("ingress-nginx", short_help="Ingress manifests for ingress-nginx.")
@click.argument("file")
@_STRICT
def ingress_nginx(file: str, strict: bool) -> int:
    """Ingress manifests for ingress-nginx, YAML of one or more documents; - is stdin.

    Services in the same file give the numbers of named ports. For example:
    kubectl get ingress,service -o yaml | vary-proxy import ingress-nginx -
    """
    from vary_proxy.importing import ingress

    data = _read(file)
    return _write(lambda: ingress.convert(data, _name(file)), strict)
