"""Starts the three servers of the demo and ends them: bucket, proxy, and the page's own.

A port of its own makes each a different origin to the browser, which is all that CORS asks.
The page's server also tells the page what went over the wire and what was counted.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from vary_proxy import __version__
from vary_proxy.demo import pictures
from vary_proxy.demo.origin import Bucket, CorsRule
from vary_proxy.demo.traffic import GALLERY, VISITOR, Observer, Traffic

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
_PNG = "image/png"
_CROWD = 200  # visitors at once, at most
_ABREAST = 8  # of them at the same time
_TICK = 0.05  # seconds between two reports of the counts


class Proxy(Protocol):
    """A proxy in front of one origin."""

    async def start(self, host: str, port: int, origin: str, observer: Observer) -> int:
        """Listen, and return the port. Raises OSError when it is taken."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Addresses:
    page: str
    bucket: str
    proxy: str


class Show:
    """The demo. *port* is the page's; 0 is any free one. The others are taken near it."""

    def __init__(self, proxy: Proxy, host: str = "127.0.0.1", port: int = 0) -> None:
        self._proxy = proxy
        self._host = host
        self._port = port
        self._traffic = Traffic()
        self._bucket = Bucket(key=lambda path: path.rpartition("/")[2])
        self._runners: list[web.AppRunner] = []
        self._ports = {"page": port, "bucket": 0, "proxy": 0}
        self._ending = False
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> Addresses:
        """Start all three. Raises OSError when the page's port is taken."""
        page = self._ports["page"] = await self._listen(self._page(), self._port)
        for name in pictures.NAMES:
            self._bucket.put(f"{name}.png", await asyncio.to_thread(pictures.draw, name), _PNG)
        # Any page on our port may read, whatever name this machine was reached by.
        self._bucket.rules = (CorsRule(origins=(f"http://*:{page}",)),)
        near = (page + 1, page + 2) if self._port else (0, 0)
        self._ports["bucket"] = await self._near(near[0], self._start_bucket)
        self._ports["proxy"] = await self._near(near[1], self._start_proxy)
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )
        return Addresses(**{name: self._url(port) for name, port in self._ports.items()})

    async def close(self) -> None:
        self._ending = True
        self._traffic.wake()
        if self._session is not None:
            await self._session.close()
        await self._proxy.close()
        for runner in reversed(self._runners):
            await runner.cleanup()

    def _url(self, port: int) -> str:
        host = "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _near(self, port: int, start: Callable[[int], Awaitable[int]]) -> int:
        """Start on *port*, or on any free one when that is taken."""
        try:
            return await start(port)
        except OSError:
            return await start(0)

    async def _start_bucket(self, port: int) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._bucket.answer)
        app.on_response_prepare.append(self._traffic.saw_origin)
        return await self._listen(app, port)

    async def _start_proxy(self, port: int) -> int:
        origin = self._url(self._ports["bucket"])
        return await self._proxy.start(self._host, port, origin, self._traffic.saw_proxy)

    async def _listen(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runners.append(runner)
        return int(runner.addresses[0][1])

    def _page(self) -> web.Application:
        app = web.Application()
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/", self._html),
            ("GET", "/{name:page\\.(?:css|js)}", self._file),
            ("GET", "/events", self._events),
            ("GET", "/traffic", self._exchanges),
            ("POST", "/settings", self._set),
            ("POST", "/crowd", self._crowd),
        )
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
        return app

    async def _html(self, request: web.Request) -> web.StreamResponse:
        setup = {
            "ports": self._ports,
            "pictures": pictures.NAMES,
            "bare304": self._bucket.bare_304,
            "version": __version__,
        }
        return _fresh(_static("page.html").replace("{{setup}}", json.dumps(setup)), "text/html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        return _fresh(_static(name), _STATIC[name])

    async def _exchanges(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._traffic.of(request.query.get("run", "")))

    async def _set(self, request: web.Request) -> web.StreamResponse:
        self._bucket.bare_304 = (await _wish(request)).get("bare304") is True
        return web.json_response({"bare304": self._bucket.bare_304})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The counts, now and whenever they change, as server-sent events."""
        stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await stream.prepare(request)
        with suppress(ConnectionError):  # the page was closed
            while not self._ending:
                told = self._traffic.version
                await stream.write(f"data: {json.dumps(self._traffic.counts)}\n\n".encode())
                await asyncio.sleep(_TICK)
                await self._traffic.change(told, within=15.0)
        return stream

    async def _crowd(self, request: web.Request) -> web.StreamResponse:
        """Let visitors ask for one picture at both doors, every other one with ``Origin``."""
        wish = await _wish(request)
        target, visitors = str(wish.get("target", "")), wish.get("visitors", 0)
        if re.fullmatch(re.escape(GALLERY) + r"[a-z0-9]+/[a-z]+\.png", target) is None:
            raise web.HTTPBadRequest(text="target: no picture of the gallery\n")
        if not isinstance(visitors, int):
            raise web.HTTPBadRequest(text="visitors: not a number\n")
        queue = list(range(min(visitors, _CROWD)))
        await asyncio.gather(*(self._visitor(queue, target) for _ in range(_ABREAST)))
        return web.json_response(self._traffic.counts)

    async def _visitor(self, queue: list[int], target: str) -> None:
        """One of those who stand abreast: comes again until *queue* is empty."""
        assert self._session is not None
        while queue:
            fields = {"User-Agent": VISITOR}
            if queue.pop() % 2:
                fields["Origin"] = self._url(self._ports["page"])
            for door in ("bucket", "proxy"):
                url = self._url(self._ports[door]) + target
                async with self._session.get(url, headers=fields) as reply:
                    await reply.read()


async def _wish(request: web.Request) -> dict[str, Any]:
    """What the page asks for. Raises HTTPBadRequest."""
    try:
        wish = await request.json()
    except (ValueError, LookupError, RecursionError):  # no text, no charset, no JSON
        wish = None
    if not isinstance(wish, dict):
        raise web.HTTPBadRequest(text="write an object, as JSON\n")
    return wish


def _static(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text("utf-8")


def _fresh(text: str, content_type: str) -> web.Response:
    fields = {"Cache-Control": "no-store"}
    return web.Response(text=text, content_type=content_type, charset="utf-8", headers=fields)
