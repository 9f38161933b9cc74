"""Everything that pages load across origins, in the order that breaks it: without us, and with.

Each row is one page that loads one URL in several ways. ``bare`` is what comes of it at the
origin itself, ``repaired`` behind a proxy with the defaults, ``ruled`` behind one whose rule
owns CORS. Where ``bare`` has ``blocked``, the fault is real and the cure proven.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser import font
from tests.browser.conftest import PICTURE, Origin, Site, StartProxy
from tests.browser.loads import load_all

RULED = """
cors:
  pages:
    origins: ["{site}"]
    headers: [Range]
    expose: [ETag]
    credentials: true
    max_age: 10m
rules:
  - match: {{path: "/**"}}
    cors: {{policy: pages, mode: override}}
    preflight: synthesize
"""
BODIES = {
    "png": (PICTURE, "image/png"),
    "ttf": (font.make(), "font/ttf"),
    "js": (b"globalThis.runs = (globalThis.runs ?? 0) + 1;", "text/javascript"),
    "css": (b".probe { color: red }", "text/css"),
}


@dataclass(frozen=True)
class Row:
    """``bucket`` are attributes of the origin, which answers as S3 does."""

    kind: str  # of BODIES
    ways: str
    bare: str
    cured: str  # with the proxy, whoever writes the CORS fields
    bucket: dict[str, Any] = field(default_factory=dict)


VALIDATED = {"cache_control": "no-cache"}
BARE_304 = {"cache_control": "no-cache", "bare_304": True}

ROWS = {
    "image, then canvas": Row("png", "img canvas", "shown blocked", "shown read"),
    "canvas, then image": Row("png", "canvas img canvas", "read shown read", "read shown read"),
    "image, then credentials": Row("png", "img credentials", "shown blocked", "shown read"),
    "canvas, then credentials": Row("png", "canvas credentials", "read read", "read read"),
    "background, then fetch": Row("png", "css fetch", "shown blocked", "shown read"),
    "image, then a fetch with cookies": Row("png", "img cookies", "shown blocked", "shown read"),
    "font after a preload that forgot crossorigin": Row(
        "ttf", "preload font", "shown blocked", "shown shown"
    ),
    "font after a no-cors fetch": Row("ttf", "opaque font", "shown blocked", "shown shown"),
    "font, then a no-cors fetch": Row("ttf", "font opaque font", *["shown shown shown"] * 2),
    "script, then module": Row("js", "script module", "run blocked", "run run"),
    "script, then crossorigin": Row("js", "script crossorigin", "run blocked", "run run"),
    "module, then script": Row("js", "module script", "run run", "run run"),
    "sheet, then crossorigin": Row("css", "sheet sheetRead", "shown blocked", "shown read"),
    "crossorigin, then sheet": Row("css", "sheetRead sheet", "read shown", "read shown"),
    "304s with CORS fields": Row("png", "img canvas", "shown read", "shown read", VALIDATED),
    "304s without": Row("png", "img canvas", "shown blocked", "shown read", BARE_304),
    "304s without, for a font": Row("ttf", "opaque font", "shown blocked", "shown shown", BARE_304),
    "304s without, for a module": Row("js", "script module", "run blocked", "run run", BARE_304),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
async def test_it_loads_behind_the_proxy_in_any_order(
    page: Page, site: Site, origin: Origin, proxy: StartProxy, row: Row
) -> None:
    path = f"/probe.{row.kind}"
    origin.bucket.put(path, *BODIES[row.kind])
    for name, value in row.bucket.items():
        setattr(origin.bucket, name, value)
    repaired = await proxy(origin.url)
    ruled = await proxy(origin.url, RULED.format(site=site.url))
    found = {}
    for name, url in (("bare", origin.url), ("repaired", repaired.url), ("ruled", ruled.url)):
        await page.goto(site.url)
        found[name] = " ".join(await load_all(page, tuple(row.ways.split()), url + path))
    assert found == {"bare": row.bare, "repaired": row.cured, "ruled": row.cured}
