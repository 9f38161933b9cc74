"""Where a rule owns CORS: one stored response for every Origin, answered from the rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.core.corspolicy import compile_policy
from vary_proxy.core.policy import CorsMode, Policy, PreflightMode

A, B, EVIL = b"https://a.example", b"https://b.example", b"https://evil.example"
THREE = b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
LIST = compile_policy(
    "app",
    origins=["https://a.example", "https://b.example"],
    methods=["GET", "PUT"],
    headers=["Content-Type"],
    credentials=True,
    max_age=600,
)
STAR = compile_policy("public", origins=["*"], methods=["GET"], headers=["Range"], max_age=600)
OVERRIDE = Policy(cors=LIST, cors_mode=CorsMode.OVERRIDE, preflight=PreflightMode.SYNTHESIZE)


def preflight(origin: bytes = A, method: bytes = b"PUT", **fields: bytes) -> dict[str, object]:
    return {"origin": origin, "access_control_request_method": method, **fields}


async def test_one_stored_response_serves_every_origin(edges: Callable[..., Edge]) -> None:
    edge = edges(OVERRIDE)
    edge.origin.replies(
        200, cache_control=b"max-age=60", acao=b"*", access_control_max_age=b"5", body=b"x"
    )
    plain = await edge.get("/a")
    allowed = await edge.get("/a", origin=A)
    other = await edge.get("/a", origin=B)
    refused = await edge.get("/a", origin=EVIL)
    assert edge.origin.asked == 1
    assert edge.store.stats().stored_responses == 1
    assert plain["access-control-allow-origin"] is None
    assert (
        allowed["access-control-allow-origin"],
        allowed["access-control-allow-credentials"],
    ) == (
        A,
        b"true",
    )
    assert other["access-control-allow-origin"] == B
    assert refused["access-control-allow-origin"] is None
    assert allowed["access-control-max-age"] is None
    assert {reply["vary"] for reply in (plain, allowed, other, refused)} == {b"Origin"}
    assert edge.origin.last.fields.get(b"origin") is None
    assert refused.record.cors_reason == "origin"


async def test_a_constant_policy_needs_no_vary(edges: Callable[..., Edge]) -> None:
    edge = edges(replace(OVERRIDE, cors=STAR))
    edge.origin.replies(200, cache_control=b"max-age=60", vary=b"Origin, Accept-Encoding")
    for fields in ({}, {"origin": A}):
        reply = await edge.get("/a", **fields)
        assert reply["access-control-allow-origin"] == b"*"
        assert reply["vary"] == b"Accept-Encoding"


async def test_every_status_has_the_family(edges: Callable[..., Edge]) -> None:
    edge = edges(OVERRIDE)
    for status in (200, 301, 404, 416, 500):
        edge.origin.replies(status, location=b"/b")
        reply = await edge.get(f"/{status}", origin=A)
        assert reply["access-control-allow-origin"] == A, status
        assert reply["vary"] == b"Origin"
    edge.origin.fails()
    down = await edge.get("/down", origin=A)
    assert (down.status, down["access-control-allow-origin"]) == (502, A)
    edge.origin.replies(200, etag=b'"1"', cache_control=b"max-age=60")
    await edge.get("/e")
    unchanged = await edge.get("/e", origin=A, if_none_match=b'"1"')
    assert (unchanged.status, unchanged["access-control-allow-origin"]) == (304, A)


async def test_a_changed_policy_holds_at_once(edges: Callable[..., Edge]) -> None:
    edge = edges(OVERRIDE)
    edge.origin.replies(200, cache_control=b"max-age=60", body=b"x")
    assert (await edge.get("/a", origin=EVIL))["access-control-allow-origin"] is None
    opened = compile_policy("app", origins=["https://evil.example"], max_age=None)
    edge.rules.policy = replace(OVERRIDE, cors=opened)
    assert (await edge.get("/a", origin=EVIL))["access-control-allow-origin"] == EVIL
    assert edge.origin.asked == 1


async def test_fill_leaves_the_origins_word_and_gives_ours_where_there_is_none(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(replace(OVERRIDE, cors_mode=CorsMode.FILL))
    edge.origin.replies(200, cache_control=b"max-age=60", acao=b"https://theirs.example")
    theirs = await edge.get("/a", origin=A)
    edge.origin.replies(200, cache_control=b"max-age=60")
    ours = await edge.get("/b", origin=A)
    assert theirs["access-control-allow-origin"] == b"https://theirs.example"
    assert ours["access-control-allow-origin"] == A


async def test_strip_takes_all_of_it(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cors_mode=CorsMode.STRIP))
    edge.origin.replies(200, acao=b"*", access_control_expose_headers=b"ETag")
    reply = await edge.get("/a", origin=A)
    assert not [name for name in reply.fields.names() if name.startswith(b"access-control-")]


async def test_a_preflight_is_answered_without_the_origin(edges: Callable[..., Edge]) -> None:
    edge = edges(OVERRIDE)
    reply = await edge.send("/a", b"OPTIONS", **preflight())
    assert (reply.status, reply.body) == (204, b"")
    assert reply["access-control-allow-origin"] == A
    assert b"PUT" in (reply["access-control-allow-methods"] or b"")
    assert reply["access-control-max-age"] == b"600"
    assert reply["vary"] is not None
    assert edge.origin.asked == 0


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (preflight(EVIL), "origin"),
        (preflight(method=b"DELETE"), "method"),
        (preflight(access_control_request_headers=b"x-secret"), "header"),
        (preflight(b"null"), "null-origin"),
    ],
)
async def test_a_refused_preflight_names_the_fault_to_the_log_alone(
    edges: Callable[..., Edge], asked: dict[str, object], reason: str
) -> None:
    edge = edges(OVERRIDE)
    reply = await edge.send("/a", b"OPTIONS", **asked)
    assert reply.status == 403
    assert reply["vary"] == THREE
    assert not [name for name in reply.fields.names() if name.startswith(b"access-control-")]
    assert reply.record.cors_reason == reason
    assert reason.encode() not in reply.body


@pytest.mark.parametrize("fields", [{}, {"origin": A}, {"access_control_request_method": b"PUT"}])
async def test_any_other_options_goes_to_the_origin(
    edges: Callable[..., Edge], fields: dict[str, bytes]
) -> None:
    edge = edges(OVERRIDE)
    edge.origin.replies(200, allow=b"GET")
    assert (await edge.send("/a", b"OPTIONS", **fields))["allow"] == b"GET"


async def test_deny_denies_all(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(preflight=PreflightMode.DENY))
    reply = await edge.send("/a", b"OPTIONS", **preflight())
    assert (reply.status, edge.origin.asked) == (403, 0)


async def test_kept_preflights_are_told_apart_by_all_they_depend_on(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    first = preflight(access_control_request_headers=b"x-b, X-A")
    same = preflight(access_control_request_headers=b"x-a,x-b")
    others = [preflight(B), preflight(method=b"DELETE"), preflight()]
    for _ in range(4):
        edge.origin.replies(
            204, acao=A, access_control_max_age=b"60", cache_control=b"max-age=9999"
        )
    await edge.send("/a", b"OPTIONS", **first)
    hit = await edge.send("/a", b"OPTIONS", **same)
    assert (hit.status, hit["access-control-allow-origin"]) == (204, A)
    assert hit.cache_status == "vary-proxy; hit; ttl=60"
    assert edge.origin.asked == 1
    for other in others:
        await edge.send("/a", b"OPTIONS", **other)
    assert edge.origin.asked == 4
    edge.clock.forward(61)
    edge.origin.replies(204)
    await edge.send("/a", b"OPTIONS", **same)
    assert edge.origin.asked == 5


async def test_kept_preflights_outlast_the_writes_that_they_allow(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    edge.origin.replies(204, acao=A, access_control_max_age=b"60")
    for _ in range(2):
        await edge.send("/a", b"OPTIONS", **preflight())
        edge.origin.replies(200)
        await edge.send("/a", b"PUT", body=b"x")
    assert [request.method for request in edge.origin.requests] == [b"OPTIONS", b"PUT", b"PUT"]
    edge.exchange.forget(lambda key: True)
    edge.origin.replies(204, acao=A, access_control_max_age=b"60")
    await edge.send("/a", b"OPTIONS", **preflight())
    assert edge.origin.last.method == b"OPTIONS"


async def test_kept_preflights_are_told_apart_by_what_their_vary_names(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    for allowed in (A, A, B):
        edge.origin.replies(
            204, acao=allowed, access_control_max_age=b"60", vary=b"X-Tenant, Accept-Encoding"
        )
    for tenant in (b"1", b"1", b"2", b"2"):
        await edge.send("/a", b"OPTIONS", **preflight(x_tenant=tenant))
    assert edge.origin.asked == 2
    last = await edge.send("/a", b"OPTIONS", **preflight(x_tenant=b"1"))
    assert (edge.origin.asked, last["access-control-allow-origin"]) == (3, B)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"body": b"x"}, (), id="a body"),
        pytest.param({"authorization": b"Bearer x"}, (), id="Authorization"),
        pytest.param({"cookie": b"a=1"}, (), id="Cookie"),
        pytest.param({}, ((b"vary", b"Accept, *"),), id="Vary: *"),
        pytest.param({}, ((b"set-cookie", b"a=1"),), id="Set-Cookie"),
    ],
)
async def test_what_is_one_clients_is_no_kept_preflight(
    edges: Callable[..., Edge], asked: dict[str, bytes], said: tuple[tuple[bytes, bytes], ...]
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    for _ in range(3):
        edge.origin.replies(200, acao=A, access_control_max_age=b"60", body=b"for one", fields=said)
        await edge.send("/a", b"OPTIONS", **preflight(**asked))
    assert edge.origin.asked == 3
    if asked:  # nor does a kept one answer it
        edge.origin.replies(204, acao=A, access_control_max_age=b"60")
        await edge.send("/a", b"OPTIONS", **preflight())
        edge.origin.replies(200, body=b"for one")
        assert (await edge.send("/a", b"OPTIONS", **preflight(**asked))).body == b"for one"


async def test_a_preflight_asked_before_a_purge_is_not_kept_behind_it(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    gate = asyncio.Event()
    edge.origin.replies(204, acao=A, access_control_max_age=b"60", gate=gate)
    before = asyncio.ensure_future(edge.send("/a", b"OPTIONS", **preflight()))
    await asyncio.sleep(0)
    assert edge.origin.asked == 1
    edge.exchange.forget(lambda key: True)
    gate.set()
    await before
    edge.origin.replies(204, acao=B, access_control_max_age=b"60")
    reply = await edge.send("/a", b"OPTIONS", **preflight())
    assert reply["access-control-allow-origin"] == B


async def test_a_preflights_answer_too_long_to_keep_is_let_go_of_when_nobody_reads_it(
    edges: Callable[..., Edge],
) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    long = [b"x" * 4096] * 3
    edge.origin.replies(200, acao=A, access_control_max_age=b"60", body=long)
    reply, _ = await edge.start("/a", b"OPTIONS", origin=A, access_control_request_method=b"PUT")
    assert reply.stream is not None
    await reply.stream.aclose()  # type: ignore[attr-defined]
    assert edge.origin.responses[0].closed
    edge.origin.replies(200, acao=A, access_control_max_age=b"60", body=long)
    assert (await edge.send("/a", b"OPTIONS", **preflight())).body == b"".join(long)


async def test_kept_preflights_are_bounded_in_bytes(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(preflight=PreflightMode.CACHE))
    long = b",".join(b"x-%d" % number for number in range(3_000))
    for number in range(500):
        edge.origin.replies(204, acao=A, access_control_max_age=b"60")
        await edge.send(f"/{number}", b"OPTIONS", **preflight(access_control_request_headers=long))
    kept = edge.exchange._kept
    held = [value for one in kept._urls.values() for told in one for _, value in told if value]
    assert 100 < len(kept._urls) < 500
    assert sum(map(len, held)) < 8 << 20
    kept.forget(lambda key: True)
    assert kept._bytes == 0
