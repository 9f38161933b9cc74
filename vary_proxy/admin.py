"""The admin listener: purge, inspect, explain, stats, the configuration, and the dashboard.

Every answer but the dashboard's page, which holds no data, asks for the token. No page of
another site gets in through the browser of whoever may: requests that bear another's
``Origin`` are refused, only JSON is taken, and without a token only names of this machine
are answered to, so that no foreign name can be pointed here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from vary_proxy.configuration import showing
from vary_proxy.core.message import Fields, Request
from vary_proxy.observation import explaining, overview, tailing
from vary_proxy.purges import telling
from vary_proxy.purges.purging import BadPurge, Kind, Purge, Purged
from vary_proxy.store.driver import Unsupported

if TYPE_CHECKING:
    from vary_proxy.observation.eyes import Eyes, Watchable

_log = logging.getLogger("vary_proxy")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PLAIN = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MOST_BODY = 1 << 16


class PurgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """One of url, tag, prefix, pattern and all."""

    url: str | None = None
    tag: str | None = None
    prefix: str | None = None
    pattern: str | None = None
    all: bool = False
    headers: dict[str, str] = {}
    soft: bool = False
    dry_run: bool = False


class ExplainBody(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    method: str = "GET"
    headers: dict[str, str] = {}


def application(app: Watchable, eyes: Eyes) -> web.Application:
    said = app.loaded.settings.admin
    admin = _Admin(app, eyes)
    web_app = web.Application(middlewares=[_errors, _guard(said.token)], client_max_size=_MOST_BODY)
    if said.dashboard:
        web_app.router.add_get("/", dashboard())
    web_app.router.add_get("/stats", admin.stats)
    web_app.router.add_get("/tail", admin.tail)
    web_app.router.add_get("/config", admin.config)
    web_app.router.add_get("/inspect", admin.inspect)
    web_app.router.add_post("/explain", admin.explain)
    web_app.router.add_post("/purge", admin.purge)
    web_app.router.add_post("/reload", admin.reload)
    return web_app


class _Admin:
    def __init__(self, app: Watchable, eyes: Eyes) -> None:
        self._app = app
        self._eyes = eyes

    async def stats(self, _: web.Request) -> web.Response:
        return _json(await overview.overview(self._app, self._eyes))

    async def tail(self, request: web.Request) -> web.StreamResponse:
        return await tailing.stream(request, self._eyes)

    async def config(self, _: web.Request) -> web.Response:
        loaded = self._app.loaded
        return _json(showing.tree(loaded.settings, loaded.private))

    async def inspect(self, request: web.Request) -> web.Response:
        url = request.query.get("url", "")
        found = await self._app.purger.found(url)
        variants = overview.inspected(found, self._eyes.clock())
        return _json({"url": url, "variants": variants + await self._eyes.others_hold(url)})

    async def explain(self, request: web.Request) -> web.Response:
        asked = await _body(request, ExplainBody)
        try:
            described = _request(asked)
        except ValueError as wrong:
            raise web.HTTPBadRequest(text=str(wrong)) from None
        return _json(explaining.explain(self._app.loaded, described))

    async def purge(self, request: web.Request) -> web.StreamResponse:
        asked = await _body(request, PurgeBody)
        purge = _purge(asked)

        async def run(*tell: telling.Tell) -> dict[str, Any]:
            purged = await self._app.purger.run(purge, *tell)
            if not purge.dry_run:
                self._eyes.purged(purge.kind)
            return purge_told(purge, purged)

        if telling.wanted(request):
            return await telling.Telling(request, _PLAIN).run(run)
        return _json(await run())

    async def reload(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        outcome = await self._app.reload()
        return _json(outcome, 200 if outcome.ok else 422)


def purge_told(purge: Purge, purged: Purged) -> dict[str, Any]:
    return {
        "kind": purge.kind,
        "value": purge.value,
        "soft": purge.soft,
        "dry_run": purge.dry_run,
        "resources": purged.resources,
        "stored_responses": purged.stored_responses,
        "done": purged.done,
        "missing": purged.missing,
    }


def _purge(asked: PurgeBody) -> Purge:
    kinds: dict[Kind, str | None] = {
        "url": asked.url,
        "tag": asked.tag,
        "prefix": asked.prefix,
        "pattern": asked.pattern,
        "all": "" if asked.all else None,
    }
    named = [(kind, value) for kind, value in kinds.items() if value is not None]
    if len(named) != 1:
        raise BadPurge("say what to purge: one of url, tag, prefix, pattern and all")
    kind, value = named[0]
    if asked.headers and kind != "url":
        raise BadPurge("headers narrow the purge of a URL, and nothing else")
    return Purge(kind, value, _fields(asked.headers), asked.soft, asked.dry_run)


def _fields(headers: dict[str, str]) -> Fields:
    """Raises BadPurge for what is no field."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise BadPurge(f"{name!r} is no header field")
    return Fields(tuple((name.lower().encode(), value.encode()) for name, value in headers.items()))


