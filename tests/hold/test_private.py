"""Private stays private, and CORS cannot be talked into it: end to end, on both lanes."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from redis import Redis

from tests.hold.worlds import Asked, front, get, resident, said
from tests.store.servers import RedisServer
from tests.wire.raworigin import until
from vary_proxy.configuration.problems import ConfigError

pytestmark = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"


def _personal(*fields: bytes) -> object:
    """An origin that answers everyone with their own name."""

    def respond(asked: Asked) -> bytes:
        who = asked.get(b"authorization") or asked.get(b"cookie") or b"nobody"
        return said(b"for " + who, *fields)

    return respond


@LANES
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((FRESH,), id="max-age alone"),
        pytest.param((FRESH, b'ETag: "v1"'), id="with a validator"),
        pytest.param((b"Last-Modified: Thu, 14 Jan 2010 08:00:00 GMT",), id="heuristic"),
        pytest.param((b"Expires: Thu, 14 Jan 2038 08:00:00 GMT",), id="Expires"),
    ],
)
async def test_authorization_is_never_shared_unless_said(
    fields: tuple[bytes, ...], fast: bool
) -> None:
    async with front(_personal(*fields), fast=fast) as edge:  # type: ignore[arg-type]
        for who in (b"Basic YTph", b"Basic YjpiCg==", b"Bearer c", b"Basic YTph"):
            answer = await edge.get(b"/", b"Authorization: " + who)
            assert answer.body == b"for " + who
        for _ in range(3):
            assert (await edge.get()).body == b"for nobody"
        for who in (b"Basic YTph", b"Bearer c"):
            assert (await edge.get(b"/", b"Authorization: " + who)).body == b"for " + who


PRIVATE = [
    pytest.param((b"Cache-Control: private, max-age=600",), id="private"),
    pytest.param((b"Cache-Control: no-store",), id="no-store"),
    pytest.param((b"Cache-Control: max-age=600", b"Cache-Control: Private"), id="second line"),
    pytest.param((b'Cache-Control: max-age=600, x="a, b", NO-STORE',), id="behind a quote"),
    pytest.param((FRESH, b"Set-Cookie: id=1"), id="Set-Cookie"),
    pytest.param((FRESH, b"Vary: *"), id="Vary *"),
    pytest.param((FRESH, b"Vary: Accept", b"Vary: *"), id="Vary * on its second line"),
    pytest.param((FRESH, b"Vary: Accept, *"), id="Vary * in a list"),
    pytest.param((FRESH, b"Vary: Cookie"), id="Vary Cookie"),
    pytest.param((b"Cache-Control: max-age=0",), id="max-age=0"),
    pytest.param((b"Cache-Control: max-age=600, s-maxage=0",), id="s-maxage=0"),
    pytest.param((b"Cache-Control: max-age=600, max-age=0",), id="contradiction"),
    pytest.param((b"Expires: 0",), id="Expires 0"),
    pytest.param((b"CDN-Cache-Control: no-store", FRESH), id="CDN no-store"),
]


@LANES
@pytest.mark.parametrize("fields", PRIVATE)
async def test_what_is_one_clients_is_no_other_clients(
    fields: tuple[bytes, ...], fast: bool
) -> None:
    async with front(_personal(*fields), fast=fast) as edge:  # type: ignore[arg-type]
        for _ in range(2):
            for who in (b"a=1", b"b=2", b"c=3"):
                assert (await edge.get(b"/", b"Cookie: " + who)).body == b"for " + who
            assert (await edge.get()).body == b"for nobody"


@LANES
@pytest.mark.parametrize("fields", PRIVATE)
async def test_what_is_one_clients_is_his_alone_while_others_wait(
    fields: tuple[bytes, ...], fast: bool
) -> None:
    """All ask at once, and whoever rode on another's fetch is answered by one of its own."""
    arrived = asyncio.Event()

    async def slowly(asked: Asked) -> bytes:
        if not arrived.is_set():
            await asyncio.wait_for(arrived.wait(), 20)
        return said(
            b"for " + (asked.get(b"authorization") or asked.get(b"cookie") or b"-"), *fields
        )

    async with front(slowly, fast=fast) as edge:
        names = (b"Cookie: ", b"Authorization: ") * 4
        lines = [name + b"%d" % number for number, name in enumerate(names)]
        clients = [await edge.client() for _ in lines]
        for client, line in zip(clients, lines, strict=True):
            client.send(get(b"/", line))
        await until(lambda: edge.origin.asked)
        arrived.set()
        for client, line in zip(clients, lines, strict=True):
            assert (await client.answer()).body == b"for " + line.partition(b": ")[2]


