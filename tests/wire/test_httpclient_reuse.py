"""Connections: reused when nothing speaks against it, ended otherwise, and never leaked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from tests.ports import free_port
from tests.wire.raworigin import (
    OK,
    Peer,
    ask,
    client,
    keeps,
    on_both_loops,
    outcome,
    read,
    replies,
    rested,
    serving,
    until,
)
from vary_proxy.core.message import Response
from vary_proxy.origin import OriginFailure

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


@pytest.mark.parametrize(
    "wire",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=9\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@on_both_loops
async def test_a_whole_exchange_leaves_the_connection_to_the_next(wire: bytes) -> None:
    async with serving(keeps(*[wire] * 5)) as origin, client(origin) as http:
        for _ in range(5):
            assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 1


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="close"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
            id="no patience",
        ),
        pytest.param(OK + b"x", id="a byte too many"),
        pytest.param(OK + POISON, id="a second response"),
        pytest.param(OK + b"\r\n", id="an empty line too many"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + POISON,
            id="after the last chunk",
        ),
    ],
)
@on_both_loops
async def test_what_speaks_against_reuse_ends_the_connection(wire: bytes) -> None:
    async with serving(keeps(wire, POISON)) as origin, client(origin) as http:
        for _ in range(3):
            assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 3


@pytest.mark.parametrize(
    ("method", "wire"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n" + POISON),
        (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
@on_both_loops
async def test_a_body_where_none_can_be_is_nobodys_response(method: bytes, wire: bytes) -> None:
    async with serving(keeps(wire), replies(OK)) as origin, client(origin) as http:
        assert await read(await http.fetch(ask(method))) == b""
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


LATE = b"/gone.bin is gone\r\n"


@pytest.mark.parametrize(
    ("method", "comes"),
    [(b"GET", (200, b"ok")), (b"HEAD", (200, b"")), (b"POST", "http_protocol_error")],
)
@on_both_loops
async def test_a_body_behind_the_answer_to_head_costs_the_next_safe_request_nothing(
    method: bytes, comes: object
) -> None:
    """RFC 9112 §6.3: it comes when the connection is in use again, and is no answer to that."""
    answers = OK if method == b"GET" else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(LATE))
        await peer.answer(LATE)

    async with serving(script, replies(answers)) as origin, client(origin) as http:
        assert await outcome(http, ask(b"HEAD")) == (404, b"")
        assert await outcome(http, ask(method)) == comes
        sent = [b"HEAD", method] if method == b"POST" else [b"HEAD", method, method]
        assert [head.split(b" ")[0] for head in origin.heads] == sent


@pytest.mark.parametrize("byte", [b"x", b"\r\n", POISON, b"HTTP/1.1 408 Timeout\r\n\r\n"])
@on_both_loops
async def test_a_byte_on_an_idle_connection_ends_it(byte: bytes) -> None:
    """RFC 9112 §11.2: it would be taken for the answer to the next request."""
    speak = asyncio.Event()
    left: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.answer(OK)
        await speak.wait()
        await peer.send(byte)
        left.append(await peer.left())

    async with serving(script, replies(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        speak.set()
        await until(lambda: left)
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


class Blocking:
    """An origin whose bytes are in our kernel before our event loop can turn."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def serve(self, wire: bytes) -> socket.socket:
        loop = asyncio.get_running_loop()
        self.listener.setblocking(False)
        peer, _ = await loop.sock_accept(self.listener)
        peer.setblocking(False)
        await loop.sock_recv(peer, 65536)
        peer.send(wire)
        return peer


@pytest.mark.parametrize("last_words", [POISON, b""], ids=["unsolicited", "end"])
@on_both_loops
async def test_what_the_kernel_holds_counts_as_received(last_words: bytes) -> None:
    """No turn of the event loop between the origin's bytes and the next request."""
    origin = Blocking()
    with origin.listener:
        async with client(origin.url) as http, asyncio.TaskGroup() as group:
            serving_first = group.create_task(origin.serve(OK))
            assert await outcome(http, ask()) == (200, b"ok")
            with await serving_first as first:
                serving_second = group.create_task(origin.serve(OK))
                await asyncio.sleep(0)
                if last_words:
                    first.send(last_words)
                else:
                    first.shutdown(socket.SHUT_WR)
                request = ask(b"POST")  # which could not be repeated
                assert await outcome(http, request) == (200, b"ok")
                (await serving_second).close()


