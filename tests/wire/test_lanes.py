"""Both lanes, same bytes: whatever the fast lane answers, the long way answers too.

One origin, two proxies on one clock: one with the fast lane, one without. Every request
goes to both, on one connection each, and what comes back must be equal to the byte.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.raworigin import on_both_loops
from vary_proxy import config
from vary_proxy.app import App
from vary_proxy.channel import Channel
from vary_proxy.clients.connection import Connection
from vary_proxy.core.message import Reply, Request
from vary_proxy.hot import WITH_COOKIE
from vary_proxy.hotlines import NOT_MINE

_ORIGIN_BODY = bytes(range(256)) * 8
_RULES = """\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{o: {{url: "http://127.0.0.1:{port}"}}}}
cors:
  app: {{origins: ["https://a.example"], methods: [GET, PUT], headers: [X-Token], max_age: 60s}}
  many:
    origins: ["https://*.many.example", "https://b.example"]
    methods: [GET, PUT]
    headers: ["X-Amz-*"]
    credentials: true
defaults: {{origin: o}}
rules:
  - name: edge
    match: {{path: "/edge/**"}}
    cors: {{policy: app, mode: override}}
    preflight: synthesize
  - name: many-by-header
    match: {{path: "/many/**", headers: {{X-Canary: "yes"}}}}
    cors: {{policy: app, mode: override}}
    preflight: synthesize
  - name: many
    match: {{path: "/many/**"}}
    cors: {{policy: many, mode: override}}
    preflight: synthesize
  - name: by-header
    match: {{path: "/h/**", headers: {{X-Canary: "yes"}}}}
    vary: strip
