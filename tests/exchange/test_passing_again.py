"""What could not be stored a moment ago is passed the short way, and stored once it may be."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge

KEY = b"AWS4-HMAC-SHA256 Credential=AKID"


@pytest.mark.parametrize("asked", [{}, {"authorization": KEY}], ids=["anybody", "authorized"])
async def test_it_is_stored_as_soon_as_it_may_be(edge: Edge, asked: dict[str, bytes]) -> None:
    for number in (b"1", b"2", b"3"):
        edge.origin.replies(200, cache_control=b"no-store", body=number)
        reply = await edge.get("/a", **asked)
        assert (reply.body, "detail=" in reply.cache_status) == (number, True)
    edge.origin.replies(200, cache_control=b"public, max-age=60", body=b"4")
    assert "stored" in (await edge.get("/a", **asked)).cache_status.split("; ")
    assert (await edge.get("/a", **asked)).body == b"4"
    assert edge.origin.asked == 4


async def test_those_with_and_without_authorization_are_told_apart(edge: Edge) -> None:
    for _ in range(2):
        edge.origin.replies(200, cache_control=b"max-age=60", body=b"mine")
        reply = await edge.get("/a", authorization=KEY)
        assert "detail=authorization" in reply.cache_status
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"all")
    waiting = [asyncio.ensure_future(edge.get("/a")) for _ in range(3)]
    assert [(await one).body for one in waiting] == [b"all"] * 3
    assert edge.origin.asked == 3


async def test_what_was_asked_for_before_a_change_is_not_stored_after_it(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"no-store", body=b"old")
    await edge.get("/a")
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"old", gate=gate)
    slow = asyncio.ensure_future(edge.get("/a"))
    await asyncio.sleep(0)
    edge.origin.replies(204)
    await edge.send("/a", b"DELETE")
    gate.set()
    assert (await slow).body == b"old"
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"new")
    assert (await edge.get("/a")).body == b"new"


async def test_a_condition_of_the_client_is_answered_here_all_the_same(edge: Edge) -> None:
    for _ in range(2):
        edge.origin.replies(200, cache_control=b"no-store", etag=b'"1"', body=b"x")
        await edge.get("/a")
    edge.origin.replies(200, cache_control=b"no-store", etag=b'"1"', body=b"x")
    assert (await edge.get("/a", if_none_match=b'"1"')).status == 304
    assert b"if-none-match" not in edge.origin.last.fields


async def test_a_failed_origin_leaves_nothing_behind(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"no-store", body=b"x")
    await edge.get("/a")
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502
    assert not edge.exchange.flights.keys()
