"""Interim responses on their way to whoever asked (RFC 9110 §15.2, RFC 8297)."""

from __future__ import annotations

import asyncio

from tests.exchange.conftest import Edge
from vary_proxy.core.message import Fields, Response

HINTS = Response(103, Fields(((b"link", b"</a.css>; rel=preload"),)))
MORE = Response(103, Fields(((b"link", b"</b.css>; rel=preload"),)))
FRESH = b"max-age=60"


async def test_all_of_them_in_order_before_the_answer(edge: Edge) -> None:
    edge.origin.replies(200, body=b"x", interim=(HINTS, Response(102), MORE))
    reply = await edge.get("/a")
    assert [one.status for one in reply.interims] == [103, 102, 103]
    assert [one.fields for one in reply.interims] == [HINTS.fields, Fields(), MORE.fields]
    assert (reply.status, reply.body) == (200, b"x")


async def test_they_pass_also_outside_the_cache(edge: Edge) -> None:
    edge.origin.replies(201, interim=(HINTS,))
    reply = await edge.send("/a", b"POST", body=b"data")
    assert [one.status for one in reply.interims] == [103]


async def test_they_are_never_stored(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=FRESH, body=b"x", interim=(HINTS,))
    first = await edge.get("/a")
    hit = await edge.get("/a")
    assert len(first.interims) == 1
    assert hit.interims == []
    assert hit["link"] is None
    assert "hit" in hit.cache_status


async def test_they_pass_while_something_is_validated(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=b'"1"', body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(304, cache_control=FRESH, etag=b'"1"', interim=(HINTS,))
    reply = await edge.get("/a")
    assert (reply.status, reply.body) == (200, b"x")
    assert [one.status for one in reply.interims] == [103]


async def test_nobody_waits_for_those_of_a_validation_in_the_background(edge: Edge) -> None:
    window = b"max-age=5, stale-while-revalidate=60"
    edge.origin.replies(200, cache_control=window, etag=b'"1"', body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(304, cache_control=FRESH, etag=b'"1"', interim=(HINTS,))
    reply = await edge.get("/a")
    await edge.settle()
    assert (reply.body, reply.interims) == (b"x", [])


async def test_a_client_that_has_left_stops_nobody(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=FRESH, body=b"x", interim=(HINTS,), gate=gate)
    leader = asyncio.ensure_future(edge.get("/a"))
    await asyncio.sleep(0)
    rider = asyncio.ensure_future(edge.get("/a"))
    await asyncio.sleep(0)
    leader.cancel()
    gate.set()
    assert (await rider).body == b"x"
    assert edge.origin.asked == 1
