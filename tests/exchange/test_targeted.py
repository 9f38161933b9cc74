"""Fields that speak to this cache alone: CDN-Cache-Control, ours, Surrogate-Control (RFC 9213)."""

from __future__ import annotations

import pytest

from tests.exchange.conftest import Edge

THEIRS = "cdn_cache_control"
OURS = "vary_proxy_cache_control"


async def hits(edge: Edge, seconds: float) -> bool:
    """Whether a request *seconds* later is answered from the store."""
    edge.clock.forward(seconds)
    edge.origin.replies(200, body=b"later")
    hit = (await edge.get("/a")).body == b"x"
    edge.origin.queue.clear()
    return hit


@pytest.mark.parametrize("name", [THEIRS, OURS, "surrogate_control"])
async def test_2_2_it_replaces_cache_control_for_us_and_is_passed_on(edge: Edge, name: str) -> None:
    edge.origin.replies(200, cache_control=b"no-store", **{name: b"max-age=60"}, body=b"x")
    first = await edge.get("/a")
    assert first["cache-control"] == b"no-store"
    assert first[name.replace("_", "-")] == b"max-age=60"
    assert await hits(edge, 59)
    assert not await hits(edge, 2)


@pytest.mark.parametrize(
    ("said", "fresh_for"),
    [
        pytest.param({THEIRS: b"max-age=10", "cache_control": b"max-age=60"}, 10, id="shorter"),
        pytest.param({THEIRS: b"max-age=60", "cache_control": b"max-age=10"}, 60, id="longer"),
        pytest.param({THEIRS: b"max-age=60", OURS: b"max-age=10"}, 10, id="2.2 ours goes first"),
        pytest.param({THEIRS: b"max-age=10", "expires": b"0"}, 10, id="2.2 Expires is silenced"),
        pytest.param(
            {THEIRS: b"max-age=10, ", "cache_control": b"max-age=60"},
            60,
            id="2.1 unreadable: ignored",
        ),
        pytest.param({THEIRS: b"", "cache_control": b"max-age=60"}, 60, id="2.1 empty: ignored"),
        pytest.param(
            {THEIRS: b"s-maxage=10, max-age=60", "cache_control": b"max-age=90"}, 10, id="s-maxage"
        ),
        pytest.param({"other_cache_control": b"max-age=60"}, 0, id="2.2 another's field"),
        pytest.param(
            {THEIRS: b'max-age="60"', "cache_control": b"max-age=60"},
            0,
            id="2.1 of another type: passed over, and Cache-Control with it",
        ),
    ],
)
async def test_which_lifetime_holds(edge: Edge, said: dict[str, bytes], fresh_for: int) -> None:
    edge.origin.replies(200, **said, body=b"x")
    await edge.get("/a")
    if fresh_for:
        assert await hits(edge, fresh_for - 1)
    assert not await hits(edge, 2)


@pytest.mark.parametrize("directive", [b"no-store", b"private"])
async def test_it_forbids_what_cache_control_allows(edge: Edge, directive: bytes) -> None:
    edge.origin.replies(200, cache_control=b"max-age=60", cdn_cache_control=directive, body=b"x")
    await edge.get("/a")
    assert not await hits(edge, 1)


async def test_false_is_as_good_as_unsaid(edge: Edge) -> None:
    edge.origin.replies(200, cdn_cache_control=b"no-store=?0, max-age=60", body=b"x")
    await edge.get("/a")
    assert await hits(edge, 1)


async def test_its_stale_windows_are_obeyed(edge: Edge) -> None:
    windows = b"max-age=10, stale-while-revalidate=10, stale-if-error=60"
    edge.origin.replies(200, cdn_cache_control=windows, cache_control=b"no-store", body=b"x")
    await edge.get("/a")
    edge.clock.forward(25)
    edge.origin.replies(503, body=b"busy")
    reply = await edge.get("/a")
    assert (reply.status, reply.body) == (200, b"x")


async def test_a_304_may_change_it(edge: Edge) -> None:
    edge.origin.replies(200, cdn_cache_control=b"max-age=5", etag=b'"1"', body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    edge.origin.replies(304, cdn_cache_control=b"max-age=60", etag=b'"1"')
    await edge.get("/a")
    assert await hits(edge, 50)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        pytest.param(b"max-age=60;vary-proxy", True, id="for us"),
        pytest.param(b"max-age=60;another", False, id="for another"),
        pytest.param(b"no-store;another, max-age=60", True, id="a lifetime for all"),
        pytest.param(b"no-store;vary-proxy, max-age=60", False, id="ours over all's"),
    ],
)
async def test_surrogate_control_may_name_its_device(
    edge: Edge, value: bytes, stored: bool
) -> None:
    edge.origin.replies(200, surrogate_control=value, body=b"x")
    await edge.get("/a")
    assert edge.origin.last.fields.get(b"surrogate-capability") == b'vary-proxy="Surrogate/1.0"'
    assert await hits(edge, 1) is stored