@LANES
@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified"])
async def test_a_cookie_is_set_for_one_alone_while_others_wait(status: bytes, fast: bool) -> None:
    """Also by a 304 that lets what is stored be used again."""
    go = asyncio.Event()
    fields = (b"Cache-Control: max-age=5", b'ETag: "v"')

    async def respond(asked: Asked) -> bytes:
        number = len(edge.origin.asked)
        if number == 1:
            return said(b"ok", *fields)
        await asyncio.wait_for(go.wait(), 20)
        cookie = b"Set-Cookie: id=%d" % number
        if status[:3] == b"304":
            return b"\r\n".join((b"HTTP/1.1 " + status, *fields, cookie, b"", b""))
        return said(b"ok", *fields, cookie)

    async with front(respond, fast=fast) as edge:
        await edge.primed()
        edge.clock.now += 10
        clients = [await edge.client() for _ in range(5)]
        for client in clients:
            client.send(get())
        await until(lambda: len(edge.origin.asked) > 1)
        go.set()
        answers = [await client.answer() for client in clients]
        cookies = [one["set-cookie"] for one in answers if one.has("set-cookie")]
        assert len(set(cookies)) == len(cookies) > 0
        await edge.settle()
        if status[:3] == b"304":
            assert not (await edge.get()).has("set-cookie")


@LANES
@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"Cache-Control: private", id="private"),
        pytest.param(b"Cache-Control: no-store", id="no-store"),
        pytest.param(b"Cache-Control: max-age=60, s-maxage=60", id="Set-Cookie"),
        pytest.param(b"Vary: *", id="Vary *"),
        pytest.param(b"X-Nothing: said", id="Authorization"),
    ],
)
async def test_no_lifetime_of_a_rule_shares_what_is_private(
    field: bytes, fast: bool, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    fields = (field, b"Set-Cookie: id=1") if "Set-Cookie" in name else (field,)
    who = b"Authorization: " if "Authorization" in name else b"Cookie: "
    for ttl in ("1h", '{default: 1h, "200": 1h}'):
        rules = f"rules: [{{cache: {{ttl: {ttl}}}}}]"
        async with front(_personal(*fields), fast=fast, rules=rules) as edge:  # type: ignore[arg-type]
            for client in (b"a=1", b"b=2", b"a=1", b"b=2"):
                assert (await edge.get(b"/", who + client)).body == b"for " + client
                await edge.settle()


@LANES
@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"QUERY"])
async def test_the_answer_to_a_body_is_no_other_clients(method: bytes, fast: bool) -> None:
    async with front(lambda asked: said(b"for " + asked.body, FRESH), fast=fast) as edge:
        for _ in range(2):
            for body in (b"alice", b"bob", b"alice"):
                sent = get(b"/", b"Content-Length: %d" % len(body), method=method) + body
                assert (await edge.ask(sent)).body == b"for " + body
            assert (await edge.get()).body == b"for "


@LANES
@pytest.mark.parametrize(
    "query",
    [
        b"X-Amz-Signature=0f&X-Amz-Expires=60",
        b"x-amz-signature=0f",
        b"a=b&X-Goog-Signature=0f",
        b"Signature=0f&Expires=1&AWSAccessKeyId=A",
        b"X-Amz-Credential=A",
        b"X%2DAmz-Signature=0f",
        b"a=b&%58-Amz-Signature=0f",
        b"a=b;X-Amz-Signature=0f",
    ],
)
@pytest.mark.parametrize("control", [FRESH, b"Cache-Control: public, s-maxage=600"])
async def test_signed_urls_are_never_shared(query: bytes, control: bytes, fast: bool) -> None:
    async with front(lambda asked: said(b"secret", control), fast=fast) as edge:
        for _ in range(3):
            assert (await edge.get(b"/o?" + query)).status == 200
        assert len(edge.origin.asked) == 3


