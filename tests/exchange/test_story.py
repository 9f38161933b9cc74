"""The story this proxy exists for, told from both ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge

A, B, EVIL = b"https://a.example", b"https://b.example", b"https://evil.example"
THREE = b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


async def test_an_image_then_a_canvas(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"picture")  # S3: no Origin, no Vary
    plain = await edge.get("/cat.png")
    edge.origin.replies(200, cache_control=b"max-age=60", acao=A, vary=b"Origin", body=b"picture")
    cors = await edge.get("/cat.png", origin=A)
    assert plain["vary"] == THREE
    assert plain["access-control-allow-origin"] is None
    assert cors["access-control-allow-origin"] == A
    assert cors["vary"] == b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    assert edge.origin.asked == 2
    again = await edge.get("/cat.png", origin=A)
    assert again.cache_status == "vary-proxy; hit; ttl=60"
    assert again["access-control-allow-origin"] == A
    assert (await edge.get("/cat.png"))["access-control-allow-origin"] is None
    assert edge.origin.asked == 2


async def test_one_origins_cors_fields_never_reach_another(edge: Edge) -> None:
    edge.origin.replies(200, acao=A, cache_control=b"max-age=60", body=b"x")  # and no Vary
    await edge.get("/logo.svg", origin=A)
    edge.origin.replies(200, acao=B, cache_control=b"max-age=60", body=b"x")
    reply = await edge.get("/logo.svg", origin=B)
    assert reply["access-control-allow-origin"] == B
    assert edge.origin.asked == 2


async def test_a_hit_tells_its_age(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"x")
    first = await edge.get("/a")
    edge.clock.forward(10)
    hit = await edge.get("/a")
    assert first.cache_status == "vary-proxy; fwd=uri-miss; fwd-status=200; stored"
    assert first["age"] is None
    assert hit["age"] == b"10"
    assert hit.cache_status == "vary-proxy; hit; ttl=50"
    assert hit["content-length"] == b"1"


async def test_a_stale_response_is_validated_and_served(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=5", etag=b'"1"', body=b"x", x_old=b"1")
    await edge.get("/a")
    edge.clock.forward(6)
    edge.origin.replies(304, cache_control=b"max-age=50", etag=b'"1"')
    reply = await edge.get("/a")
    assert edge.origin.last.fields.get(b"if-none-match") == b'"1"'
    assert (reply.status, reply.body, reply["x-old"]) == (200, b"x", b"1")
    assert reply.cache_status == "vary-proxy; fwd=stale; fwd-status=304"
    assert (await edge.get("/a")).cache_status == "vary-proxy; hit; ttl=50"


async def test_a_new_origin_gets_its_variant_by_a_304(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', acao=A, body=b"picture")
    await edge.get("/cat.png", origin=A)
    edge.origin.replies(304, cache_control=b"max-age=60", etag=b'"1"', acao=B)
    reply = await edge.get("/cat.png", origin=B)
    assert edge.origin.last.fields.get(b"if-none-match") == b'"1"'
    assert edge.origin.last.fields.get(b"origin") == B
    assert (reply.status, reply.body) == (200, b"picture")
    assert reply["access-control-allow-origin"] == B
    assert edge.store.stats().stored_responses == 2


async def test_a_bare_304_is_noticed_and_asked_again(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', acao=A, body=b"picture")
    await edge.get("/cat.png", origin=A)
    edge.origin.replies(304, etag=b'"1"')
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', acao=B, body=b"picture")
    reply = await edge.get("/cat.png", origin=B)
    assert reply["access-control-allow-origin"] == B
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', body=b"picture")
    await edge.get("/cat.png", origin=EVIL)
    assert edge.origin.last.fields.get(b"if-none-match") is None


async def test_simultaneous_requests_become_one(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=b"max-age=60", body=[b"ab", b"cd"], gate=gate)
    waiting = [asyncio.ensure_future(edge.get("/a")) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    replies = await asyncio.gather(*waiting)
    assert {reply.body for reply in replies} == {b"abcd"}
    assert edge.origin.asked == 1
    assert sum("collapsed" in reply.cache_status for reply in replies) == 19


async def test_a_post_drops_every_variant(edge: Edge) -> None:
    for origin in (A, B):
        edge.origin.replies(200, cache_control=b"max-age=60", acao=origin, body=b"x")
        await edge.get("/a", origin=origin)
    edge.origin.replies(204)
    await edge.send("/a", b"POST", body=b"data")
    assert edge.origin.bodies[-1] == b"data"
    edge.origin.replies(200, body=b"new")
    assert (await edge.get("/a", origin=A)).body == b"new"
    assert edge.origin.asked == 4


async def test_a_truncated_body_is_never_stored(edge: Edge) -> None:
    from vary_proxy.origin import OriginFailure

    cut = OriginFailure("http_response_incomplete")
    edge.origin.replies(200, cache_control=b"max-age=60", body=[b"ab"], length=4, cut=cut)
    reply = await edge.get("/a")
    assert reply.cut is cut
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"abcd")
    assert (await edge.get("/a")).body == b"abcd"


async def test_an_unreachable_origin_is_our_502_with_the_paths_vary(edge: Edge) -> None:
    edge.origin.fails()
    reply = await edge.get("/a")
    assert reply.status == 502
    assert reply["vary"] == THREE
    assert reply["cache-control"] == b"no-store"
    assert reply["proxy-status"] == b"vary-proxy; error=connection_refused"


async def test_no_origin_is_blocked_by_an_error_of_ours(edge: Edge) -> None:
    """Who may read it is the origin's to say, and the origin said nothing."""
    edge.origin.fails()
    reply = await edge.get("/x", origin=A)
    assert (reply.status, reply.record.cors, reply.record.cors_reason) == (502, "", "")


