"""What a person sees: ``curl -v`` through ``vary-proxy run --origin URL``, and signed clients."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.real.asking import asking, curl, is_hit
from tests.real.proxy import configured, running_proxy
from tests.real.servers import ALLOWED, S3Server

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def _field(said: str, name: str) -> str | None:
    """The one line of *name* among the response fields that ``curl -v`` printed."""
    lines = re.findall(rf"^< {name}: (.*?)\r?$", said, re.MULTILINE | re.IGNORECASE)
    assert len(lines) <= 1, said
    return lines[0] if lines else None


def _put(s3: S3Server, key: str, body: bytes = b"hello world") -> str:
    """Put an object that anybody may read and keep for an hour; its target."""
    s3.client().put_object(
        Bucket=s3.bucket, Key=key, Body=body, CacheControl="max-age=3600", ACL="public-read"
    )
    return f"/{s3.bucket}/{key}"


def test_curl_shows_vary_cache_status_and_age(s3: S3Server, tmp_path: Path) -> None:
    target = _put(s3, "shown.txt")
    with running_proxy(tmp_path, "--origin", s3.url) as proxy:
        for origin in ([], ["--header", f"Origin: {ALLOWED}"]):
            miss = curl("--verbose", *origin, proxy.url + target)
            hit = curl("--verbose", *origin, proxy.url + target)
            for said in (miss, hit):
                assert said.startswith("hello world")
                assert "< HTTP/1.1 200" in said
                assert _field(said, "Vary") == VARY
                allowed = _field(said, "Access-Control-Allow-Origin")
                assert allowed == (ALLOWED if origin else None)
                assert re.search(r"\b1\.1 vary-proxy\b", _field(said, "Via") or "")
            assert not is_hit(_field(miss, "Cache-Status") or "")
            assert is_hit(_field(hit, "Cache-Status") or "")
            assert "stored" in (_field(miss, "Cache-Status") or "")
            assert _field(miss, "Age") in (None, "0")
            assert re.fullmatch(r"\d", _field(hit, "Age") or "")


async def test_every_request_of_the_bug_gets_its_own_answer(s3: S3Server, tmp_path: Path) -> None:
    """``<img>`` first, then a canvas: the story this proxy is for, in whatever order."""
    target = _put(s3, "picture.png")
    with running_proxy(tmp_path, "--origin", s3.url) as proxy:
        async with asking(proxy.url) as ask:
            for _ in range(2):
                plain = await ask(target)
                cors = await ask(target, origin=ALLOWED)
                assert plain["access-control-allow-origin"] is None
                assert cors["access-control-allow-origin"] == ALLOWED
            tag = cors["etag"]
            assert tag is not None
            unchanged = await ask(target, origin=ALLOWED, if_none_match=tag)
            assert (unchanged.status, unchanged.is_hit) == (304, True)
            assert unchanged["access-control-allow-origin"] == ALLOWED
            assert unchanged["vary"] == VARY


def test_signed_requests_pass_when_host_is_preserved(s3: S3Server, tmp_path: Path) -> None:
    """boto3 signs Host, so it must arrive as sent; such answers are never stored."""
    text = f'version: 1\norigins:\n  media: {{url: "{s3.url}", host: preserve}}\n'
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        client = s3.client(proxy.url)
        where = {"Bucket": s3.bucket, "Key": "signed/a b+c%2F.bin"}
        body = bytes(range(256)) * 4096
        client.put_object(**where, Body=body, CacheControl="max-age=3600")
        for _ in range(2):
            reply = client.get_object(**where)
            assert reply["Body"].read() == body
            assert not is_hit(reply["ResponseMetadata"]["HTTPHeaders"]["cache-status"])
        assert client.head_object(**where)["ContentLength"] == len(body)
        part = client.get_object(**where, Range="bytes=1000-1999")
        assert part["Body"].read() == body[1000:2000]
        listed = client.list_objects_v2(Bucket=s3.bucket, Prefix="signed/")
        assert [one["Key"] for one in listed["Contents"]] == [where["Key"]]
        client.delete_object(**where)
        with pytest.raises(ClientError) as gone:
            client.get_object(**where)
        assert gone.value.response["Error"]["Code"] == "NoSuchKey"


def test_a_multipart_upload_passes(s3: S3Server, tmp_path: Path) -> None:
    """Streamed up in parts, then read back as a stored response by somebody unsigned."""
    text = f'version: 1\norigins:\n  media: {{url: "{s3.url}", host: preserve}}\n'
    parts = [b"a" * (5 << 20), b"b" * 12345]
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        client = s3.client(proxy.url)
        where = {"Bucket": s3.bucket, "Key": "signed/multipart.bin"}
        upload = client.create_multipart_upload(**where, ACL="public-read")["UploadId"]
        done = []
        for number, body in enumerate(parts, 1):
            sent = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
            done.append({"PartNumber": number, "ETag": sent["ETag"]})
        whole = {"Parts": done}
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=whole)
        read = s3.client(proxy.url, signed=False).get_object(**where)["Body"].read()
        assert read == b"".join(parts)


async def test_a_presigned_url_of_the_server_works_at_the_proxy(
    s3: S3Server, tmp_path: Path
) -> None:
    """Its signature covers the server's Host, which is what the proxy sends by default."""
    _put(s3, "presigned & odd+key.txt", b"for a while")
    where = {"Bucket": s3.bucket, "Key": "presigned & odd+key.txt"}
    signed = urlsplit(s3.client().generate_presigned_url("get_object", where))
    with running_proxy(tmp_path, "--origin", s3.url) as proxy:
        async with asking(proxy.url) as ask:
            got = await ask(f"{signed.path}?{signed.query}")
            assert (got.status, got.body) == (200, b"for a while")
            assert got["vary"] == VARY
            got = await ask(f"{signed.path}?{signed.query}", origin=ALLOWED)
            assert (got.status, got["access-control-allow-origin"]) == (200, ALLOWED)


async def test_a_put_through_the_proxy_drops_every_variant(s3: S3Server, tmp_path: Path) -> None:
    target = _put(s3, "changes.txt", b"before")
    text = f'version: 1\norigins:\n  media: {{url: "{s3.url}", host: preserve}}\n'
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        async with asking(proxy.url) as ask:
            for fields in ({}, {"origin": ALLOWED}):
                assert (await ask(target, **fields)).body == b"before"
                assert (await ask(target, **fields)).is_hit
            _put(replace(s3, url=proxy.url), "changes.txt", b"after")
            for fields in ({}, {"origin": ALLOWED}):
                got = await ask(target, **fields)
                assert (got.body, got.is_hit) == (b"after", False)