@LANES
async def test_a_signature_that_a_rule_ignores_opens_nothing_for_others(fast: bool) -> None:
    def bucket(asked: Asked) -> bytes:
        signed = asked.target.lower().endswith(b"signature=0f")
        return said(b"secret", FRESH) if signed else said(b"no", status=b"403 No")

    rules = 'rules: [{cache: {key: {query: {ignore: ["X-Amz-*"]}}}}]'
    async with front(bucket, fast=fast, rules=rules) as edge:
        for name in (b"X-Amz-Signature", b"X%2DAmz-Signature", b"x%2damz%2dsignature"):
            for _ in range(3):
                await edge.get(b"/o?" + name + b"=0f")
            assert (await edge.get(b"/o")).status == 403


OURS = """\
cors:
  app: {origins: ["https://app.example", "https://*.preview.example"], credentials: true}
  net: {origins: ["~https://pr-[0-9]+\\\\.shop\\\\.example"]}
rules:
  - {match: {path: "/net/**"}, cors: {policy: net, mode: override}, preflight: synthesize}
  - {cors: {policy: app, mode: override}, preflight: synthesize}
"""
LOOKALIKES = [
    *(b"null", b"NULL", b"https://app.example/", b"https://app.example:443", b"http://app.example"),
    *(b"https://App.example", b"HTTPS://app.example", b"https://app.example.", b"", b"*"),
    *(b"https://app.example.evil.example", b"https://evilapp.example", b"https://app-example"),
    *(b"https://app.example,https://evil.example", b"https://evil.example https://app.example"),
    *(b"https://app.example, https://app.example", b"https://app.example\t", b"app.example"),
    *(b"https://app.example@evil.example", b"https://evil.example#https://app.example"),
    *(b"https://app.example%00.evil.example", b"https://app.example\\.evil.example", b"file://"),
    *(b"https://.preview.example", b"https://preview.example"),
    *(b"https://evil.example/.preview.example", b"https://x.preview.example.evil.example"),
    *(b"https://x_y.preview.example`", b"https://evil.example?.preview.example", b"\xff\xfe"),
    *(b"https://" + b"a" * 4000 + b".preview.example", b"https://app.example" + b" " * 3000 + b"x"),
]  # fmt: skip
TRIMMED = {b"https://app.example\t"}  # white space around a value is no part of it


@LANES
async def test_lookalikes_of_an_allowed_origin_are_told_nothing(fast: bool) -> None:
    async with front(lambda asked: said(b"A", FRESH), fast=fast, rules=OURS) as edge:
        for _ in range(3):
            for origin in LOOKALIKES:
                answer = await edge.get(b"/", b"Origin: " + origin)
                if origin in TRIMMED:
                    continue
                assert not answer.has("access-control-allow-origin"), origin
                assert not answer.has("access-control-allow-credentials"), origin
                wanted = (b"Origin: " + origin, b"Access-Control-Request-Method: GET")
                answer = await edge.ask(get(b"/", *wanted, method=b"OPTIONS"))
                told = {name.lower() for name, _ in answer.fields}
                assert not any(name.startswith("access-control-") for name in told), origin
            allowed = await edge.get(b"/", b"Origin: https://app.example")
            assert allowed["access-control-allow-origin"] == "https://app.example"
            assert allowed["access-control-allow-credentials"] == "true"
        assert len(edge.origin.asked) == 1


@LANES
async def test_two_origin_lines_are_no_allowed_origin(fast: bool) -> None:
    async with front(lambda asked: said(b"A", FRESH), fast=fast, rules=OURS) as edge:
        evil, good = b"Origin: https://evil.example", b"Origin: https://app.example"
        for lines in ((good, good), (good, evil), (evil, good)):
            for _ in range(3):
                assert not (await edge.get(b"/", *lines)).has("access-control-allow-origin")


@pytest.mark.parametrize(
    "pattern", ["(a|aa)+", "(a+)+", "(a|a)*", "(x+x+)+y", "([a-z0-9]+-?)+", "(a?)*", "(.*)*"]
)
async def test_a_pattern_that_could_be_made_slow_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="catastrophic"):
        async with front(rules=OURS.replace("pr-[0-9]+", pattern)):
            pass
    for place in ("path: [%s]", "host: [%s]", "query: {a: %s}", "headers: {A: %s}"):
        with pytest.raises(ConfigError, match="catastrophic"):
            async with front(rules="rules: [{match: {%s}}]" % (place % f'"~/{pattern}"')):
                pass


