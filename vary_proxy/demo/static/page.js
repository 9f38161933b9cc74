"use strict";
// Loads one picture in four ways, at both doors and in step, and tells what happened from what
// the servers recorded. Nothing here knows how it will end: verdicts come from the browser.

const setup = JSON.parse(document.getElementById("setup").textContent);
const here = location.origin;
const door = (name) => `${location.protocol}//${location.hostname}:${setup.ports[name]}`;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const query = new URLSearchParams(location.search);
const pace = Number(query.get("pace") ?? 1100); // milliseconds from step to step
const KEPT = ["vary", "access-control-allow-origin"]; // what a CORS load depends on

const sides = [
  { id: "direct", base: door("bucket"), door: "direct", server: "the bucket" },
  { id: "proxied", base: door("proxy"), door: "proxy", server: "the proxy" },
];
for (const side of sides) {
  side.node = document.getElementById(side.id);
  side.node.querySelector(".address").textContent = side.base;
}

// ---- the ways to load a picture; each resolves to what was read, or rejects when blocked ----

const loaded = (image, url) =>
  new Promise((resolve, reject) => {
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("blocked"));
    image.src = url;
  });

const ways = {
  async img(url, frame) {
    const image = new Image();
    frame.replaceChildren(image);
    await loaded(image, url);
    return ["shown"];
  },
  async css(url, frame) {
    const box = document.createElement("div");
    box.style.backgroundImage = `url("${url}")`;
    frame.replaceChildren(box);
    await loaded(new Image(), url); // tells when the same request has ended
    return ["shown"];
  },
  async canvas(url, frame) {
    const image = new Image();
    image.crossOrigin = "anonymous";
    await loaded(image, url);
    return drawn(image, frame);
  },
  async fetch(url, frame) {
    return fetched(url, frame, "default");
  },
  async reload(url, frame) {
    return fetched(url, frame, "no-cache"); // the browser's cache has to ask again
  },
};

async function fetched(url, frame, cache) {
  const body = await (await fetch(url, { cache })).blob();
  const bitmap = await createImageBitmap(body);
  drawn(bitmap, frame);
  return [body.size.toLocaleString("en"), "bytes read"];
}

function drawn(picture, frame) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data; // throws if tainted
  frame.replaceChildren(canvas, swatches(pixels));
  return [(pixels.length / 4).toLocaleString("en"), "pixels read"];
}

// The commonest colours: only somebody who may read the pixels can know them.
function swatches(pixels) {
  const found = new Map();
  for (let i = 0; i < pixels.length; i += 16) {
    const key = (pixels[i] & 0xe0) << 16 | (pixels[i + 1] & 0xe0) << 8 | (pixels[i + 2] & 0xe0);
    const sum = found.get(key) ?? [0, 0, 0, 0];
    sum[0]++;
    for (let c = 0; c < 3; c++) sum[c + 1] += pixels[i + c];
    found.set(key, sum);
  }
  const strip = document.createElement("div");
  strip.className = "swatches";
  for (const [n, r, g, b] of [...found.values()].sort((a, b) => b[0] - a[0]).slice(0, 7)) {
    const one = document.createElement("i");
    one.style.background = `rgb(${r / n} ${g / n} ${b / n})`;
    strip.append(one);
  }
  return strip;
}

// ---- the steps ----

const STEPS = [
  { way: "img", code: "<img src>", title: "a plain picture" },
  { way: "css", code: "background-image", title: "the same, in CSS" },
  { way: "canvas", code: "<img crossorigin>", title: "onto a canvas", cors: true },
  { way: "fetch", code: "fetch()", title: "its bytes, by script", cors: true },
];
const RELOAD = { way: "reload", code: "fetch(no-cache)", title: "asked again", cors: true };

let turn = 0; // which picture
let current = 0; // which run; a newer one ends those before it

async function run() {
  const mine = ++current;
  const id = Math.random().toString(36).slice(2, 8).padEnd(6, "0");
  const picture = setup.pictures[turn++ % setup.pictures.length];
  const target = `/gallery/${id}/${picture}.png`;
  const steps = setup.bare304 ? [...STEPS, RELOAD] : STEPS;
  document.body.dataset.run = "running";
  for (const side of sides) reset(side, steps);
  document.querySelector(".heads").replaceChildren();
  crowd.target = target;

  for (let n = 0; n < steps.length; n++) {
    await pause(n ? pace : pace / 2);
    if (mine !== current) return;
    await Promise.all(sides.map((side) => take(side, steps[n], n, target)));
    if (mine !== current) return;
    const recorded = await (await fetch(`traffic?run=${id}`)).json();
    for (const side of sides) tell(side, n, recorded);
    heads(steps[n], n);
  }
  await pause(pace / 2);
  if (mine !== current) return;
  for (const side of sides) judge(side);
  document.body.dataset.run = "done";
}

