"""What a POST brought is kept for later GETs, unless something changed it meanwhile."""

from __future__ import annotations

import asyncio

from tests.exchange.conftest import Edge

KEPT = {"cache_control": b"max-age=60", "content_location": b"/page"}


async def test_a_response_to_post_is_given_to_a_later_get(edge: Edge) -> None:
    edge.origin.replies(200, body=b"one", **KEPT)
    assert (await edge.send("/page", b"POST", body=b"x")).body == b"one"
    assert (await edge.get("/page")).body == b"one"
    assert edge.origin.asked == 1


async def test_but_not_once_it_was_changed_while_that_was_on_its_way(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, body=b"one", gate=gate, **KEPT)
    posted = asyncio.create_task(edge.send("/page", b"POST", body=b"x"))
    while not edge.origin.requests:
        await asyncio.sleep(0)
    edge.origin.replies(204)
    await edge.send("/page", b"PUT", body=b"two")
    gate.set()
    assert (await posted).body == b"one"
    edge.origin.replies(200, body=b"two", cache_control=b"max-age=60")
    assert (await edge.get("/page")).body == b"two"
    assert not edge.exchange.flights.keys()


async def test_nor_when_it_was_purged_meanwhile(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, body=b"one", gate=gate, **KEPT)
    posted = asyncio.create_task(edge.send("/page", b"POST", body=b"x"))
    while not edge.origin.requests:
        await asyncio.sleep(0)
    edge.exchange.forget(lambda key: True)
    gate.set()
    await posted
    edge.origin.replies(200, body=b"two", cache_control=b"max-age=60")
    assert (await edge.get("/page")).body == b"two"


async def test_a_post_that_fails_leaves_nothing_under_way(edge: Edge) -> None:
    edge.origin.fails()
    assert (await edge.send("/page", b"POST", body=b"x")).status == 502
    assert not edge.exchange.flights.keys()
