"""Two sites that are allowed and one that is not, in every order: nothing of one reaches another.

The origin says whom it allows and never that it depends on who asks, as aiohttp-cors and
Falcon do: to a browser's cache the first answer is everybody's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest
from aiohttp import web
from playwright.async_api import Page

from tests.browser.conftest import PICTURE, Origin, Site, StartProxy
from tests.browser.loads import load_all

NewSite = Callable[[], Awaitable[Site]]
WAYS = ("canvas", "img", "cookies")
READ, REFUSED = ("read", "shown", "read"), ("blocked", "shown", "blocked")

RULED = """
cors: {{pages: {{origins: ["{0}", "{1}"], credentials: true}}}}
rules: [{{match: {{path: "/**"}}, cors: {{policy: pages, mode: override}}}}]
"""


def without_vary(allowed: set[str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        fields = {"Cache-Control": "public, max-age=3600"}
        if (origin := request.headers.get("Origin")) in allowed:
            fields["Access-Control-Allow-Origin"] = str(origin)
            fields["Access-Control-Allow-Credentials"] = "true"
        return web.Response(body=PICTURE, content_type="image/png", headers=fields)

    return answer


async def test_nothing_of_one_site_reaches_another(
    page: Page, new_site: NewSite, origin: Origin, proxy: StartProxy
) -> None:
    sites = {"A": await new_site(), "B": await new_site(), "C": await new_site()}
    allowed = {sites["A"].url, sites["B"].url}
    edges = {
        "repaired": await proxy(origin.url),
        "ruled": await proxy(origin.url, RULED.format(*sorted(allowed))),
    }
    urls = {"bare": origin.url, **{name: edge.url for name, edge in edges.items()}}
    found, expected = {}, {}
    for order in map("".join, permutations("ABC")):
        path = f"/{order}.png"
        origin.answers(path, without_vary(allowed))
        for name in order:
            await page.goto(sites[name].url)
            for server, url in urls.items():
                found[order, name, server] = await load_all(page, WAYS, url + path)
            reads = name != "C"
            expected[order, name, "repaired"] = expected[order, name, "ruled"] = (
                READ if reads else REFUSED
            )
            # The browser's cache holds what the first of them got, whoever asks.
            expected[order, name, "bare"] = READ if reads and name == order[0] else REFUSED
    assert found == expected
    assert {record.cache for record in edges["ruled"].records} == {"miss", "hit"}
    asked = [origin.origins_asked_for("/ABC.png").count(site.url) for site in sites.values()]
    assert asked == [2, 1, 1]  # once each behind repair; A also at the bare origin


@pytest.mark.parametrize("server", ["bare", "repaired"])
async def test_a_stranger_cannot_spoil_what_an_honest_origin_says(
    page: Page, site: Site, new_site: NewSite, origin: Origin, proxy: StartProxy, server: str
) -> None:
    """S3 says Vary to those whom it allows, and not to strangers: those spoil the cache."""
    url = (origin.url if server == "bare" else (await proxy(origin.url)).url) + "/picture.png"
    await page.goto((await new_site()).url)
    assert await load_all(page, ("canvas", "img"), url) == ("blocked", "shown")
    await page.goto(site.url)
    found = await load_all(page, ("canvas", "fetch"), url)
    assert found == (("blocked", "blocked") if server == "bare" else ("read", "read"))