function reset(side, steps) {
  side.steps = [];
  side.seen = 0;
  side.seenOrigin = 0;
  side.node.dataset.verdict = "running";
  side.node.querySelector(".verdict").textContent = "…";
  side.node.querySelector(".why").textContent = "";
  const list = side.node.querySelector(".steps");
  list.replaceChildren();
  side.node.dataset.steps = steps.length;
  steps.forEach((step, n) => {
    const node = document.getElementById("step").content.cloneNode(true).firstElementChild;
    node.dataset.way = step.way;
    node.querySelector("h3").append(text("b", n + 1), text("code", step.code), text("span", step.title));
    list.append(node);
    side.steps.push({ ...step, number: n + 1, node });
  });
}

async function take(side, step, n, target) {
  const { node } = side.steps[n];
  node.dataset.state = "running";
  const frame = node.querySelector(".frame");
  try {
    side.steps[n].result = await ways[step.way](side.base + target, frame);
    side.steps[n].ok = true;
  } catch {
    frame.replaceChildren();
    side.steps[n].ok = false;
  }
  node.dataset.state = side.steps[n].ok ? "works" : "blocked";
  const [what, more = ""] = side.steps[n].ok ? side.steps[n].result : ["blocked"];
  node.querySelector(".badge").replaceChildren(text("b", what), text("small", more));
}

// What was recorded since the step before belongs to this one.
function tell(side, n, recorded) {
  const step = side.steps[n];
  const asked = recorded.filter((one) => one.door === side.door);
  const origin = recorded.filter((one) => one.door === "origin");
  step.exchange = asked.slice(side.seen).at(-1);
  step.upstream = side.door === "proxy" ? origin.slice(side.seenOrigin).at(-1) : undefined;
  side.seen = asked.length;
  side.seenOrigin = origin.length;
  step.source = step.exchange ? step : side.steps.slice(0, n).findLast((s) => s.exchange);
  const sent = step.node.querySelector(".sent");
  const got = step.node.querySelector(".got");
  if (step.exchange) {
    const request = new Map(step.exchange.asked);
    sent.append(text("i", "→"), chip(step.exchange.method, "plain"));
    sent.append(request.has("origin") ? chip("Origin", "here") : chip("no Origin", "none"));
    if (request.has("if-none-match")) sent.append(chip("If-None-Match", "plain"));
  } else {
    sent.append(text("i", "↺"), chip("nothing sent", "none"), chip("browser’s cache", "cache"));
  }
  if (!step.source) return;
  const answer = new Map(step.source.exchange.answered);
  got.append(text("i", "←"));
  got.append(step.exchange ? chip(step.exchange.status, "plain") : chip(`step ${step.source.number}`, "plain", "What the browser’s cache kept of that step"));
  for (const name of KEPT) got.append(fieldChip(name, answer, step));
  if (n === 0) got.append(chip("kept", "cache", "The browser’s cache keeps this answer"));
}

function fieldChip(name, answer, step) {
  const short = name === "vary" ? "Vary" : "Allow-Origin";
  if (!answer.has(name)) {
    const needed = step.cors && name !== "vary" && !step.ok;
    const kind = needed ? "needed" : name === "vary" && step.number === 1 ? "none culprit" : "none";
    return chip(`no ${short}`, kind, `${title(name)} is missing`);
  }
  const label = name === "vary" ? "Vary: Origin" : short;
  return chip(label, "here", `${title(name)}: ${answer.get(name)}`);
}

// ---- verdict and reason ----

function judge(side) {
  const cors = side.steps.filter((step) => step.cors);
  const works = cors.every((step) => step.ok);
  side.node.dataset.verdict = works ? "works" : "blocked";
  side.node.querySelector(".verdict").textContent = works ? "works" : "blocked";
  side.node.querySelector(".why").innerHTML = side.door === "proxy" ? whyProxied(works) : whyDirect(side, works);
}

function whyDirect(side, works) {
  if (works)
    return `<b>This browser did not show the fault.</b> It asked again instead of reusing the answer of step 1: perhaps
      “Disable cache” is on in its developer tools, or it keeps CORS loads in a cache of their own. Chrome and Edge
      share one, and so do CDNs.`;
  const last = side.steps.at(-1);
  const again = last.way !== "reload" ? "" : last.ok ? "" :
    ` Step ${last.number} asked again, and the 304 brought no CORS fields either.`;
  return `<b>Step 1 primed the browser’s cache.</b> It had no <code>Origin</code>, so the bucket left out
    <code>Vary</code> and <code>Access-Control-Allow-Origin</code>. The cache kept that answer under the address alone,
    and gave it to steps 3 and 4, which need the missing field. The bucket was never asked.${again}`;
}

