"""The starter files: valid as they stand, the same as the examples, and right about CORS."""

from __future__ import annotations

from pathlib import Path

import pytest

from vary_proxy.cli.init import PRESETS, read
from vary_proxy.config import Loaded, loads
from vary_proxy.core.message import Fields, Request
from vary_proxy.observation.explaining import explain

EXAMPLES = Path("config")
A = b"https://a.example"
APP = b"https://app.example.com"


def load(preset: str) -> Loaded:
    return loads(read(preset).encode(), f"{preset}.yaml", (), {})


@pytest.mark.parametrize("preset", PRESETS)
def test_it_is_valid_as_it_stands_and_commented(preset: str) -> None:
    assert load(preset).warnings == ()
    head = read(preset).splitlines()
    assert head[0] == "# yaml-language-server: $schema=./vary-proxy.schema.json"
    assert head[1].startswith("# ")
    assert max(map(len, head)) <= 100


@pytest.mark.parametrize("preset", PRESETS)
def test_the_example_is_the_same_file(preset: str) -> None:
    name = PRESETS[preset][0]
    same = (EXAMPLES / name).read_text("utf-8") == read(preset)
    assert same, f"run: cp vary_proxy/presets/{name} config/"


def test_every_packaged_file_is_a_preset() -> None:
    packaged = Path("vary_proxy/presets").iterdir()
    assert {path.name for path in packaged} == {name for name, _ in PRESETS.values()}


PREFLIGHT = "OPTIONS /m/a?X-Amz-Signature=1"
PUT = {"access-control-request-method": b"PUT", "access-control-request-headers": b"x-amz-acl"}
GET = {"access-control-request-method": b"GET", "access-control-request-headers": b"range"}


@pytest.mark.parametrize(
    ("preset", "request_line", "fields", "rule", "verdict", "cached"),
    [
        ("minimal", "GET /a", {"origin": A}, "defaults", "the origin's", True),
        ("s3", "GET /a.jpg", {"origin": A}, "defaults", "the origin's", True),
        ("s3", "GET /a.jpg?X-Amz-Signature=1", {}, "signed-urls", "the origin's", False),
        ("s3-private", "GET /a.jpg", {"origin": A}, "defaults", "the origin's", True),
        ("minio", "GET /media/a.jpg", {"origin": A}, "objects", "the origin's", True),
        ("minio", "PUT /media/a.jpg", {"origin": A}, "uploads", "the origin's", False),
        ("minio", "GET /media/a?X-Amz-Signature=1", {}, "signed-urls", "the origin's", False),
        ("canvas", "GET /img/a.png", {"origin": A}, "canvas-images", "allowed", True),
        ("fonts", "GET /fonts/a.woff2", {"origin": A}, "fonts", "allowed", True),
        ("fonts", "GET /deep/er/a.otf", {"origin": A}, "fonts", "allowed", True),
        ("fonts", "PUT /fonts/a.woff2", {"origin": A}, "defaults", "the origin's", True),
        ("ranges", "GET /map.pmtiles", {"origin": A}, "ranges", "allowed", True),
        ("ranges", "OPTIONS /a.tif", {"origin": A, **GET}, "ranges", "allowed", True),
        ("uploads", PREFLIGHT, {"origin": APP, **PUT}, "signed-urls", "allowed", False),
        ("uploads", PREFLIGHT, {"origin": A, **PUT}, "signed-urls", "refused", False),
        ("uploads", "PUT /m/a?X-Amz-Signature=1", {"origin": APP}, "signed-urls", "allowed", False),
        ("uploads", "POST /m", {"origin": APP}, "forms", "allowed", False),
        ("app", "GET /posts.json", {"origin": A}, "pages", "the origin's", True),
        ("app", "OPTIONS /posts.json", {"origin": A, **PUT}, "pages", "the origin's", True),
        ("app", "GET /assets/a.js", {}, "assets", "the origin's", True),
        ("api", "OPTIONS /api/x", {"origin": APP, **PUT}, "app-api", "allowed", False),
        ("api", "PUT /api/x", {"origin": A}, "app-api", "refused", False),
        ("cloudfront", "GET /assets/a.svg", {"origin": A}, "assets", "allowed", True),
        ("cloudfront", "GET /x", {"origin": A}, "the-rest", "the origin's", True),
    ],
)  # fmt: skip
def test_what_becomes_of_a_request(
    preset: str,
    request_line: str,
    fields: dict[str, bytes],
    rule: str,
    verdict: str,
    cached: bool,
) -> None:
    method, target = request_line.encode().split()
    pairs = tuple((name.encode(), value) for name, value in fields.items())
    told = explain(load(preset), Request(method, target, Fields(pairs), authority=b"e.example"))
    assert (told["rule"], told["cors"]["verdict"]) == (rule, verdict)
    assert (told["cache"] is not None) is cached


def test_what_cloudfront_keeps_for_all_depends_on_nobody() -> None:
    request = Request(b"GET", b"/assets/a.svg", Fields(((b"origin", A),)), authority=b"e.example")
    (silent, *_) = explain(load("cloudfront"), request)["vary"]["by_origin"]
    assert silent["we_send"] is None
