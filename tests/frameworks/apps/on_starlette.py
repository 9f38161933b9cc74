"""Starlette with its CORSMiddleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.frameworks.apps import site


def make(policy: site.Policy) -> Starlette:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=policy.listed,
        allow_credentials=policy.credentials,
        allow_methods=policy.methods,
        allow_headers=policy.headers,
        expose_headers=policy.expose,
        max_age=policy.max_age,
    )
    methods = ["GET", "HEAD", "PUT", "POST"]
    routes = [Route(f"/{name}", _endpoint(name), methods=methods) for name in site.NAMES]
    return Starlette(routes=routes, middleware=[cors])


def _endpoint(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        said = site.answer(name, request.method, request.headers)
        return Response(said.body, said.status, said.fields)

    return endpoint


if __name__ == "__main__":
    site.serve_asgi(make)
