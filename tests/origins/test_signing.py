"""What is signed is what is sent, only objects are signed for, and keys stay valid."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import sys
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from tests.origins.scripted import Answer, Scripted
from vary_proxy.core.message import Fields, Request
from vary_proxy.origin import Naming, OriginFailure
from vary_proxy.origins.credentials import EXTRA, Credentials, Keys, MissingExtra, chain
from vary_proxy.origins.signing import Signing, canonical, is_for_object, signer
from vary_proxy.origins.upstreams import addressed

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
PATH = Naming(b"minio:9000", b"http", b"/media", b"minio:9000")
VIRTUAL = Naming(b"s3.example", b"https", b"", b"media.s3.example")


async def sent(
    request: Request, naming: Naming = PATH, held: Keys = KEYS, answer: Answer | None = None
) -> Request:
    """*request* as it reaches the origin behind a signer."""
    origin = Scripted(answer or Answer(200, b""))

    async def keys() -> Keys:
        return held

    await Signing(origin, naming, signer("eu-central-1"), keys).fetch(request)
    return origin.asked[0]


def get(target: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Request:
    return Request(method, target, Fields(fields), authority=b"media.example")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def derived(secret: str, date: str, region: str, service: str) -> bytes:
    key = _mac(b"AWS4" + secret.encode(), date)
    for part in (region, service, "aws4_request"):
        key = _mac(key, part)
    return key


def signature(canonical: str, date: str, region: str, service: str, secret: str) -> str:
    """The signature of a canonical request, worked out by hand."""
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
    return _mac(derived(secret, date[:8], region, service), text).hex()


def expected(request: Request, secret: str = KEYS.secret_key) -> str:
    """The signature that a server computes for *request*, as it reads the bytes sent.

    From the decoded path and query, as S3 and those that speak like it do.
    """
    path, _, query = request.target.decode().partition("?")
    pairs = [part.partition("=") for part in query.split("&") if part]
    coded = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in pairs
    )
    said = request.fields.get(b"authorization")
    assert said is not None
    found = re.search(r"SignedHeaders=([^,]+)", said.decode())
    assert found is not None
    values = dict(request.fields.items) | {b"host": request.authority}
    lines = "".join(f"{one}:{values[one.encode()].decode()}\n" for one in found[1].split(";"))
    parts = [request.method.decode(), quote(unquote(path), safe="/-_.~")]
    parts += ["&".join(f"{name}={value}" for name, value in coded), lines, found[1]]
    date = values[b"x-amz-date"].decode()
    return signature("\n".join([*parts, "UNSIGNED-PAYLOAD"]), date, "eu-central-1", "s3", secret)


def given(request: Request) -> str:
    return (request.fields.get(b"authorization") or b"").decode().rpartition("Signature=")[2]


# Published by AWS: the documentation's example of a signing key, "Get Object" of the S3
# reference, and get-vanilla of the test suite. They hold the arithmetic above to account.
S3_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_published_get_object_vector() -> None:
    canonical = (
        "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n"
        f"x-amz-content-sha256:{EMPTY}\nx-amz-date:20130524T000000Z\n\n"
        f"host;range;x-amz-content-sha256;x-amz-date\n{EMPTY}"
    )
    assert signature(canonical, "20130524T000000Z", "us-east-1", "s3", S3_SECRET) == (
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(
            "lifecycle=",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="Get Bucket Lifecycle",
        ),
        pytest.param(
            "max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="List Objects",
        ),
    ],
)
def test_the_published_bucket_vectors(query: str, expected: str) -> None:
    canonical = (
        f"GET\n/\n{query}\nhost:examplebucket.s3.amazonaws.com\n"
        f"x-amz-content-sha256:{EMPTY}\nx-amz-date:20130524T000000Z\n\n"
        f"host;x-amz-content-sha256;x-amz-date\n{EMPTY}"
    )
    assert signature(canonical, "20130524T000000Z", "us-east-1", "s3", S3_SECRET) == expected


def test_the_published_presigned_vector() -> None:
    """The one of them whose payload is not signed, as ours is not."""
    canonical = (
        "GET\n/test.txt\nX-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\n"
        "host:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD"
    )
    assert signature(canonical, "20130524T000000Z", "us-east-1", "s3", S3_SECRET) == (
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_the_published_get_vanilla_vector() -> None:
    canonical = (
        "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
        f"host;x-amz-date\n{EMPTY}"
    )
    assert signature(canonical, "20150830T123600Z", "us-east-1", "service", KEYS.secret_key) == (
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


KEYS_OF_OBJECTS = [
    pytest.param(b"/cat.jpg", b"/media/cat.jpg", id="plain"),
    pytest.param(b"/a%20b", b"/media/a%20b", id="space"),
    pytest.param(b"/a+b", b"/media/a%2Bb", id="plus"),
    pytest.param(b"/a%2fb%2Fc", b"/media/a/b/c", id="coded slashes"),
    pytest.param(b"//a//b/", b"/media//a//b/", id="empty segments"),
    pytest.param("/é/ü".encode(), b"/media/%C3%A9/%C3%BC", id="raw unicode"),
    pytest.param(b"/%e2%82%ac", b"/media/%E2%82%AC", id="small hex"),
    pytest.param(b"/%41%7e", b"/media/A~", id="coded without need"),
    pytest.param(b"/a(1)!*':@&=$,;[]", b"/media/a%281%29%21%2A%27%3A%40%26%3D%24%2C%3B%5B%5D"),
    pytest.param(b"/100%", b"/media/100%25", id="a lone percent sign"),
    pytest.param(b"/%ff", b"/media/%FF", id="not UTF-8"),
    pytest.param(b"/a?versionId=x%2By", b"/media/a?versionId=x%2By", id="a version"),
    pytest.param(b"/a?partNumber=2&_ctx=7&acl", b"/media/a?partNumber=2", id="other parameters"),
    pytest.param(b"/a?response-content-type=text/html", b"/media/a", id="made-up responses"),
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(("target", "goes"), KEYS_OF_OBJECTS)
async def test_what_is_signed_is_what_is_sent(method: bytes, target: bytes, goes: bytes) -> None:
    request = await sent(get(target, (b"range", b"bytes=0-1"), method=method))
    assert (request.method, request.target, request.authority) == (method, goes, b"minio:9000")
    assert request.fields.get(b"range") == b"bytes=0-1"
    assert request.fields.get(b"x-amz-content-sha256") == b"UNSIGNED-PAYLOAD"
    if b"%FF" not in goes:
        assert given(request) == expected(request)


async def test_virtual_addressing_signs_the_buckets_host() -> None:
    request = await sent(get(b"/cat.jpg"), VIRTUAL)
    assert (request.authority, request.scheme) == (b"media.s3.example", b"https")
    assert given(request) == expected(request)


async def test_a_session_token_is_signed_too() -> None:
    request = await sent(get(b"/a"), held=KEYS._replace(token="TOKEN"))
    assert request.fields.get(b"x-amz-security-token") == b"TOKEN"
    assert b"x-amz-security-token" in (request.fields.get(b"authorization") or b"")
    assert given(request) == expected(request)


async def test_no_field_of_the_client_comes_under_our_signature() -> None:
    theirs = [(b"x-amz-security-token", b"t"), (b"x-amz-date", b"d"), (b"x-amz-acl", b"public")]
    request = await sent(get(b"/a", *theirs, (b"accept", b"*/*")))
    assert b"x-amz-acl" not in request.fields
    assert b"x-amz-security-token" not in request.fields
    assert len(request.fields.lines(b"x-amz-date")) == 1
    assert request.fields.get(b"accept") == b"*/*"


async def test_nothing_says_that_the_request_was_for_another_host() -> None:
    """SeaweedFS verifies by X-Forwarded-Host, where there is one."""
    names = (b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"forwarded")
    told = [(name, b"of the client") for name in (*names, b"x-forwarded-for")]
    request = await sent(get(b"/a", *told))
    assert [name for name in names if name in request.fields] == []
    assert request.fields.get(b"x-forwarded-for") == b"of the client"
    assert [name for name in names if name in (await sent(get(b"/", *told))).fields] == [*names]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get(b"/"), id="the bucket"),
        pytest.param(get(b"/?list-type=2"), id="its listing"),
        pytest.param(get(b"//"), id="the bucket, where slashes are merged"),
        pytest.param(get(b"/%2f"), id="the same, coded"),
        pytest.param(get(b"/../other/secret"), id="another bucket"),
        pytest.param(get(b"/a/%2e%2e/%2E./other"), id="another bucket, coded"),
        pytest.param(get(b"/..%2fother"), id="another bucket by a coded slash"),
        pytest.param(get(b"/a/."), id="a dot segment"),
        pytest.param(get(b"/a", method=b"DELETE"), id="DELETE"),
        pytest.param(get(b"/a", method=b"PUT"), id="PUT"),
        pytest.param(get(b"/a", method=b"OPTIONS"), id="OPTIONS"),
    ],
)
async def test_anything_but_an_object_goes_unsigned(request_: Request) -> None:
    request = await sent(request_)
    assert b"authorization" not in request.fields
    assert request.target == b"/media" + request_.target
    assert request.authority == b"minio:9000"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get(b"/m/a%2fb+c", (b"authorization", b"AWS4-HMAC-SHA256 x")), id="signed"),
        pytest.param(get(b"/m//a?X-Amz-Signature=f&X-Amz-Date=d"), id="presigned"),
    ],
)
async def test_the_clients_own_signature_passes_byte_for_byte(request_: Request) -> None:
    assert await sent(request_) == request_


ODD_TARGETS = st.lists(
    st.sampled_from(
        [
            b"/",
            b".",
            b"..",
            b"%2e",
            b"%2E",
            b"%2f",
            b"%2F",
            b"\\",
            b"%5c",
            b"a",
            b"b+",
            b"%25",
            b"%",
        ]
        + [
            b"//",
            b"/../",
            b"?",
            b"&",
            b"acl",
            b"versionId=",
            b"x-id=",
            b"uploads",
            b"=",
            b";",
            b"~",
        ]
    ),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))


@drawn(ODD_TARGETS)
def test_no_target_leads_our_signature_out_of_the_bucket(target: bytes) -> None:
    request = get(target)
    if not is_for_object(request):
        return
    goes = addressed(canonical(request), PATH).target
    path, _, query = goes.partition(b"?")
    read = unquote_to_bytes(path)
    assert read.startswith(b"/media/")
    assert read.strip(b"/") != b"media"
    parts = read.replace(b"\\", b"/").split(b"/")
    assert b".." not in parts
    assert b"." not in parts
    names = {part.partition(b"=")[0] for part in query.split(b"&") if part}
    assert names <= {b"versionId", b"partNumber"}
    assert canonical(replace(request, target=goes)).target == goes  # there is one form of it


async def test_an_answer_to_the_clients_own_signature_is_nobody_elses() -> None:
    public = Answer(200, b"", ((b"cache-control", b"public, max-age=60"),))

    async def keys() -> Keys:
        return KEYS

    signing = Signing(Scripted(public), PATH, signer("eu-central-1"), keys)
    theirs = await signing.fetch(get(b"/a", (b"authorization", b"AWS x:y")))
    assert theirs.head.fields.combined(b"cache-control") == b"public, max-age=60, private"
    ours = await signing.fetch(get(b"/a"))
    assert ours.head.fields.combined(b"cache-control") == b"public, max-age=60"


async def test_without_valid_keys_nothing_is_sent() -> None:
    """But what would go unsigned, or bears a signature of the client's own."""

    async def keys() -> Keys:
        raise OriginFailure("proxy_configuration_error", "no valid credentials", status=502)

    origin = Scripted(Answer(200, b""))
    signing = Signing(origin, PATH, signer("eu-central-1"), keys)
    for method in (b"GET", b"HEAD"):
        with pytest.raises(OriginFailure, match="no valid credentials"):
            await signing.fetch(get(b"/a", method=method))
    assert origin.asked == []
    for theirs in (get(b"/"), get(b"/a?X-Amz-Signature=f"), get(b"/a", method=b"PUT")):
        await signing.fetch(theirs)
    assert len(origin.asked) == 3


