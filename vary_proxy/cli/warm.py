"""``vary-proxy warm``: ask for URLs before anybody else does, so that they are stored."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from vary_proxy.cli.warming import FAILED, HIT, NOT_STORED, STORED, Done, Job, Outcome

_MOST_TOLD = 20
_FIELD = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")


@click.command("warm")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--from", "sources", multiple=True, metavar="SOURCE",
    help="More of them: a file with one on each line, a sitemap (file or URL), or - for stdin.",
)  # fmt: skip
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
    help="A field to ask with. Two of one name: every variant. An empty value: without it.",
)  # fmt: skip
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=8, show_default=True,
    help="Requests at a time.",
)  # fmt: skip
@click.option(
    "--through", metavar="ADDR",
    help="The running proxy: http://host:port or unix:/path. [default: where the file says, "
    "or without a file the host of each URL]",
)  # fmt: skip
@click.option(
    "-c", "--config", "path", metavar="FILE", envvar="VARY_PROXY_CONFIG",
    help="The configuration that the proxy runs by.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    urls: tuple[str, ...],
    sources: tuple[str, ...],
    headers: tuple[str, ...],
    concurrency: int,
    through: str | None,
    path: str | None,
    as_json: bool,
) -> int:
    """Fill the cache: ask a running proxy for each URL, in each variant.

    What a variant depends on is what the answer's Vary names: say what browsers would send,
    `-H 'Origin: https://app.example' -H 'Origin:'` for a page of that origin and for plain
    images. Behind a balancer add what it adds, such as `-H 'X-Forwarded-Proto: https'`.

    Exit status: 0 all stored, 1 some are not, 2 usage, 3 not reached, 130 interrupted.
    """
    from vary_proxy.cli import listed, warming

    if not urls and not sources:
        raise click.UsageError("name URLs, or where to read them: --from FILE")
    asked = warming.variants(map(_field, headers))
    through = through or _configured(path)
    try:
        targets = listed.gathered(urls, sources, warming.Client(through).fetch)
    except listed.BadList as error:
        raise click.UsageError(str(error)) from None
    jobs = [Job(one, variant) for one in targets for variant in asked]
    with _Bar(len(jobs)) as advance:
        done = warming.warm(jobs, through, concurrency, advance)
    _tell(done, len(jobs), as_json)
    return _status(done)


def _configured(path: str | None) -> str | None:
    from vary_proxy.cli import options
    from vary_proxy.observation.explaining import own_address

    given = {"path": path}
    if options.file_of(given) is None:
        return None
    return own_address(options.loaded(given).settings)


def _field(header: str) -> tuple[str, str]:
    found = _FIELD.fullmatch(header)
    if found is None:
        raise click.UsageError(f"{header!r} is no field; write -H 'Origin: https://a.example'")
    return found[1], found[2].strip(" \t")


class _Bar:
    """A bar on stderr, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._progress: Any = None

    def __enter__(self) -> Any:
        if not sys.stderr.isatty() or not self._total:
            return lambda: None
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        task = self._progress.add_task("warming", total=self._total)
        self._progress.start()
        return lambda: self._progress.advance(task)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _tell(done: Done, asked: int, as_json: bool) -> None:
    left = asked - len(done.outcomes)
    if as_json:
        import json

        told: dict[str, Any] = {
            "requests": asked,
            **{kind: len(done.of(kind)) for kind in (STORED, HIT, NOT_STORED, FAILED)},
            "left": left,
            "interrupted": done.interrupted,
            "problems": [_plain(one) for one in done.outcomes if one.kind in (NOT_STORED, FAILED)],
        }
        click.echo(json.dumps(told))
        return
    counts = [len(done.of(kind)) for kind in (STORED, HIT, NOT_STORED, FAILED)]
    rest = f"; interrupted, {left} left" if done.interrupted else ""
    click.echo(
        f"{asked} asked for: {counts[0]} stored, {counts[1]} were there, "
        f"{counts[2]} not stored, {counts[3]} failed{rest}"
    )
    bad = [*done.of(FAILED), *done.of(NOT_STORED)]
    for one in bad[:_MOST_TOLD]:
        click.echo(_line(one), err=True)
    if len(bad) > _MOST_TOLD:
        click.echo(f"and {len(bad) - _MOST_TOLD} more; --json names them all", err=True)


def _plain(one: Outcome) -> dict[str, Any]:
    return {
        "url": str(one.job.target),
        "headers": dict(one.job.variant),
        "outcome": one.kind,
        "status": one.status,
        "reason": one.reason,
    }


def _line(one: Outcome) -> str:
    fields = "".join(f" [{name}: {value}]" for name, value in one.job.variant)
    status = f"{one.status} " if one.status else ""
    what = "failed    " if one.kind == FAILED else "not stored"
    text = f"{what}  {one.job.target}{fields}: {status}{one.reason}"
    return "".join(one if one.isprintable() else "?" for one in text)


def _status(done: Done) -> int:
    if done.interrupted:
        return 130
    if done.outcomes and not any(one.reached for one in done.outcomes):
        return 3
    return 1 if done.of(NOT_STORED) or done.of(FAILED) else 0
