"""What AWS does and no server here does, through a running proxy.

Its refusals arrive word for word; its CORS answers, which depend on more than it says, never
reach another; its bare 304s do no harm; what it cuts is seen to be cut, and is not kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.real.asking import Asker, asking
from tests.real.awsstub import ALLOWED, AwsStub
from tests.real.proxy import Proxy, configured, running_proxy

OTHER = "https://evil.example"
THREE = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
FRESH = "cc=max-age=60"

CONFIG = """
version: 1
origins:
  stub: {{url: "{url}"}}
log: {{access: off}}
"""


@pytest.fixture(scope="module")
def proxy(stub_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("aws")
    with running_proxy(directory, *configured(directory, CONFIG.format(url=stub_url))) as running:
        yield running


@pytest.fixture
async def ask(proxy: Proxy) -> AsyncIterator[Asker]:
    async with asking(proxy.url) as asker:
        yield asker


@pytest.mark.parametrize(
    ("target", "fields", "status", "words"),
    [
        ("/media/p", {"origin": OTHER}, 403, "CORSResponse: This CORS request is not allowed."),
        ("/media/p?nocors", {"origin": ALLOWED}, 403, "CORS is not enabled for this bucket."),
        ("/media/p", {}, 400, "Insufficient information. Origin request header needed."),
    ],
)
async def test_refused_preflights_arrive_word_for_word(
    ask: Asker, target: str, fields: dict[str, str], status: int, words: str
) -> None:
    method = {"access_control_request_method": "PUT"}
    got = await ask(target, "OPTIONS", **fields, **method)
    assert got.status == status
    assert words.encode() in got.body
    assert got["content-type"] == "application/xml"
    assert got["vary"] == THREE
    assert got["access-control-allow-origin"] is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "must be addressed using the specified endpoint"),
        (307, "Please re-send this request to the specified temporary endpoint"),
        (403, "Access Denied"),
        (404, "The specified key does not exist."),
        (500, "We encountered an internal error."),
        (503, "Please reduce your request rate."),
    ],
)
async def test_errors_arrive_word_for_word(ask: Asker, status: int, words: str) -> None:
    for fields in ({}, {"origin": ALLOWED}):
        got = await ask(f"/status/{status}", **fields)
        assert got.status == status
        assert words.encode() in got.body
        assert got["vary"] == THREE
        assert got["access-control-allow-origin"] == fields.get("origin")
        assert (got["location"] is not None) is (status in (301, 307))


async def test_nobody_gets_the_answer_to_another(ask: Asker) -> None:
    """Plain, allowed, disallowed: each its own, whoever came first, first or again."""
    wanted = {None: None, ALLOWED: ALLOWED, OTHER: None}
    for first in wanted:
        target = f"/media/{len(first or '')}.png?{FRESH}"
        for origin in [first, *wanted, *wanted]:
            fields = {} if origin is None else {"origin": origin}
            got = await ask(target, **fields)
            assert got["access-control-allow-origin"] == wanted[origin]
            assert got["vary"] == THREE


async def test_the_method_that_a_get_asks_about_is_part_of_the_key(ask: Asker) -> None:
    """S3 looks at Access-Control-Request-Method on GET as well."""
    target = f"/media/method.png?{FRESH}"
    for _ in range(2):
        refused = await ask(target, origin=ALLOWED, access_control_request_method="DELETE")
        assert refused["access-control-allow-origin"] is None
        allowed = await ask(target, origin=ALLOWED)
        assert allowed["access-control-allow-origin"] == ALLOWED
    assert refused.is_hit
    assert allowed.is_hit


async def test_names_that_were_there_stay_first(ask: Asker) -> None:
    target = f"/media/gzip.css?{FRESH}&vary=Accept-Encoding"
    for fields in ({}, {"origin": ALLOWED}):
        for _ in range(2):
            got = await ask(target, **fields)
            assert got["vary"] == f"Accept-Encoding, {THREE}"
    assert not (await ask(target, accept_encoding="br")).is_hit


@pytest.mark.parametrize("lifetime", [60, 0])
async def test_304s_without_cors_fields_do_no_harm(
    stub: AwsStub, tmp_path: Path, lifetime: int
) -> None:
    """An image first, then a canvas that validates with the image's ETag: it must read it."""
    target = f"/media/bare.png?bare304&cc=max-age={lifetime}"
    with running_proxy(tmp_path, "--origin", stub.url) as own:
        async with asking(own.url) as ask:
            tag = (await ask(target))["etag"]
            assert tag is not None
            for _ in range(3):
                got = await ask(target, origin=ALLOWED, if_none_match=tag)
                assert got.status == 304
                assert got["access-control-allow-origin"] == ALLOWED
                assert got["vary"] == THREE
                whole = await ask(target, origin=ALLOWED)
                assert (whole.status, whole["access-control-allow-origin"]) == (200, ALLOWED)
                assert whole.body == (await ask(target)).body


async def test_presigned_queries_are_passed_byte_for_byte(ask: Asker) -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20261122%2Fus-east-1%2Fs3%2F"
        "aws4_request&X-Amz-Date=20261122T000000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host"
        "&X-Amz-Security-Token=" + "Ab%2B%2F" * 300 + "%3D&X-Amz-Signature="
    )
    target = f"/echo/a%2Fb//c/../d;e=1/%7Euser+x?{query}good"
    method, seen, _, _ = json.loads((await ask(target)).body)
    assert (method, seen) == ("GET", target)
    got = await ask(f"/media/signed?{query}bad")
    assert got.status == 403
    assert b"The request signature we calculated does not match" in got.body
    assert (await ask(f"/media/signed?{query}good")).status == 200


@pytest.mark.parametrize("how", ["length", "chunked", "reset"])
async def test_a_cut_body_is_seen_to_be_cut_and_is_not_kept(ask: Asker, how: str) -> None:
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await ask(f"/cut/{how}?{FRESH}")
    refused = await ask(f"/cut/{how}?{FRESH}", cache_control="only-if-cached")
    assert refused.status == 504


async def test_a_slow_body_reaches_everybody_who_waits_for_it(
    stub: AwsStub, tmp_path: Path
) -> None:
    """Ten ask while the first half is under way; the origin is asked once."""
    target = f"/slow/body?{FRESH}"
    with running_proxy(tmp_path, "--origin", stub.url) as own:
        async with asking(own.url) as ask, asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(ask(target)) for _ in range(10)]
            tasks.create_task(_release_once_asked(stub))
    bodies = {reader.result().body for reader in readers}
    assert len(bodies) == 1
    assert bodies.pop().startswith(b"the object at /slow/body\n")
    assert len(stub.asked) == 1


async def _release_once_asked(stub: AwsStub) -> None:
    while not stub.asked:
        await asyncio.sleep(0)
    stub.release.set()
