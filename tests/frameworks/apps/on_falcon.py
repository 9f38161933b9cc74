"""Falcon with its CORSMiddleware."""

from __future__ import annotations

import falcon
import falcon.asgi

from tests.frameworks.apps import site


def make(policy: site.Policy) -> falcon.asgi.App:
    cors = falcon.CORSMiddleware(
        allow_origins=policy.origins,
        expose_headers=policy.expose,
        allow_credentials=policy.listed if policy.credentials else None,
    )
    app = falcon.asgi.App(middleware=[cors])
    for name in site.NAMES:
        app.add_route(f"/{name}", _Resource(name))
    return app


class _Resource:
    def __init__(self, name: str) -> None:
        self._name = name

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        said = site.answer(self._name, request.method, request.headers_lower)
        response.status = said.status
        response.data = said.body
        response.content_type = said.fields.get("Content-Type")
        for name, value in said.fields.items():
            response.set_header(name, value)

    on_head = on_put = on_post = on_get


if __name__ == "__main__":
    site.serve_asgi(make)
