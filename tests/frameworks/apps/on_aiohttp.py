"""aiohttp with aiohttp-cors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import aiohttp_cors
from aiohttp import web

from tests.frameworks.apps import site


def make(policy: site.Policy) -> web.Application:
    options = aiohttp_cors.ResourceOptions(
        allow_credentials=policy.credentials,
        expose_headers=policy.expose,
        allow_headers=policy.headers,
        allow_methods=policy.methods,
        max_age=policy.max_age,
    )
    app = web.Application()
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(policy.listed, options))
    for name in site.NAMES:
        resource = cors.add(app.router.add_resource(f"/{name}"))
        for method in ("GET", "HEAD", "PUT", "POST"):
            cors.add(resource.add_route(method, _handler(name)))
    return app


def _handler(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        said = site.answer(name, request.method, request.headers)
        return web.Response(body=said.body, status=said.status, headers=said.fields)

    return handler


async def _main() -> None:
    ports = {}
    for name in sys.argv[1:]:
        runner = web.AppRunner(make(site.POLICIES[name]))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports[name] = runner.addresses[0][1]
    site.announce(ports)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
