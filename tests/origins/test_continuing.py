"""A body that broke off goes on under a strong validator, and only as the very same body."""

from __future__ import annotations

import asyncio

import pytest

from tests.origins.scripted import Answer, Scripted, refused
from tests.wire import raworigin
from vary_proxy.core.message import Fields, Request
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.continuing import MOST_CONTINUED, Continued

WHOLE = bytes(range(65, 85))  # 20 bytes
TAG = (b"etag", b'"v1"')
GET = Request(b"GET", b"/a", Fields(((b"accept", b"*/*"), (b"if-none-match", b'"old"'))))


def cut(at: int, *fields: tuple[bytes, bytes]) -> Answer:
    return Answer(200, WHOLE[:at], fields or (TAG,), len(WHOLE))


def rest(first: int, stop: int = 20, *, upto: int = 20, **changed: bytes) -> Answer:
    said = {
        b"etag": b'"v1"',
        b"content-range": b"bytes %d-%d/20" % (first, stop - 1),
    } | {name.replace("_", "-").encode(): value for name, value in changed.items()}
    return Answer(206, WHOLE[first:upto], said.items(), stop - first)


async def read(origin: Scripted, request: Request = GET) -> tuple[bytes, str]:
    """All that came, and how it ended."""
    got = b""
    response = await Continued(origin).fetch(request)
    try:
        async for chunk in response.chunks():
            got += chunk
    except OriginFailure as failure:
        return got, failure.error
    finally:
        await response.close()
    return got, "whole"


@pytest.mark.parametrize("at", range(20))
async def test_a_cut_body_goes_on_wherever_it_was_cut(at: int) -> None:
    origin = Scripted(cut(at), rest(at))
    assert await read(origin) == (WHOLE, "whole")
    asked = origin.asked[1].fields
    assert asked.lines(b"range") == (b"bytes=%d-19" % at,)
    assert asked.lines(b"if-range") == (b'"v1"',)
    assert b"if-none-match" not in asked
    assert asked.get(b"accept") == b"*/*"


async def test_a_continuation_that_is_cut_is_continued() -> None:
    origin = Scripted(cut(4), rest(4, upto=9), rest(9, upto=13), rest(13))
    assert await read(origin) == (WHOLE, "whole")


async def test_it_is_continued_a_bounded_number_of_times() -> None:
    origin = Scripted(*(rest(at, upto=at + 1) if at else cut(1) for at in range(10)))
    got, end = await read(origin)
    assert (got, end) == (WHOLE[: MOST_CONTINUED + 1], "http_response_incomplete")
    assert len(origin.asked) == MOST_CONTINUED + 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, WHOLE, (TAG,)), id="the whole again"),
        pytest.param(Answer(200, WHOLE, ((b"etag", b'"v2"'),)), id="another representation"),
        pytest.param(rest(8, etag=b'"v2"'), id="a part of another"),
        pytest.param(rest(8, etag=b'W/"v1"'), id="only weakly the same"),
        pytest.param(rest(7), id="from too early"),
        pytest.param(rest(9), id="from too late"),
        pytest.param(rest(8, 19), id="not to the end"),
        pytest.param(rest(8, content_range=b"bytes 8-19/21"), id="of another length"),
        pytest.param(rest(8, content_range=b"bytes 8-19/*"), id="of no known length"),
        pytest.param(rest(8, content_encoding=b"gzip"), id="in another coding"),
        pytest.param(Answer(206, WHOLE[8:], (TAG,)), id="without Content-Range"),
        pytest.param(
            Answer(206, WHOLE[8:], (TAG, (b"content-range", b"bytes 8-19/20")), None),
            id="of unproved length",
        ),
        pytest.param(Answer(416, b""), id="416"),
        pytest.param(Answer(503, b"busy"), id="503"),
        pytest.param(refused(), id="refused"),
    ],
)
async def test_what_does_not_fit_exactly_is_not_joined(answer: Answer | OriginFailure) -> None:
    origin = Scripted(cut(8), answer)
    assert await read(origin) == (WHOLE[:8], "http_response_incomplete")
    assert isinstance(answer, OriginFailure) or answer.closed


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(cut(8, (b"date", b"now")), id="no entity tag"),
        pytest.param(cut(8, (b"etag", b'W/"v1"')), id="a weak one"),
        pytest.param(cut(8, TAG, (b"etag", b'"v2"')), id="two"),
        pytest.param(Answer(404, WHOLE[:8], (TAG,), 20), id="not a 200"),
    ],
)
async def test_without_a_strong_validator_nothing_is_asked(first: Answer) -> None:
    origin = Scripted(first, rest(8))
    assert await read(origin) == (WHOLE[:8], "http_response_incomplete")
    assert len(origin.asked) == 1


async def test_a_part_is_continued_within_its_bounds() -> None:
    ranged = Request(b"GET", b"/a", Fields(((b"range", b"bytes=5-14"),)))
    origin = Scripted(rest(5, 15, upto=9), rest(9, 15, upto=15))
    assert await read(origin, ranged) == (WHOLE[5:15], "whole")
    assert origin.asked[1].fields.lines(b"range") == (b"bytes=9-14",)


@pytest.mark.parametrize("method", [b"HEAD", b"POST"])
async def test_only_get_is_continued(method: bytes) -> None:
    origin = Scripted(cut(8), rest(8))
    _, end = await read(origin, Request(method, b"/a"))
    assert (end, len(origin.asked)) == ("http_response_incomplete", 1)


async def test_nothing_is_asked_for_a_body_that_nobody_wants_any_more() -> None:
    origin = Scripted(cut(6), rest(6))
    response = await Continued(origin).fetch(GET)
    chunks = response.chunks()
    await anext(chunks)
    await response.close()
    with pytest.raises(OriginFailure):
        [chunk async for chunk in chunks]
    assert len(origin.asked) == 1


@raworigin.on_both_loops
async def test_over_sockets_a_reset_in_the_body_is_not_seen() -> None:
    async def broken(peer: raworigin.Peer) -> None:
        await peer.head()
        await peer.send(b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: 20\r\n\r\n' + WHOLE[:9])
        await arrived.wait()
        peer.reset()

    second = raworigin.keeps(
        b'HTTP/1.1 206 Partial Content\r\nETag: "v1"\r\nContent-Length: 11\r\n'
        b"Content-Range: bytes 9-19/20\r\n\r\n" + WHOLE[9:]
    )
    arrived = asyncio.Event()
    async with raworigin.serving(broken, second) as origin, raworigin.client(origin) as http:
        continued = Continued(http)
        response = await continued.fetch(raworigin.ask(target=b"/odd%2Fname"))
        got = b""
        async for chunk in response.chunks():
            got += chunk
            if len(got) >= 9:
                arrived.set()
        assert got == WHOLE
        assert continued.retries == {"connection_terminated": 1}
        assert origin.heads[1].startswith(b"GET /odd%2Fname HTTP/1.1\r\n")