class Expiring:
    """Credentials as botocore holds them, of which every look gives the next."""

    def __init__(self) -> None:
        self.life = 3600  # seconds left
        self.given = 0
        self.fails = False
        self.threads: set[int] = set()

    def refresh_needed(self, within: int | None = None) -> bool:
        return self.life < (900 if within is None else within)

    def get_frozen_credentials(self) -> Any:
        self.threads.add(threading.get_ident())
        if self.refresh_needed() or not self.given:
            if self.fails:
                raise RuntimeError("the metadata service is away")
            self.given, self.life = self.given + 1, 3600
        return Keys(f"key{self.given}", "secret", None)


async def settled(held: Credentials) -> None:
    await held._tasks.settle()


async def test_keys_are_looked_for_once_and_off_the_loop() -> None:
    looks: list[int] = []
    found = Expiring()

    def look() -> Expiring:
        looks.append(threading.get_ident())
        return found

    held = Credentials(look)
    keys = await asyncio.gather(*(held.keys() for _ in range(20)))
    assert {one.access_key for one in keys} == {"key1"}
    assert len(looks) == 1
    assert threading.get_ident() not in {*looks, *found.threads}
    await held.close()


async def test_keys_are_fetched_again_before_they_expire_and_nobody_waits() -> None:
    found = Expiring()
    held = Credentials(lambda: found)
    assert (await held.keys()).access_key == "key1"
    found.life = 800
    assert (await held.keys()).access_key == "key1"  # still good for a while
    await settled(held)
    assert (await held.keys()).access_key == "key2"
    await held.close()