async def test_one_304_with_cors_fields_does_not_vouch_for_another_resource(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', acao=A, body=b"x")
    await edge.get("/s3.png", origin=A)
    edge.origin.replies(304, cache_control=b"max-age=60", etag=b'"1"', acao=B)
    await edge.get("/s3.png", origin=B)
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"2"', body=b"y")
    await edge.get("/app.png")
    edge.origin.replies(304, cache_control=b"max-age=60", etag=b'"2"')
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"2"', acao=A, body=b"y")
    reply = await edge.get("/app.png", origin=A)
    assert reply["access-control-allow-origin"] == A


async def test_a_name_that_cors_answers_lose_is_put_back(edge: Edge) -> None:
    """Litestar replaces ``Accept-Encoding`` by ``Origin`` (RFC 9111 §4.1, RFC 9110 §12.5.5)."""
    whole = (
        b"Origin, Accept-Encoding, Access-Control-Request-Headers, Access-Control-Request-Method"
    )
    lost = {"cache_control": b"max-age=60", "acao": A, "vary": b"Origin", "etag": b'"1"'}
    edge.origin.replies(200, cache_control=b"max-age=60", vary=b"Accept-Encoding", body=b"plain")
    await edge.get("/page", accept_encoding=b"gzip")
    edge.origin.replies(200, body=b"plain", **lost)
    assert (await edge.get("/page", origin=A, accept_encoding=b"gzip"))["vary"] == whole
    hit = await edge.get("/page", origin=A, accept_encoding=b"gzip")
    assert (hit.cache_status, hit["vary"]) == ("vary-proxy; hit; ttl=60", whole)
    edge.clock.forward(61)
    edge.origin.replies(304, **lost)
    validated = await edge.get("/page", origin=A, accept_encoding=b"gzip")
    assert (validated.record.cache, validated["vary"]) == ("validated", whole)


@pytest.mark.parametrize(
    ("method", "status", "cache_control"),
    [
        pytest.param(b"HEAD", 200, b"max-age=60", id="HEAD"),
        pytest.param(b"GET", 200, b"private", id="private"),
        pytest.param(b"GET", 404, b"no-store", id="404"),
    ],
)
async def test_a_lost_name_is_put_back_on_what_is_not_stored(
    edge: Edge, method: bytes, status: int, cache_control: bytes
) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", vary=b"Accept-Encoding", body=b"plain")
    await edge.get("/page")
    edge.origin.replies(status, cache_control=cache_control, acao=A, vary=b"Origin")
    reply = await edge.send("/page", method, origin=A)
    assert b"Accept-Encoding" in (reply["vary"] or b"")
