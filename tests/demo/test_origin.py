"""The bucket of the demo answers as Amazon S3 does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp import web

from vary_proxy.demo.origin import VARY, Bucket, CorsRule

PAGE = "http://page.example"
BODY = bytes(range(256)) * 4
CORS = "Access-Control-"


class Door:
    """A bucket that listens, and a client of it."""

    def __init__(self, bucket: Bucket, url: str, session: aiohttp.ClientSession) -> None:
        self.bucket = bucket
        self._url = url
        self.port = int(url.rpartition(":")[2])
        self._session = session

    async def ask(self, method: str = "GET", path: str = "/a.bin", **fields: str) -> Answer:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        async with self._session.request(method, self._url + path, headers=headers) as reply:
            return Answer(reply.status, reply.headers, await reply.read())


class Answer:
    def __init__(self, status: int, fields: Mapping[str, str], body: bytes) -> None:
        self.status, self.fields, self.body = status, fields, body

    @property
    def cors(self) -> dict[str, str]:
        """What depends on ``Origin``: the Access-Control fields, and Vary."""
        return {k: v for k, v in self.fields.items() if k.startswith(CORS) or k == "Vary"}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    bucket = Bucket((CorsRule(origins=(PAGE, "http://*.app.example"), headers=("X-*",)),))
    bucket.put("/a.bin", BODY, "application/octet-stream")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", bucket.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Door(bucket, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    await runner.cleanup()


ALLOWED = {
    "Access-Control-Allow-Origin": PAGE,
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Expose-Headers": "ETag",
    "Access-Control-Max-Age": "3000",
    "Access-Control-Allow-Credentials": "true",
    "Vary": VARY,
}


@pytest.mark.parametrize(
    ("origin", "cors"),
    [
        pytest.param(None, {}, id="no Origin: neither CORS fields nor Vary"),
        pytest.param(PAGE, ALLOWED, id="allowed"),
        pytest.param("http://evil.example", {}, id="not allowed: as without Origin"),
        pytest.param("null", {}, id="null"),
        pytest.param(
            "http://x.app.example",
            {**ALLOWED, "Access-Control-Allow-Origin": "http://x.app.example"},
            id="allowed by a wildcard",
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_cors_fields_and_vary_come_with_an_allowed_origin_only(
    door: Door, method: str, origin: str | None, cors: dict[str, str]
) -> None:
    answer = await door.ask(method, **({} if origin is None else {"Origin": origin}))
    assert (answer.status, answer.cors) == (200, cors)
    assert answer.fields["Content-Length"] == str(len(BODY))
    assert answer.body == (BODY if method == "GET" else b"")


async def test_everybody_is_told_so_without_credentials(door: Door) -> None:
    door.bucket.rules = (CorsRule(),)
    answer = await door.ask(Origin=PAGE)
    assert answer.cors["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.cors
    assert (await door.ask()).cors == {}


async def test_the_method_that_a_preflight_would_name_counts_on_get_too(door: Door) -> None:
    answer = await door.ask(Origin=PAGE, Access_Control_Request_Method="PUT")
    assert (answer.status, answer.cors) == (200, {})


async def test_a_304_has_the_cors_fields_unless_switched_off(door: Door) -> None:
    etag = (await door.ask()).fields["ETag"]
    answer = await door.ask(Origin=PAGE, If_None_Match=etag)
    assert (answer.status, answer.body, answer.cors) == (304, b"", ALLOWED)
    assert answer.fields["ETag"] == etag
    assert answer.fields["Cache-Control"] == "public, max-age=3600"
    door.bucket.bare_304 = True
    answer = await door.ask(Origin=PAGE, If_None_Match=etag)
    assert (answer.status, answer.cors) == (304, {})
    assert (await door.ask(Origin=PAGE)).cors == ALLOWED  # a 200 keeps them


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        pytest.param({"If_None_Match": '"other"'}, 200, id="13.1.2 another entity tag"),
        pytest.param({"If_None_Match": "*"}, 304, id="13.1.2 any"),
        pytest.param({"If_Match": '"other"'}, 412, id="13.1.1"),
        pytest.param({"If_Match": "*"}, 200, id="13.1.1 any"),
        pytest.param({"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304, id="13.1.3"),
        pytest.param({"If_Modified_Since": "yesterday"}, 200, id="13.1.3 unreadable"),
        pytest.param({"If_Unmodified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412, id="13.1.4"),
        pytest.param(
            {"If_None_Match": '"other"', "If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
            200,
            id="13.2.2 the entity tag goes first",
        ),
    ],
)
async def test_conditions(door: Door, condition: dict[str, str], status: int) -> None:
    assert (await door.ask(**condition)).status == status


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        pytest.param("bytes=0-9", 206, slice(0, 10), id="first ten"),
        pytest.param("bytes=1000-", 206, slice(1000, 1024), id="from a position"),
        pytest.param("bytes=1000-5000", 206, slice(1000, 1024), id="beyond the end"),
        pytest.param("bytes=-24", 206, slice(1000, 1024), id="last bytes"),
        pytest.param("bytes=-5000", 206, slice(0, 1024), id="more last bytes than there are"),
        pytest.param("bytes=1024-", 416, None, id="behind the end"),
        pytest.param("bytes=-0", 416, None, id="no last bytes"),
        pytest.param("bytes=9-0", 200, slice(0, 1024), id="backwards: ignored"),
        pytest.param("bytes=-", 200, slice(0, 1024), id="nothing: ignored"),
        pytest.param("bytes=0-1,5-6", 200, slice(0, 1024), id="several: ignored, as S3 does"),
        pytest.param("lines=1-2", 200, slice(0, 1024), id="another unit: ignored"),
    ],
)
async def test_ranges(door: Door, asked: str, status: int, span: slice | None) -> None:
    answer = await door.ask(Range=asked, Origin=PAGE)
    assert (answer.status, answer.cors) == (status, ALLOWED)
    if span is None:
        assert answer.fields["Content-Range"] == "bytes */1024"
        assert b"<Code>InvalidRange</Code>" in answer.body
        return
    assert answer.body == BODY[span]
    if status == 206:
        assert answer.fields["Content-Range"] == f"bytes {span.start}-{span.stop - 1}/1024"


async def test_a_range_of_something_that_has_changed_is_the_whole(door: Door) -> None:
    answer = await door.ask(Range="bytes=0-9", If_Range='"other"')
    assert (answer.status, answer.body) == (200, BODY)


async def test_a_preflight_that_the_rules_allow(door: Door) -> None:
    answer = await door.ask(
        "OPTIONS",
        Origin=PAGE,
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="x-token",
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.cors == {**ALLOWED, "Access-Control-Allow-Headers": "x-token"}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"Origin": "http://evil.example"}, 403, "AccessForbidden", id="the origin"),
        pytest.param({"Access_Control_Request_Method": "PUT"}, 403, "AccessForbidden", id="method"),
        pytest.param(
            {"Access_Control_Request_Headers": "authorization"}, 403, "AccessForbidden", id="header"
        ),
        pytest.param({"Origin": ""}, 400, "BadRequest", id="no Origin"),
        pytest.param({"Access_Control_Request_Method": ""}, 400, "BadRequest", id="no method"),
    ],
)
async def test_a_preflight_is_refused_as_xml_without_cors_fields(
    door: Door, fields: dict[str, str], status: int, code: str
) -> None:
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "GET", **fields}
    answer = await door.ask("OPTIONS", **{name: value for name, value in asked.items() if value})
    assert (answer.status, answer.cors) == (status, {})
    assert answer.fields["Content-Type"] == "application/xml"
    assert f"<Code>{code}</Code>".encode() in answer.body


async def test_an_absent_object_is_told_with_the_cors_fields(door: Door) -> None:
    answer = await door.ask(path="/a<b>.bin", Origin=PAGE)
    assert (answer.status, answer.cors) == (404, ALLOWED)
    assert b"<Code>NoSuchKey</Code>" in answer.body
    assert b"<b>" not in answer.body
    assert (await door.ask(path="/absent")).cors == {}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /a.bin HTTP/1.1\r\nRange: bytes=0-" + b"9" * 5000, b"200"),
        (b"GET /a.bin HTTP/1.1\r\nIf-Modified-Since: \xff\xfe", b"200"),
        (b"OPTIONS /a HTTP/1.1\r\nOrigin: \xff\r\nAccess-Control-Request-Method: \xff", b"403"),
    ],
)
async def test_what_is_no_text_or_number_is_no_fault_of_the_bucket(
    door: Door, head: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(head + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).split()[1] == status
    writer.close()
    await writer.wait_closed()
