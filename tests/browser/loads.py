"""A page that loads pictures, fonts, scripts and sheets in every way, and those ways' names.

Each function resolves to what came of it: ``shown`` (no script may read it), ``read`` (script
has read it), ``run`` (a script), ``done`` (a PUT), or ``blocked``.
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
const linked = (url, setup) => new Promise((resolve) => {
  const link = document.createElement("link");
  setup(link);
  link.onload = () => resolve(link);
  link.onerror = () => resolve(null);
  link.href = url;
  document.head.append(link);
});
const sheet = async (url, setup) => {
  const link = await linked(url, (link) => { link.rel = "stylesheet"; setup(link); });
  if (!link) return "blocked";
  try { return link.sheet.cssRules.length ? "read" : "empty"; } catch { return "shown"; }
};
const run = (url, setup) => new Promise((resolve) => {
  const script = document.createElement("script");
  const before = globalThis.runs ?? 0;
  setup(script);
  script.onload = () => resolve(globalThis.runs > before ? "run" : "ignored");
  script.onerror = () => resolve("blocked");
  script.src = url;
  document.head.append(script);
});
const width = (family) => {
  const text = document.createElement("span");
  [text.textContent, text.style.font] = ["A", `20px ${family}, monospace`];
  document.documentElement.append(text);
  return text.getBoundingClientRect().width;
};
let fonts = 0;
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
  opaque: (url) => fetch(url, { mode: "no-cors" })
    .then((reply) => reply.type === "opaque" ? "shown" : reply.type, () => "blocked"),
  cookies: (url) => loads.fetch(url, { credentials: "include" }),
  visitor: (url) => fetch(url, { credentials: "include" })
    .then((reply) => reply.text(), () => "blocked"),
  put: (url) => fetch(url, {
    method: "PUT",
    headers: { "Content-Type": "application/json", "X-Token": "1" },
    body: "{}",
  }).then((reply) => reply.ok ? "done" : `status ${reply.status}`, () => "blocked"),
  preload: async (url) => {
    const link = await linked(url, (link) => { [link.rel, link.as] = ["preload", "font"]; });
    return link ? "shown" : "blocked";
  },
  font: async (url) => {
    const [family, style] = [`probe${fonts++}`, document.createElement("style")];
    style.textContent = `@font-face { font-family: ${family}; src: url("${url}"); }`;
    document.head.append(style);
    try { await document.fonts.load(`20px ${family}`, "A"); } catch { return "blocked"; }
    const loaded = document.fonts.check(`20px ${family}`, "A") && width(family) === 60;
    return loaded ? "shown" : "blocked";
  },
  script: (url) => run(url, () => {}),
  crossorigin: (url) => run(url, (script) => { script.crossOrigin = "anonymous"; }),
  module: (url) => run(url, (script) => {
    [script.type, script.crossOrigin] = ["module", "anonymous"];
  }),
  sheet: (url) => sheet(url, () => {}),
  sheetRead: (url) => sheet(url, (link) => { link.crossOrigin = "anonymous"; }),
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