def _request(asked: ExplainBody) -> Request:
    """Raises ValueError."""
    found = re.fullmatch(r"(?:(https?)://([^/?#\s]+))?([/?][^#\s]*|\*)?", asked.url, re.A)
    if found is None or not asked.url.isascii() or not _TOKEN.fullmatch(asked.method):
        raise ValueError(f"{asked.url!r} is no URL; write http://host/path, or /path")
    target = found[3] or "/"
    target = f"/{target}" if target.startswith("?") else target
    fields = _fields(asked.headers)
    authority = fields.get(b"host") or (found[2] or "").encode()
    return Request(
        asked.method.encode(),
        target.encode(),
        fields.without({b"host"}),
        (found[1] or "http").encode(),
        authority,
    )


async def _body(request: web.Request, shape: type[Any]) -> Any:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.DecodeError as wrong:
        raise web.HTTPBadRequest(text=str(wrong)) from None


def _json(told: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(told) + b"\n",
        content_type="application/json",
        headers=_PLAIN,
    )


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (BadPurge, Unsupported) as wrong:
        return _json({"error": str(wrong)}, 400)
    except web.HTTPException as wrong:
        response = _json({"error": wrong.text or wrong.reason}, wrong.status)
        for name in ("Allow", "WWW-Authenticate"):
            if name in wrong.headers:
                response.headers[name] = wrong.headers[name]
        return response
    except Exception as failure:  # a shared store that is away, most likely
        _log.exception("the admin listener could not do %s %s", request.method, request.path)
        return _json({"error": f"not done: {type(failure).__name__}: {failure}"}, 503)


def _guard(token: str) -> Any:
    """Lets in who bears *token*, and nobody from another site."""
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_foreign(request):
            raise web.HTTPForbidden(text="a page of another site may not ask this")
        if not expected and not is_this_machine(_host(request)):
            raise web.HTTPForbidden(text="without a token, ask by the name localhost")
        is_page = request.path == "/" and request.method in ("GET", "HEAD")
        if expected and not is_page and not _bears(request, expected):
            raise web.HTTPUnauthorized(
                text="send Authorization: Bearer, and the admin token",
                headers={"WWW-Authenticate": 'Bearer realm="vary-proxy"'},
            )
        return await handler(request)

    return guard


def _bears(request: web.Request, expected: bytes) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected)
    return right and scheme.lower() == "bearer"


def _is_foreign(request: web.Request) -> bool:
    if request.headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site"):
        return request.path != "/" or request.method != "GET"  # a link may lead to the page
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != _host(request)


def _host(request: web.Request) -> str:
    return request.headers.get("Host", "")


def is_this_machine(host: str) -> bool:
    """True for a Host that no foreign name server can point elsewhere."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name not in ("", "localhost"):
            ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def dashboard() -> Handler:
    """Answers with the page: one file, nothing from elsewhere, nothing inline but its own."""
    page = resources.files("vary_proxy.dashboard").joinpath("page.html").read_text("utf-8")
    styles, scripts = (_hashes(page, tag) for tag in ("style", "script"))
    policy = (
        f"default-src 'none'; style-src {styles}; script-src {scripts}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {**_PLAIN, "Content-Security-Policy": policy}

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers=headers)

    return show


def _hashes(page: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in found]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
