"""The dashboard as a person in front of a Chromium sees and uses it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from tests.admin.conftest import TOKEN, Origin, Proxy, Start
from tests.browser.conftest import browser, page

__all__ = ("browser", "page")  # fixtures
PATIENCE = 20_000  # milliseconds
EVIL = "https://evil.example"
RULES = """\
cors: {app: {origins: ["https://ok.example", "https://also.example"]}}
rules: [{name: api, match: {path: "/api/**"}, cors: {policy: app}, preflight: synthesize}]
"""


async def traffic(proxy: Proxy) -> None:
    """Twenty requests, of which the origin sees four; seven are blocked."""
    for _ in range(8):
        await proxy.get("/a")
    for _ in range(4):
        await proxy.get("/a", origin=EVIL)
    for _ in range(3):
        await proxy.get("/api/1", origin=EVIL)
    for _ in range(5):
        await proxy.get("/api/1", origin="https://ok.example")


async def opened(page: Page, proxy: Proxy, token: str = TOKEN) -> None:
    """Open the dashboard and unlock it."""
    await page.goto(proxy.admin)
    await page.get_by_label("admin token").fill(token)
    await page.get_by_role("button", name="Open").click()


@pytest.fixture
async def proxy(start: Start) -> Proxy:
    proxy = await start(f'{RULES}admin: {{address: "127.0.0.1:0", token: {TOKEN}}}\n')
    await traffic(proxy)
    return proxy


async def test_it_is_locked_until_the_token_is_given(page: Page, proxy: Proxy) -> None:
    await page.goto(proxy.admin)
    await expect(page.locator("#state")).to_have_text("locked", timeout=PATIENCE)
    assert EVIL not in await page.content()
    await opened(page, proxy, "wrong")
    await expect(page.locator("#token-wrong")).to_have_text("That was not the token.")
    assert EVIL not in await page.content()
    await opened(page, proxy)
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)
    assert TOKEN not in await page.content()
    assert await page.evaluate("localStorage.length + document.cookie.length") == 0
    await page.reload()  # the tab remembers it
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)


async def test_whether_the_cache_helps_and_who_is_blocked(page: Page, proxy: Proxy) -> None:
    await opened(page, proxy)
    verdict = page.locator("#verdict")
    await expect(verdict).to_contain_text("The cache helps: ", timeout=PATIENCE)
    cached = (await proxy.stats())["totals"]["from_cache"]
    share = cached * 5
    await expect(verdict).to_contain_text(f"it answers {cached} of 20 requests; ")
    await expect(verdict).to_contain_text(f"asked {20 - cached} times in the last minute.")
    await expect(verdict).to_contain_text(f"1 origin is blocked by CORS: {EVIL}.")
    await expect(page.locator("#ratio")).to_have_text(f"{share} %")
    await expect(page.locator("#blocked")).to_have_text("7")
    rows = page.locator("#who tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("this origin is not allowed")
    await expect(rows.nth(0)).to_contain_text("GET /a · defaults")
    for shown in (verdict, page.locator("#blocked"), rows.nth(1)):  # without scrolling
        await expect(shown).to_be_in_viewport(ratio=0.99)


async def test_it_follows_what_happens(page: Page, proxy: Proxy, origin: Origin) -> None:
    await opened(page, proxy)
    await expect(page.locator("#blocked")).to_have_text("7", timeout=PATIENCE)
    await proxy.get("/api/1", origin="https://stranger.example")
    await expect(page.locator("#blocked")).to_have_text("8", timeout=PATIENCE)
    await expect(page.locator("#who")).to_contain_text("https://stranger.example")
    proxy.app.draining = True
    await expect(page.locator("#state")).to_have_text("draining", timeout=PATIENCE)
    await proxy.app.close()
    await expect(page.locator("#state")).to_have_text("not reached", timeout=PATIENCE)


async def test_it_says_first_that_an_origin_fails(page: Page, proxy: Proxy, origin: Origin) -> None:
    async def fails(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    origin.handler = fails
    for at in range(3):
        await proxy.get(f"/{at}")
    await opened(page, proxy)
    said = "In the last minute 3 of 23 requests failed (5xx); origins that have failed: "
    await expect(page.locator("#verdict")).to_contain_text(said, timeout=PATIENCE)


async def test_the_vary_matrix(page: Page, proxy: Proxy, origin: Origin) -> None:
    origin.fields = {"Vary": "Accept-Encoding"}
    await proxy.get("/b")
    await opened(page, proxy)
    row = page.locator("#vary tbody tr").filter(has_text="Accept-Encoding").first
    await expect(row).to_be_visible(timeout=PATIENCE)
    sent = row.locator("td").nth(2)
    assert await row.locator("td").nth(0).inner_text() == "Accept-Encoding"
    added = await sent.locator(".chip.added").all_inner_texts()
    assert added == ["Origin", "Access-Control-Request-Headers", "Access-Control-Request-Method"]
    bare = page.locator("#vary tbody tr").filter(has_text="no Vary").first
    assert await bare.locator("td").nth(2).locator(".chip.added").count() >= 1


async def test_vary_that_a_rule_takes_over_is_shown_as_that(
    page: Page, start: Start, origin: Origin
) -> None:
    proxy = await start(
        f'admin: {{address: "127.0.0.1:0", token: {TOKEN}}}\n'
        'rules: [{name: bare, match: {path: "/bare"}, vary: strip}, {name: other, match: '
        '{path: "/other"}, vary: {mode: replace, headers: [Accept-Language]}}]\n'
    )
    origin.fields = {"Vary": "Accept-Encoding"}
    for target in ("/bare", "/other"):
        await proxy.get(target)
    await opened(page, proxy)
    for rule, sent in (("bare", "no Vary (stripped)"), ("other", "Accept-Language(replaced)")):
        row = page.locator("#vary tbody tr").filter(has_text=rule)
        await expect(row).to_be_visible(timeout=PATIENCE)
        assert await row.locator("td").nth(0).inner_text() == "Accept-Encoding"
        shown = await row.locator("td").nth(2).inner_text()
        assert shown.replace("\n", "") == sent


async def test_the_purge_box(page: Page, proxy: Proxy) -> None:
    await opened(page, proxy)
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)
    said = page.locator("#purged")
    await page.locator("#value").fill(f"{proxy.url}/a")
    await page.get_by_role("button", name="Show what would go").click()
    await expect(said).to_have_text("Would be purged: 2 stored responses of 1 resource.")
    assert await proxy.is_stored("/a")
    await page.get_by_role("button", name="Purge", exact=True).click()
    await expect(said).to_have_text("Purged: 2 stored responses of 1 resource.")
    assert not await proxy.is_stored("/a")
    await page.locator("#value").fill("nonsense")
    await page.get_by_role("button", name="Purge", exact=True).click()
    await expect(said).to_contain_text("Not purged: 'nonsense' is no URL")


async def test_it_asks_nobody_else_and_obeys_its_own_policy(page: Page, proxy: Proxy) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    await opened(page, proxy)
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {urlsplit(proxy.admin).netloc}
    locked = "the server responded with a status of 401"  # the first, before the token
    assert [one for one in complaints if locked not in one] == []


async def test_what_clients_send_stays_text(page: Page, proxy: Proxy) -> None:
    markup = '"><img src=x onerror=document.title=1><script>document.title=1</script>'
    await proxy.get("/api/1", origin=markup)
    await proxy.get("/api/1?<b>bold</b>", origin=EVIL)
    await opened(page, proxy)
    await expect(page.locator("#who")).to_contain_text("<img src=x", timeout=PATIENCE)
    assert await page.locator("#who img, #who script, #who b").count() == 0
    assert await page.title() == "vary-proxy"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_word_can_be_read(page: Page, proxy: Proxy, scheme: str) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
    await opened(page, proxy)
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)
    faint = await page.evaluate(
        """() => {
          const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
          const ground = (one) => {
            for (; one; one = one.parentElement) {
              const found = parts(getComputedStyle(one).backgroundColor);
              if (found.length === 3 || found[3] === 1) return found;
            }
            return [255, 255, 255];
          };
          const light = (colour) => {
            const [r, g, b] = colour.slice(0, 3).map((value) => value / 255).map((value) =>
              value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const faint = [];
          for (const one of document.querySelectorAll("body *")) {
            const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
            if (!own || !one.getClientRects().length || one.closest("script, style")) continue;
            const style = getComputedStyle(one);
            const [a, b] = [light(parts(style.color)), light(ground(one))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            const large = parseFloat(style.fontSize) >= 24;
            if (contrast < (large ? 3 : 4.5))
              faint.push(`${one.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
          }
          const body = light(parts(getComputedStyle(document.body).backgroundColor));
          return {faint, dark: body < 0.2};
        }"""
    )
    assert faint == {"faint": [], "dark": scheme == "dark"}


async def test_it_fits_a_phone(page: Page, proxy: Proxy) -> None:
    await page.set_viewport_size({"width": 360, "height": 800})
    await opened(page, proxy)
    await expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await expect(page.locator("#who tbody tr")).to_have_count(2)
    cut = await page.evaluate(
        """() => [...document.querySelectorAll("section")]
          .filter((one) => one.scrollWidth > one.clientWidth)
          .map((one) => one.querySelector("h2").textContent)"""
    )
    assert cut == []  # nothing that one has to push sideways
