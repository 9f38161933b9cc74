"""A page that loads pictures in every way, and the names of those ways.

Each function resolves to what came of it: ``shown`` (no script may read it), ``read`` (script
has read it), or ``blocked``.
"""

from __future__ import annotations

from playwright.async_api import Page

LOADS = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>loads</title><link rel="icon" href="data:,">
<script>
const loaded = (url, setup) => new Promise((resolve) => {
  const image = new Image();
  setup(image);
  image.onload = () => resolve(image);
  image.onerror = () => resolve(null);
  image.src = url;
  document.documentElement.append(image);
});
const drawn = (image) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  try { pen.getImageData(0, 0, 1, 1); return "read"; } catch { return "tainted"; }
};
const loads = {
  img: async (url) => (await loaded(url, () => {})) ? "shown" : "blocked",
  css: async (url) => {
    const box = document.createElement("div");
    box.style.background = `url("${url}")`;
    document.documentElement.append(box);
    return (await loaded(url, () => {})) ? "shown" : "blocked";
  },
  tainted: async (url) => drawn(await loaded(url, () => {})),
  canvas: async (url) => {
    const image = await loaded(url, (image) => { image.crossOrigin = "anonymous"; });
    return image ? drawn(image) : "blocked";
  },
  credentials: async (url) => {
    const image = await loaded(url, (image) => { image.crossOrigin = "use-credentials"; });
    return image ? drawn(image) : "blocked";
  },
  fetch: (url, init = {}) => fetch(url, init).then((reply) => reply.blob())
    .then((body) => body.size ? "read" : "empty", () => "blocked"),
  validate: (url) => loads.fetch(url, { cache: "no-cache" }),
};
</script>
"""


async def load(page: Page, way: str, url: str) -> str:
    """What comes of loading *url* in this *way* on the page of ``LOADS``."""
    result = await page.evaluate("([way, url]) => loads[way](url)", [way, url])
    assert isinstance(result, str)
    return result


async def load_all(page: Page, ways: tuple[str, ...], url: str) -> tuple[str, ...]:
    """One after the other, on the same page."""
    return tuple([await load(page, way, url) for way in ways])
