"""No way in: nothing that a client or an origin says leads to any place but the origin.

That redirects are not followed is in test_framing.py; the admin listener's own tests are in
tests/admin.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import time
from typing import Any

import pytest
from aiohttp import connector
from aiohttp.test_utils import make_mocked_request

from tests.hold.worlds import HOST, Asked, Origin, front, get, said
from vary_proxy import admin

LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"


@LANES
async def test_no_field_and_no_form_of_a_request_names_another_place_to_go(fast: bool) -> None:
    there = Origin()
    await there.start()
    name = b"127.0.0.1:%d" % there.port
    try:
        async with front(fast=fast, trusted="[127.0.0.0/8]") as edge:
            for target in (b"/", b"//" + name + b"/", b"/http://" + name + b"/", b"/@" + name):
                for host in (HOST, name, b"169.254.169.254", b"localhost"):
                    for field in (
                        b"X-Forwarded-Host",
                        b"X-Host",
                        b"Forwarded",
                        b"Via",
                        b"Location",
                    ):
                        value = b"host=" + name if field == b"Forwarded" else name
                        answer = await edge.ask(get(target, field + b": " + value, host=host))
                        assert answer.status in (200, 400)
            for line in (
                b"GET http://" + name + b"/ HTTP/1.1",
                b"CONNECT " + name + b" HTTP/1.1",
                b"GET ftp://" + name + b"/ HTTP/1.1",
                b"GET file:///etc/passwd HTTP/1.1",
                b"GET http://169.254.169.254/latest/meta-data/ HTTP/1.1",
            ):
                answer = await edge.ask(line + b"\r\nHost: " + HOST + b"\r\n\r\n")
                assert answer.status in (400, 501)
            assert edge.origin.unclear == []
        assert there.connections == 0
    finally:
        await there.stop()


@LANES
@pytest.mark.parametrize(
    "path", [b"/metrics", b"/healthz", b"/readyz", b"/stats", b"/config", b"/purge", b"/inspect"]
)
async def test_probes_and_admin_are_not_on_the_traffic_port(path: bytes, fast: bool) -> None:
    async with front(lambda asked: said(b"the origin's", FRESH), fast=fast) as edge:
        for _ in range(3):
            assert (await edge.get(path, b"Authorization: Bearer x")).body == b"the origin's"
            assert (await edge.ask(get(path, method=b"POST"))).body == b"the origin's"
        assert {asked.target for asked in edge.origin.asked} == {path}


@LANES
async def test_nobody_can_purge_from_the_traffic_port_unless_said(fast: bool) -> None:
    async with front(lambda asked: said(b"ok", FRESH), fast=fast) as edge:
        await edge.primed()
        await edge.ask(get(method=b"PURGE"))
        assert "PURGE" in [asked.method.decode() for asked in edge.origin.asked]  # passed on


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides is hmac.compare_digest, of the whole token, and no other look at it."""
    asked: list[tuple[bytes, bytes]] = []

    def compared(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compared)
    for given in (b"right", b"wrong", b"r", b""):
        fields = {"Authorization": f"Bearer {given.decode()}"}
        request = make_mocked_request("GET", "/stats", headers=fields)
        assert admin._bears(request, b"right")
    assert asked == [(given, b"right") for given in (b"right", b"wrong", b"r", b"")]


@LANES
async def test_the_token_of_an_explanation_is_compared_so_too(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def compared(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compared)
    async with front(
        lambda asked: said(b"ok", FRESH), fast=fast, rules="admin: {token: right}"
    ) as edge:
        for given in (b"right", b"wrong", b"r", b"\xff"):
            answer = await edge.get(b"/", b"Vary-Proxy-Explain: " + given)
            assert not answer.has("vary-proxy-explain")
    assert asked == [(given, b"right") for given in (b"right", b"wrong", b"r", b"\xff")]


async def test_a_name_is_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An origin that moves is followed after ten seconds at the latest."""
    where = "127.0.0.1"
    resolve = socket.getaddrinfo

    def moving(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve(where if host == "moving.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", moving)

    def closing(asked: Asked) -> bytes:
        return said(b"first", b"Connection: close", b"Cache-Control: no-store")

    async with front(closing, at="moving.example") as edge:
        assert (await edge.get()).body == b"first"
        second = Origin(lambda asked: said(b"second", b"Cache-Control: no-store"))
        server = await asyncio.start_server(second._serve, "127.0.0.2", edge.origin.port)
        try:
            where = "127.0.0.2"
            monkeypatch.setattr(connector, "monotonic", lambda: time.monotonic() + 10)
            assert (await edge.get()).body == b"second"
        finally:
            server.close()
            for task in list(second._tasks):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*second._tasks, return_exceptions=True)
