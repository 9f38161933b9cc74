"""The cure: the same page and the same bucket, with the proxy between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from playwright.async_api import Page

from tests.browser.conftest import PICTURE, Origin, Site, StartProxy
from tests.browser.loads import load_all

IMAGE_FIRST = ("img", "css", "canvas", "fetch")
CANVAS_FIRST = ("canvas", "fetch", "img", "css")
RESULT = {"img": "shown", "css": "shown"}  # everything else is read by script


def cured(ways: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(RESULT.get(way, "read") for way in ways)


async def test_the_canvas_can_be_read_after_a_plain_image(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    edge = await proxy(origin.url)
    await page.goto(site.url)
    results = await load_all(page, IMAGE_FIRST, edge.url + "/picture.png")
    assert results == ("shown", "shown", "read", "read")
    # One request without Origin and one with it: the browser's cache answered the others.
    assert origin.origins_asked_for("/picture.png") == [None, site.url]
    assert edge.records[0].vary_action == "added"


async def test_it_is_the_repaired_vary_that_cures(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    edge = await proxy(origin.url, overrides={"defaults.vary": "passthrough"})
    await page.goto(site.url)
    results = await load_all(page, ("img", "canvas"), edge.url + "/picture.png")
    assert results == ("shown", "blocked")


@pytest.mark.parametrize("cache_control", ["public, max-age=3600", "no-cache"])
@pytest.mark.parametrize("bare_304", [False, True], ids=["304 with CORS", "bare 304"])
@pytest.mark.parametrize("ways", [IMAGE_FIRST, CANVAS_FIRST], ids=["image first", "canvas first"])
async def test_any_order_works_and_after_a_reload_too(
    page: Page,
    site: Site,
    origin: Origin,
    proxy: StartProxy,
    ways: tuple[str, ...],
    bare_304: bool,
    cache_control: str,
) -> None:
    origin.bucket.bare_304 = bare_304
    origin.bucket.cache_control = cache_control
    edge = await proxy(origin.url)
    picture = edge.url + "/picture.png"
    await page.goto(site.url)
    assert await load_all(page, ways, picture) == cured(ways)
    await page.reload()
    assert await load_all(page, ways, picture) == cured(ways)
    assert await load_all(page, ("validate", "img", "validate"), picture) == (
        "read",
        "shown",
        "read",
    )


async def test_another_visitor_is_answered_without_the_origin(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    edge = await proxy(origin.url)
    picture = edge.url + "/picture.png"
    await page.goto(site.url)
    await load_all(page, ("img", "canvas"), picture)
    asked = len(origin.asked)
    async with aiohttp.ClientSession() as visitor:
        for fields in ({}, {"Origin": site.url}):
            async with visitor.get(picture, headers=fields) as reply:
                assert reply.headers.get("Access-Control-Allow-Origin") == fields.get("Origin")
                assert await reply.read() == PICTURE
    assert edge.verdicts()[-2:] == ["hit", "hit"]
    assert len(origin.asked) == asked


async def test_a_site_that_is_not_allowed_neither_reads_nor_spoils_it(
    page: Page,
    site: Site,
    new_site: Callable[[], Awaitable[Site]],
    origin: Origin,
    proxy: StartProxy,
) -> None:
    picture = (await proxy(origin.url)).url + "/picture.png"
    stranger = await new_site()
    await page.goto(stranger.url)
    ways = ("canvas", "img", "tainted", "fetch")
    assert await load_all(page, ways, picture) == ("blocked", "shown", "tainted", "blocked")
    await page.goto(site.url)
    assert await load_all(page, ("canvas", "fetch"), picture) == ("read", "read")
    await page.goto(stranger.url)
    assert await load_all(page, ("canvas", "fetch"), picture) == ("blocked", "blocked")
