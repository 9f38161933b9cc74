"""``vary-proxy demo``, as somebody who runs it and opens the page sees it."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

PATIENCE = 30_000  # milliseconds


class Demo:
    def __init__(self, process: asyncio.subprocess.Process, page: str) -> None:
        self.process = process
        self.page = page

    async def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            return await self.process.wait()


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vary_proxy", "demo", "--port", "0", "--no-open",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            told = ""
            while "Ctrl-C" not in told:
                line = await process.stdout.readline()
                assert line, f"the demo ended, and had said: {told!r}"
                told += line.decode()
        found = re.search(r"the page +(http://127\.0\.0\.1:\d+/)", told)
        assert found is not None, told
        yield Demo(process, found[1])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def colours(page: Page, shot: bytes) -> int:
    """How many colours a PNG has: an empty page has few."""
    count = """async (data) => {
      const bitmap = await createImageBitmap(await (await fetch(data)).blob());
      const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      pen.drawImage(bitmap, 0, 0);
      const pixels = pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
      return new Set(new Uint32Array(pixels.buffer)).size;
    }"""
    data = "data:image/png;base64," + base64.b64encode(shot).decode()
    found = await page.evaluate(count, data)
    assert isinstance(found, int)
    return found


async def counted(page: Page, meter: str) -> int:
    return int(await page.inner_text(f"#{meter} b"))


async def test_the_page_shows_the_fault_and_the_cure(page: Page, demo: Demo) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(demo.page + "?pace=0")
    await expect(page.locator("#direct")).to_have_attribute(
        "data-verdict", "blocked", timeout=PATIENCE
    )
    await expect(page.locator("#proxied")).to_have_attribute("data-verdict", "works")
    await expect(page.locator("#direct .verdict")).to_have_text("blocked")
    await expect(page.locator("#proxied .verdict")).to_have_text("works")
    states = "nodes => nodes.map(node => node.dataset.state)"
    assert await page.eval_on_selector_all("#direct .step", states) == [
        *("works", "works"),
        *("blocked", "blocked"),
    ]
    assert await page.eval_on_selector_all("#proxied .step", states) == ["works"] * 4
    assert "Step 1 primed the browser’s cache" in await page.inner_text("#direct .why")
    # The heads of step 1, as recorded: without Vary, and with it.
    first = page.locator(".heads > li").first
    assert "Vary ← missing" not in await first.locator("pre[data-side=proxied]").inner_text()
    added = first.locator("pre[data-side=proxied] .added")
    await expect(added).to_have_text(
        "Vary: Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    )
    await expect(first.locator("pre[data-side=direct] .absent")).to_have_text("Vary")
    assert errors == []


async def test_the_counters_rise_and_a_new_run_uses_new_addresses(page: Page, demo: Demo) -> None:
    await page.goto(demo.page + "?pace=0")
    done = page.locator("body[data-run=done]")
    await done.wait_for(timeout=PATIENCE)
    await expect(page.locator("#origin b")).to_have_text("2")
    await expect(page.locator("#repairs b")).to_have_text("1")
    await expect(page.locator("#direct-requests b")).to_have_text("1")
    first = await page.locator("#proxied img").first.get_attribute("src")
    await page.click("#again")
    await expect(page.locator("#origin b")).to_have_text("4", timeout=PATIENCE)
    await done.wait_for(timeout=PATIENCE)
    assert await page.locator("#proxied img").first.get_attribute("src") != first
    hits = await counted(page, "hits")
    await page.click("#crowd")
    await expect(page.locator("#hits b")).to_have_text(str(hits + 100), timeout=PATIENCE)
    assert await counted(page, "origin") == 4
    assert await counted(page, "direct-requests") == 102


async def test_bare_304s_break_even_a_second_request_and_not_the_proxy(
    page: Page, demo: Demo
) -> None:
    await page.request.post(demo.page + "settings", data='{"bare304": true}')
    await page.goto(demo.page + "?pace=0")
    await page.locator("body[data-run=done]").wait_for(timeout=PATIENCE)
    await expect(page.locator("#bare304")).to_be_checked()
    last = ".step[data-way=reload]"
    await expect(page.locator(f"#direct {last}")).to_have_attribute("data-state", "blocked")
    await expect(page.locator(f"#proxied {last}")).to_have_attribute("data-state", "works")
    await expect(page.locator("#direct")).to_have_attribute("data-verdict", "blocked")
    await expect(page.locator("#proxied")).to_have_attribute("data-verdict", "works")
    await page.locator("#bare304").uncheck(force=True)  # and a run without them follows
    await expect(page.locator(last)).to_have_count(0)


async def test_origins_that_begin_to_answer_with_bare_304s_do_not_break_the_proxy(
    page: Page, demo: Demo
) -> None:
    await page.goto(demo.page + "?pace=0")
    await page.locator("body[data-run=done]").wait_for(timeout=PATIENCE)
    await page.locator("#bare304").check(force=True)  # and a run with them follows
    last = ".step[data-way=reload]"
    await expect(page.locator(f"#direct {last}")).to_have_attribute(
        "data-state", "blocked", timeout=PATIENCE
    )
    await expect(page.locator(f"#proxied {last}")).to_have_attribute("data-state", "works")
    await expect(page.locator("#proxied")).to_have_attribute("data-verdict", "works")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1280, 800), (1600, 900)], ids=["1280x800", "1600x900"])
async def test_it_fills_the_stage(
    page: Page, demo: Demo, size: tuple[int, int], theme: str
) -> None:
    width, height = size
    await page.set_viewport_size({"width": width, "height": height})
    await page.goto(f"{demo.page}?pace=0&theme={theme}")
    await page.locator("body[data-run=done]").wait_for(timeout=PATIENCE)
    bottom = await page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    assert height * 0.85 < bottom <= height  # both halves are seen at once
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await colours(page, await page.screenshot()) > 1000


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_nothing_stands_beyond_the_edge_of_a_narrow_window(
    page: Page, demo: Demo, width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 700})
    await page.goto(demo.page + "?pace=0")
    await page.locator("body[data-run=done]").wait_for(timeout=PATIENCE)
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_ctrl_c_ends_it_while_the_page_is_open(page: Page, demo: Demo) -> None:
    await page.goto(demo.page + "?pace=0")
    await page.locator("body[data-run=done]").wait_for(timeout=PATIENCE)
    assert await demo.interrupt() == 0
