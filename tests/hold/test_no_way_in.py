"""No way in: nothing that a client or an origin says leads to any place but the origin.

Every address that this process connects to is looked at. The admin listener's own tests are in
tests/admin.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import connector
from aiohttp.test_utils import make_mocked_request

from tests.hold.worlds import HOST, Asked, Origin, front, get, said
from vary_proxy import admin

LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
LISTENERS = """\
probes: {address: "127.0.0.1:0"}
admin: {address: "127.0.0.1:0", token: right}
"""
_contacted: list[set[Any]] = []


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if _contacted and event in ("socket.connect", "socket.sendto"):
        _contacted[-1].add(args[1])
    elif _contacted and event == "socket.getaddrinfo":
        _contacted[-1].add(args[:2])


sys.addaudithook(_heard)  # it cannot be taken off again, and does nothing where nobody looks


@contextlib.contextmanager
def contacted() -> Iterator[set[Any]]:
    """Every address that is connected to or looked up meanwhile, by anything in this process."""
    _contacted.append(set())
    try:
        yield _contacted[-1]
    finally:
        _contacted.pop()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@LANES
@pytest.mark.parametrize("host_is", ["preserve", "upstream"])
async def test_no_field_and_no_form_of_a_request_names_another_place_to_go(
    host_is: str, fast: bool
) -> None:
    looks = contextlib.ExitStack()
    there = Origin()
    await there.start()
    name = b"127.0.0.1:%d" % there.port
    try:
        async with (
            front(fast=fast, trusted="[127.0.0.0/8]", host=host_is) as edge,
            asyncio.timeout(60),
        ):
            looked = looks.enter_context(contacted())
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
            assert looked == {("127.0.0.1", port_of(edge.address)), ("127.0.0.1", edge.origin.port)}
        assert there.connections == 0
    finally:
        looks.close()
        await there.stop()


POINTING = [
    b"Location", b"Content-Location", b"Refresh", b"Link", b"Alt-Svc", b"URI", b"Destination",
    b"Forwarded", b"X-Accel-Redirect", b"X-Sendfile", b"X-Reproxy-URL", b"Host", b"Via", b"NEL",
    b"Report-To", b"X-Forwarded-Host", b"Proxy", b"Proxy-Location", b"SourceMap",
]  # fmt: skip


@LANES
@pytest.mark.parametrize("status", [200, 201, 204, 300, 301, 302, 303, 305, 307, 308, 401, 503])
async def test_nothing_that_an_origin_says_moves_us(status: int, fast: bool) -> None:
    there = b"127.0.0.1:1"

    def pointing(asked: Asked) -> bytes:
        links = b'<http://%s/a>; rel=preload, h2="%s"; url=http://%s/' % (there, there, there)
        fields = [name + b": " + links for name in POINTING if name != b"Location"]
        location = b"Location: http://" + there + b"/latest/meta-data"
        stale = b"Cache-Control: max-age=5, stale-while-revalidate=600, stale-if-error=600"
        code = b"%d Pointing" % status
        return said(b"", location, *fields, stale, status=code)

    async with front(pointing, fast=fast) as edge:
        with contacted() as looked:
            for _ in range(2):
                for _ in range(3):
                    assert (await edge.get()).status == status
                edge.clock.now += 6
            await edge.ask(get(method=b"POST"))
            await edge.settle()
        assert looked == {("127.0.0.1", port_of(edge.address)), ("127.0.0.1", edge.origin.port)}


@LANES
@pytest.mark.parametrize(
    "path", [b"/metrics", b"/healthz", b"/readyz", b"/stats", b"/config", b"/purge", b"/inspect"]
)
async def test_probes_and_admin_are_not_on_the_traffic_port(path: bytes, fast: bool) -> None:
    ours = said(b"the origin's", FRESH)
    async with front(lambda asked: ours, fast=fast, rules=LISTENERS) as edge:
        for _ in range(3):
            assert (await edge.get(path, b"Authorization: Bearer right")).body == b"the origin's"
            assert (await edge.ask(get(path, method=b"POST"))).body == b"the origin's"
            assert (await edge.get(path)).body == b"the origin's"
        assert {asked.target for asked in edge.origin.asked} == {path}
        bound = edge.app.eyes.bound
        assert len({edge.address, bound["probes"], bound["admin"]}) == 3


async def _of(address: str, method: str, path: str, *fields: str) -> int:
    """The status of what a listener says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(address))
    lines = (f"{method} {path} HTTP/1.1", f"Host: {address}", *fields, "Connection: close")
    writer.write("\r\n".join((*lines, "", "")).encode())
    try:
        async with asyncio.timeout(20):
            return int((await reader.readline()).split(b" ")[1])
    finally:
        writer.close()


