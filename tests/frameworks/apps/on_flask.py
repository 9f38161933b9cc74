"""Flask with Flask-CORS, and Werkzeug's own conditional answers."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask_cors import CORS

from tests.frameworks.apps import site


def make(policy: site.Policy) -> Flask:
    app = Flask(__name__)
    CORS(
        app,
        origins=policy.origins,
        supports_credentials=policy.credentials,
        methods=list(policy.methods),
        allow_headers=list(policy.headers),
        expose_headers=list(policy.expose),
        max_age=policy.max_age,
    )
    for name in site.NAMES:
        app.add_url_rule(f"/{name}", name, _view(name), methods=["GET", "PUT", "POST"])
    return app


def _view(name: str) -> Callable[[], Response]:
    def view() -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(status=site.WRITTEN)
        said = site.representation(name)
        response = Response(said.body, said.status, said.fields)
        return response.make_conditional(request) if said.status == 200 else response

    return view


if __name__ == "__main__":
    site.serve_wsgi(make)
