"""What an unsafe method changes is gone, by whichever rule it was kept (RFC 9111 §4.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.exchange.conftest import Edge
from vary_proxy.config import loads
from vary_proxy.core.policy import CachePolicy, Policy
from vary_proxy.exchange import Exchange
from vary_proxy.store.base import StoreUnavailable

FRESH = b"max-age=600"
BY_FIELD = b"""
origins: {main: "http://a.example"}
rules:
  - {name: writes, match: {methods: [PUT, DELETE]}, cache: off}
  - {name: tenant, match: {headers: {X-Tenant: "*"}}, cache: {key: {query: {ignore: [utm_*]}}}, vary: minimal}
  - {name: rest, vary: repair}
"""  # noqa: E501


@pytest.mark.parametrize("tenant", [{"x_tenant": b"1"}, {}], ids=["by a field", "by none"])
@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"POST"])
async def test_what_was_kept_under_a_rule_by_fields_is_gone_too(
    edges: Callable[..., Edge], method: bytes, tenant: dict[str, bytes]
) -> None:
    edge = edges()
    book = loads(BY_FIELD, "r.yaml", (), {}).rules
    edge.exchange = Exchange(book, {"main": edge.origin}, edge.store, edge.tasks, edge.clock)
    for body in (b"old", b"new"):
        edge.origin.replies(200, cache_control=FRESH, body=body)
        for _ in range(2):
            assert (await edge.get("/a", **tenant)).body == body
        edge.origin.replies(204)
        await edge.send("/a", method, body=b"x")
    assert edge.origin.asked == 4


async def test_an_answer_is_closed_when_the_store_fails_behind_it(
    edges: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = edges(Policy())

    async def fail(key: bytes, **options: bool) -> int:
        raise StoreUnavailable

    monkeypatch.setattr(edge.store, "purge", fail)
    edge.origin.replies(200, body=[b"x", b"y"])
    reply = await edge.send("/a", b"PUT", body=b"x")
    assert reply.status == 503
    assert edge.origin.responses[0].closed


async def test_an_answer_is_closed_when_its_client_leaves_while_it_is_judged(
    edges: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = edges(Policy(cache=CachePolicy(collapse=False)))
    edge.origin.replies(200, cache_control=b"max-age=1, stale-if-error=600", body=b"x")
    await edge.get("/a")
    edge.clock.forward(10)
    entered = asyncio.Event()

    async def drop(key: bytes, stored: object) -> None:
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(edge.store, "drop", drop)
    edge.origin.replies(200, cache_control=b"no-store", body=[b"x", b"y"])
    leaving = asyncio.ensure_future(edge.get("/a"))
    await entered.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert edge.origin.responses[-1].closed
    assert len(edge.exchange.flights) == 0
