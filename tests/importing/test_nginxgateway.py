"""The variables of nginx-s3-gateway: the proxy then serves what the gateway did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.frameworks.behind import behind_proxy
from tests.real.asking import asking
from tests.real.servers import S3Server, moto
from vary_proxy import config
from vary_proxy.configuration.settings import Settings
from vary_proxy.importing import nginxgateway
from vary_proxy.importing.writing import Unreadable

NEEDED = {"S3_BUCKET_NAME": "media", "S3_SERVER": "s3.example"}
TYPICAL = """
# As its documentation has it
S3_BUCKET_NAME=media
AWS_ACCESS_KEY_ID=AKIAEXAMPLEEXAMPLE
AWS_SECRET_ACCESS_KEY=verysecretverysecretverysecret
S3_SERVER=s3.us-west-2.amazonaws.com
S3_SERVER_PORT=443
S3_SERVER_PROTO=https
S3_REGION=us-west-2
S3_STYLE=virtual-v2
S3_SERVICE=s3
DEBUG=false
AWS_SIGS_VERSION=4
ALLOW_DIRECTORY_LIST=false
PROVIDE_INDEX_PAGE=false
DIRECTORY_LISTING_PATH_PREFIX=""
PROXY_CACHE_VALID_OK=1h 30m
PROXY_CACHE_VALID_NOTFOUND=1m
PROXY_CACHE_VALID_FORBIDDEN=30s
CORS_ENABLED=true
CORS_ALLOWED_ORIGIN=https://app.example.com
"""


def settings(**variables: str) -> Settings:
    made = nginxgateway.convert({**NEEDED, **variables}, "settings", whole=True)
    return config.loads(made.text().encode(), "made.yaml", environ={}).settings


def left_out(**variables: str) -> list[str]:
    return nginxgateway.convert({**NEEDED, **variables}, "settings", whole=True).left_out


def test_a_typical_file(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text(TYPICAL)
    done = run("import", "nginx-s3-gateway", "settings", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verysecret" not in done.stdout
    assert "AKIA" not in done.stdout
    made = config.loads(done.stdout.encode(), "made.yaml", environ={}).settings
    bucket = made.origins["bucket"]
    assert str(bucket.url) == "https://s3.us-west-2.amazonaws.com"
    assert (bucket.bucket, bucket.addressing) == ("media", "virtual")
    assert bucket.sign is not None
    assert bucket.sign.region == "us-west-2"
    assert made.cors["gateway"].origins == ("https://app.example.com",)
    assert made.cors["gateway"].max_age == 20 * 86400
    ttl = made.defaults.cache and made.defaults.cache.ttl
    assert ttl
    assert (ttl.default, ttl.statuses) == (5400, {404: 60, 403: 30, 5: 0})


def test_the_environment_of_the_process() -> None:
    done = run("import", "nginx-s3-gateway", S3_UNHEARD_OF="1", **NEEDED)
    assert done.returncode == 0
    assert done.stderr == "warning: not taken over: S3_UNHEARD_OF: nothing is known of it\n"
    assert 'bucket: "media"' in done.stdout


@pytest.mark.parametrize(
    ("variables", "url", "bucket"),
    [
        ({"S3_STYLE": "path"}, "https://s3.example", "media"),
        ({"S3_SERVER_PROTO": "http", "S3_SERVER_PORT": "9000"}, "http://s3.example:9000", "media"),
        ({"PREFIX_LEADING_DIRECTORY_PATH": "/a/b"}, "https://s3.example/a/b", "media"),
        (
            {"PREFIX_LEADING_DIRECTORY_PATH": "/a/", "S3_STYLE": "path"},
            "https://s3.example/media/a",
            None,
        ),
    ],
)
def test_where_the_bucket_is(variables: dict[str, str], url: str, bucket: str | None) -> None:
    origin = settings(**variables).origins["bucket"]
    assert (str(origin.url), origin.bucket) == (url, bucket)


def test_without_cors_nothing_is_said_of_it() -> None:
    made = settings()
    assert made.cors == {}
    assert made.origins["bucket"].origin_header.mode.value == "strip"


@pytest.mark.parametrize("text", ["TRUE", "True", "yes", "1", "on", "0", "false"])
def test_flags_are_read_as_the_gateway_reads_them(text: str) -> None:
    assert bool(settings(CORS_ENABLED=text).cors) == (text in ("TRUE", "True", "1"))


def test_stale_answers_are_given_where_they_were() -> None:
    for text, seconds in (("error timeout http_500", 86400), ("off", 0), ("updating", 0)):
        cache = settings(PROXY_CACHE_USE_STALE=text).defaults.cache
        assert cache
        assert cache.stale_if_error == seconds


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ALLOW_DIRECTORY_LIST": "true"}, "ALLOW_DIRECTORY_LIST: directories are not listed"),
        ({"PROVIDE_INDEX_PAGE": "1"}, "PROVIDE_INDEX_PAGE: index.html is not put"),
        ({"STRIP_LEADING_DIRECTORY_PATH": "/x"}, "STRIP_LEADING_DIRECTORY_PATH=/x: paths go"),
        ({"HEADER_PREFIXES_TO_STRIP": "x-goog-"}, "HEADER_PREFIXES_TO_STRIP=x-goog-:"),
        ({"PROXY_CACHE_SLICE_SIZE": "1m"}, "PROXY_CACHE_SLICE_SIZE=1m: parts are stored"),
        ({"PROXY_CACHE_INACTIVE": "60m"}, "PROXY_CACHE_INACTIVE=60m:"),
        ({"PROXY_CACHE_MAX_SIZE": "10g"}, "PROXY_CACHE_MAX_SIZE=10g: that was on disk"),
        ({"AWS_SIGS_VERSION": "2"}, "AWS_SIGS_VERSION=2: requests are signed by version 4"),
        ({"S3_SERVICE": "s3express"}, "S3_SERVICE=s3express:"),
        ({"CORS_ENABLED": "1", "CORS_ALLOWED_ORIGIN": "https://*.a.example"}, "sent as it stands"),
        ({"CORS_ENABLED": "1", "CORS_ALLOWED_ORIGIN": "https://a.example/"}, "sent as it stands"),
        ({"PROXY_CACHE_USE_STALE": "error http_404 http_429"}, "USE_STALE: http_404 http_429: st"),
        ({"COLOUR": "blue"}, "COLOUR: nothing is known of it"),
    ],
)
def test_what_is_not_taken_over_is_said(variables: dict[str, str], said: str) -> None:
    (warning,) = left_out(**variables)
    assert said in warning


def test_a_small_cache_is_taken_over_and_old_names_of_keys_are_told() -> None:
    assert settings(PROXY_CACHE_MAX_SIZE="512m").store.memory.max == 512 << 20
    made = nginxgateway.convert({**NEEDED, "S3_SECRET_KEY": "hush-hush"}, "settings", whole=True)
    assert "What S3_SECRET_KEY holds is to be named AWS_SECRET_ACCESS_KEY." in made.text()
    assert "hush-hush" not in made.text()
    assert made.left_out == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "S3_BUCKET_NAME and S3_SERVER must be set"),
        (b"S3_SERVER=a\n", "S3_BUCKET_NAME must be set"),
        (b"{}\n", "settings:1: not NAME=value"),
        (b"\xff", "not UTF-8"),
        (b"AWS_ACCESS_KEY_ID\nS3_STYLE\n", "settings:2: S3_STYLE has no value; write S3_STYLE="),
        (b"x" * (1 << 20) + b"=", "more than 1048576 bytes"),
        (b"S3_SERVER=a\nS3_BUCKET_NAME=b\nPROXY_CACHE_VALID_OK=soon", "not a time"),
        (b"S3_SERVER=a b\nS3_BUCKET_NAME=b", "no valid configuration comes of it"),
        (b"S3_SERVER=a\nS3_BUCKET_NAME=../b", "is not a bucket's name"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        nginxgateway.convert(nginxgateway.read(data, "settings"), "settings", whole=True).text()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        server.client().put_object(Bucket=server.bucket, Key="a/cat.txt", Body=b"meow")
        yield server


async def test_the_proxy_serves_what_the_gateway_did(
    bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret_key)
    host, _, port = bucket.url.removeprefix("http://").partition(":")
    said = {"S3_SERVER": host, "S3_SERVER_PORT": port, "S3_SERVER_PROTO": "http"}
    said |= {"S3_BUCKET_NAME": bucket.bucket, "S3_STYLE": "path", "CORS_ENABLED": "true"}
    made = nginxgateway.convert(said, "settings", whole=True)
    text = made.text().replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0:8081", "off")
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        for origin in ({}, {"origin": "https://a.example"}):
            got = await ask("/a/cat.txt", **origin)
            assert (got.status, got.body) == (200, b"meow")
            assert got["access-control-allow-origin"] == "*"
        assert got.is_hit
        got = await ask(
            "/a/cat.txt",
            "OPTIONS",
            origin="https://a.example",
            access_control_request_method="GET",
            access_control_request_headers="range",
        )
        assert (got.status, got["access-control-max-age"]) == (204, "1728000")
        assert "Range" in (got["access-control-allow-headers"] or "")
        assert (await ask("/nowhere")).status == 404
