"""Quart with quart-cors, and Werkzeug's own conditional answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import Quart, Response, request
from quart_cors import cors

from tests.frameworks.apps import site


def make(policy: site.Policy) -> Quart:
    app = Quart(__name__)
    cors(
        app,
        allow_origin=policy.origins,
        allow_credentials=policy.credentials,
        allow_methods=policy.methods,
        allow_headers=policy.headers,
        expose_headers=policy.expose,
        max_age=policy.max_age,
    )
    for name in site.NAMES:
        app.add_url_rule(f"/{name}", name, _view(name), methods=["GET", "PUT", "POST"])
    return app


def _view(name: str) -> Callable[[], Awaitable[Response]]:
    async def view() -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response("", status=site.WRITTEN)
        said = site.representation(name)
        response = Response(said.body, said.status, said.fields)
        return await response.make_conditional(request) if said.status == 200 else response

    return view


if __name__ == "__main__":
    site.serve_asgi(make)
