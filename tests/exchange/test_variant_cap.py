"""More requesters than a resource may have variants: each is served, and no body is asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.exchange.conftest import Edge, Said
from vary_proxy.core.message import Request
from vary_proxy.core.policy import CachePolicy, Policy

TAG = b'"1"'


def listed(request: Request) -> Said:
    """An origin that allows sites numbered below 90, and names no others in its 304s or 200s."""
    fields = [(b"etag", TAG), (b"cache-control", b"max-age=600")]
    origin = request.fields.get(b"origin")
    if origin is not None and origin.startswith(b"https://site-"):
        fields.append((b"access-control-allow-origin", origin))
    if request.fields.get(b"if-none-match") == TAG:
        return Said(304, tuple(fields))
    return Said(200, tuple(fields), b"the body")


@pytest.mark.parametrize("site", ["site", "stranger"])
async def test_beyond_the_cap_a_variant_is_validated_for_its_requester_alone(
    edges: Callable[..., Edge], site: str
) -> None:
    edge = edges(replace(Policy(), cache=CachePolicy(max_variants=16)))
    edge.origin.handler = listed
    await edge.get("/a", origin=b"https://site-0.example")
    await edge.get("/a", origin=b"https://site-1.example")  # now the 304s are known to say all
    for number in range(2, 60):
        origin = b"https://%s-%d.example" % (site.encode(), number)
        reply = await edge.get("/a", origin=origin)
        await edge.settle()
        assert (reply.status, reply.body) == (200, b"the body")
        allowed = origin if site == "site" else None
        assert reply["access-control-allow-origin"] == allowed
    assert reply.cache_status == "vary-proxy; fwd=vary-miss; fwd-status=304; detail=variant-cap"
    assert edge.store.stats().stored_responses <= 16
    assert [one.head.status for one in edge.origin.responses].count(200) == 1


async def test_those_that_came_first_stay(edges: Callable[..., Edge]) -> None:
    edge = edges(replace(Policy(), cache=CachePolicy(max_variants=16)))
    edge.origin.handler = listed
    for number in [*range(10), *range(90, 150)]:
        site = b"site" if number < 90 else b"stranger"
        await edge.get("/a", origin=b"https://%s-%d.example" % (site, number))
        await edge.settle()
    for number in range(10):
        reply = await edge.get("/a", origin=b"https://site-%d.example" % number)
        assert reply.cache_status == "vary-proxy; hit; ttl=600"


@pytest.mark.parametrize("weak", [True, False], ids=["weak tag", "no tag"])
async def test_what_is_beyond_the_cap_is_not_said_to_be_stored(
    edges: Callable[..., Edge], weak: bool
) -> None:
    edge = edges(replace(Policy(), cache=CachePolicy(max_variants=16)))
    replies = []
    for number in range(20):
        origin = b"https://site-%d.example" % number
        fields = ((b"etag", b'W/"1"'),) if weak else ()
        edge.origin.replies(
            body=b"the body", acao=origin, cache_control=b"max-age=600", fields=fields
        )
        replies.append(await edge.get("/a", origin=origin))
        await edge.settle()
        assert (replies[-1].body, replies[-1]["access-control-allow-origin"]) == (
            b"the body",
            origin,
        )
    told = [reply.cache_status for reply in replies[1:]]
    stored = "vary-proxy; fwd=vary-miss; fwd-status=200; stored"
    beyond = "vary-proxy; fwd=vary-miss; fwd-status=200; detail=variant-cap"
    assert told == [stored] * 15 + [beyond] * 4
    assert [reply.record.stored for reply in replies] == [True] * 16 + [False] * 4
    assert replies[-1].record.reason == "variant-cap"
    assert edge.store.stats().stored_responses == 16


async def test_beyond_the_cap_those_who_ask_at_once_still_share_one_fetch(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(replace(Policy(), cache=CachePolicy(max_variants=1)))
    edge.origin.replies(body=b"a", cache_control=b"max-age=600")
    await edge.get("/a")
    await edge.settle()
    gate = asyncio.Event()
    edge.origin.replies(body=b"b", cache_control=b"max-age=600", gate=gate)
    asking = [
        asyncio.ensure_future(edge.get("/a", origin=b"https://site.example")) for _ in range(5)
    ]
    while edge.origin.asked < 2:
        await asyncio.sleep(0)
    gate.set()
    replies = await asyncio.gather(*asking)
    assert [reply.body for reply in replies] == [b"b"] * 5
    assert not any("stored" in reply.cache_status for reply in replies)
    assert edge.origin.asked == 2


async def test_long_selecting_values_take_no_more_room_than_there_is() -> None:
    """What a client sends is kept with what it was answered, so it counts (§4.1)."""
    edge = Edge(max_bytes=1 << 20)
    long = b",".join(b"x-%d" % number for number in range(2_000))
    for number in range(200):
        edge.origin.replies(200, cache_control=b"max-age=60", body=b"x")
        await edge.get(f"/{number}", access_control_request_headers=long)
    held = list(map(edge.store.look, edge.store.keys()))
    values = [value for one in held if one for _, value in one.variants[0].selecting if value]
    assert len(values) > 10
    assert sum(map(len, values)) < 1 << 20
