"""What each framework says about CORS, and what leaves the proxy: Markdown, measured now.

    python -m tests.frameworks.table

Every framework is started, asked directly, and asked through a proxy of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.frameworks.behind import PASSED_THROUGH, behind_proxy
from tests.frameworks.corpus import STRANGER, THREE, A, B, said_vary
from tests.frameworks.origins import NAMED, Framework, Program, running
from tests.real.asking import Got, asking
from tests.real.servers import NODE_MODULES

TITLES = {
    "list": "Allow-list of two origins, with credentials",
    "star": "`*`, without credentials",
}
LEGEND = """\
A cell is Vary / Access-Control-Allow-Origin. Vary: O `Origin`, H and M
`Access-Control-Request-Headers` and `-Method`, – none. Then: ✓ the asking origin, `*`, another
origin's name, or – none. 304: the answer to an allowed origin's If-None-Match. *Mixed up*: whether
a cache that splits by Vary may give one asker what was said to another, or lose it with a 304."""
HEAD = """\
| origin server | no Origin | allowed | stranger | 304 | mixed up | no Origin | allowed | stranger | 304 | mixed up |
|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501  # a line of Markdown

_LETTERS = dict(zip((name.lower() for name in THREE), "OHM", strict=True))


@dataclass(frozen=True)
class Said:
    """Answers by asker, the last being the 304."""

    none: Got
    allowed: Got
    other: Got
    stranger: Got
    unchanged: Got

    def cells(self) -> list[str]:
        shown = ((self.none, None), (self.allowed, A), (self.stranger, STRANGER))
        cells = [cell(got, asker) for got, asker in (*shown, (self.unchanged, A))]
        return [*cells, "yes" if self.is_mixed_up else "no"]

    @property
    def is_mixed_up(self) -> bool:
        """True when Vary lets one asker have what was said to another, who was told otherwise."""
        answers = (self.none, self.allowed, self.other, self.stranger)
        told = {tuple(got.fields.getall("access-control-allow-origin", [])) for got in answers}
        unsplit = any("origin" not in map(str.lower, said_vary(got)) for got in answers)
        bare = "access-control-allow-origin" not in self.unchanged.fields
        return (unsplit and len(told) > 1) or bare


def cell(got: Got, asker: str | None) -> str:
    """What *got* says in Vary and in Access-Control-Allow-Origin to *asker*."""
    names = [name for name in said_vary(got) if name.lower() in _LETTERS]
    letters = "".join(_LETTERS[name.lower()] for name in names) or "–"
    told = got.fields.get("access-control-allow-origin")
    known = {asker: "✓", "*": "`*`", None: "–"}
    return f"{letters} / {known.get(told, f'`{told}`')}"


async def said_at(url: str) -> Said:
    """What whoever answers at *url* says of ``/plain``."""
    async with asking(url) as ask:
        none = await ask("/plain")
        allowed = await ask("/plain", origin=A)
        other = await ask("/plain", origin=B)
        stranger = await ask("/plain", origin=STRANGER)
        unchanged = await ask("/plain", origin=A, if_none_match=none.fields["etag"])
        assert unchanged.status == 304, url
        return Said(none, allowed, other, stranger, unchanged)


async def row(framework: Framework, policy: str) -> str:
    url = framework.urls[policy]
    alone = await said_at(url)
    async with behind_proxy(PASSED_THROUGH.format(url=url)) as proxy:
        behind = await said_at(proxy.url)
    cells = [framework.program.title, *alone.cells(), *behind.cells()]
    return f"| {' | '.join(cells)} |"


async def tables(names: Iterable[str]) -> str:
    """The tables for the frameworks *names*, one after another."""
    rows: dict[str, list[str]] = {policy: [] for policy in TITLES}
    versions: dict[str, str] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as directory, running(name, Path(directory)) as started:
            for policy, lines in rows.items():
                lines.append(await row(started, policy))
            versions |= versions_of(started.program)
    parts = [LEGEND]
    for policy, title in TITLES.items():
        spans = (
            "The first five columns are the origin server alone, the last five the proxy before it."
        )
        parts.append(f"**{title}.** {spans}\n\n{HEAD}\n" + "\n".join(rows[policy]))
    said = ", ".join(f"{name} {number}" for name, number in sorted(versions.items(), key=_folded))
    return "\n\n".join([*parts, f"Versions: {said}."])


def _folded(pair: tuple[str, str]) -> str:
    return pair[0].lower().lstrip("@")


def versions_of(program: Program) -> dict[str, str]:
    """The installed versions of the packages that *program* runs."""
    if not program.source.endswith(".mjs"):
        return {name: version(name) for name in program.packages}
    manifests = {name: NODE_MODULES / name / "package.json" for name in program.packages}
    return {name: json.loads(path.read_text())["version"] for name, path in manifests.items()}


if __name__ == "__main__":
    logging.getLogger("vary_proxy").setLevel(logging.ERROR)  # strangers are asked on purpose
    print(asyncio.run(tables(NAMED)))
