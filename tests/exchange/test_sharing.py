"""What belongs to one requester never reaches another, whatever way it came (RFC 9111 §3)."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge, Said
from vary_proxy.core.message import Request

A, B = b"https://a.example", b"https://b.example"
TAG = b'"1"'


async def test_limited_private_and_no_cache_fields_reach_whoever_asked_and_nobody_else(
    edge: Edge,
) -> None:
    limited = b'max-age=60, private="X-User", no-cache="X-Now"'
    edge.origin.replies(200, cache_control=limited, x_user=b"me", x_now=b"1", x_all=b"2", body=b"x")
    first = await edge.get("/a")
    hit = await edge.get("/a")
    assert (first["x-user"], first["x-now"], first["x-all"]) == (b"me", b"1", b"2")
    assert (hit["x-user"], hit["x-now"], hit["x-all"]) == (None, None, b"2")
    assert edge.origin.asked == 1


async def test_those_who_rode_along_do_not_get_them_either(edge: Edge) -> None:
    gate = asyncio.Event()
    limited = b'max-age=60, private="X-User"'
    edge.origin.replies(200, cache_control=limited, x_user=b"me", body=b"x", gate=gate)
    waiting = [asyncio.ensure_future(edge.get("/a")) for _ in range(4)]
    await asyncio.sleep(0)
    gate.set()
    replies = await asyncio.gather(*waiting)
    assert sorted(reply["x-user"] or b"" for reply in replies) == [b"", b"", b"", b"me"]
    assert edge.origin.asked == 1


async def test_nor_are_they_kept_from_a_304(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=TAG, body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    limited = b'max-age=60, private="X-User"'
    edge.origin.replies(304, cache_control=limited, etag=TAG, x_user=b"me")
    await edge.get("/a")
    hit = await edge.get("/a")
    assert (hit.status, hit["x-user"]) == (200, None)
    assert edge.origin.asked == 2


async def test_a_cookie_that_came_with_a_head_is_not_kept(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=TAG, body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    fresh = b"max-age=60"
    edge.origin.replies(200, cache_control=fresh, etag=TAG, content_length=b"1", set_cookie=b"id=1")
    assert (await edge.send("/a", b"HEAD"))["set-cookie"] == b"id=1"
    hit = await edge.get("/a")
    assert (hit.body, hit["set-cookie"]) == (b"x", None)
    assert edge.origin.asked == 2


async def test_a_cookie_that_came_with_a_304_is_its_requesters(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=TAG, body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(304, cache_control=b"max-age=60", etag=TAG, set_cookie=b"id=1")
    assert (await edge.get("/a"))["set-cookie"] == b"id=1"
    assert (await edge.get("/a"))["set-cookie"] is None
    assert edge.origin.asked == 2


async def test_a_private_head_freshens_nothing(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=TAG, body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(200, cache_control=b"max-age=60, private", etag=TAG, x_user=b"me")
    await edge.send("/a", b"HEAD")
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"2"', body=b"y")
    reply = await edge.get("/a")
    assert (reply.body, reply["x-user"]) == (b"y", None)


async def test_a_head_of_another_length_ends_the_use_of_what_is_stored(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", x_old=b"1", body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(200, cache_control=b"max-age=60", content_length=b"2")
    await edge.send("/a", b"HEAD")
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"yy")
    assert (await edge.get("/a")).body == b"yy"


def for_whom(request: Request) -> Said:
    """An origin that names the user, and validates anybody's copy."""
    user = request.fields.get(b"authorization") or b"nobody"
    fields = ((b"cache-control", b"max-age=60"), (b"etag", TAG), (b"x-user", user))
    return Said(304 if b"if-none-match" in request.fields else 200, fields, b"x")


async def test_a_304_to_a_user_that_takes_sharing_back(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"s-maxage=5", etag=TAG, body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.handler = for_whom
    assert (await edge.get("/a", authorization=b"me"))["x-user"] == b"me"
    assert (await edge.get("/a"))["x-user"] == b"nobody"


async def test_a_304_to_a_user_fills_no_variant_for_others(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=TAG, acao=b"*", body=b"x")
    await edge.get("/a", origin=A)
    edge.origin.handler = for_whom
    assert (await edge.get("/a", origin=B, authorization=b"me"))["x-user"] == b"me"
    assert (await edge.get("/a", origin=B))["x-user"] == b"nobody"


@pytest.mark.parametrize("answer", ["unreachable", "503"])
async def test_no_cache_is_never_used_unvalidated_not_even_in_an_emergency(
    edge: Edge, answer: str
) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60, no-cache", etag=TAG, body=b"x")
    await edge.get("/a")
    if answer == "503":
        edge.origin.replies(503, body=b"busy")
    else:
        edge.origin.fails()
    assert (await edge.get("/a")).status == (503 if answer == "503" else 502)


@pytest.mark.parametrize("asked", [b"max-age=30", b"min-fresh=1"])
async def test_who_says_how_fresh_is_not_served_stale_meanwhile(edge: Edge, asked: bytes) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5, stale-while-revalidate=60", body=b"old")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"new")
    assert (await edge.get("/a", cache_control=asked)).body == b"new"


async def test_what_a_stranger_claims_to_be_capable_of_stays_here(edge: Edge) -> None:
    edge.origin.replies(200, body=b"x")
    await edge.get("/a", surrogate_capability=b'evil="ESI/1.0"')
    said = edge.origin.last.fields.lines(b"surrogate-capability")
    assert said == (b'vary-proxy="Surrogate/1.0"',)


async def test_nobody_rides_on_what_began_while_a_change_reached_the_store(edge: Edge) -> None:
    """Where a store is shared that takes a while, in which another process may be followed."""
    purging, purge = asyncio.Event(), edge.store.purge

    async def slowly(key: bytes, *, soft: bool = False) -> int:
        count = await purge(key, soft=soft)
        await purging.wait()
        return count

    edge.store.purge = slowly  # type: ignore[method-assign]
    edge.origin.replies(204)
    changing = asyncio.create_task(edge.send("/a", b"POST", body=b"x"))
    while not edge.origin.asked:
        await asyncio.sleep(0)
    gate = asyncio.Event()
    edge.origin.replies(200, body=b"old", cache_control=b"max-age=60", gate=gate)
    before = asyncio.create_task(edge.get("/a"))
    while edge.origin.asked < 2:
        await asyncio.sleep(0)
    purging.set()
    await changing
    edge.origin.replies(200, body=b"new", cache_control=b"max-age=60")
    assert (await edge.get("/a")).body == b"new"
    gate.set()
    assert (await before).body == b"old"
    await edge.settle()
    assert (await edge.get("/a")).body == b"new"
