"""Every starter file, as ``vary-proxy init`` writes it, in front of a real S3 server."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.real.proxy import Proxy, running_proxy
from tests.real.servers import ALLOWED, BUCKET, S3Server, moto, private_seaweedfs
from vary_proxy.cli.init import PRESETS, read

APP = "https://app.example.com"
STRANGER = "https://stranger.example"
THEIRS = "what the server says"

# The preset, where its URL is set, a key of the bucket, whether it is stored, and by what a
# page of APP and one of STRANGER may read it.
TABLE = [
    ("minimal", "--set", "any/a.txt", True, THEIRS, THEIRS),
    ("s3", "BUCKET_URL", "any/a.txt", True, THEIRS, THEIRS),
    ("minio", "MINIO_URL", "any/a.txt", True, THEIRS, THEIRS),
    ("canvas", "MEDIA_URL", "img/a.png", True, "*", "*"),
    ("fonts", "ASSETS_URL", "fonts/a.woff2", True, "*", "*"),
    ("ranges", "MEDIA_URL", "video/a.mp4", True, "*", "*"),
    ("uploads", "BUCKET_URL", "any/a.txt", True, THEIRS, THEIRS),
    ("app", "APP_URL", "any/a.txt", True, THEIRS, THEIRS),
    ("api", "APP_URL", "api/x", False, APP, None),
    ("cloudfront", "BUCKET_URL", "assets/a.svg", True, "*", "*"),
]


def test_every_preset_is_in_one_of_these_tests() -> None:
    assert {"s3-private", *(row[0] for row in TABLE)} == set(PRESETS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("presets")) as server:
        for row in TABLE:
            server.client().put_object(
                Bucket=BUCKET, Key=row[2], Body=row[2].encode(), CacheControl="max-age=60",
                ACL="public-read",
            )  # fmt: skip
        yield server


def ask(
    server: Proxy | S3Server, target: str, method: str = "GET", **fields: str
) -> tuple[int, dict, bytes]:  # type: ignore[type-arg]
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        given = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, target, headers=given)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


@contextmanager
def started(folder: Path, preset: str, *args: str) -> Iterator[Proxy]:
    path = folder / "vary-proxy.yaml"
    path.write_text(read(preset))
    with running_proxy(folder, "-c", path, *args) as proxy:
        yield proxy


@pytest.mark.parametrize(("preset", "key", "path", "stored", "app", "stranger"), TABLE)
def test_it_serves_a_bucket_as_it_says(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    preset: str, key: str, path: str, stored: bool, app: str | None, stranger: str | None,
) -> None:  # fmt: skip
    url = f"{server.url}/{BUCKET}"
    args = ["--set", f"origins.main.url={url}"] if key == "--set" else []
    monkeypatch.setenv(key.strip("-"), server.url if preset == "minio" else url)
    target = f"/{BUCKET}/{path}" if preset == "minio" else f"/{path}"
    with started(tmp_path, preset, *args) as proxy:
        for fields in ({}, {"origin": APP}, {"origin": STRANGER}, {}):
            status, told, body = ask(proxy, target, **fields)
            assert (status, body) == (200, path.encode()), fields
        assert ("hit" in told["cache-status"]) is stored
        for site, said in ((APP, app), (STRANGER, stranger)):
            _, told, _ = ask(proxy, target, origin=site)
            wanted = said
            if said == THEIRS:
                direct = ask(server, f"/{BUCKET}/{path}", origin=site)[1]
                wanted = direct.get("access-control-allow-origin")
            assert told.get("access-control-allow-origin") == wanted, site
            if wanted != "*":
                assert "origin" in told["vary"].lower()
        asked = {"origin": APP, "access_control_request_method": "GET"}
        status, told, _ = ask(proxy, target, "OPTIONS", **asked)
        if app != THEIRS:
            assert (status, told["access-control-allow-origin"]) == (204, app)


def test_a_private_bucket_is_read_with_keys_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = authority.issue_cert("localhost", "*.localhost")
    (tmp_path / "tls.crt").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    pair.private_key_pem.write_to_path(tmp_path / "tls.key")
    data = tmp_path / "data"
    data.mkdir()
    with private_seaweedfs(data, tmp_path / "tls.crt", tmp_path / "tls.key") as server:
        client = server.client(ca=tmp_path / "ca.pem")
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="a.txt", Body=b"private")
        for name, value in (
            ("S3_URL", server.url), ("S3_BUCKET", BUCKET), ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", server.access_key), ("AWS_SECRET_ACCESS_KEY", server.secret_key),
            ("SSL_CERT_FILE", str(tmp_path / "ca.pem")),  # among the system's authorities
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        with started(tmp_path, "s3-private") as proxy:
            for _ in range(2):
                status, told, body = ask(proxy, "/a.txt", origin=ALLOWED)
                assert (status, body) == (200, b"private")
            assert "hit" in told["cache-status"]
            assert "origin" in told["vary"].lower()
            assert ask(proxy, "/?list-type=2")[0] == 403
