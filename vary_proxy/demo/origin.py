"""A bucket that answers as Amazon S3 does, its conditional CORS fields above all.

A request with an allowed ``Origin`` gets the Access-Control fields and a Vary of three names;
every other request, and that of a plain ``<img>`` is one, gets neither. Nothing in the second
answer says that the first exists: that is the fault which the proxy repairs.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from xml.sax.saxutils import escape

from aiohttp import web

from vary_proxy.core.syntax import format_date, http_date

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
REFUSED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of "
    "Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers "
    "are not whitelisted by the resource's CORS spec."
)  # S3's own words, its spelling included


@dataclass(frozen=True, slots=True)
class CorsRule:
    """One CORSRule of a bucket. An allowed origin or header may hold one ``*``."""

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("GET", "HEAD")
    headers: tuple[str, ...] = ("*",)
    expose: tuple[str, ...] = ("ETag",)
    max_age: int = 3000  # seconds

    def allows(self, origin: str, method: str, headers: tuple[str, ...]) -> bool:
        return (
            any(fnmatchcase(origin, allowed) for allowed in self.origins)
            and method in self.methods
            and all(any(fnmatchcase(h, a.lower()) for a in self.headers) for h in headers)
        )

    def fields(self, origin: str) -> dict[str, str]:
        """What S3 adds to an answer for *origin*; credentials unless everybody is allowed."""
        everybody = "*" in self.origins
        fields = {
            "Access-Control-Allow-Origin": "*" if everybody else origin,
            "Access-Control-Allow-Methods": ", ".join(self.methods),
            "Access-Control-Expose-Headers": ", ".join(self.expose),
            "Access-Control-Max-Age": str(self.max_age),
        }
        if not everybody:
            fields["Access-Control-Allow-Credentials"] = "true"
        return {**fields, "Vary": VARY}


@dataclass(frozen=True, slots=True)
class S3Object:
    body: bytes
    content_type: str
    modified: float  # Unix seconds, whole ones

    @property
    def last_modified(self) -> str:
        return format_date(self.modified).decode()

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Bucket:
    """Objects by path, and the rules by which they are answered for.

    *key* maps the path of a request to that of an object, so that one picture can have any
    number of addresses. ``bare_304`` leaves the CORS fields and Vary out of every 304.
    """

    def __init__(
        self,
        rules: tuple[CorsRule, ...] = (CorsRule(),),
        *,
        cache_control: str | None = "public, max-age=3600",
        key: Callable[[str], str] = lambda path: path,
    ) -> None:
        self.rules = rules
        self.cache_control = cache_control
        self.bare_304 = False
        self.objects: dict[str, S3Object] = {}
        self._key = key
        self._asked = 0

    def put(self, path: str, body: bytes, content_type: str) -> None:
        self.objects[path] = S3Object(body, content_type, float(int(time.time())))

    def remove(self, path: str) -> None:
        self.objects.pop(path, None)

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to *request*: an object, a part of one, a 304, or an error as XML."""
        reply = self._preflight(request) if request.method == "OPTIONS" else self._object(request)
        refused = request.method == "OPTIONS" and reply.status != 200
        if not refused and not (reply.status == 304 and self.bare_304):
            reply.headers.update(self._cors(request))
        self._asked += 1
        reply.headers["x-amz-request-id"] = f"{self._asked:016X}"
        reply.headers["Server"] = "AmazonS3"
        return reply

    def _cors(self, request: web.Request) -> dict[str, str]:
        """The CORS family and Vary, for an allowed ``Origin``; nothing at all otherwise."""
        origin = request.headers.get("Origin")
        # S3 looks at the method a preflight names even when this is none.
        method = request.headers.get("Access-Control-Request-Method", request.method)
        rule = None if origin is None else self._rule(origin, method, ())
        return {} if rule is None or origin is None else rule.fields(origin)

    def _rule(self, origin: str, method: str, headers: tuple[str, ...]) -> CorsRule | None:
        return next((r for r in self.rules if r.allows(origin, method, headers)), None)

    def _preflight(self, request: web.Request) -> web.Response:
        origin = request.headers.get("Origin")
        method = request.headers.get("Access-Control-Request-Method")
        if origin is None:
            needed = "Insufficient information. Origin request header needed."
            return _error(request, 400, "BadRequest", needed)
        if method is None:
            return _error(request, 400, "BadRequest", "Invalid Access-Control-Request-Method: null")
        asked = request.headers.get("Access-Control-Request-Headers", "").lower()
        headers = tuple(name.strip() for name in asked.split(",") if name.strip())
        if self._rule(origin, method, headers) is None:
            return _error(request, 403, "AccessForbidden", REFUSED, Method=method)
        allow = {"Access-Control-Allow-Headers": ", ".join(headers)} if headers else {}
        return web.Response(headers=allow)

    def _object(self, request: web.Request) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            refusal = "The specified method is not allowed against this resource."
            return _error(request, 405, "MethodNotAllowed", refusal, Method=request.method)
        thing = self.objects.get(self._key(request.raw_path.partition("?")[0]))
        if thing is None:
            return _error(request, 404, "NoSuchKey", "The specified key does not exist.")
        fields = {
            "ETag": thing.etag,
            "Last-Modified": thing.last_modified,
            "Accept-Ranges": "bytes",
        }
        if self.cache_control is not None:
            fields["Cache-Control"] = self.cache_control
        if (failed := _precondition(request, thing)) == 304:
            return web.Response(status=304, headers=fields)
        if failed == 412:
            text = "At least one of the pre-conditions you specified did not hold"
            return _error(request, 412, "PreconditionFailed", text)
        return _whole_or_part(request, thing, fields)


