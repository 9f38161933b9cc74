"""What becomes of ``Origin`` on the way to the origin, and what that makes of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.exchange.conftest import Edge, Said
from vary_proxy.core.corspolicy import compile_policy
from vary_proxy.core.message import Request
from vary_proxy.core.policy import CachePolicy, CorsMode, OriginHeader, OriginKey, Policy

A, B, FAKE = b"https://a.example", b"https://b.example", b"https://edge.example"
OWNED = Policy(
    cors=compile_policy("list", origins=["https://a.example", "https://b.example"]),
    cors_mode=CorsMode.OVERRIDE,
)
PRESENCE = Policy(cache=CachePolicy(origin_key=OriginKey.PRESENCE))
STRIP = Policy(origin_header=OriginHeader.STRIP)
INJECT = Policy(origin_header=OriginHeader.INJECT, origin_value=FAKE)


def echo(request: Request) -> Said:
    """An origin that allows whoever asks, and says what that depends on."""
    fields = [(b"cache-control", b"max-age=60"), (b"vary", b"Origin"), (b"etag", b'"1"')]
    if (origin := request.fields.get(b"origin")) is not None:
        fields.append((b"access-control-allow-origin", origin))
    return Said(200, tuple(fields), b"x")


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        pytest.param(Policy(), [None, A, B], id="auto: forward"),
        pytest.param(OWNED, [None], id="auto: strip where the rule owns CORS"),
        pytest.param(
            replace(OWNED, origin_header=OriginHeader.FORWARD), [None, A, B], id="forward"
        ),
        pytest.param(STRIP, [None], id="strip"),
        pytest.param(INJECT, [FAKE], id="inject"),
        pytest.param(replace(INJECT, cors_mode=CorsMode.STRIP), [FAKE], id="inject, and strip"),
    ],
)
async def test_the_origin_is_asked_once_for_every_origin_that_it_sees(
    edges: Callable[..., Edge], policy: Policy, seen: list[bytes | None]
) -> None:
    edge = edges(policy)
    edge.origin.handler = echo
    for _ in range(2):
        for origin in (None, A, B):
            reply = await edge.get("/a", **({} if origin is None else {"origin": origin}))
            assert b"origin" in (reply["vary"] or b"").lower()
    assert [request.fields.get(b"origin") for request in edge.origin.requests] == seen
    assert edge.store.stats().stored_responses == len(seen)


async def test_an_injected_origin_is_answered_for_everybody(edges: Callable[..., Edge]) -> None:
    edge = edges(INJECT)
    edge.origin.handler = echo
    for fields in ({}, {"origin": A}, {"origin": B}):
        assert (await edge.get("/a", **fields))["access-control-allow-origin"] == FAKE


async def test_what_is_filled_in_is_each_requesters_own(edges: Callable[..., Edge]) -> None:
    edge = edges(replace(OWNED, cors_mode=CorsMode.FILL, origin_header=OriginHeader.STRIP))
    edge.origin.handler = echo
    for origin in (A, B, A):
        reply = await edge.get("/a", origin=origin)
        assert reply["access-control-allow-origin"] == origin
    assert (await edge.get("/a"))["access-control-allow-origin"] is None
    assert edge.origin.asked == 1


@pytest.mark.parametrize("mode", [CorsMode.PASSTHROUGH, CorsMode.FILL])
async def test_where_presence_counts_no_answer_of_one_site_reaches_another(
    edges: Callable[..., Edge], mode: CorsMode
) -> None:
    edge = edges(replace(PRESENCE, cors=OWNED.cors, cors_mode=mode))
    edge.origin.handler = echo
    assert (await edge.get("/a")).cache_status.endswith("stored")
    for origin in (A, B, A):
        reply = await edge.get("/a", origin=origin)
        assert reply["access-control-allow-origin"] == origin
        assert "stored" not in reply.cache_status
    edge.origin.handler = lambda request: Said(200, ((b"cache-control", b"max-age=60"),), b"x")
    await edge.get("/b", origin=B)  # nothing at all may be a stranger's answer
    assert edge.store.stats().stored_responses == 1


async def test_where_presence_counts_an_answer_for_all_is_stored_once(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(PRESENCE)
    fields = ((b"cache-control", b"max-age=60"), (b"access-control-allow-origin", b"*"))
    edge.origin.handler = lambda request: Said(
        200, fields if b"origin" in request.fields else fields[:1], b"x"
    )
    for named in ({}, {"origin": A}, {"origin": B}, {}):
        reply = await edge.get("/a", **named)
        assert reply["access-control-allow-origin"] == (b"*" if named else None)
    assert edge.origin.asked == 2
