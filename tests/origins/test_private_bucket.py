"""A private bucket of a real server that checks signatures, through the command."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.real.proxy import configured, running_proxy
from tests.real.servers import BUCKET, S3Server, minio

NAMES = ["cat.jpg", "a b+c", "café/ü (1).txt", "it's,=&@:$!*.bin"]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with minio(tmp_path_factory.mktemp("private")) as server:
        client = server.client()
        client.delete_bucket_policy(Bucket=BUCKET)
        for name in NAMES:
            client.put_object(
                Bucket=BUCKET, Key=name, Body=name.encode() * 3, CacheControl="max-age=60"
            )
        yield server


def ask(url: str, target: str, method: str = "GET", **fields: str) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, target, headers=fields)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.getheader("Cache-Status") or ""
    finally:
        connection.close()


def said(server: S3Server) -> str:
    origin = f"{{url: '{server.url}', bucket: {BUCKET}, sign: {{region: us-east-1}}}}"
    return f"version: 1\norigins: {{main: {origin}}}\n"


def test_it_can_be_read_through_the_proxy_alone(
    private: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", private.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", private.secret_key)
    with running_proxy(tmp_path, *configured(tmp_path, said(private))) as proxy:
        for name in NAMES:
            target = "/" + quote(name)
            assert ask(private.url, f"/{BUCKET}{target}")[0] == 403
            assert ask(proxy.url, target, "HEAD")[0] == 200
            assert ask(proxy.url, target, Range="bytes=1-4")[:2] == (206, name.encode()[1:5])
            assert ask(proxy.url, target)[:2] == (200, name.encode() * 3)
            status, body, cached = ask(proxy.url, target)
            assert (status, body) == (200, name.encode() * 3)
            assert "; hit" in cached
        for target in ("/", "/?list-type=2"):
            assert ask(proxy.url, target)[0] == 403
        assert ask(proxy.url, "/cat.jpg", "DELETE")[0] == 403


def test_a_wrong_secret_is_refused_and_nothing_is_stored(
    private: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", private.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with running_proxy(tmp_path, *configured(tmp_path, said(private))) as proxy:
        for _ in range(2):
            status, body, cached = ask(proxy.url, "/cat.jpg")
            assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
            assert "hit" not in cached
            assert "stored" not in cached