log: {{access: off}}
"""


# The server dates what it refuses by the machine's clock, which may tick between the two.
_OWN_DATE = re.compile(rb"Date: \w{3}, \d\d \w{3} 20(?!27)\d\d [\d:]{8} GMT\r\n")
_LAST = b"GET /last HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n"


class Clock:
    now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


async def _origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            body = b"" if head.startswith(b"HEAD") else _ORIGIN_BODY
            extra = b""
            if b"\r\norigin: " in lower:
                origin = lower.split(b"\r\norigin: ")[1].split(b"\r\n")[0]
                extra = b"Access-Control-Allow-Origin: " + origin + b"\r\n"
            if b"/lang" in head:
                extra += b"Vary: Accept-Language\r\n"
            if b"/cookie" in head:
                extra += b"Vary: Cookie\r\n"
                body = body and (
                    lower.partition(b"\r\ncookie: ")[2].partition(b"\r\n")[0] or b"none"
                )
            if b"/empty" in head:
                body = b""
            if b"/big" in head:
                body = body * 1500
            if b"/marks" in head:  # by which a head once made may know what to fill in
                extra += b"X-Said: @age@ @ttl@ @span@ @size@ @date@\r\n"
            modified = b"yesterday" if b"/undated" in head else b"Thu, 14 Jan 2027 08:00:00 GMT"
            writer.write(
                b"HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
                b'Cache-Control: max-age=600\r\nETag: "v1"\r\nContent-Type: text/plain\r\n'
                b"Last-Modified: %b\r\n%bContent-Length: %d\r\n\r\n%b"
                % (modified, extra, len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


class Pair:
    """The two proxies."""

    def __init__(self, more: str = "") -> None:
        self.more = more  # of the configuration
        self.clock = Clock()
        self.apps: list[App] = []
        self.addresses: list[str] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(_origin, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        for fast in (True, False):
            text = _RULES.format(port=port) + self.more
            loaded = config.loads(text.encode(), "lanes.yaml", (), {})
            app = App(loaded, self.clock, fast=fast)
            self.apps.append(app)
            self.addresses += await app.start()

    async def close(self) -> None:
        for app in self.apps:
            await app.close()
        assert self.server is not None
        self.server.close()

    async def both(self, request: bytes, *, apart: bool = False) -> tuple[bytes, bytes]:
        """The bytes that each gives to *request* and one more, which ends the connection.

        *apart*: they come one after the other, as a browser sends them.
        """
        answers = []
        for address in self.addresses:
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            for _ in range(4 * apart):
                await asyncio.sleep(0)  # the server, on this loop, reads what there is
            writer.write(_LAST)
            got = await asyncio.wait_for(reader.read(), 20)
            answers.append(_OWN_DATE.sub(b"", got))
            writer.close()
        for app in self.apps:
            await app.tasks.settle()  # so that what was fetched is stored
        return answers[0], answers[1]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    one = Pair()
    await one.start()
    yield one
    await one.close()


def get(target: str = "/a", method: str = "GET", **fields: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: edge.example"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


CORPUS = [
    get(),
    get(method="HEAD"),
    get("/empty"),
    get(Origin="https://a.example"),
    get(Origin="https://evil.example", Cookie="a=b", Sec_Fetch_Mode="cors"),
    get(If_None_Match='"v1"'),
    get(If_None_Match='W/"v1"'),
    get(If_None_Match='"v0", "v1"'),
    get(If_None_Match='"v0"'),
    get(If_None_Match="*"),
    get(If_Modified_Since="Thu, 14 Jan 2027 08:00:00 GMT"),
    get(If_Modified_Since="Thu, 14 Jan 2027 09:00:00 GMT"),
    get(If_Modified_Since="yesterday"),
    get(If_None_Match='"v1"', Range="bytes=0-1"),
    get(Range="bytes=0-99"),
    get(Range="bytes=2000-"),
    get(Range="bytes=-5"),
    get(Range="bytes=9999-"),
    get(Range="bytes=5-2"),
    get(Range="bytes=0-1,5-6"),
    get(Range="bytes=0-1", If_Range='"v1"'),
    get(Range="bytes=0-1", method="HEAD"),
    get(Cache_Control="no-cache"),
    get(Cache_Control="max-age=0"),
    get(Cache_Control="only-if-cached"),
    get(Pragma="no-cache"),
    get(Authorization="Basic x"),
    get(Connection="close"),
    get(Connection="keep-alive"),
    get(Connection="Keep-Alive, origin", Origin="https://a.example"),
    get(Upgrade="h2c", Connection="upgrade"),
    get("/lang", Accept_Language="de"),
    get("/lang", Accept_Language="en"),
    get("/lang"),
    get("/cookie", Cookie="user=a"),
    get("/cookie", Cookie="user=b"),
    get("/cookie"),
    get("/h/a", Cookie="user=a"),
    get("/edge/a", Origin="https://a.example"),
    get("/edge/a", Origin="https://evil.example"),
    get("/edge/a"),
    get("/edge/a", Origin="null", If_None_Match='"v1"'),
    get("/edge/p", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT"),
    get("/edge/p", "OPTIONS", Origin="https://e.example", Access_Control_Request_Method="PUT"),
    get("/edge/p", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PATCH"),
    get("/edge/p", "OPTIONS", Origin="https://a.example"),
    get("/h/a", X_Canary="yes"),
    get("/h/a", X_Canary="no"),
    get("/h/a"),
    get("/a%2Fb//c/../d?x=%20"),
    get().replace(b"HTTP/1.1", b"HTTP/1.0"),
    get().replace(b"Host", b"host"),
    get().replace(b"edge.example", b"EDGE.example"),
    get().replace(b"Host: edge.example", b"Host:edge.example   "),
    get().replace(b"Host: edge.example", b"Host: edge.example\r\nHost: edge.example"),
    get().replace(b"Host: edge.example\r\n", b""),
    get().replace(b"\r\n\r\n", b"\r\nX: \x00\r\n\r\n"),
    get().replace(b"\r\n\r\n", b"\r\nX : 1\r\n\r\n"),
    get().replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
    get().replace(b"\r\n\r\n", b"\nX: 1\r\n\r\n"),
    get().replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
    get().replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
    get().replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    get() + get("/b") + get(Range="bytes=1-2"),
    get() + get("/b", "POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 60\r\n\r\n") + get(),
    get() + b"\r\n" + get(),
    get()[:-2],
    b"\r\n" + get(),
    get("http://edge.example/a"),
    get(Origin="https://a.example").replace(b"\r\n\r\n", b"\r\nOrigin: https://b.example\r\n\r\n"),
]


@pytest.mark.parametrize("request_", CORPUS, ids=range(len(CORPUS)))
async def test_both_lanes_give_the_same_bytes(pair: Pair, request_: bytes) -> None:
    for origin in ("", "https://a.example", "https://evil.example"):
        for path in ("/a", "/b", "/empty", "/lang", "/edge/a", "/h/a", "/a%2Fb//c/../d?x=%20"):
            await pair.both(get(path, **({"Origin": origin} if origin else {})))
    for _ in range(3):  # cold, learnt, known
        for apart in (False, True, True):
            fast, full = await pair.both(request_, apart=apart)
            assert fast == full
        pair.clock.now += 7


async def given_again(pair: Pair, request: bytes) -> bool:
    """Whether the fast lane knows *request* by its form, and gives what it gave before."""
    connection, sent = Connection.send, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "send", lambda *to: sent.append(to[1]) or connection(*to))
        fast, full = await pair.both(request, apart=True)
    assert fast == full
    return bool(sent) and fast.startswith(sent[0])


@pytest.mark.parametrize(
    "request_",
    [
        get(),
        get(method="HEAD"),
        get("/edge/a", Origin="https://a.example"),
        get("/edge/p", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT"),
        get(If_None_Match='"v1"'),
        get(Range="bytes=1-2"),
    ],
)
async def test_a_form_known_before_is_given_the_same_bytes_again(
    pair: Pair, request_: bytes
) -> None:
    plain = get(request_.split()[1].decode())
    for request in (plain, plain, request_, request_, request_):
        await pair.both(request, apart=True)
    assert await given_again(pair, request_)
    pair.clock.now += 2  # Age and ttl are others now
    assert await given_again(pair, request_)
    assert not await given_again(pair, request_[:-2] + b"Cookie: a=b\r\n\r\n")
    assert not await given_again(pair, request_[:-2] + b"Host: edge.example\r\n\r\n")
    # Two empty lines, as a form has, but something between them.
    for apart in (False, True):
        fast, full = await pair.both(request_ + b"Accept: */*\r\n", apart=apart)
        assert fast == full
    assert await given_again(pair, request_)


@pytest.mark.parametrize(
    "request_",
    [
        get("/marks"),
        get("/marks", Range="bytes=1-2"),
        get("/marks", If_None_Match='"v1"'),
        get("/undated", If_Modified_Since="yesterday"),
    ],
)
async def test_whatever_an_origin_says_in_its_fields(pair: Pair, request_: bytes) -> None:
    for request in (get(request_.split()[1].decode()), request_):
        for _ in range(3):
            fast, full = await pair.both(request, apart=True)
            assert fast == full
        pair.clock.now += 7


async def test_what_was_given_by_its_form_is_counted_when_somebody_looks(pair: Pair) -> None:
    told: list[tuple[bytes, int]] = []

    class Counter:
        def __call__(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
            told.append((request.target, 1))

        def many(self, request: Request, reply: Reply, sent: int, count: int) -> None:
            told.append((request.target, count))

    app = pair.apps[0]
    app.observers.append(Counter())
    host, _, port = pair.addresses[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(9):
        writer.write(get())
        await reader.readuntil(_ORIGIN_BODY)
        await app.tasks.settle()
    writer.close()
    app.eyes.settle()
    assert sum(count for _, count in told) == 9
    assert max(count for _, count in told) > 1


async def test_a_name_with_too_many_values_is_judged_as_strictly_as_before(pair: Pair) -> None:
    lane = pair.apps[0].server._lane
    assert lane is not None
    for _ in range(4):
        await pair.both(get(), apart=True)
    for number in range(600):  # as a balancer adds them
        for name in (b"X-Request-Id", b"If-None-Match"):
            assert lane._lines[b'%b: "%d"' % (name, number)] != NOT_MINE
    assert len(lane._lines) < 1100
    for value in ("new", " \t new\t", '"v1"', "", "\x00", "a\rb", "a\nb", "\x7f", "é", "x" * 2000):
        for name in ("X_Request_Id", "If_None_Match"):
            for _ in range(2):
                fast, full = await pair.both(get(**{name: value}), apart=True)
                assert fast == full


@pytest.mark.parametrize("soft", [False, True])
async def test_a_purged_resource_is_not_given_by_its_form(pair: Pair, soft: bool) -> None:
    for _ in range(4):
        await pair.both(get(), apart=True)
    assert await given_again(pair, get())
    for app in pair.apps:
        keys: list[bytes] = app.store.keys()  # type: ignore[attr-defined]
        (key,) = (one for one in keys if one.endswith(b"/a"))
        assert await app.store.purge(key, soft=soft)
    assert not await given_again(pair, get())


async def test_the_fast_lane_is_taken(pair: Pair) -> None:
    for request in (
        get(),
        get(Origin="https://a.example"),
        get(method="HEAD"),
        get("/edge/a", Origin="https://a.example"),
        get("/edge/p", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT"),
    ):
        slow = 0
        for _ in range(4):
            slow += await long_ways(pair, request)
        # Learnt from the first hit: a miss goes before it, but for HEAD and the preflight.
        assert slow == 1 + (request.startswith(b"GET"))
    for _ in range(2):
        await pair.both(get())  # what was learnt of it went with the variants stored since
    for request in (get(If_None_Match='"v1"'), get(Range="bytes=0-9"), get() + get() + get()):
        assert await long_ways(pair, request) == 0


LASTS = {  # by what a client says that has nothing more to ask, or of old had not
    "close": lambda asked: asked[:-2] + b"Connection: close\r\n\r\n",
    "Close": lambda asked: asked[:-2] + b"connection:Close\r\n\r\n",
    "1.0": lambda asked: asked.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "1.0 close": lambda asked: LASTS["close"](LASTS["1.0"](asked)),
    "1.0 keep-alive": lambda asked: LASTS["1.0"](asked[:-2] + b"Connection: Keep-Alive\r\n\r\n"),
}


@pytest.mark.parametrize("last", LASTS)
async def test_the_last_request_of_a_connection_takes_the_fast_lane_too(
    pair: Pair, last: str
) -> None:
    """As a default nginx asks, and health checks, and scripts: not one of them asks otherwise."""
    edge = {"Origin": "https://a.example"}
    preflight = {**edge, "Access_Control_Request_Method": "PUT"}
    goes_on = last == "1.0 keep-alive"
    for plain, status in (
        (get(), b"200"),
        (get(method="HEAD"), b"200"),
        (get("/empty"), b"200"),
        (get(If_None_Match='"v1"'), b"304"),
        (get(Range="bytes=2-9"), b"206"),
        (get("/edge/a", **edge), b"200"),
        (get("/edge/a"), b"200"),
        (get("/edge/p", "OPTIONS", **preflight), b"204"),
        (get("/cookie", Cookie="a=b"), b"200"),
    ):
        request = LASTS[last](plain)
        slow = [await long_ways(pair, request) for _ in range(5)]
        assert slow[2:] == [0, 0, 0], (plain, slow)
        pair.clock.now += 2
        fast, full = await pair.both(request, apart=True)
        assert fast == full
        assert fast.startswith(b"HTTP/1.1 " + status)
        assert fast.count(b"HTTP/1.1 ") == 1 + goes_on
        said = b"keep-alive" if goes_on else b"close"
        assert b"\r\nConnection: %b\r\n\r\n" % said in fast
        assert b"chunked" not in fast


@pytest.mark.parametrize("last", LASTS)
async def test_nothing_behind_the_last_request_is_answered_nor_harms_what_is(
    pair: Pair, last: str
) -> None:
    for _ in range(4):
        await pair.both(get(), apart=True)
    request = LASTS[last](get())
    goes_on = last == "1.0 keep-alive"
    for asked in (get() + request, request + get(), get() + request + get(), request * 3):
        fast, full = await pair.both(asked)
        assert fast == full
        assert goes_on or fast.count(b"Connection: close") == 1
        assert goes_on or fast.count(_ORIGIN_BODY) == 1 + asked.startswith(get())


@on_both_loops
async def test_who_reads_late_gets_all_of_the_last_answer_and_its_end() -> None:
    pair = Pair()
    await pair.start()
    for _ in range(3):
        await pair.both(get("/big"), apart=True)
    assert await long_ways(pair, get("/big")) == 0
    pair.apps[0].exchange.answer = None  # type: ignore[method-assign,assignment]  # not asked
    loop, got = asyncio.get_running_loop(), []
    for address in pair.addresses:
        host, _, port = address.rpartition(":")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, (host, int(port)))
            await loop.sock_sendall(sock, LASTS["1.0"](get("/big")))
            for _ in range(100):
                await asyncio.sleep(0)  # more than the sockets hold between them waits by now
            whole = bytearray()
            while data := await asyncio.wait_for(loop.sock_recv(sock, 65536), 30):
                whole += data
        got.append(bytes(whole))
    assert got[0].count(_ORIGIN_BODY) == 1500
    assert got[0] == got[1]
    await pair.close()


async def test_observers_are_told_by_which_version_was_asked(pair: Pair) -> None:
    told: list[tuple[int, int]] = []
    pair.apps[0].observers.append(lambda request, *_: told.append(request.version))
    for request in (get(), LASTS["1.0"](get()), LASTS["close"](get())):
        for _ in range(4):
            await pair.both(request, apart=True)
    asked = [told[at] for at in range(len(told)) if told[at] != (1, 1)]
    assert asked == [(1, 0)] * 4


async def test_what_may_be_a_loop_goes_the_long_way(pair: Pair) -> None:
    for _ in range(3):
        await pair.both(get(), apart=True)
    assert await long_ways(pair, get(CDN_Loop="cdn.example; loops=1")) == 0
    assert await long_ways(pair, get(CDN_Loop=", ".join(["vary-proxy"] * 8))) == 1


async def long_ways(pair: Pair, request: bytes) -> int:
    """How many of the requests in *request* did not go by the fast lane."""
    exchange, count = pair.apps[0].exchange, 0
    answer = exchange.answer

    async def counting(asked: Request, channel: Channel) -> Reply:
        nonlocal count
        count += asked.target != b"/last"
        return await answer(asked, channel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "answer", counting)
        fast, full = await pair.both(request, apart=True)
    assert fast == full
    return count


@pytest.mark.parametrize("asked", ["GET", "HEAD", "OPTIONS", "304", "206"])
async def test_whoever_a_policy_allows_shares_one_answer(pair: Pair, asked: str) -> None:
    more: dict[str, str] = {}
    method = asked if asked.isalpha() else "GET"
    if asked == "OPTIONS":
        more = {"Access_Control_Request_Method": "PUT"}
        more["Access_Control_Request_Headers"] = "x-amz-date,x-amz-acl"
    plain = dict(more)
    if asked == "304":
        more["If_None_Match"] = '"v1"'
    if asked == "206":
        more["Range"] = "bytes=3-9"
    await pair.both(get("/many/a"), apart=True)
    await pair.both(get("/many/a", method, Origin="https://b.example", **plain), apart=True)
    for number in range(12):
        origin = f"https://{number % 9}.many.example"
        request = get("/many/a", method, Origin=origin, **more)
        assert await long_ways(pair, request) == 0
        if number > 8:
            fast, _ = await pair.both(request, apart=True)
            assert b"Access-Control-Allow-Origin: %b\r\n" % origin.encode() in fast
    for origin in (
        "https://evil.example",
        "https://many.example",
        "null",
        "https://A.many.example",
    ):
        for _ in range(3):
            fast, full = await pair.both(get("/many/a", method, Origin=origin, **more), apart=True)
            assert fast == full
            assert b"Access-Control-Allow-Origin" not in fast
    for _ in range(3):
        fast, full = await pair.both(get("/many/a", method, **more), apart=True)
        assert fast == full


@on_both_loops
async def test_who_reads_late_gets_all_and_in_order() -> None:
    pair = Pair()
    await pair.start()
    for target in ("/a", "/b"):
        for _ in range(3):
            await pair.both(get(target), apart=True)
    got = [await _read_late(address) for address in pair.addresses]
    assert got[0].count(_ORIGIN_BODY) == 2001
    assert got[0] == got[1]
    await pair.close()


async def _read_late(address: str) -> bytes:
    """What comes to a client that reads nothing until it has asked 2 000 times."""
    host, _, port = address.rpartition(":")
    loop, whole = asyncio.get_running_loop(), bytearray()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, int(port)))
        for number in range(2000):  # more than the sockets hold between them
            await loop.sock_sendall(sock, get("/b" if number % 3 else "/a"))
            await asyncio.sleep(0)
        await loop.sock_sendall(sock, _LAST)
        while data := await loop.sock_recv(sock, 1 << 20):
            whole += data
    return _OWN_DATE.sub(b"", bytes(whole))


async def test_whose_policy_counts_may_depend_on_other_fields(pair: Pair) -> None:
    origins = ("https://a.example", "https://b.example", "https://1.many.example")
    for _ in range(4):
        for canary in ({}, {"X_Canary": "yes"}, {"X_Canary": "no"}):
            for origin in origins:
                for method in ("GET", "OPTIONS"):
                    more = dict(canary)
                    if method == "OPTIONS":
                        more["Access_Control_Request_Method"] = "PUT"
                    request = get("/many/b", method, Origin=origin, **more)
                    fast, full = await pair.both(request, apart=True)
                    assert fast == full


@pytest.mark.parametrize("back", [0.5, 3, 90_000])
async def test_a_clock_that_is_stepped_back_is_followed(pair: Pair, back: float) -> None:
    requests = [
        get(),
        get(If_None_Match='"v1"'),
        get(Range="bytes=1-2"),
        get("/many/a", Origin="https://b.example"),
        get("/edge/p", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT"),
    ]
    for _ in range(3):
        for request in requests:
            await pair.both(request, apart=True)
    pair.clock.now += 7
    for step in (0.0, -back, 0.3, 1.0, back):
        pair.clock.now += step
        for request in requests:
            assert await long_ways(pair, request) == 0


@pytest.mark.parametrize("form", ["{a}{r}{b}", "{r}{a}{b}", "{b}{a}{r}", "{a}{b}", "{r}", "{b}{r}"])
async def test_lines_are_read_alike_in_any_order(pair: Pair, form: str) -> None:
    known = {
        "a": "User-Agent: x\r\nOrigin: https://a.example\r\n",
        "b": "Accept: */*\r\nCookie: a=b\r\nAccept-Language: de\r\n",
        "r": "Referer: https://page.example/\r\n",
    }
    for path in ("/edge/a", "/cookie", "/lang"):
        head = f"GET {path} HTTP/1.1\r\nHost: edge.example\r\n{form}\r\n".format(**known)
        for _ in range(3):
            await pair.both(head.encode(), apart=True)
        assert await long_ways(pair, head.encode()) == 0
    for odd in (
        "Referer: a\x00b",
        "Referer : a",
        "Referer: a\r\nReferer: b",
        "\r\nReferer: a",
        "Referer: a\r\n b",
        "Content-Length: 0",
        "Origin: https://b.example",
        "Accept-Language: en",
        "Cookie: c=d",
        "X: " + "y" * 3000,
        "Connection: close",
        "\r\n".join(f"X-{number}: 1" for number in range(70)),
    ):
        for lines in (f"{odd}\r\n{form}", f"{form}{odd}\r\n"):
            head = f"GET /lang HTTP/1.1\r\nHost: edge.example\r\n{lines}\r\n"
            for _ in range(1 + ("Cookie" in odd)):
                fast, full = await pair.both(head.format(**known).encode(), apart=True)
                assert fast == full


async def test_a_request_with_a_cookie_takes_the_fast_lane_too(pair: Pair) -> None:
    for number in range(3):
        await pair.both(get(Cookie=f"session={number}"))
    hot = pair.apps[0].hot
    line = hot.find(b"http", b"edge.example", b"GET /a HTTP/1.1")
    assert line is not None
    crossing = {b"origin": b"https://a.example"}
    assert hot.answer(line, {b"cookie": b"another", WITH_COOKIE: b"1"}) is not None
    assert hot.answer(line, {b"cookie": b"another", WITH_COOKIE: b"1", **crossing}) is None
    for _ in range(3):
        await pair.both(get(Cookie="session=1", Origin="https://a.example"))
    line = hot.find(b"http", b"edge.example", b"GET /a HTTP/1.1")
    assert line is not None
    assert hot.answer(line, {b"cookie": b"another", WITH_COOKIE: b"1", **crossing}) is not None
    assert hot.answer(line, crossing) is None  # a browser may block it for want of credentials


async def test_who_asks_from_no_other_origin_shares_one_answer(pair: Pair) -> None:
    for _ in range(3):
        await pair.both(get(), apart=True)
    for more in ({"Cookie": "a=b"}, {"Sec_Fetch_Mode": "no-cors"}, {"Sec_Fetch_Mode": "cors"}):
        assert await long_ways(pair, get(**more)) == 0
    for more in ({}, {"Cookie": "a=b"}, {"Sec_Fetch_Mode": "cors"}):
        for origin in ("https://a.example", "https://b.example"):  # the log tells these apart
            for _ in range(3):
                fast, full = await pair.both(get("/edge/a", Origin=origin, **more), apart=True)
                assert fast == full


async def test_what_varies_by_cookie_is_told_apart_by_its_value(pair: Pair) -> None:
    for _ in range(3):
        for user in (b"user=a", b"user=b"):
            fast, full = await pair.both(get("/cookie", Cookie=user.decode()))
            assert b"\r\n\r\n" + user in fast
            assert fast == full


@pytest.mark.parametrize("networks", ["127.0.0.0/8", "192.0.2.0/24"])
async def test_forwarding_fields_count_on_both_lanes_from_trusted_peers_alone(
    networks: str,
) -> None:
    pair = Pair(f"server: {{trusted_proxies: [{networks}]}}\n")
    await pair.start()
    try:
        for _ in range(3):
            for proto in ("https", "http", ""):
                told = {"X_Forwarded_Proto": proto} if proto else {}
                fast, full = await pair.both(get("/proto", **told))
                assert fast == full
    finally:
        await pair.close()


async def test_what_the_fast_lane_knows_is_bounded(pair: Pair) -> None:
    hot = pair.apps[0].hot
    for number in range(70):
        for _ in range(2):
            await pair.both(get(Origin=f"https://{number}.example"))
    line = hot.find(b"http", b"edge.example", b"GET /a HTTP/1.1")
    assert line is not None
    assert len(line.answers) <= 64


@pytest.mark.parametrize("path", ["/b", "/cookie"])
async def test_the_fast_lane_keeps_no_long_values(pair: Pair, path: str) -> None:
    hot = pair.apps[0].hot
    for user in "aaab":
        long = f"{user}=" + "x" * 5000
        fast, full = await pair.both(get(path, Origin="https://a.example", Cookie=long), apart=True)
        assert fast == full
    line = hot.find(b"http", b"edge.example", b"GET %b HTTP/1.1" % path.encode())
    assert line is not None
    assert len(line.answers) == (path == "/b")  # which may know that there was a cookie
    assert not any("x" * 5000 in f"{kept!r}" for kept in line.answers)
    assert not line.request.fields.items


async def test_a_purge_reaches_the_fast_lane(pair: Pair) -> None:
    for _ in range(3):
        await pair.both(get())
    app = pair.apps[0]
    assert await app.store.clear() > 0
    fast, _ = await pair.both(get())
    assert b"fwd=uri-miss" in fast


async def test_an_answer_ends_with_its_freshness(pair: Pair) -> None:
    for _ in range(3):
        await pair.both(get())
    pair.clock.now += 600
    fast, full = await pair.both(get())
    assert b"fwd=stale" in fast
    assert fast == full


async def test_changed_rules_reach_the_fast_lane(pair: Pair) -> None:
    request = get("/edge/a", Origin="https://a.example")
    for _ in range(3):
        await pair.both(request)
    assert b"Access-Control-Allow-Origin: https://a.example" in (await pair.both(request))[0]
    app = pair.apps[0]
    port = str(app.loaded.settings.origins["o"].url).rpartition(":")[2]
    changed = _RULES.format(port=port).replace("https://a.example", "https://b.example")
    app.take(config.loads(changed.encode(), "lanes.yaml", (), {}))  # as a reload does
    fast, _ = await pair.both(request)
    assert b"Access-Control-Allow-Origin: https://b.example" in fast


FIELDS = st.lists(
    st.sampled_from(
        [
            b"Origin: https://a.example",
            b"Origin: null",
            b"origin:https://a.example",
            b'If-None-Match: "v1"',
            b"Range: bytes=0-3",
            b"Range: bytes=-0",
            b"Range: bytes=1-",
            b"Accept: */*",
            b"Accept-Encoding: gzip",
            b"Cookie: a=b",
            b"Connection: keep-alive",
            b"Connection: close",
            b"Sec-Fetch-Mode: cors",
            b"X-Forwarded-For: 1.2.3.4",
            b"Via: 1.1 other",
            b"Referer: https://page.example/a",
            b"Referer: ",
            b"",
            b"Content-Length: 0",
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"X-Odd:",
            b"X-Odd: \xff\xfe",
            b"No colon",
            b": no name",
            b"Cache-Control: no-store",
        ]
    ),
    max_size=4,
)
LINES = st.sampled_from(
    [
        b"GET /a HTTP/1.1",
        b"HEAD /a HTTP/1.1",
        b"GET /edge/a HTTP/1.1",
        b"OPTIONS /edge/a HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"get /a HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"POST /changed HTTP/1.1",
    ]
)
MESSAGES = st.builds(
    lambda line, fields: b"\r\n".join([line, b"Host: edge.example", *fields]) + b"\r\n\r\n",
    LINES,
    FIELDS,
)


def test_a_grammar_of_heads_gets_the_same_bytes_on_both_lanes() -> None:
    loop = asyncio.new_event_loop()
    pair = Pair()
    loop.run_until_complete(pair.start())

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(MESSAGES, min_size=1, max_size=3))
    def check(messages: list[bytes]) -> None:
        # One by one at first: whether the next in a pipeline rides on a fetch or finds it
        # stored is a matter of moments.
        joined = b"".join(messages)
        for apart, asked in [(True, one) for one in messages] * 2 + [(False, joined)] * 2:
            fast, full = loop.run_until_complete(pair.both(asked, apart=apart))
            assert fast == full

    try:
        check()
    finally:
        loop.run_until_complete(pair.close())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


async def test_what_is_asked_for_again_outlives_what_is_not(pair: Pair) -> None:
    hot, lane = pair.apps[0].hot, pair.apps[0].server._lane
    assert lane is not None
    hot.most = 8
    for _ in range(3):
        await pair.both(get("/popular"), apart=True)
    for number in range(60):
        for _ in range(3):
            await pair.both(get(f"/rare/{number}"), apart=True)
        assert await long_ways(pair, get("/popular")) == 0
        pair.clock.now += 1
    assert hot._held <= 8
    assert hot.find(b"http", b"edge.example", b"GET /rare/1 HTTP/1.1") is None
    views = lane._views
    assert sum(map(len, views._young.values())) + sum(map(len, views._elder.values())) <= 4 * 8