SLOW = ["a*" * 40 + "b", "(a?){60}a{60}", "[a-z]*" * 20, "([a-z]*-){1,20}x", "(a{1,200}b?)"]


@LANES
@pytest.mark.parametrize("pattern", SLOW)
async def test_a_pattern_cannot_be_made_slow(pattern: str, fast: bool) -> None:
    """Those are taken that a reader which tries all ways would not come to an end with."""
    rules = OURS.replace("pr-[0-9]+", pattern)
    async with front(lambda asked: said(b"A", FRESH), fast=fast, rules=rules) as edge:
        evils = [b"https://" + b"a" * length + b"!" for length in (60, 250, 300, 8000)]
        evils += [evil[:-1] + b".shop.example" for evil in evils[1:]]
        begun = time.process_time()
        for evil in evils * 3:
            await edge.get(b"/net/x", b"Origin: " + evil)
        assert time.process_time() - begun < 2


@LANES
async def test_a_pattern_matches_the_whole_value(fast: bool) -> None:
    async with front(lambda asked: said(b"A", FRESH), fast=fast, rules=OURS) as edge:
        evil = b"https://pr-" + b"1" * 8000 + b"!"
        for _ in range(3):
            answer = await edge.get(b"/net/x", b"Origin: " + evil)
            assert not answer.has("access-control-allow-origin")
        for _ in range(3):
            answer = await edge.get(b"/net/x", b"Origin: https://pr-1111.shop.example")
            assert answer.has("access-control-allow-origin")


STRANGERS = int(os.environ.get("VARY_PROXY_HOLD_ORIGINS", "300"))


def reflecting(asked: Asked) -> bytes:
    """As S3 does: CORS fields for whoever sends an Origin, and a validator."""
    origin = asked.get(b"origin")
    lines = [FRESH, b'ETag: "v1"']
    if origin is not None:
        lines.append(b"Access-Control-Allow-Origin: " + origin)
    if asked.get(b"if-none-match") == b'"v1"':
        head = b"\r\n".join((b"HTTP/1.1 304 Not Modified", *lines, b"", b""))
        return head
    return said((b"content of " + asked.target).ljust(LARGE), *lines)


LARGE = 64_000 * 300 // STRANGERS  # bytes: all of them would fill the memory tier


def _used(server: RedisServer) -> int:
    """Bytes of memory that *server* has in use."""
    with Redis.from_url(server.url) as direct:
        return int(direct.info("memory")["used_memory"])


@LANES
@pytest.mark.timeout(1800)
async def test_strangers_can_neither_fill_nor_evict_nor_change(
    fast: bool, redis_server: RedisServer
) -> None:
    """Every one sends another Origin for one URL; the real ones go on having theirs."""
    real = [b"Origin: https://real-%d.example" % number for number in range(8)]
    async with front(reflecting, fast=fast) as edge:
        for target in (b"/one", b"/other"):
            for line in real:
                await edge.primed(target, line)
            await edge.primed(target)
        asked = len(edge.origin.asked)
        client = await edge.client()
        before, in_redis = resident(), _used(redis_server)
        for number in range(STRANGERS):
            origin = b"https://s%d.example" % number
            answer = await client.ask(get(b"/one", b"Origin: " + origin))
            assert answer["access-control-allow-origin"] == origin.decode()
            assert answer.body.strip() == b"content of /one"
            assert len(edge.origin.asked) - asked <= 2
            del edge.origin.asked[asked:]
        assert resident() - before < 24 << 20
        assert _used(redis_server) - in_redis < 4 << 20
        for target in (b"/one", b"/other"):
            for line in real:
                answer = await client.ask(get(target, line))
                assert answer["access-control-allow-origin"] == line[8:].decode()
                assert "; hit;" in answer["cache-status"]
            assert not (await client.ask(get(target))).has("access-control-allow-origin")
        assert len(edge.origin.asked) == asked
