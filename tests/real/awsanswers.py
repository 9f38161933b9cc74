"""What AWS S3 answers, as a function of the request: statuses, fields and texts.

CORS fields and the three Vary names are there only when a rule of the bucket matches: the
Origin, and the method (Access-Control-Request-Method where it is sent, on GET as well).
Otherwise nothing shows that the answer could have been another. What a request wants beyond
that is in its query; see ``awsstub``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qsl

ALLOWED = "https://app.example"
THREE_NAMES = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
LAST_MODIFIED = "Mon, 02 Nov 2026 10:00:00 GMT"

Pairs = list[tuple[str, str]]

_CORS_DENIED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of "
    "Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers "
    "are not whitelisted by the resource's CORS spec."
)
_ERRORS = {
    301: (
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint.",
    ),
    307: (
        "TemporaryRedirect",
        "Please re-send this request to the specified temporary endpoint. "
        "Continue to use the original request endpoint for future requests.",
    ),
    403: ("AccessDenied", "Access Denied"),
    404: ("NoSuchKey", "The specified key does not exist."),
    405: ("MethodNotAllowed", "The specified method is not allowed against this resource."),
    412: (
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
    ),
    416: ("InvalidRange", "The requested range is not satisfiable"),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    503: ("SlowDown", "Please reduce your request rate."),
}


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    fields: Pairs
    body: bytes = b""

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> Pairs:
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def wants(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]


@dataclass
class Answer:
    status: int
    fields: Pairs = field(default_factory=list)
    body: bytes = b""


def answer(asked: Asked) -> Answer:
    """What S3 would say to *asked*."""
    if asked.method == "OPTIONS":
        return _preflight(asked)
    answer = _object(asked)
    if answer.status == 304 and asked.wants("bare304"):
        return answer
    return Answer(answer.status, _cors(asked) + answer.fields, answer.body)


def _cors(asked: Asked) -> Pairs:
    """The CORS family: all of it or nothing, as a rule of the bucket matches."""
    lines = [("Vary", line) for line in asked.wants("vary")]
    method = asked.get("access-control-request-method") or asked.method
    if asked.get("origin") != ALLOWED or method not in ("GET", "HEAD", "PUT"):
        return lines
    if asked.wants("nocors"):
        return lines
    return [
        ("Access-Control-Allow-Origin", ALLOWED),
        ("Access-Control-Allow-Methods", "GET, HEAD, PUT"),
        ("Access-Control-Expose-Headers", "ETag, Content-Range"),
        ("Access-Control-Max-Age", "3000"),
        ("Access-Control-Allow-Credentials", "true"),
        *lines,
        ("Vary", THREE_NAMES),
    ]


def _preflight(asked: Asked) -> Answer:
    if asked.get("origin") is None:
        text = "Insufficient information. Origin request header needed."
        return _error(400, asked, "BadRequest", text)
    method = asked.get("access-control-request-method")
    if method is None:
        text = "Invalid Access-Control-Request-Method: null"
        return _error(400, asked, "BadRequest", text)
    if asked.wants("nocors"):
        text = "CORSResponse: CORS is not enabled for this bucket."
        return _error(403, asked, "AccessForbidden", text)
    if asked.get("origin") != ALLOWED or method not in ("GET", "HEAD", "PUT"):
        return _error(403, asked, "AccessForbidden", _CORS_DENIED)
    fields = _cors(asked)
    headers = asked.get("access-control-request-headers")
    if headers is not None:
        fields.insert(2, ("Access-Control-Allow-Headers", headers))
    return Answer(200, fields)


def _object(asked: Asked) -> Answer:
    kind, _, rest = asked.path[1:].partition("/")
    signature = asked.wants("X-Amz-Signature")
    if signature and signature != ["good"]:
        text = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        )
        return _error(403, asked, "SignatureDoesNotMatch", text)
    if kind == "echo":
        seen = [asked.method, asked.target, asked.fields, asked.body.decode("latin-1")]
        return Answer(200, [("Content-Type", "application/json")], json.dumps(seen).encode())
    wanted = asked.wants("status")
    if kind == "missing":
        wanted = ["404"]
    elif kind == "status":
        wanted = [rest.split("/")[0]]
    if asked.method not in ("GET", "HEAD"):
        return _written(asked)
    if wanted and wanted[0] not in ("200", "206", "304"):
        return _error(int(wanted[0]), asked)
    return _selected(asked, content(asked.path))


def _selected(asked: Asked, body: bytes) -> Answer:
    """The object, a range of it, or 304, as the conditions say (RFC 9110 §13.2.2)."""
    fields = representation(asked, body)
    tag = dict(fields)["ETag"]
    sought = asked.get("if-none-match")
    if sought is not None:
        if sought.strip() == "*" or tag in re.findall(r'"[^"]*"', sought):
            return Answer(304, [pair for pair in fields if pair[0] != "Content-Type"])
    elif asked.get("if-modified-since") == LAST_MODIFIED:
        return Answer(304, [pair for pair in fields if pair[0] != "Content-Type"])
    asked_range = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range") or "")
    condition = asked.get("if-range")
    if asked_range is None or condition not in (None, tag, LAST_MODIFIED):
        return Answer(200, fields, body)
    first, last = asked_range.groups()
    start = int(first) if first else max(0, len(body) - int(last))
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= stop:
        return _error(416, asked)
    span = f"bytes {start}-{stop - 1}/{len(body)}"
    return Answer(206, [("Content-Range", span), *fields], body[start:stop])


def _written(asked: Asked) -> Answer:
    if asked.method == "PUT":
        return Answer(200, [("ETag", f'"{hashlib.md5(asked.body).hexdigest()}"')])
    if asked.method == "DELETE":
        return Answer(204)
    return _error(405, asked)


def _error(status: int, asked: Asked, code: str = "", text: str = "") -> Answer:
    """S3's XML, with the fields that its kind of error has."""
    if not code:
        code, text = _ERRORS[status]
    escaped = text.replace("'", "&apos;")
    xml = f"<Error><Code>{code}</Code><Message>{escaped}</Message>"
    xml += "<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    fields = [("x-amz-request-id", "4442587FB7D0A2F9"), ("Date", formatdate(usegmt=True))]
    fields += [("Content-Type", "application/xml"), ("Server", "AmazonS3")]
    fields += [("Cache-Control", line) for line in asked.wants("cc")]
    if status in (301, 307):
        fields.append(("Location", "/elsewhere" + asked.path))
    if status == 416:
        fields.append(("Content-Range", f"bytes */{len(content(asked.path))}"))
    return Answer(status, fields, f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode())


def representation(asked: Asked, body: bytes) -> Pairs:
    tag = (asked.wants("etag") or [hashlib.md5(body).hexdigest()])[0]
    fields = [
        ("x-amz-request-id", "4442587FB7D0A2F9"),
        ("Date", formatdate(usegmt=True)),
        ("Last-Modified", LAST_MODIFIED),
        ("ETag", f'"{tag}"'),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "image/png" if asked.path.endswith(".png") else "text/plain"),
        ("Server", "AmazonS3"),
    ]
    return fields + [("Cache-Control", line) for line in asked.wants("cc")]


def content(path: str) -> bytes:
    """The content of the object at *path*: the same whenever it is asked for."""
    return b"the object at %s\n" % path.encode("latin-1") * 8
