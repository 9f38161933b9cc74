"""Partial content: stored, joined, completed, and never taken for the whole. §3.3, §3.4."""

from __future__ import annotations

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.origin import OriginFailure

WHOLE = b"0123456789"


def part(edge: Edge, first: int, last: int, **fields: object) -> None:
    given: dict[str, object] = {
        "cache_control": b"max-age=60",
        "etag": b'"1"',
        "content_range": b"bytes %d-%d/10" % (first, last),
        "body": WHOLE[first : last + 1],
    }
    edge.origin.replies(206, **(given | fields))  # type: ignore[arg-type]


async def test_a_stored_part_answers_what_lies_within_it(edge: Edge) -> None:
    part(edge, 2, 7)
    await edge.get("/a", range=b"bytes=2-7")
    inner = await edge.get("/a", range=b"bytes=3-4")
    assert (inner.status, inner.body) == (206, b"34")
    assert inner["content-range"] == b"bytes 3-4/10"
    assert edge.origin.asked == 1


async def test_a_part_never_stands_for_the_whole(edge: Edge) -> None:
    part(edge, 2, 7)
    await edge.get("/a", range=b"bytes=2-7")
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', body=WHOLE)
    assert (await edge.get("/a")).body == WHOLE
    assert (await edge.get("/a", range=b"bytes=0-3")).body == WHOLE[:4]
    assert edge.origin.asked == 2


async def test_parts_that_touch_are_joined_and_make_the_whole(edge: Edge) -> None:
    part(edge, 5, 9)
    await edge.get("/a", range=b"bytes=5-9")
    part(edge, 0, 4)
    await edge.get("/a", range=b"bytes=0-4")
    await edge.settle()
    reply = await edge.get("/a")
    assert (reply.status, reply.body) == (200, WHOLE)
    assert reply["content-range"] is None
    assert reply.cache_status.startswith("vary-proxy; hit")


async def test_parts_of_different_representations_are_never_mixed(edge: Edge) -> None:
    part(edge, 0, 4)
    await edge.get("/a", range=b"bytes=0-4")
    part(edge, 5, 9, etag=b'"2"')
    await edge.get("/a", range=b"bytes=5-9")
    await edge.settle()
    edge.origin.replies(200, etag=b'"2"', body=b"abcdefghij")
    assert (await edge.get("/a")).body == b"abcdefghij"


async def test_only_the_rest_is_asked_for(edge: Edge) -> None:
    part(edge, 0, 4)
    await edge.get("/a", range=b"bytes=0-4")
    part(edge, 5, 9, x_new=b"1")
    reply = await edge.get("/a")
    asked = edge.origin.last.fields
    assert (asked.get(b"range"), asked.get(b"if-range")) == (b"bytes=5-", b'"1"')
    assert (reply.status, reply.body, reply["x-new"]) == (200, WHOLE, b"1")
    assert reply["content-range"] is None
    assert (await edge.get("/a")).cache_status.startswith("vary-proxy; hit")


async def test_a_changed_whole_replaces_the_part(edge: Edge) -> None:
    part(edge, 0, 4)
    await edge.get("/a", range=b"bytes=0-4")
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"2"', body=b"new")
    assert (await edge.get("/a")).body == b"new"


async def test_a_cut_response_is_kept_as_a_part_and_completed(edge: Edge) -> None:
    cut = OriginFailure("http_response_incomplete")
    edge.origin.replies(
        200, cache_control=b"max-age=60", etag=b'"1"', body=WHOLE[:6], length=10, cut=cut
    )
    assert (await edge.get("/a")).cut is cut
    part(edge, 6, 9)
    reply = await edge.get("/a")
    assert edge.origin.last.fields.get(b"range") == b"bytes=6-"
    assert (reply.status, reply.body) == (200, WHOLE)


@pytest.mark.parametrize("etag", [b'W/"1"', b""])
async def test_without_a_strong_validator_a_cut_response_is_forgotten(
    edge: Edge, etag: bytes
) -> None:
    cut = OriginFailure("http_response_incomplete")
    fields = {"etag": etag} if etag else {}
    edge.origin.replies(
        200, cache_control=b"max-age=60", body=WHOLE[:6], length=10, cut=cut, **fields
    )
    await edge.get("/a")
    edge.origin.replies(200, cache_control=b"max-age=60", body=WHOLE)
    assert (await edge.get("/a")).body == WHOLE
    assert edge.origin.last.fields.get(b"range") is None


async def test_a_206_that_claims_more_than_it_brings_is_not_stored(edge: Edge) -> None:
    part(edge, 0, 4, content_range=b"bytes 0-5/10")
    await edge.get("/a", range=b"bytes=0-5")
    await edge.settle()
    assert edge.store.stats().stored_responses == 0
