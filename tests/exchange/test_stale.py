"""Stale responses: while they are validated, and when the origin fails (RFC 5861, 9111 §4.2.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.core.policy import CachePolicy, Policy

TAG = b'"1"'
WINDOW = b"max-age=10, stale-while-revalidate=20"


async def primed(edge: Edge, cache_control: bytes, age: float) -> None:
    """A response stored *age* seconds ago."""
    edge.origin.replies(200, cache_control=cache_control, etag=TAG, body=b"old")
    await edge.get("/a")
    edge.clock.forward(age)


async def test_5861_3_the_window_has_an_end(edge: Edge) -> None:
    await primed(edge, WINDOW, 29)
    edge.origin.fails()
    assert (await edge.get("/a")).body == b"old"
    await edge.settle()
    edge.clock.forward(1)
    edge.origin.replies(200, cache_control=WINDOW, body=b"new")
    assert (await edge.get("/a")).body == b"new"


async def test_5861_3_what_is_served_says_that_it_is_stale(edge: Edge) -> None:
    await primed(edge, WINDOW, 15)
    edge.origin.replies(304, etag=TAG)
    reply = await edge.get("/a")
    await edge.settle()
    assert reply.cache_status == "vary-proxy; hit; ttl=-5"
    assert reply["age"] == b"15"


async def test_5861_3_many_requests_cause_one_validation(edge: Edge) -> None:
    await primed(edge, WINDOW, 15)
    gate = asyncio.Event()
    edge.origin.replies(200, cache_control=WINDOW, etag=b'"2"', body=b"new", gate=gate)
    replies = [await edge.get("/a") for _ in range(20)]
    assert {reply.body for reply in replies} == {b"old"}
    gate.set()
    await edge.settle()
    assert edge.origin.asked == 2
    assert edge.origin.last.fields.get(b"if-none-match") == TAG
    assert (await edge.get("/a")).body == b"new"


async def test_5861_3_a_failed_validation_leaves_what_was_there(edge: Edge) -> None:
    await primed(edge, WINDOW, 15)
    for _ in range(3):
        edge.origin.replies(500, body=b"oops")
        assert (await edge.get("/a")).body == b"old"
        await edge.settle()
    assert edge.origin.asked == 4


async def test_5861_3_a_validation_that_learns_of_the_end_ends_it(edge: Edge) -> None:
    await primed(edge, WINDOW, 15)
    edge.origin.replies(404, body=b"gone")
    assert (await edge.get("/a")).body == b"old"
    await edge.settle()
    edge.origin.replies(404, body=b"gone")
    assert (await edge.get("/a")).status == 404


async def test_5861_3_a_response_without_validator_is_fetched_anew(edge: Edge) -> None:
    edge.origin.replies(200, cache_control=WINDOW, body=b"old")
    await edge.get("/a")
    edge.clock.forward(15)
    edge.origin.replies(200, cache_control=WINDOW, body=b"new")
    assert (await edge.get("/a")).body == b"old"
    await edge.settle()
    assert edge.origin.last.fields.get(b"if-none-match") is None
    assert (await edge.get("/a")).body == b"new"


async def test_5861_3_a_clients_range_does_not_make_the_validation_partial(edge: Edge) -> None:
    await primed(edge, WINDOW, 15)
    edge.origin.replies(200, cache_control=WINDOW, etag=b'"2"', body=b"newer")
    reply = await edge.get("/a", range=b"bytes=0-1")
    await edge.settle()
    assert (reply.status, reply.body) == (206, b"ol")
    assert edge.origin.last.fields.get(b"range") is None
    assert (await edge.get("/a")).body == b"newer"


@pytest.mark.parametrize("directive", [b"must-revalidate", b"proxy-revalidate", b"no-cache"])
async def test_9111_4_2_4_what_forbids_stale_use_closes_every_window(
    edge: Edge, directive: bytes
) -> None:
    await primed(
        edge, b"max-age=10, stale-while-revalidate=99, stale-if-error=99, " + directive, 15
    )
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502
    edge.origin.replies(503, body=b"busy")
    assert (await edge.get("/a")).status == 503


@pytest.mark.parametrize(
    ("status", "stale"),
    [(500, True), (502, True), (503, True), (504, True), (404, False), (403, False), (429, False)],
)
async def test_5861_4_which_answers_are_errors(edge: Edge, status: int, stale: bool) -> None:
    await primed(edge, b"max-age=10, stale-if-error=60", 15)
    edge.origin.replies(status, body=b"error")
    reply = await edge.get("/a")
    assert (reply.status, reply.body) == ((200, b"old") if stale else (status, b"error"))


async def test_5861_4_its_window_has_an_end(edge: Edge) -> None:
    await primed(edge, b"max-age=10, stale-if-error=60", 70)
    edge.origin.replies(503, body=b"busy")
    assert (await edge.get("/a")).status == 503


async def test_9111_4_2_4_without_a_connection_stale_is_better_than_nothing(edge: Edge) -> None:
    await primed(edge, b"max-age=10", 15)
    edge.origin.fails()
    reply = await edge.get("/a")
    assert (reply.status, reply.body, reply["age"]) == (200, b"old", b"15")
    edge.origin.replies(503, body=b"busy")  # an answer, and nothing said that it may be replaced
    assert (await edge.get("/a")).status == 503


async def test_a_rule_may_forbid_that(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cache=CachePolicy(stale_if_error=0.0)))
    await primed(edge, b"max-age=10", 15)
    edge.origin.fails()
    assert (await edge.get("/a")).status == 502


async def test_a_rule_gives_windows_where_the_origin_is_silent(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cache=CachePolicy(stale_while_revalidate=20.0)))
    await primed(edge, b"max-age=10", 15)
    edge.origin.replies(304, cache_control=b"max-age=10", etag=TAG)
    assert (await edge.get("/a")).cache_status == "vary-proxy; hit; ttl=-5"
    await edge.settle()
    assert (await edge.get("/a")).cache_status == "vary-proxy; hit; ttl=10"
