"""A client that closes its side after its requests, as `nc -N` does, gets all its answers.

On both lanes, both event loops, and whatever it had sent by then (RFC 9112 §9.6).
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.hold.worlds import HOST, Asked, Front, front, get, responses, said
from tests.wire.raworigin import on_both_loops, until

LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"


def named(asked: Asked) -> bytes:
    """Storable; says which target and which content it answers."""
    return said(asked.target + b" " + asked.body, FRESH)


async def sent_and_closed(edge: Front, data: bytes) -> list[tuple[int, bytes]]:
    """Status and content of all that comes for *data*, before the proxy ends the connection."""
    client = await edge.client()
    client.send(data)
    client.stop_sending()
    got = await asyncio.wait_for(client.reader.read(), 20)
    edge.clients.remove(client)
    await client.leave()
    return [(one.status, one.body) for one in responses(got)]


def post(target: bytes, body: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return get(target, length, method=b"POST") + body


@LANES
@on_both_loops
@pytest.mark.parametrize("count", [1, 2, 3, 50])
async def test_every_request_of_a_pipeline_is_answered(count: int, fast: bool) -> None:
    async with front(named, fast=fast) as edge:
        await edge.primed()
        stored = await sent_and_closed(edge, get() * count)
        assert stored == [(200, b"/ ")] * count
        targets = [b"/%d" % number for number in range(count)]
        fetched = await sent_and_closed(edge, b"".join(map(get, targets)))
        assert fetched == [(200, target + b" ") for target in targets]
        mixed = await sent_and_closed(edge, get() + b"".join(map(get, targets)) + get())
        assert mixed == [stored[0], *fetched, stored[0]]


@LANES
@on_both_loops
async def test_bodies_that_came_whole_are_answered(fast: bool) -> None:
    chunked = get(b"/c", b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n"
    async with front(named, fast=fast) as edge:
        await edge.primed()
        got = await sent_and_closed(edge, post(b"/a", b"one") + chunked + post(b"/b", b"") + get())
        assert got == [(200, b"/a one"), (200, b"/c abc"), (200, b"/b "), (200, b"/ ")]


@LANES
@on_both_loops
async def test_a_body_of_many_small_chunks_is_read_to_its_end(fast: bool) -> None:
    count = 9_000  # more than are decoded at once
    chunked = get(b"/c", b"Transfer-Encoding: chunked", method=b"POST") + b"1\r\nx\r\n" * count
    async with front(named, fast=fast) as edge:
        got = await sent_and_closed(edge, chunked + b"0\r\n\r\n" + get())
        assert got == [(200, b"/c " + b"x" * count), (200, b"/ ")]
        cut = await sent_and_closed(edge, chunked)
        assert [status for status, _ in cut] == [400]


@LANES
@on_both_loops
async def test_what_was_begun_and_not_ended_is_refused_behind_the_answers(fast: bool) -> None:
    async with front(named, fast=fast) as edge:
        await edge.primed()
        for cut in (get(b"/cut")[:-1], get(b"/cut")[:9], post(b"/cut", b"body")[:-1]):
            for before in (1, 2):
                begun = time.monotonic()
                got = await sent_and_closed(edge, get() * before + cut)
                assert [status for status, _ in got] == [200] * before + [400]
                assert time.monotonic() - begun < 5  # no deadline of a head was waited for
        assert b"/cut" not in [asked.target for asked in edge.origin.asked]


@LANES
@on_both_loops
@pytest.mark.parametrize("behind", [b"\r\n", b"\r\n\r\n"])
async def test_empty_lines_behind_the_last_request_are_no_request(
    behind: bytes, fast: bool
) -> None:
    async with front(named, fast=fast) as edge:
        await edge.primed()
        for target in (b"/", b"/new"):
            assert await sent_and_closed(edge, get(target) + behind) == [(200, target + b" ")]
        await until(lambda: not edge.app.server._hub.live)


@LANES
@on_both_loops
async def test_a_slow_origin_is_waited_for(fast: bool) -> None:
    go = asyncio.Event()

    async def slowly(asked: Asked) -> bytes:
        await go.wait()
        return named(asked)

    async with front(slowly, fast=fast) as edge:
        client = await edge.client()
        client.send(get(b"/1"), get(b"/2"))
        client.stop_sending()
        await until(lambda: edge.origin.asked)
        await asyncio.sleep(0.02)
        go.set()
        got = responses(await asyncio.wait_for(client.reader.read(), 20))
        assert [one.body for one in got] == [b"/1 ", b"/2 "]
        assert [one.has("connection") for one in got] == [False, True]  # close, at the last


@LANES
@on_both_loops
async def test_large_answers_come_whole_and_unread_ones_are_given_up(fast: bool) -> None:
    large = bytes(300_000)
    times = "timeouts: {write: 200ms}"
    async with front(lambda asked: said(large, FRESH), fast=fast, server=times) as edge:
        await edge.primed()
        assert await sent_and_closed(edge, get() * 10) == [(200, large)] * 10
        unread = await edge.client(receive=4096)
        unread.send(get() * 30)
        unread.stop_sending()
        await until(lambda: not edge.app.server._hub.live)


@LANES
@on_both_loops
async def test_the_end_of_a_doubtful_pipeline_is_still_its_error(fast: bool) -> None:
    doubtful = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\nHost: other.example\r\n\r\n"
    async with front(named, fast=fast) as edge:
        await edge.primed()
        got = await sent_and_closed(edge, get() * 2 + doubtful + get(b"/smuggled"))
        assert [status for status, _ in got] == [200, 200, 400]
        assert len(edge.origin.asked) == 1
