"""CORS configurations of buckets, what S3 makes of them, and a table of what pages ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.core.fetchoracle import Asked

Rules = list[dict[str, Any]]

CONFIGURATIONS: dict[str, Rules] = {
    "plain": [
        {
            "AllowedOrigins": ["https://a.example", "https://b.example"],
            "AllowedMethods": ["GET", "HEAD", "POST", "PUT"],
            "AllowedHeaders": ["content-type", "range"],
        }
    ],
    "plain and public": [
        {
            "AllowedOrigins": ["*"],
            "AllowedMethods": ["GET", "HEAD", "POST", "DELETE"],
            "AllowedHeaders": ["authorization", "range"],
        }
    ],
    "one origin": [
        {
            "AllowedOrigins": ["https://a.example"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["Content-Type", "X-Amz-*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 3000,
        }
    ],
    "public": [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"]}],
    "wildcards": [
        {
            "AllowedOrigins": ["https://*.a.example", "http://localhost:*", "https://b.example"],
            "AllowedMethods": ["GET", "HEAD", "DELETE"],
            "AllowedHeaders": ["authorization"],
        }
    ],
    "by method": [
        {
            "ID": "writers",
            "AllowedOrigins": ["https://a.example"],
            "AllowedMethods": ["PUT", "POST", "DELETE"],
            "AllowedHeaders": ["*"],
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["range"]},
    ],
    "by origin": [
        {
            "AllowedOrigins": ["https://a.example"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["*"],
        },
        {
            "AllowedOrigins": ["https://*.a.example", "https://b.example"],
            "AllowedMethods": ["GET"],
            "AllowedHeaders": ["*"],
        },
    ],
    "by scheme": [{"AllowedOrigins": ["https://*"], "AllowedMethods": ["GET"]}],
}
# Only where a rule refuses the headers does S3 look at the next one; s3rver does not.
BY_HEADER: Rules = [
    {
        "AllowedOrigins": ["https://a.example"],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["content-type"],
        "MaxAgeSeconds": 1,
    },
    {
        "AllowedOrigins": ["https://a.example", "https://*.a.example"],
        "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "MaxAgeSeconds": 2,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "MaxAgeSeconds": 3},
]

ORIGINS = (
    b"https://a.example", b"https://b.example", b"https://x.a.example", b"https://x.y.a.example",
    b"http://localhost:3000", b"http://a.example", b"https://evila.example", b"null",
)  # fmt: skip
METHODS = (b"GET", b"PUT", b"DELETE")
HEADERS: tuple[tuple[bytes, ...], ...] = (
    (), (b"content-type",), (b"x-amz-meta-a", b"content-type"), (b"authorization",), (b"range",),
)  # fmt: skip


def asked_for() -> Iterator[Asked]:
    for origin in ORIGINS:
        for method in METHODS:
            for headers in HEADERS:
                yield Asked(origin, method, headers)


def granting(rules: Rules, asked: Asked) -> int | None:
    """Which rule of S3's grants what is *asked* for: the first that has all of it."""
    for at, rule in enumerate(rules):
        if (
            _any_glob(rule["AllowedOrigins"], asked.origin)
            and asked.method.decode() in rule["AllowedMethods"]
            and all(_any_glob(rule.get("AllowedHeaders", []), one) for one in asked.headers)
        ):
            return at
    return None


def _any_glob(globs: list[str], value: bytes) -> bool:
    return any(
        re.fullmatch(re.escape(one).replace(r"\*", ".*"), value.decode(), re.IGNORECASE)
        for one in globs
    )


def as_xml(rules: Rules) -> str:
    names = {
        "AllowedOrigins": "AllowedOrigin",
        "AllowedMethods": "AllowedMethod",
        "AllowedHeaders": "AllowedHeader",
        "ExposeHeaders": "ExposeHeader",
    }
    lines = []
    for rule in rules:
        lines.append("<CORSRule>")
        for key, value in rule.items():
            members = value if isinstance(value, list) else [value]
            lines += [f"<{names.get(key, key)}>{one}</{names.get(key, key)}>" for one in members]
        lines.append("</CORSRule>")
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CORSConfiguration xmlns="{space}">{"".join(lines)}</CORSConfiguration>'