async def test_the_probes_change_nothing_and_know_nothing_of_admin() -> None:
    async with front(rules=LISTENERS) as edge:
        probes = edge.app.eyes.bound["probes"]
        for method, path in _routes(edge.app):
            for bearer in ((), ("Authorization: Bearer right",)):
                assert await _of(probes, method, path, *bearer) == 404
        for path in ("/livez", "/readyz", "/healthz", "/metrics"):
            assert await _of(probes, "GET", path) == 200
            assert await _of(probes, "POST", path) == 405


def _routes(app: Any) -> list[tuple[str, str]]:
    """Every method and path that the admin listener has, but for the page that holds no data."""
    routes = admin.application(app, app.eyes).router.routes()
    found = [(route.method, route.resource.canonical) for route in routes if route.resource]
    return [(method, path) for method, path in found if path != "/"]


async def test_no_route_of_the_admin_listener_is_open() -> None:
    wrong = ("", "Bearer", "Bearer wrong", "Bearer righ", "Bearer rightt", "Basic right", "right")
    async with front(rules=LISTENERS) as edge:
        await edge.primed()
        routes = _routes(edge.app)
        assert {path for _, path in routes} >= {
            *("/stats", "/tail", "/config", "/inspect", "/explain", "/purge", "/reload")
        }
        at = edge.app.eyes.bound["admin"]
        for method, path in routes:
            for given in wrong:
                bearer = (f"Authorization: {given}",) if given else ()
                assert await _of(at, method, path, *bearer) == 401, (method, path, given)
                assert await _of(at, method, path + "?token=right", *bearer) == 401
        assert "; hit;" in (await edge.get())["cache-status"]
        for method, path in routes:  # the right one opens each, whatever it then says of the rest
            if path != "/tail":
                assert await _of(at, method, path, "Authorization: Bearer right") != 401


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


SECRET = "hunter2"
BEARING = [
    *(b"Authorization: Bearer hunter2", b"Proxy-Authorization: Basic hunter2"),
    *(b"Cookie: session=hunter2", b"Vary-Proxy-Explain: hunter2", b"X-Amz-Security-Token: hunter2"),
]
SIGNED = [
    *(b"/a?X-Amz-Signature=hunter2", b"/a?b=1&X-Amz-Credential=hunter2%2F2027&c=d"),
    *(b"/a?X%2DAmz-Signature=hunter2", b"/a?b=1;signature=hunter2", b"/a?X-Goog-Signature=hunter2"),
    *(b"/a?AWSAccessKeyId=A&Signature=hunter2&Expires=1", b"/a?X-Amz-Security-Token=hunter2"),
]
BLOCKING = """\
admin: {address: "127.0.0.1:0", token: hunter2-of-admin}
cors: {none: {origins: ["https://app.example"]}}
rules: [{cors: {policy: none, mode: override}, preflight: synthesize}]
"""


@LANES
@pytest.mark.parametrize("form", ["json", "logfmt", "combined", "pretty"])
async def test_secrets_show_in_no_log_and_in_no_answer_of_ours(
    form: str, fast: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes of the request: an answer, a refusal, an origin that fails or is gone."""
    path = tmp_path / "log"
    log = f'access: "{path}", format: {form}, level: debug'
    caplog.set_level(logging.DEBUG)
    answers: list[bytes] = []
    ok = said(b"ok", FRESH)
    async with front(lambda asked: ok, fast=fast, log=log, rules=BLOCKING) as edge:
        for state in ("up", "nonsense", "gone"):
            for target in (b"/a", *SIGNED):
                for line in (b"A: b", *BEARING):
                    answers.append((await edge.get(target, line)).head)
                evil = (b"Origin: https://evil.example", BEARING[0])
                answers.append((await edge.get(target, *evil)).head)
                asking = (*evil, b"Access-Control-Request-Method: PUT")
                answers.append((await edge.ask(get(target, *asking, method=b"OPTIONS"))).head)
                broken = await edge.get(target, BEARING[0], b"Broken : hunter2")
                answers += [broken.head, broken.body]
            if state == "up":
                edge.origin.respond = lambda asked: b"nonsense\r\n\r\n"
            elif state == "nonsense":
                await edge.origin.stop()
        await edge.settle()
        at = edge.app.eyes.bound["admin"]
        assert await _of(at, "GET", "/stats", "Authorization: Bearer hunter2") == 401
    lines = path.read_text()
    assert lines.count("\n") > 100
    for shown in (lines, caplog.text, b"".join(answers).decode("latin-1")):
        assert SECRET not in shown


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