async def test_when_they_have_nearly_expired_requests_wait_for_new_ones() -> None:
    found = Expiring()
    held = Credentials(lambda: found)
    await held.keys()
    found.life = 30
    assert (await held.keys()).access_key == "key2"
    await held.close()


async def test_old_keys_serve_while_new_ones_cannot_be_had_and_not_beyond() -> None:
    now = 0.0
    found = Expiring()
    held = Credentials(lambda: found, lambda: now)
    await held.keys()
    found.life, found.fails = 30, True
    assert (await held.keys()).access_key == "key1"
    found.life, now = -1, 10.0
    with pytest.raises(OriginFailure, match="the metadata service is away"):
        await held.keys()
    found.fails, now = False, 20.0
    assert (await held.keys()).access_key == "key2"
    await held.close()


async def test_without_credentials_the_failure_says_so_and_the_chain_is_not_hammered() -> None:
    looks = 0
    now = 0.0

    def look() -> None:
        nonlocal looks
        looks += 1

    held = Credentials(look, lambda: now)
    for _ in range(5):
        with pytest.raises(OriginFailure, match="no credentials were found"):
            await held.keys()
    assert looks == 1
    now = 60.0
    with pytest.raises(OriginFailure):
        await held.keys()
    assert looks == 2
    await held.close()


async def test_the_environment_is_one_of_the_usual_places(monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    held = Credentials(chain())
    assert await held.keys() == Keys("from-env", "s", None)
    await held.close()


async def test_a_profile_of_the_shared_file(monkeypatch: Any, tmp_path: Any) -> None:
    file = tmp_path / "credentials"
    file.write_text("[media]\naws_access_key_id = from-file\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    held = Credentials(chain("media"))
    assert (await held.keys()).access_key == "from-file"
    await held.close()


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: Any) -> None:
    for name in ("botocore", "botocore.session", "botocore.auth", "botocore.awsrequest"):
        monkeypatch.setitem(sys.modules, name, None)
    for make in (chain, lambda: signer("us-east-1")):
        with pytest.raises(MissingExtra) as caught:
            make()
        assert str(caught.value) == EXTRA
    assert "pip install 'vary-proxy[aws]'" in EXTRA
