"""What a client gets from the store: parts, conditions, HEAD, stale, and after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.core.message import Response
from vary_proxy.core.policy import CachePolicy, Policy
from vary_proxy.origin import OriginFailure

WHOLE = bytes(range(256)) * 4


async def stored(edge: Edge, target: str = "/a", **fields: object) -> None:
    given: dict[str, object] = {"cache_control": b"max-age=60", "etag": b'"1"', "body": WHOLE}
    edge.origin.replies(200, **(given | fields))  # type: ignore[arg-type]
    await edge.get(target)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        pytest.param(b"bytes=0-0", 0, 1, id="14.1.2 first byte"),
        pytest.param(b"bytes=10-19", 10, 20, id="14.1.2 middle"),
        pytest.param(b"bytes=1000-", 1000, 1024, id="14.1.2 open end"),
        pytest.param(b"bytes=-24", 1000, 1024, id="14.1.2 suffix"),
        pytest.param(b"bytes=-9999", 0, 1024, id="14.1.2 suffix longer than the whole"),
        pytest.param(b"bytes=1000-9999", 1000, 1024, id="14.1.2 end past the whole"),
    ],
)
async def test_a_range_is_served_from_the_whole(
    edge: Edge, asked: bytes, start: int, stop: int
) -> None:
    await stored(edge)
    reply = await edge.get("/a", range=asked)
    assert reply.status == 206
    assert reply.body == WHOLE[start:stop]
    assert reply["content-range"] == b"bytes %d-%d/1024" % (start, stop - 1)
    assert reply["content-length"] == b"%d" % (stop - start)
    assert edge.origin.asked == 1


async def test_an_unsatisfiable_range_is_416_and_says_the_length(edge: Edge) -> None:
    await stored(edge)
    reply = await edge.get("/a", range=b"bytes=2000-")
    assert reply.status == 416
    assert reply["content-range"] == b"bytes */1024"
    assert reply["vary"] is not None


@pytest.mark.parametrize(
    "asked", [b"bytes=5-4", b"items=0-1", b"bytes=a-b", b"bytes=0-1,0-2,0-3", b"bytes=-"]
)
async def test_a_range_that_makes_no_sense_is_ignored(edge: Edge, asked: bytes) -> None:
    await stored(edge)
    reply = await edge.get("/a", range=asked)
    assert (reply.status, reply.body) == (200, WHOLE)


async def test_several_ranges_come_as_multipart(edge: Edge) -> None:
    await stored(edge, content_type=b"image/png")
    reply = await edge.get("/a", range=b"bytes=0-1, 10-11")
    kind = reply["content-type"] or b""
    assert kind.startswith(b"multipart/byteranges; boundary=")
    boundary = kind.partition(b"=")[2]
    parts = reply.body.split(b"--" + boundary)
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [
        WHOLE[0:2] + b"\r\n",
        WHOLE[10:12] + b"\r\n",
    ]
    assert reply["content-length"] == b"%d" % len(reply.body)


async def test_if_range_with_another_tag_gets_the_whole(edge: Edge) -> None:
    await stored(edge)
    other = await edge.get("/a", range=b"bytes=0-1", if_range=b'"2"')
    same = await edge.get("/a", range=b"bytes=0-1", if_range=b'"1"')
    assert (other.status, same.status) == (200, 206)


async def test_a_condition_is_answered_from_the_store_with_the_cors_family(edge: Edge) -> None:
    await stored(edge, acao=b"*", access_control_expose_headers=b"ETag", content_type=b"a/b")
    reply = await edge.get("/a", if_none_match=b'W/"1"')
    assert (reply.status, reply.body) == (304, b"")
    assert reply["access-control-allow-origin"] == b"*"
    assert reply["access-control-expose-headers"] == b"ETag"
    assert reply["etag"] == b'"1"'
    assert reply["cache-control"] == b"max-age=60"
    assert reply["vary"] is not None
    assert reply["date"] is not None
    assert reply["content-type"] is None


async def test_a_clients_condition_never_reaches_the_origin(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"1"', body=b"x")
    reply = await edge.get("/a", if_none_match=b'"1"')
    assert edge.origin.last.fields.get(b"if-none-match") is None
    assert reply.status == 304
    assert (await edge.get("/a")).body == b"x"


async def test_head_is_answered_from_a_stored_get(edge: Edge) -> None:
    await stored(edge)
    reply = await edge.send("/a", b"HEAD")
    assert (reply.status, reply.body, reply["content-length"]) == (200, b"", b"1024")
    assert edge.origin.asked == 1


async def test_head_that_differs_ends_the_use_of_what_is_stored(edge: Edge) -> None:
    await stored(edge)
    edge.clock.forward(61)
    edge.origin.replies(200, etag=b'"2"', cache_control=b"max-age=60")
    await edge.send("/a", b"HEAD")
    edge.origin.replies(200, cache_control=b"max-age=60", etag=b'"2"', body=b"new")
    assert (await edge.get("/a")).body == b"new"


async def test_stale_while_revalidate_answers_at_once_and_validates_once(edge: Edge) -> None:
    await stored(edge, cache_control=b"max-age=10, stale-while-revalidate=20")
    edge.clock.forward(15)
    gate = asyncio.Event()
    edge.origin.replies(304, etag=b'"1"', cache_control=b"max-age=100", gate=gate)
    first = await edge.get("/a")
    second = await edge.get("/a")
    assert first.cache_status == second.cache_status == "vary-proxy; hit; ttl=-5"
    gate.set()
    await edge.settle()
    assert edge.origin.asked == 2
    assert (await edge.get("/a")).cache_status == "vary-proxy; hit; ttl=100"


async def test_past_its_window_stale_while_revalidate_waits(edge: Edge) -> None:
    await stored(edge, cache_control=b"max-age=10, stale-while-revalidate=20")
    edge.clock.forward(31)
    edge.origin.replies(200, cache_control=b"max-age=10", body=b"new")
    assert (await edge.get("/a")).body == b"new"


@pytest.mark.parametrize("directive", [b"must-revalidate", b"proxy-revalidate", b"s-maxage=10"])
async def test_what_forbids_stale_forbids_it_when_the_origin_is_down(
    edges: Callable[..., Edge], directive: bytes
) -> None:
    edge = edges(Policy(cache=CachePolicy(stale_if_error=3600)))
    await stored(edge, cache_control=b"max-age=10, " + directive)
    edge.clock.forward(11)
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502


async def test_stale_stands_in_for_a_lost_connection_and_a_503(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cache=CachePolicy(stale_if_error=3600)))
    await stored(edge)
    edge.clock.forward(61)
    edge.origin.fails()
    reply = await edge.get("/a")
    assert (reply.status, reply.body) == (200, WHOLE)
    assert "detail=stale-if-error" in reply.cache_status
    edge.origin.replies(503, cache_control=b"max-age=60", body=b"down")
    assert (await edge.get("/a")).body == WHOLE
    edge.origin.replies(404, body=b"gone")
    assert (await edge.get("/a")).status == 404


async def test_a_404_ends_staleness_for_good(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cache=CachePolicy(stale_if_error=3600)))
    await stored(edge)
    edge.clock.forward(61)
    edge.origin.replies(404, body=b"gone")
    await edge.get("/a")
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502


async def test_followers_of_what_cannot_be_stored_go_their_own_way_in_parallel(edge: Edge) -> None:
    gates = [asyncio.Event() for _ in range(5)]
    for gate in gates:
        edge.origin.replies(200, cache_control=b"private", body=b"x", gate=gate)
    waiting = [asyncio.ensure_future(edge.get("/a")) for _ in range(5)]
    while edge.origin.asked < 1:
        await asyncio.sleep(0)
    gates[0].set()
    while edge.origin.asked < 5:
        await asyncio.sleep(0)  # all four ask, though none of theirs has been answered
    for gate in gates:
        gate.set()
    assert all(reply.status == 200 for reply in await asyncio.gather(*waiting))


async def test_a_leader_that_leaves_harms_nobody(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"x", gate=gate)
    leader = asyncio.ensure_future(edge.get("/a"))
    await asyncio.sleep(0)
    follower = asyncio.ensure_future(edge.get("/a"))
    await asyncio.sleep(0)
    leader.cancel()
    gate.set()
    assert (await follower).body == b"x"
    assert edge.origin.asked == 1


async def test_a_purge_while_a_fetch_is_under_way_is_not_undone_by_it(edge: Edge) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"old", gate=gate)
    getting = asyncio.ensure_future(edge.get("/a"))
    while edge.origin.asked < 1:
        await asyncio.sleep(0)
    edge.origin.replies(204)
    await edge.send("/a", b"DELETE")
    gate.set()
    assert (await getting).body == b"old"
    await edge.settle()
    edge.origin.replies(200, body=b"new")
    assert (await edge.get("/a")).body == b"new"


async def test_interim_responses_are_passed_on(edge: Edge) -> None:
    hint = Response(103)
    edge.origin.replies(200, body=b"x", interim=(hint,))
    assert (await edge.get("/a")).interims == [hint]


async def test_only_if_cached_with_nothing_stored_is_504(edge: Edge) -> None:
    reply = await edge.get("/a", cache_control=b"only-if-cached")
    assert reply.status == 504
    assert edge.origin.asked == 0


async def test_a_body_that_outgrows_the_store_still_arrives(edges: Callable[..., Edge]) -> None:
    edge = edges(max_object=100)
    chunks = [bytes([number]) * 60 for number in range(8)]
    edge.origin.replies(200, cache_control=b"max-age=60", body=chunks, length=None)
    assert (await edge.get("/a")).body == b"".join(chunks)
    assert edge.store.stats().stored_responses == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"cache_control": b"no-store"}, 200, id="5.2.2.5 no-store"),
        pytest.param({"cache_control": b"private, max-age=9"}, 200, id="5.2.2.7 private"),
        pytest.param({"cache_control": b"max-age=9", "vary": b"Foo, *"}, 200, id="4.1 Vary *"),
        pytest.param({"cache_control": b"max-age=9", "set_cookie": b"a=b"}, 200, id="Set-Cookie"),
        pytest.param({}, 404, id="404 with nothing said"),
        pytest.param({"etag": b'"1"'}, 404, id="404 with a tag only"),
        pytest.param({"cache_control": b"max-age=9"}, 416, id="416 is no document"),
        pytest.param({"cache_control": b"max-age=9"}, 412, id="412 is no document"),
    ],
)
async def test_what_must_not_be_stored_is_not(
    edge: Edge, fields: dict[str, bytes], status: int
) -> None:
    edge.origin.replies(status, **fields, body=b"1")  # type: ignore[arg-type]
    edge.origin.replies(status, **fields, body=b"2")  # type: ignore[arg-type]
    await edge.get("/a")
    assert (await edge.get("/a")).body == b"2"
    assert edge.store.stats().stored_responses == 0


@pytest.mark.parametrize(
    "target",
    [
        "/a?X-Amz-Signature=abc",
        "/a?x=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c",
        "/a?AWSAccessKeyId=A&Signature=s&Expires=1",
    ],
)
async def test_a_signed_url_is_nobody_elses(edge: Edge, target: str) -> None:
    for body in (b"1", b"2"):
        edge.origin.replies(200, cache_control=b"max-age=60, public", body=body)
    await edge.get(target)
    assert (await edge.get(target)).body == b"2"


async def test_authorization_is_shared_only_where_the_origin_says_so(edge: Edge) -> None:
    for target, said in (("/a", b"max-age=60"), ("/b", b"max-age=60, public")):
        edge.origin.replies(200, cache_control=said, body=b"1")
        await edge.get(target, authorization=b"Basic x")
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"2")
    assert (await edge.get("/a")).body == b"2"
    assert (await edge.get("/b")).body == b"1"


async def test_query_rules_join_what_only_the_dummy_parameter_told_apart(
    edges: Callable[..., Edge],
) -> None:
    import re

    from vary_proxy.core.policy import QueryKey

    query = QueryKey(ignore=(re.compile(rb"_ctx"), re.compile(rb"utm_.*")))
    edge = edges(Policy(cache=replace(CachePolicy(), query=query)))
    await stored(edge, "/a?_ctx=html&v=1")
    assert (await edge.get("/a?v=1&utm_source=x")).cache_status.startswith("vary-proxy; hit")
    assert edge.origin.requests[0].target == b"/a?_ctx=html&v=1"


async def test_a_stalled_body_fails_its_readers_visibly(edge: Edge) -> None:
    cut = OriginFailure("connection_read_timeout", status=504)
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"ab", length=None, cut=cut)
    assert (await edge.get("/a")).cut is cut
    assert edge.store.stats().stored_responses == 0


@pytest.mark.parametrize("directive", [b'private="x-mine"', b'no-cache="x-mine"'])
async def test_fields_that_may_not_be_shared_reach_their_requester_alone(
    edge: Edge, directive: bytes
) -> None:
    said = b"max-age=60, " + directive
    edge.origin.replies(200, cache_control=said, x_mine=b"1", x_all=b"2", body=b"x")
    first = await edge.get("/a")
    second = await edge.get("/a")
    assert (first["x-mine"], first["x-all"]) == (b"1", b"2")
    assert (second["x-mine"], second["x-all"]) == (None, b"2")
    assert edge.origin.asked == 1


async def test_no_cache_is_never_used_without_asking_though_fresh_and_the_origin_down(
    edge: Edge,
) -> None:
    await stored(edge, cache_control=b"max-age=60, no-cache")
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502


@pytest.mark.parametrize("asked", [b"max-age=30", b"min-fresh=5"])
async def test_who_asks_for_fresh_does_not_get_stale_while_it_is_revalidated(
    edge: Edge, asked: bytes
) -> None:
    await stored(edge, cache_control=b"max-age=10, stale-while-revalidate=20")
    edge.clock.forward(15)
    edge.origin.replies(200, cache_control=b"max-age=10", body=b"new")
    assert (await edge.get("/a", cache_control=asked)).body == b"new"


@pytest.mark.parametrize("directive", [b"private", b"no-store"])
async def test_a_304_can_end_sharing(edge: Edge, directive: bytes) -> None:
    await stored(edge)
    edge.clock.forward(61)
    edge.origin.replies(304, etag=b'"1"', cache_control=directive)
    assert (await edge.get("/a")).body == WHOLE
    assert edge.store.stats().stored_responses == 0


async def test_a_stranger_cannot_speak_as_a_surrogate(edge: Edge) -> None:
    edge.origin.replies(200)
    await edge.get("/a", surrogate_capability=b'evil="Surrogate/1.0"')
    assert edge.origin.last.fields.combined(b"surrogate-capability") == (
        b'vary-proxy="Surrogate/1.0"'
    )


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 204), (b"TRACE", 501)])
async def test_what_max_forwards_ends_here_reaches_no_origin(
    edge: Edge, method: bytes, status: int
) -> None:
    """RFC 9110 §7.6.2."""
    reply = await edge.send("/a", method, max_forwards=b"0", origin=b"https://a.example")
    assert (reply.status, edge.origin.asked) == (status, 0)
    assert reply["vary"] == (
        b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    )
    assert (reply["content-length"] is None) is (status == 204)
    edge.origin.replies(200, body=b"x")
    await edge.send("/a", method, max_forwards=b"1")
    assert edge.origin.last.fields.get(b"max-forwards") == b"0"