function whyProxied(works) {
  if (!works) return `<b>The proxy did not cure it.</b> See below what went over the wire.`;
  const again = setup.bare304
    ? ` The bucket’s bare 304s stay behind the proxy: it answers from its own whole responses.` : "";
  return `<b>Every answer now says <code>Vary: Origin</code>.</b> The bucket said nothing; the proxy added it. So in
    step 3 the browser’s cache saw that its answer was to a request without <code>Origin</code>, asked again, and got
    <code>Access-Control-Allow-Origin</code>. Same bucket, same code.${again}`;
}

// ---- response heads ----

function heads(step, n) {
  const item = document.createElement("li");
  const more = document.createElement("details");
  more.open = n === 0 || n === 2;
  const summary = text("summary", "");
  summary.append(text("b", n + 1), text("code", step.code), text("span", step.title));
  more.append(summary);
  const pair = document.createElement("div");
  pair.className = "pair";
  for (const side of sides) pair.append(head(side, side.steps[n]));
  more.append(pair);
  item.append(more);
  document.querySelector(".heads").append(item);
}

function head(side, step) {
  const box = text("pre", "");
  const { exchange, upstream, source } = step;
  box.dataset.side = side.id;
  if (!source) {
    box.append(line("nothing was recorded", "note"));
    return box;
  }
  if (exchange) {
    box.append(line(`${exchange.method} ${exchange.target}`, "start"));
    for (const name of ["origin", "if-none-match", "cache-control"])
      for (const [key, value] of exchange.asked) if (key === name) box.append(line(`${title(key)}: ${value}`));
    if (!exchange.asked.some(([key]) => key === "origin")) box.append(line("(no Origin)", "note"));
    box.append(line(""));
  } else {
    box.append(line(`Nothing was sent: the browser’s cache gave the answer of step ${source.number}.`, "note"), line(""));
  }
  const shown = source.exchange;
  const before = upstream && new Map(upstream.answered);
  box.append(line(`${shown.status} ${phrase(shown.status)}${exchange ? "" : "   (stored)"}`, "start"));
  for (const [key, value] of shown.answered) {
    const added = key === "vary" && shown.vary_added.length;
    box.append(line(`${title(key)}: ${value}`, added ? "added" : KEPT.includes(key) ? "key" : ""));
  }
  const names = new Set(shown.answered.map(([key]) => key));
  for (const name of KEPT) {
    if (names.has(name)) continue;
    if (name === "vary" || step.cors) box.append(line(`${title(name)}`, "absent"));
  }
  if (before && !before.has("vary")) box.append(line("The bucket’s own answer had no Vary.", "note"));
  return box;
}

const SPELT = { etag: "ETag", "x-amz-request-id": "x-amz-request-id", "x-amz-id-2": "x-amz-id-2" };
const title = (name) => SPELT[name] ?? name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase());
const phrase = (status) => ({ 200: "OK", 206: "Partial Content", 304: "Not Modified" })[status] ?? "";

function text(tag, content, className = "") {
  const node = document.createElement(tag);
  node.textContent = content;
  node.className = className;
  return node;
}
const chip = (label, kind, hint = "") => Object.assign(text("span", label, `chip ${kind}`), { title: hint });
const line = (content, kind = "") => text("span", content, `line ${kind}`);

// ---- counters, live ----

const meters = { hit: "hits", miss: "misses", repair: "repairs", origin: "origin", direct: "direct-requests" };
new EventSource("events").onmessage = (event) => {
  const counts = JSON.parse(event.data);
  for (const [key, id] of Object.entries(meters)) {
    const node = document.querySelector(`#${id} b`);
    const value = String(counts[key] ?? 0);
    if (node.textContent === value) continue;
    node.textContent = value;
    node.parentElement.classList.remove("tick");
    void node.offsetWidth; // lets the animation begin anew
    node.parentElement.classList.add("tick");
  }
};

// ---- controls ----

const post = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
const again = document.getElementById("again");
const crowd = document.getElementById("crowd");
const bare = document.getElementById("bare304");

again.onclick = () => run();
crowd.onclick = async () => {
  crowd.disabled = true;
  await post("crowd", { target: crowd.target, visitors: 100 });
  crowd.disabled = false;
};
bare.checked = setup.bare304;
bare.onchange = async () => {
  setup.bare304 = (await (await post("settings", { bare304: bare.checked })).json()).bare304;
  run();
};
document.getElementById("theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "r") run();
  if (event.key === "v" && !crowd.disabled) crowd.click();
});
document.querySelector(".version").textContent = `vary-proxy ${setup.version}`;
if (query.has("theme")) document.documentElement.dataset.theme = query.get("theme");
run();
