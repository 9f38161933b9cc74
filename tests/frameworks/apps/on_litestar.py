"""Litestar with its CORSConfig."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response, route
from litestar.config.cors import CORSConfig
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from tests.frameworks.apps import site


def make(policy: site.Policy) -> Litestar:
    cors = CORSConfig(
        allow_origins=policy.listed,
        allow_credentials=policy.credentials,
        allow_methods=list(policy.methods),  # type: ignore[arg-type]  # its own literal type
        allow_headers=list(policy.headers),
        expose_headers=list(policy.expose),
        max_age=policy.max_age,
    )
    handlers = [_handler(name) for name in site.NAMES]
    return Litestar(handlers, cors_config=cors, openapi_config=None, logging_config=None)


def _handler(name: str) -> HTTPRouteHandler:
    methods = [HttpMethod.GET, HttpMethod.HEAD, HttpMethod.PUT, HttpMethod.POST]

    @route(f"/{name}", http_method=methods, sync_to_thread=False, status_code=200)
    def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        said = site.answer(name, request.method, request.headers)
        fields = dict(said.fields)
        media = fields.pop("Content-Type", None)
        return Response(said.body, status_code=said.status, headers=fields, media_type=media)

    return handler


if __name__ == "__main__":
    site.serve_asgi(make)
