"""The fault, without the proxy: were it not there, its cure would prove nothing."""

from __future__ import annotations

from playwright.async_api import Page

from tests.browser.conftest import Origin, Site
from tests.browser.loads import load, load_all


async def test_a_plain_image_primes_the_cache_against_the_canvas(
    page: Page, site: Site, origin: Origin
) -> None:
    picture = origin.url + "/picture.png"
    await page.goto(site.url)
    assert await load_all(page, ("img", "css", "canvas", "fetch"), picture) == (
        "shown",
        "shown",
        "blocked",
        "blocked",
    )
    assert origin.origins_asked_for("/picture.png") == [None]  # the cache answered all the rest


async def test_without_a_plain_image_before_it_the_canvas_is_readable(
    page: Page, site: Site, origin: Origin
) -> None:
    await page.goto(site.url)
    assert await load(page, "canvas", origin.url + "/picture.png") == "read"


async def test_a_304_without_cors_fields_does_not_cure_it(
    page: Page, site: Site, origin: Origin
) -> None:
    origin.bucket.bare_304 = True
    await page.goto(site.url)
    ways = ("img", "validate")
    assert await load_all(page, ways, origin.url + "/picture.png") == ("shown", "blocked")
    assert [one.status for one in origin.asked] == [200, 304]
