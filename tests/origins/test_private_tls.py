"""A private bucket by its own host name over TLS, at a server that checks every signature.

boto3 puts the objects, says what they are, and makes the presigned URLs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import trustme

from tests.origins.test_private_bucket import ask
from tests.real.proxy import Proxy, configured, running_proxy
from tests.real.servers import BUCKET, S3Server, private_seaweedfs

ODD = [
    "plain.txt", "a b+c", "a+b", "café/ü (1).txt", "日本.png", "it's,=&@:$!*.bin", "~tilde~",
    "100%.txt", "a%2Fb", "a%20b", "what?is#this", "semi;colon", "[x]{y}|z^", 'quo"te',
    "deep/er/and/deeper", "back\\slash", "<tag>", "`tick`", "trailing.",
]  # fmt: skip


def body_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).hexdigest().encode() * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ca.pem, and a pair of that authority for the server."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    pair = authority.issue_cert("localhost", "*.localhost", "127.0.0.1")
    (folder / "tls.crt").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    pair.private_key_pem.write_to_path(folder / "tls.key")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    data = tmp_path_factory.mktemp("weed")
    with private_seaweedfs(data, folder / "tls.crt", folder / "tls.key") as server:
        client = server.client(ca=folder / "ca.pem")
        client.create_bucket(Bucket=BUCKET)
        for key in ODD:
            client.put_object(Bucket=BUCKET, Key=key, Body=body_of(key), CacheControl="max-age=60")
        yield server


@pytest.fixture(scope="module")
def judge(server: S3Server, folder: Path) -> Any:
    return server.client(ca=folder / "ca.pem")


@pytest.fixture(scope="module")
def proxy(
    server: S3Server, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    text = f"""\
version: 1
origins:
  main:
    url: "{server.url}"
    bucket: {BUCKET}
    addressing: virtual
    sign: {{region: us-east-1}}
    tls: {{ca: "{folder}/ca.pem"}}
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        directory = tmp_path_factory.mktemp("proxy")
        with running_proxy(directory, *configured(directory, text)) as proxy:
            yield proxy


@pytest.mark.parametrize("key", ODD)
def test_every_key_is_read_whole_and_in_part(
    server: S3Server, judge: Any, proxy: Proxy, key: str
) -> None:
    told = judge.head_object(Bucket=BUCKET, Key=key)
    target = "/" + quote(key)
    status, body, _ = ask(proxy.url, target, "HEAD")
    assert (status, body) == (200, b"")
    assert ask(proxy.url, target, Range="bytes=3-40")[:2] == (206, body_of(key)[3:41])
    status, body, _ = ask(proxy.url, target)
    assert (status, body) == (200, body_of(key))
    assert len(body) == told["ContentLength"]
    assert "hit" in ask(proxy.url, target)[2]


@pytest.mark.parametrize(
    ("target", "key"),
    [("/a+b", "a+b"), ("/%61%2Bb", "a+b"), ("/caf%c3%a9/%C3%BC%20(1).txt", "café/ü (1).txt")]
    + [
        ("/~tilde~", "~tilde~"),
        ("/%7Etilde%7e", "~tilde~"),
        ("/deep%2Fer/and/deeper", "deep/er/and/deeper"),
    ],
)
def test_clients_may_spell_a_key_as_they_like(proxy: Proxy, target: str, key: str) -> None:
    assert ask(proxy.url, target)[:2] == (200, body_of(key))


def test_empty_segments_stay(judge: Any, proxy: Proxy) -> None:
    """Whatever the server makes of them, it is what it makes of boto's."""
    judge.put_object(Bucket=BUCKET, Key="a//b.txt", Body=b"two slashes")
    assert judge.get_object(Bucket=BUCKET, Key="a//b.txt")["Body"].read() == b"two slashes"
    assert ask(proxy.url, "/a//b.txt")[:2] == (200, b"two slashes")


def test_nothing_but_objects_is_to_be_had(proxy: Proxy) -> None:
    for target in ("/", "/?list-type=2", "/?acl"):
        assert ask(proxy.url, target)[0] == 403, target
    for method in ("PUT", "DELETE", "POST"):
        assert ask(proxy.url, "/plain.txt", method)[0] in (403, 405), method
    assert ask(proxy.url, "/plain.txt")[0] == 200


def test_the_url_may_name_a_part_of_the_bucket(
    server: S3Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    origin = f'{{url: "{server.url}/{BUCKET}/deep", sign: {{}}, tls: {{ca: "{folder}/ca.pem"}}}}'
    text = f"version: 1\norigins: {{main: {origin}}}\n"
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        assert ask(proxy.url, "/er/and/deeper")[:2] == (200, body_of("deep/er/and/deeper"))
        for target in ("/../plain.txt", "/%2e%2e/plain.txt", "/..%2fplain.txt"):
            assert ask(proxy.url, target)[0] != 200, target


def test_a_presigned_url_goes_on_as_it_is_and_only_to_who_holds_it(
    server: S3Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's own keys are wrong, so what is read is read by the client's signature."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    text = f"""\
version: 1
origins:
  main: {{url: "{server.url}", bucket: {BUCKET}, sign: {{}}, tls: {{ca: "{folder}/ca.pem"}}}}
"""
    key = "café/ü (1).txt"
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        # Signed for the name by which clients know the proxy, as a public name would be.
        client = server.client(proxy.url)
        url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        target = url.removeprefix(proxy.url)
        for _ in range(2):
            status, body, cached = ask(proxy.url, target)
            assert (status, body) == (200, body_of(key))
            assert "hit" not in cached
            assert "stored" not in cached
        assert ask(proxy.url, target, Range="bytes=0-4")[:2] == (206, body_of(key)[:5])
        assert ask(proxy.url, target.partition("?")[0])[0] == 403  # nobody else's
        spoiled = target.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")
        assert spoiled != target
        assert ask(proxy.url, spoiled)[0] == 403
        signed = server.client(proxy.url)  # an Authorization of the client's own
        told = signed.get_object(Bucket=BUCKET, Key=key, Range="bytes=1-3")
        assert told["Body"].read() == body_of(key)[1:4]
        assert ask(proxy.url, urlsplit(target).path)[0] == 403
