"""A proxy with its probes and its admin listener, before an origin that tests script.

Real sockets, one process. ``start`` takes YAML to append; the clock moves only by hand.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from vary_proxy.app import App
from vary_proxy.config import loads

TOKEN = "open-sesame"
LETS_IN = {"Authorization": f"Bearer {TOKEN}"}

_TEXT = """\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{media: {{url: "{origin}"}}}}
probes: {{address: "127.0.0.1:0"}}
"""
ADMIN = f'admin: {{address: "127.0.0.1:0", token: {TOKEN}}}\n'


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    text: str

    def json(self) -> Any:
        import json

        return json.loads(self.text)


@dataclass
class Origin:
    """Answers 200 and is fresh for an hour, unless ``handler`` says otherwise."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)  # on every answer
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        if self.handler is not None:
            return await self.handler(request)
        return web.Response(
            text="content", headers={"Cache-Control": "max-age=3600", **self.fields}
        )


@dataclass
class Proxy:
    app: App
    clock: Clock
    client: aiohttp.ClientSession
    url: str

    @property
    def probes(self) -> str:
        return f"http://{self.app.eyes.bound['probes']}"

    @property
    def admin(self) -> str:
        return f"http://{self.app.eyes.bound['admin']}"

    async def ask(self, url: str | URL, method: str = "GET", **options: Any) -> Answer:
        async with self.client.request(method, url, **options) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.text())

    async def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Through the proxy; names of *headers* are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask(self.url + target, method, headers=named)

    async def purge(self, **body: Any) -> Answer:
        return await self.ask(f"{self.admin}/purge", "POST", json=body, headers=LETS_IN)

    async def stats(self) -> Any:
        return (await self.ask(f"{self.admin}/stats", headers=LETS_IN)).json()

    async def metrics(self, accept: str = "") -> str:
        headers = {"Accept": accept} if accept else {}
        return (await self.ask(f"{self.probes}/metrics", headers=headers)).text

    async def is_stored(self, target: str, **headers: str) -> bool:
        """Whether a request is answered from the cache, fresh."""
        answer = await self.get(target, cache_control="only-if-cached", **headers)
        return answer.status == 200


Start = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", origin.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield origin
    await runner.cleanup()


@pytest.fixture
async def start(origin: Origin) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession())

        async def make(more: str = ADMIN) -> Proxy:
            clock = Clock()
            quiet = "" if "log: " in more else "log: {access: off}\n"
            text = _TEXT.format(origin=origin.url) + quiet + more
            app = App(loads(text.encode(), "test.yaml", {}, environ={}), clock)
            stack.push_async_callback(app.close)
            (address,) = await app.start()
            return Proxy(app, clock, client, f"http://{address}")

        yield make


@pytest.fixture
async def proxy(start: Start) -> Proxy:
    """One with the defaults."""
    return await start()
