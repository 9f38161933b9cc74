"""Connections at rest: kept for the next request, for a while, and not counted as in use."""

from __future__ import annotations

import asyncio

from tests.wire.raworigin import (
    OK,
    ask,
    client,
    keeps,
    on_both_loops,
    outcome,
    rested,
    serving,
    until,
)


@on_both_loops
async def test_a_connection_at_rest_is_not_in_use_and_takes_the_next_request() -> None:
    async with serving(keeps(OK, OK)) as origin, client(origin) as http:
        for _ in range(2):
            assert await outcome(http, ask()) == (200, b"ok")
            assert http.in_use == 0
        assert origin.connections == 1


@on_both_loops
async def test_one_that_rests_for_too_long_is_ended() -> None:
    left = asyncio.Event()

    async def script(peer):
        await peer.answer(OK)
        await peer.left()
        left.set()

    async with serving(script) as origin, client(origin, keepalive=0.05) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        await left.wait()
        assert http.in_use == 0


@on_both_loops
async def test_a_small_body_that_comes_with_its_head_is_at_hand() -> None:
    async with serving(keeps(OK)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert response.at_hand == b"ok"
        assert http.in_use == 0  # nothing is left to be read
        assert [chunk async for chunk in response.chunks()] == [b"ok"]


@on_both_loops
async def test_a_body_that_comes_later_is_read() -> None:
    later = asyncio.Event()

    async def script(peer):
        await peer.answer(OK[:-1])
        await later.wait()
        await peer.send(OK[-1:])
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert response.at_hand is None
        assert http.in_use == 1
        later.set()
        assert [chunk async for chunk in response.chunks()] == [b"o", b"k"]
        await until(lambda: http.in_use == 0)


@on_both_loops
async def test_a_request_that_wants_a_younger_connection_leaves_those_at_rest_to_others() -> None:
    """An unsafe method takes none that was at rest for long; a GET may have it all the same."""
    async with serving(keeps(OK, OK), keeps(OK, OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        rested(http, 2.0)
        assert await outcome(http, ask(method=b"POST")) == (200, b"ok")
        assert origin.connections == 2
        answers = await asyncio.gather(*(outcome(http, ask()) for _ in range(2)))
        assert answers == [(200, b"ok")] * 2
        assert origin.connections == 2


@on_both_loops
async def test_one_at_rest_makes_room_where_no_more_are_allowed() -> None:
    async with serving(keeps(OK)) as origin, client(origin, limit=2) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        rested(http, 2.0)
        answers = await asyncio.gather(*(outcome(http, ask(method=b"POST")) for _ in range(2)))
        assert answers == [(200, b"ok")] * 2
        assert origin.connections == 3