def _whole_or_part(request: web.Request, thing: S3Object, fields: dict[str, str]) -> web.Response:
    fields["Content-Type"] = thing.content_type
    size = len(thing.body)
    span = _range(request, thing)
    if span is None:
        return web.Response(body=thing.body, headers=fields)
    if span.start >= size:
        text = "The requested range is not satisfiable"
        reply = _error(request, 416, "InvalidRange", text, ActualObjectSize=str(size))
        reply.headers["Content-Range"] = f"bytes */{size}"
        return reply
    fields["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    return web.Response(status=206, body=thing.body[span.start : span.stop], headers=fields)


def _range(request: web.Request, thing: S3Object) -> range | None:
    """The one range asked for; None for none, an unreadable one, or several (RFC 9110 §14.2)."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    stale = condition not in (None, thing.etag, thing.last_modified)
    if match is None or stale or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    size = len(thing.body)
    if not first:
        return range(max(0, size - int(last)) if int(last) else size, size)
    stop = min(int(last) + 1, size) if last else size
    return range(int(first), stop) if int(first) < stop or int(first) >= size else None


def _precondition(request: web.Request, thing: S3Object) -> int | None:
    """304 or 412 when a condition says so, in the order of RFC 9110 §13.2.2."""
    fields = request.headers
    if (match := fields.get("If-Match")) is not None:
        if not _lists(match, thing.etag):
            return 412
    elif (at := _date(fields.get("If-Unmodified-Since"))) and thing.modified > at:
        return 412
    if (match := fields.get("If-None-Match")) is not None:
        return 304 if _lists(match, thing.etag) else None
    since = _date(fields.get("If-Modified-Since"))
    return 304 if since and thing.modified <= since else None


def _lists(condition: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in condition.split(",")}
    return "*" in tags or etag in tags


def _date(text: str | None) -> float | None:
    return None if text is None else http_date(text.encode("latin-1", "replace"), time.time())


def _error(
    request: web.Request, status: int, code: str, message: str, **details: str
) -> web.Response:
    """An error in the form in which S3 tells it."""
    parts = {"Code": code, "Message": message, **details, "Resource": request.path}
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parts.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    sent = body.encode("utf-8", "replace")  # a field may have held what is no text
    return web.Response(status=status, body=sent, content_type="application/xml")
