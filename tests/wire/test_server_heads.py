"""Request heads over real sockets: taken whole, refused once, and the connection ended."""

from __future__ import annotations

import asyncio
import contextlib

import http_sf
import pytest

from tests.core.test_wire import REFUSED
from tests.wire.rawclient import GET, edge, head, ok
from tests.wire.raworigin import on_both_loops
from vary_proxy.channel import Channel
from vary_proxy.core.message import Reply, Request
from vary_proxy.core.wire import HeadLimits

SMALL = HeadLimits(head=2000, line=900, fields=10, target=300)


@on_both_loops
async def test_a_plain_request() -> None:
    async with edge() as e:
        answer = await e.ask(head(b"GET /a%2Fb//..?x HTTP/1.1", b"X-A: b"))
        assert answer.head == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"  # and nothing else
        assert answer.body == b"ok"
        (request,) = e.asked
        assert request.target == b"/a%2Fb//..?x"
        assert request.authority == b"a.example"
        assert (request.scheme, request.client) == (b"http", "127.0.0.1")


@pytest.mark.parametrize(
    ("data", "status"), [pytest.param(row[1], row[2], id=row[0]) for row in REFUSED]
)
@on_both_loops
async def test_a_doubtful_head_gets_one_answer_and_the_end(data: bytes, status: int) -> None:
    async with edge(head=SMALL) as e:
        client = await e.client()
        client.send(data, b"\r\n\r\n", GET)
        answer = await client.answer()
        assert answer.status == status
        assert answer["connection"] == "close"
        assert await client.is_closed()
        assert e.asked == []


@on_both_loops
async def test_our_errors_say_what_they_are() -> None:
    async with edge() as e:
        answer = await e.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert answer.status == 400
        assert answer.body.startswith(b"400 Bad Request\nThe request has no Host field")
        assert answer["cache-control"] == "no-store"
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert answer["vary"] == (
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
        )
        assert answer["date"].endswith(" GMT")
        for name, parameter in (("cache-status", "detail"), ("proxy-status", "error")):
            ((token, parameters),) = http_sf.parse(answer[name].encode(), tltype="list")
            assert str(token) == "vary-proxy"
            assert parameter in parameters
        ((request, reply, sent, seconds),) = e.seen
        assert (request.method, request.client) == (b"", "127.0.0.1")
        assert (reply.status, sent) == (400, len(answer.body))
        assert seconds >= 0


@on_both_loops
async def test_the_vary_of_errors_can_be_set() -> None:
    async with edge(error_vary=b"Origin") as e:
        assert (await e.ask(b"\0"))["vary"] == "Origin"
    async with edge(error_vary=b"") as e:
        assert not (await e.ask(b"\0")).has("vary")


@on_both_loops
async def test_bytes_after_a_refused_head_mean_nothing() -> None:
    async with edge() as e:
        client = await e.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", GET * 50)
        assert (await client.answer()).status == 400
        client.send(GET * 50)
        assert await client.is_closed()
        assert e.asked == []


@on_both_loops
async def test_long_presigned_targets_and_fields_pass() -> None:
    async with edge() as e:
        target = b"/key?X-Amz-Security-Token=" + b"a" * 8000
        assert (await e.ask(head(b"GET %s HTTP/1.1" % target))).status == 200
        assert e.asked[0].target == target
        assert (await e.ask(head(b"GET / HTTP/1.1", b"X: " + b"a" * 16000))).status == 200
        large = [b"X-%d: " % number + b"a" * 8000 for number in range(8)]
        assert (await e.ask(head(b"GET / HTTP/1.1", *large))).status == 200
        large.append(b"X: " + b"a" * 8000)
        assert (await e.ask(head(b"GET / HTTP/1.1", *large))).status == 431


@on_both_loops
async def test_a_head_may_drip() -> None:
    async with edge() as e:
        client = await e.client()
        await client.drip(head(b"GET /drip HTTP/1.1", b"X-A: b"))
        assert (await client.answer()).status == 200
        assert e.asked[0].target == b"/drip"


@on_both_loops
async def test_a_head_that_drips_too_long_is_told_so() -> None:
    async with edge(head_timeout=0.2, idle_timeout=60.0) as e:
        client = await e.client()
        assert (await client.ask(GET)).status == 200  # the deadline starts anew with each head
        started = asyncio.get_running_loop().time()

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for byte in GET[:-1] * 100:
                    client.send(bytes((byte,)))
                    await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        answer = await client.answer()
        assert answer.status == 408
        assert 0.15 <= asyncio.get_running_loop().time() - started < 5
        dripping.cancel()
        assert len(e.asked) == 1


@on_both_loops
async def test_a_connection_that_says_nothing_is_closed_silently() -> None:
    async with edge(head_timeout=0.05) as e:
        client = await e.client()
        assert await client.rest() == b""
        assert e.seen == []


@on_both_loops
async def test_a_head_deadline_does_not_hit_a_slow_answer() -> None:
    release = asyncio.Event()

    async def slow(request: Request, channel: Channel) -> Reply:
        await release.wait()
        return ok()

    async with edge(slow, head_timeout=0.05) as e:
        client = await e.client()
        client.send(GET)
        await asyncio.sleep(0.2)
        release.set()
        assert (await client.answer()).status == 200


@on_both_loops
async def test_a_head_cut_by_the_client() -> None:
    async with edge() as e:
        client = await e.client()
        client.send(GET[:-5])
        client.stop_sending()
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        assert e.asked == []


@pytest.mark.parametrize("method", [b"GET", b"PURGE", b"M-SEARCH", b"X_y!", b"get", b"PROPFIND"])
@on_both_loops
async def test_every_method_passes(method: bytes) -> None:
    async with edge() as e:
        assert (await e.ask(head(method + b" / HTTP/1.1"))).status == 200
        assert e.asked[0].method == method


@pytest.mark.parametrize(
    "upgrade", [b"websocket", b"h2c", b"TLS/1.0", b"websocket\r\nSec-WebSocket-Key1: x"]
)
@on_both_loops
async def test_an_upgrade_is_an_ordinary_request(upgrade: bytes) -> None:
    async with edge() as e:
        client = await e.client()
        asking = head(b"GET /up HTTP/1.1", b"Connection: Upgrade", b"Upgrade: " + upgrade)
        client.send(asking, head(b"GET /next HTTP/1.1"))
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert [request.target for request in e.asked] == [b"/up", b"/next"]
        assert e.asked[0].fields.get(b"upgrade") == upgrade.partition(b"\r")[0]


@on_both_loops
async def test_the_trailers_of_one_request_are_no_fields_of_the_next() -> None:
    async with edge() as e:
        client = await e.client()
        chunked = head(b"PUT /1 HTTP/1.1", b"Transfer-Encoding: chunked")
        client.send(chunked, b"0\r\nX-Admin: yes\r\n\r\n", head(b"GET /2 HTTP/1.1"))
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert b"x-admin" not in e.asked[1].fields
