"""A real Chromium before real servers on loopback.

``browser`` is a Chromium with a profile of its own and ``page`` a tab of it. ``origin`` answers
as Amazon S3 does until a test scripts it, ``site`` is where the pages come from, and ``proxy``
starts a proxy in front of an origin. A port of its own makes each another origin to the browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.browser.loads import LOADS
from vary_proxy.app import App
from vary_proxy.config import loads
from vary_proxy.core.message import Record
from vary_proxy.demo import pictures
from vary_proxy.demo.origin import Bucket, CorsRule

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
expect.set_options(timeout=20_000)  # milliseconds, in which a busy machine draws

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PICTURE = pictures.draw("plasma")


def chromium() -> str:
    """The path of a Chromium: $CHROMIUM, or the first on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None or shutil.which(found) is None:
        pytest.fail(
            f"no Chromium ({found or ', '.join(names)}): install it (Debian: chromium), "
            "or name it in the environment variable CHROMIUM",
            pytrace=False,
        )
    return found


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[BrowserContext]:
    """Chromium with a fresh profile, and so an empty cache, on disk as users have it."""
    path = chromium()
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=path,
            args=list(ARGUMENTS),
            viewport={"width": 1280, "height": 800},
        )
        try:
            yield context
        finally:
            await context.close()


@pytest.fixture
async def page(browser: BrowserContext) -> Page:
    return await browser.new_page()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that reached a server; names of fields in lower case."""

    method: str
    target: str
    fields: dict[str, str]
    status: int


async def _listen(stack: AsyncExitStack, app: web.Application) -> str:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


@dataclass(slots=True)
class Origin:
    """An origin to script: *bucket* answers as S3 does whatever ``answers`` did not claim.

    ``asked`` is what reached it, in order.
    """

    bucket: Bucket
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _handlers: dict[str, Handler] = field(default_factory=dict)

    def answers(self, path: str, handler: Handler) -> None:
        """Let *handler* answer for *path*, whatever the method."""
        self._handlers[path] = handler

    def serves(self, path: str, body: bytes | str, content_type: str, **fields: str) -> None:
        """The same whole answer to every request for *path*, without CORS fields or Vary.

        Names of *fields* are written with underscores: ``cache_control="max-age=60"``.
        """
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        data = body.encode() if isinstance(body, str) else body

        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(body=data, headers={"Content-Type": content_type, **named})

        self.answers(path, handler)

    def origins_asked_for(self, path: str) -> list[str | None]:
        """The ``Origin`` of every request for *path*; None where there was none."""
        return [one.fields.get("origin") for one in self.asked if one.target == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self._handlers.get(request.path, self.bucket.answer)(request)

    async def saw(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        fields = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.raw_path, fields, response.status))


@pytest.fixture
async def origin(site: Site) -> AsyncIterator[Origin]:
    """An S3-like bucket with ``/picture.png``, whose rules allow the pages of ``site``."""
    async with AsyncExitStack() as stack:
        origin = Origin(Bucket((CorsRule(origins=(site.url,)),)))
        origin.bucket.put("/picture.png", PICTURE, "image/png")
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", origin.answer)
        app.on_response_prepare.append(origin.saw)
        origin.url = await _listen(stack, app)
        yield origin


@dataclass(slots=True)
class Site:
    """Where pages come from. ``/`` has the functions of ``loads.py`` and nothing else."""

    url: str
    pages: dict[str, str]


@pytest.fixture
async def new_site() -> AsyncIterator[Callable[[], Awaitable[Site]]]:
    """Starts sites, each an origin of its own."""
    async with AsyncExitStack() as stack:

        async def start() -> Site:
            pages = {"/": LOADS}

            async def answer(request: web.Request) -> web.StreamResponse:
                if (html := pages.get(request.path)) is None:
                    raise web.HTTPNotFound
                return web.Response(
                    text=html, content_type="text/html", headers={"Cache-Control": "no-store"}
                )

            app = web.Application()
            app.router.add_get("/{path:.*}", answer)
            return Site(await _listen(stack, app), pages)

        yield start


@pytest.fixture
async def site(new_site: Callable[[], Awaitable[Site]]) -> Site:
    """The site whose pages the bucket allows."""
    return await new_site()


@dataclass(slots=True)
class Proxied:
    """A proxy that runs. ``records`` are those of the requests it has answered."""

    url: str
    records: list[Record] = field(default_factory=list)

    def verdicts(self) -> list[str]:
        return [record.cache for record in self.records]


StartProxy = Callable[..., Awaitable[Proxied]]

_CONFIGURATION = """\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{origin: {{url: "{origin}", timeouts: {{connect: 30s}}}}}}
defaults: {{origin: origin}}
log: {{access: off}}
"""


@pytest.fixture
async def proxy() -> AsyncIterator[StartProxy]:
    """Starts proxies: ``await proxy(origin.url)`` is one with the defaults.

    *more* is YAML to append (``rules:``, ``cors:`` …), *overrides* are single values by their
    path, such as ``{"defaults.vary": "passthrough"}``.
    """
    async with AsyncExitStack() as stack:

        async def start(
            origin: str, more: str = "", overrides: Mapping[str, str] | None = None
        ) -> Proxied:
            text = _CONFIGURATION.format(origin=origin) + more
            app = App(loads(text.encode(), "test.yaml", overrides or {}, environ={}))
            stack.push_async_callback(app.close)
            proxied = Proxied("")
            app.observers.append(
                lambda request, reply, size, seconds: proxied.records.append(reply.record)
            )
            (address,) = await app.start()
            proxied.url = f"http://{address}"
            return proxied

        yield start
