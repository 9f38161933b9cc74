"""A stored body that ends before its time is gone on with from the origin, unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.core.stored import Body
from vary_proxy.origin import OriginFailure
from vary_proxy.store.base import BodyGone, Content

WHOLE = bytes(range(200))


def breaks_at(edge: Edge, at: int) -> None:
    """From now on every stored body ends after its byte *at*."""

    async def stream(start: int, stop: int) -> AsyncIterator[bytes]:
        yield WHOLE[start : min(at, stop)]
        if stop > at:
            raise BodyGone(max(at, start))

    async def read(key: bytes, body: Body, start: int, stop: int) -> Content:
        return Content((), stream(start, stop))

    edge.store.read = read  # type: ignore[method-assign]


async def store(edge: Edge, etag: bytes = b'"1"') -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=etag, body=WHOLE)
    await edge.get("/a")


def rest(edge: Edge, first: int, last: int, **fields: object) -> None:
    given: dict[str, object] = {
        "etag": b'"1"',
        "content_range": b"bytes %d-%d/200" % (first, last),
        "body": WHOLE[first : last + 1],
    }
    edge.origin.replies(206, **(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [(None, 80, 199), (b"bytes=50-149", 80, 149), (b"bytes=90-", 90, 199)],
)
async def test_the_client_sees_nothing_of_it(
    edge: Edge, asked: bytes | None, first: int, last: int
) -> None:
    await store(edge)
    breaks_at(edge, 80)
    rest(edge, first, last)
    reply = await edge.get("/a", **({} if asked is None else {"range": asked}))
    start = 0 if asked is None else int(asked[6:8])
    assert reply.cut is None
    assert reply.body == WHOLE[start : last + 1]
    sent = edge.origin.last.fields
    assert sent.get(b"range") == b"bytes=%d-%d" % (first, last)
    assert sent.get(b"if-range") == b'"1"'


async def test_an_origin_that_sends_the_rest_in_pieces(edge: Edge) -> None:
    """RFC 9110 §15.3.7: it may send less than it was asked for, and is asked again."""
    await store(edge)
    breaks_at(edge, 80)
    for first, last in ((80, 99), (100, 100), (101, 199)):
        rest(edge, first, last)
    reply = await edge.get("/a")
    assert (reply.body, reply.cut) == (WHOLE, None)
    asked = [request.fields.get(b"range") for request in edge.origin.requests[1:]]
    assert asked == [b"bytes=80-199", b"bytes=100-199", b"bytes=101-199"]


@pytest.mark.parametrize("said", [{"etag": b'"2"'}, {"content_range": b"bytes 101-199/200"}])
async def test_another_piece_is_never_mixed_in(edge: Edge, said: dict[str, object]) -> None:
    await store(edge)
    breaks_at(edge, 80)
    rest(edge, 80, 99)
    rest(edge, 100, 199, **said)
    reply = await edge.get("/a")
    assert reply.body == WHOLE[:100]
    assert isinstance(reply.cut, OriginFailure)
    assert all(response.closed for response in edge.origin.responses)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"etag": b'"2"'}, id="another representation"),
        pytest.param({"content_range": b"bytes 81-199/200"}, id="other bytes"),
        pytest.param({"content_range": b"bytes 80-199/300"}, id="another length"),
    ],
)
async def test_what_has_changed_is_never_mixed_in(edge: Edge, said: dict[str, object]) -> None:
    await store(edge)
    breaks_at(edge, 80)
    rest(edge, 80, 199, **said)
    reply = await edge.get("/a")
    assert reply.body == WHOLE[:80]
    assert isinstance(reply.cut, OriginFailure)


async def test_without_a_strong_validator_the_cut_is_visible(edge: Edge) -> None:
    await store(edge, etag=b'W/"1"')
    breaks_at(edge, 80)
    reply = await edge.get("/a")
    assert isinstance(reply.cut, OriginFailure)
    assert edge.origin.asked == 1