def dies(how: str, on: int = 2) -> Callable[[Peer], object]:
    """Answer, and end the connection when the request number *on* comes."""

    async def script(peer: Peer) -> None:
        await peer.answer(*[OK] * (on - 1))
        if not await peer.head():
            return
        if how == "reset":
            peer.reset()
        elif how == "half a head":
            await peer.send(b"HTTP/1.1 2")
        elif how == "half a head, reset":
            await peer.send(b"HTTP/1.1 2")
            peer.reset()

    return script


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@pytest.mark.parametrize("how", ["end", "reset"])
@on_both_loops
async def test_a_safe_request_survives_a_stale_connection(method: bytes, how: str) -> None:
    async with serving(dies(how), keeps(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        response = await http.fetch(ask(method))
        assert response.head.status == 200
        await response.close()
        assert origin.connections == 2
        assert len(origin.heads) == 3


@pytest.mark.parametrize("how", ["end", "reset"])
@on_both_loops
async def test_the_second_attempt_gets_a_connection_of_its_own(how: str) -> None:
    """Every idle connection is stale: the origin was restarted."""
    together = asyncio.Barrier(4)

    async def stale(peer: Peer) -> None:
        await peer.head()
        await together.wait()
        await peer.send(OK)
        await peer.head()
        if how == "reset":
            peer.reset()

    async with serving(stale, stale, stale, keeps(OK)) as origin, client(origin) as http:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(outcome(http, ask()))
            await together.wait()
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 4


@pytest.mark.parametrize(
    "method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"LOCK", b"get"]
)
@pytest.mark.parametrize("how", ["end", "reset"])
@on_both_loops
async def test_an_unsafe_request_is_never_sent_twice(method: bytes, how: str) -> None:
    async with serving(dies(how), keeps(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        assert await outcome(http, ask(method)) == "connection_terminated"
        assert (origin.connections, len(origin.heads)) == (1, 2)


@on_both_loops
async def test_a_request_with_a_body_is_never_sent_twice() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"abc"

    async with serving(dies("end"), keeps(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(ask(has_body=True, body_length=3), body())
        assert failure.value.error == "connection_terminated"
        assert (origin.connections, len(origin.heads)) == (1, 2)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("half a head", "http_response_incomplete"),
        ("half a head, reset", "connection_terminated"),
    ],
)
@on_both_loops
async def test_once_a_byte_has_come_nothing_is_sent_twice(how: str, error: str) -> None:
    async with serving(dies(how), keeps(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        assert await outcome(http, ask()) == error
        assert (origin.connections, len(origin.heads)) == (1, 2)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_fresh_connection_that_dies_is_no_reason_to_ask_again(how: str) -> None:
    async with serving(dies(how, on=1)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == "connection_terminated"
        assert (origin.connections, len(origin.heads)) == (1, 1)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_request_is_sent_at_most_twice(how: str) -> None:
    async with serving(dies(how), dies(how, on=1)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        assert await outcome(http, ask()) == "connection_terminated"
        assert (origin.connections, len(origin.heads)) == (2, 3)


async def test_a_timeout_on_a_reused_connection_is_no_reason_to_ask_again() -> None:
    async with serving(keeps(OK, b"")) as origin, client(origin, first_byte_timeout=0.3) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        assert await outcome(http, ask()) == "http_response_timeout"
        assert (origin.connections, len(origin.heads)) == (1, 2)


@pytest.mark.parametrize(
    ("method", "seconds", "connections"),
    [(b"GET", 10, 1), (b"POST", 0, 1), (b"POST", 1.1, 2), (b"DELETE", 1.1, 2)],
)
async def test_what_cannot_be_repeated_wants_a_lively_connection(
    method: bytes, seconds: float, connections: int
) -> None:
    async with serving(keeps(*[OK] * 2)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        rested(http, seconds)
        assert await outcome(http, ask(method)) == (200, b"ok")
        assert origin.connections == connections


@pytest.mark.parametrize(("seconds", "connections"), [(3.5, 1), (4.1, 2)])
async def test_an_origin_that_announces_its_patience_is_believed(
    seconds: float, connections: int
) -> None:
    """Keep-Alive: timeout=5, less a second for the way."""
    wire = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok"
    async with serving(keeps(wire, wire)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        rested(http, seconds)
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == connections


@pytest.mark.parametrize("started", [False, True])
@on_both_loops
async def test_an_unread_body_ends_the_connection(started: bool) -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000
    left: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.answer(wire)
        left.append(await peer.left())

    async with serving(script, replies(OK)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        if started:
            await anext(response.chunks())
        await response.close()
        await response.close()
        await until(lambda: left)
        with pytest.raises(OriginFailure):
            await anext(response.chunks())
        assert await outcome(http, ask()) == (200, b"ok")


@on_both_loops
async def test_a_cancelled_fetch_ends_its_connection() -> None:
    left: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        left.append(await peer.left())

    async with serving(script, replies(OK)) as origin, client(origin, limit=1) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await http.fetch(ask())
        await until(lambda: left)
        assert await outcome(http, ask()) == (200, b"ok")


@on_both_loops
async def test_a_cancelled_upload_ends_with_the_fetch() -> None:
    ended: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await asyncio.Event().wait()
        finally:
            ended.append("body")

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.left()
        ended.append("connection")

    async with serving(script) as origin, client(origin) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await http.fetch(ask(b"POST", has_body=True), body())
        assert "body" in ended
        await until(lambda: len(ended) == 2)


@on_both_loops
async def test_closing_the_client_ends_everything() -> None:
    idle_left: list[bytes] = []

    async def idle(peer: Peer) -> None:
        await peer.answer(OK)
        idle_left.append(await peer.left())

    big = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"
    async with serving(keeps(big), keeps(b""), idle) as origin, client(origin) as http:
        streaming = await http.fetch(ask())
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(outcome(http, ask()))
            await until(lambda: len(origin.heads) == 2)
            assert await outcome(http, ask()) == (200, b"ok")
            await http.close()
            assert await waiting == "connection_terminated"
        with pytest.raises(OriginFailure) as failure:
            await read(streaming)
        assert failure.value.error == "connection_terminated"
        await until(lambda: idle_left)
        assert await outcome(http, ask()) == "proxy_internal_error before sending"
        await http.close()


@on_both_loops
async def test_a_client_never_used_closes() -> None:
    async with client("http://127.0.0.1:1"):
        pass


@on_both_loops
async def test_who_waits_for_a_connection_when_the_client_closes_is_told() -> None:
    async with serving(keeps(b"")) as origin, client(origin, limit=1) as http:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(outcome(http, ask()))
            await until(lambda: origin.heads)
            second = group.create_task(outcome(http, ask()))
            await asyncio.sleep(0.01)
            await http.close()
        assert first.result() == "connection_terminated"
        assert second.result() == "proxy_internal_error before sending"


@on_both_loops
async def test_the_limit_is_a_limit_and_a_wait() -> None:
    async with serving(keeps(*[OK] * 20)) as origin, client(origin, limit=2) as http:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outcome(http, ask())) for _ in range(20)]
        assert {task.result() for task in tasks} == {(200, b"ok")}
        assert origin.connections <= 2


async def test_a_limit_that_stays_reached_is_503() -> None:
    limits = {"limit": 1, "connect_timeout": 0.3}
    async with serving(keeps(b"")) as origin, client(origin, **limits) as http:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(outcome(http, ask()))
            await until(lambda: origin.heads)
            with pytest.raises(OriginFailure) as failure:
                await http.fetch(ask())
            assert failure.value.error == "connection_limit_reached"
            assert (failure.value.status, failure.value.sent) == (503, False)
            await http.close()
        assert first.result() == "connection_terminated"


@on_both_loops
async def test_refused() -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as http:
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(ask())
    assert failure.value.error == "connection_refused"
    assert (failure.value.status, failure.value.sent) == (502, False)


@on_both_loops
async def test_a_name_that_does_not_resolve() -> None:
    async with client("http://no-such-origin.invalid") as http:
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(ask())
    assert (failure.value.error, failure.value.status) == ("dns_error", 502)


@on_both_loops
async def test_a_connect_that_takes_too_long() -> None:
    """A listener whose backlog is full takes no further connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            async with client(f"http://127.0.0.1:{address[1]}", connect_timeout=0.1) as http:
                with pytest.raises(OriginFailure) as failure:
                    await http.fetch(ask())
        finally:
            for filler in fillers:
                filler.close()
    assert (failure.value.error, failure.value.status) == ("connection_timeout", 504)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@on_both_loops
async def test_tls_with_an_authority_of_ones_own(authority: trustme.CA, ca_file: str) -> None:
    size = 4 * 2**20
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    tls = certified(authority, "127.0.0.1")
    script = keeps(OK, wire, OK)
    async with serving(script, tls=tls) as origin, client(origin, ca_file=ca_file) as http:
        assert http.naming.scheme == b"https"
        assert await outcome(http, ask()) == (200, b"ok")
        assert len(await read(await http.fetch(ask()))) == size
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 1


@pytest.mark.parametrize(
    ("name", "trusting", "verify", "expected"),
    [
        ("127.0.0.1", False, True, "tls_certificate_error before sending"),
        ("other.example", True, True, "tls_certificate_error before sending"),
        ("other.example", False, False, (200, b"ok")),
    ],
)
@on_both_loops
async def test_certificates_are_verified_unless_told_otherwise(
    authority: trustme.CA,
    ca_file: str,
    name: str,
    trusting: bool,
    verify: bool,
    expected: object,
) -> None:
    async with serving(keeps(OK), tls=certified(authority, name)) as origin:
        options = {"verify": verify, "ca_file": ca_file if trusting else None}
        async with client(origin, **options) as http:
            assert await outcome(http, ask()) == expected


@on_both_loops
async def test_a_plain_origin_asked_for_tls() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(OK)

    async with (
        serving(script) as origin,
        client(origin.url.replace("http:", "https:"), verify=False) as http,
    ):
        assert await outcome(http, ask()) == "tls_protocol_error before sending"


@on_both_loops
async def test_a_cut_tls_stream_is_never_whole(authority: trustme.CA, ca_file: str) -> None:
    """A connection that ends without close_notify may have been cut by anybody."""

    async def script(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
        peer.writer.transport.abort()

    tls = certified(authority, "127.0.0.1")
    async with serving(script, tls=tls) as origin, client(origin, ca_file=ca_file) as http:
        cut = await outcome(http, ask())
    assert cut in ("connection_terminated", "http_response_incomplete")


@on_both_loops
async def test_a_byte_on_an_idle_tls_connection_ends_it(
    authority: trustme.CA, ca_file: str
) -> None:
    speak = asyncio.Event()
    left: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.answer(OK)
        await speak.wait()
        await peer.send(POISON)
        left.append(await peer.left())

    tls = certified(authority, "127.0.0.1")
    async with (
        serving(script, replies(OK), tls=tls) as origin,
        client(origin, ca_file=ca_file) as http,
    ):
        assert await outcome(http, ask()) == (200, b"ok")
        speak.set()
        await until(lambda: left)
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


@on_both_loops
async def test_an_upload_over_tls_and_an_early_refusal(authority: trustme.CA, ca_file: str) -> None:
    got: list[bytes] = []

    async def body(pieces: int) -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await peer.head()
        got.append(await peer.reader.readexactly(10 * 65536))
        await peer.send(OK)
        await peer.head()
        await peer.reader.readexactly(10000)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    tls = certified(authority, "127.0.0.1")
    async with serving(script, tls=tls) as origin, client(origin, ca_file=ca_file) as http:
        request = ask(b"PUT", has_body=True, body_length=10 * 65536)
        assert await read(await http.fetch(request, body(10))) == b"ok"
        assert got == [b"x" * 655360]
        response = await http.fetch(ask(b"PUT", has_body=True), body(10**6))
        assert (response.head.status, await read(response)) == (413, b"no")
        assert origin.connections == 1


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(replies(OK)) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"ok")


async def test_redirects_cookies_and_codings_are_left_alone() -> None:
    wire = (
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=1; Path=/\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    )
    async with serving(keeps(wire, OK)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert isinstance(response.head, Response)
        assert response.head.status == 302
        assert await read(response) == b"\x1f\x8b\x08\x00"
        assert await outcome(http, ask(target=b"/next")) == (200, b"ok")
        assert origin.heads == [
            b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n",
            b"GET /next HTTP/1.1\r\nHost: origin.example\r\n\r\n",
        ]
