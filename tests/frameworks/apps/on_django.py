"""Django with django-cors-headers, and Django's own ConditionalGetMiddleware.

Its settings are the process's, so that one process serves one policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.frameworks.apps import site


def make(policy: site.Policy) -> Any:
    everybody = policy.origins == "*"
    settings.configure(
        SECRET_KEY="of no consequence",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["corsheaders"],
        MIDDLEWARE=[
            "corsheaders.middleware.CorsMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        LOGGING_CONFIG=None,
        CORS_ALLOW_ALL_ORIGINS=everybody,
        CORS_ALLOWED_ORIGINS=[] if everybody else policy.listed,
        CORS_ALLOW_CREDENTIALS=policy.credentials,
        CORS_ALLOW_METHODS=policy.methods,
        CORS_ALLOW_HEADERS=policy.headers,
        CORS_EXPOSE_HEADERS=policy.expose,
        CORS_PREFLIGHT_MAX_AGE=policy.max_age,
    )
    django.setup()
    return get_asgi_application()


def _view(name: str) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=site.WRITTEN)
        said = site.representation(name)
        return HttpResponse(said.body, status=said.status, headers=said.fields)

    return view


urlpatterns = [path(name, _view(name)) for name in site.NAMES]


if __name__ == "__main__":
    site.serve_asgi(make)
