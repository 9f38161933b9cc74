"""Requests that browsers ask leave for, and those that carry cookies: forwarded, kept, ours."""

from __future__ import annotations

from collections import Counter

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import Origin, Proxied, Site, StartProxy
from tests.browser.loads import load, load_all

POLICY = """
cors:
  app:
    origins: ["{site}", "https://other.example"]
    methods: [{methods}]
    headers: [Content-Type, X-Token]
    credentials: true
"""
RULE = """
rules:
  - match: {{path: "/**"}}
    cors: {cors}
    preflight: {preflight}
    cache: off
"""
OURS = "{policy: app, mode: override}"


def rules(site: Site, preflight: str, *, cors: str = OURS, methods: str = "GET, PUT") -> str:
    return POLICY.format(site=site.url, methods=methods) + RULE.format(
        cors=cors, preflight=preflight
    )


def allows_puts(origin: Origin, site: Site) -> None:
    """An origin that knows CORS."""
    granted = {
        "Access-Control-Allow-Origin": site.url,
        "Access-Control-Allow-Methods": "PUT",
        "Access-Control-Allow-Headers": "content-type, x-token",
        "Access-Control-Max-Age": "600",
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers=granted)

    origin.answers("/note", answer)


def knows_no_cors(origin: Origin) -> None:
    """An application without a word of CORS: it refuses OPTIONS and takes PUT."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=405 if request.method == "OPTIONS" else 200)

    origin.answers("/note", answer)


def asked(origin: Origin) -> Counter[str]:
    return Counter(one.method for one in origin.asked)


def told(edge: Proxied) -> list[tuple[str, str]]:
    """What was said to preflights, and why not."""
    return [(one.preflight, one.cors_reason) for one in edge.records if one.preflight]


async def test_the_bare_application_cannot_be_written_to(
    page: Page, site: Site, origin: Origin
) -> None:
    knows_no_cors(origin)
    await page.goto(site.url)
    assert await load(page, "put", origin.url + "/note") == "blocked"
    assert asked(origin) == {"OPTIONS": 1}


async def test_a_synthesized_answer_lets_the_put_through(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    knows_no_cors(origin)
    edge = await proxy(origin.url, rules(site, "synthesize"))
    await page.goto(site.url)
    assert await load(page, "put", edge.url + "/note") == "done"
    assert asked(origin) == {"PUT": 1}
    assert told(edge) == [("synthesized", "")]


@pytest.mark.parametrize(
    ("preflight", "methods", "reason"),
    [("synthesize", "GET", "method"), ("deny", "GET, PUT", "denied")],
)
async def test_what_no_rule_allows_never_reaches_the_origin(
    page: Page,
    site: Site,
    origin: Origin,
    proxy: StartProxy,
    preflight: str,
    methods: str,
    reason: str,
) -> None:
    allows_puts(origin, site)
    edge = await proxy(origin.url, rules(site, preflight, methods=methods))
    await page.goto(site.url)
    assert await load(page, "put", edge.url + "/note") == "blocked"
    assert asked(origin) == {}
    assert told(edge) == [("refused", reason)]


async def test_a_forwarded_preflight_is_the_origins_to_answer(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    allows_puts(origin, site)
    edge = await proxy(origin.url)
    await page.goto(site.url)
    assert await load(page, "put", edge.url + "/note") == "done"
    assert asked(origin) == {"OPTIONS": 1, "PUT": 1}
    knows_no_cors(origin)
    assert await load(page, "put", edge.url + "/note?other") == "blocked"
    assert asked(origin) == {"OPTIONS": 2, "PUT": 1}


async def test_a_kept_answer_serves_the_next_visitor(
    browser: BrowserContext, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    allows_puts(origin, site)
    edge = await proxy(origin.url, rules(site, "cache", cors="passthrough"))
    assert browser.browser is not None
    for _ in range(2):
        visitor = await browser.browser.new_context()  # with a preflight cache of its own
        page = await visitor.new_page()
        await page.goto(site.url)
        assert await load(page, "put", edge.url + "/note") == "done"
        await visitor.close()
    assert asked(origin) == {"OPTIONS": 1, "PUT": 2}
    assert [one for one, _ in told(edge)] == ["forwarded", "cached"]


async def greets(origin: Origin) -> None:
    """An application that knows its visitors by their cookie, and nothing of CORS."""

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.cookies.get("name", "nobody")
        return web.Response(text=name, headers={"Cache-Control": "private, max-age=0"})

    origin.answers("/me", answer)


async def test_a_page_reads_what_cookies_open_and_nobody_else_does(
    page: Page, site: Site, origin: Origin, proxy: StartProxy
) -> None:
    await greets(origin)
    await page.context.add_cookies([{"name": "name", "value": "ann", "url": site.url}])
    repaired = await proxy(origin.url)
    ruled = await proxy(origin.url, rules(site, "synthesize"))
    stranger = await proxy(origin.url, rules(Site("https://third.example", {}), "synthesize"))
    await page.goto(site.url)
    found = {
        name: await load_all(page, ("visitor", "fetch"), url + "/me")
        for name, url in (
            ("bare", origin.url),
            ("repaired", repaired.url),
            ("stranger", stranger.url),
            ("ruled", ruled.url),
        )
    }
    blocked = ("blocked", "blocked")
    assert found == {
        "bare": blocked,
        "repaired": blocked,  # the origin's word stands, and it has none
        "stranger": blocked,
        "ruled": ("ann", "read"),
    }
