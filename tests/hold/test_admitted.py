"""What the threat model admits is so: each of its sentences in SECURITY.md has a test here.

These are no promises. They show where the operator, or the origin, has to say something.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.hold.worlds import Asked, Front, Origin, front, get, said
from tests.store.servers import RedisServer
from vary_proxy.clients.certificates import Certificate

ON_EACH_STORE = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
ALICE, BOB = b"Cookie: user=alice", b"Cookie: user=bob"


def by_cookie(*fields: bytes) -> object:
    def respond(asked: Asked) -> bytes:
        return said(b"for " + (asked.get(b"cookie") or b"nobody"), *fields)

    return respond


async def bodies(edge: Front, *requests: tuple[bytes, ...], target: bytes = b"/") -> list[bytes]:
    """What each is told, when all was asked for before: as it is kept."""
    for lines in requests:
        await edge.primed(target, *lines)
    return [(await edge.get(target, *lines)).body for lines in requests]


@ON_EACH_STORE
@LANES
async def test_without_the_origins_word_a_response_is_for_everybody(fast: bool) -> None:
    async with front(by_cookie(FRESH), fast=fast) as edge:  # type: ignore[arg-type]
        assert await bodies(edge, (ALICE,), (BOB,)) == [b"for user=alice"] * 2
    for word in (b"Cache-Control: private", b"Vary: Cookie"):
        async with front(by_cookie(FRESH, word), fast=fast) as edge:  # type: ignore[arg-type]
            assert await bodies(edge, (ALICE,), (BOB,)) == [b"for user=alice", b"for user=bob"]


@ON_EACH_STORE
@LANES
@pytest.mark.parametrize("word", [b"public", b"s-maxage=600", b"must-revalidate"])
async def test_an_origin_that_shares_what_is_personal_has_published_it(
    word: bytes, fast: bool
) -> None:
    def respond(asked: Asked) -> bytes:
        who = asked.get(b"authorization") or b"nobody"
        shares = [b"Set-Cookie: id=" + who] if word == b"public" else []
        return said(b"for " + who, FRESH + b", " + word, *shares)

    async with front(respond, fast=fast) as edge:
        lines = ((b"Authorization: Basic a",), (b"Authorization: Basic b",), ())
        assert await bodies(edge, *lines) == [b"for Basic a"] * 3
        if word == b"public":
            assert (await edge.get())["set-cookie"] == "id=Basic a"


@ON_EACH_STORE
@LANES
async def test_a_rule_that_stores_cookies_shares_them(fast: bool) -> None:
    cookie = b"Set-Cookie: id=1"
    rules = "rules: [{cache: {set_cookie: store}}]"
    async with front(lambda asked: said(b"ok", FRESH, cookie), fast=fast, rules=rules) as edge:
        await edge.primed()
        answer = await edge.get()
        assert (answer["set-cookie"], len(edge.origin.asked)) == ("id=1", 1)


@ON_EACH_STORE
@LANES
async def test_a_field_that_nobody_names_is_passed_on_and_is_not_in_the_key(fast: bool) -> None:
    def respond(asked: Asked) -> bytes:
        return said(b"from " + (asked.get(b"x-country") or b"nowhere"), FRESH, *named)

    evil = (b"X-Country: evil",)
    named: tuple[bytes, ...] = ()
    async with front(respond, fast=fast) as edge:
        assert await bodies(edge, evil, ()) == [b"from evil"] * 2
    named = (b"Vary: X-Country",)
    async with front(respond, fast=fast) as edge:
        assert await bodies(edge, evil, ()) == [b"from evil", b"from nowhere"]


@LANES
async def test_trusted_proxies_are_believed_about_scheme_host_and_client(fast: bool) -> None:
    told = (
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: other.example",
    )
    for trusted in ("[127.0.0.0/8]", "[]", "[192.0.2.0/24]"):
        async with front(fast=fast, trusted=trusted) as edge:
            await edge.get(b"/", *told)
            (asked,) = edge.origin.asked
            seen = [asked.get(name) for name in (b"x-forwarded-proto", b"x-forwarded-host")]
            client = asked.get(b"x-forwarded-for") or b""
            if trusted == "[127.0.0.0/8]":
                assert (seen, client) == ([b"https", b"other.example"], b"192.0.2.1, 127.0.0.1")
            else:
                assert (seen, client) == ([b"http", b"front.example"], b"127.0.0.1")


GUARDED = """\
rules:
  - {match: {path: "/account/**"}, cache: off}
  - {match: {query: {token: "*"}}, cache: off}
"""


@ON_EACH_STORE
@LANES
async def test_a_rule_knows_no_spelling_that_an_origin_alone_has(fast: bool) -> None:
    """Case, names of its own, and parameters that only some part at a semicolon."""
    async with front(by_cookie(FRESH), fast=fast, rules=GUARDED) as edge:  # type: ignore[arg-type]
        kept = (b"/Account/me", b"/konto/me", b"/account.php/me", b"/a?b=1;token=1", b"/a?TOKEN=1")
        for target in kept:
            assert await bodies(edge, (ALICE,), (BOB,), target=target) == [b"for user=alice"] * 2
        for target in (b"/account/me", b"/%61ccount/me", b"/a?b=1&token=1", b"/a?%74oken=1"):
            told = await bodies(edge, (ALICE,), (BOB,), target=target)
            assert told == [b"for user=alice", b"for user=bob"]


@ON_EACH_STORE
@LANES
async def test_the_origin_still_sees_a_parameter_that_is_left_out_of_the_key(fast: bool) -> None:
    rules = "rules: [{cache: {key: {query: {ignore: [utm_x]}}}}]"
    shown = lambda asked: said(asked.target, FRESH)  # noqa: E731
    async with front(shown, fast=fast, rules=rules) as edge:
        await edge.primed(b"/?utm_x=evil")
        for target in (b"/", b"/?utm_x=2", b"/?utm_x=evil"):
            assert (await edge.get(target)).body == b"/?utm_x=evil"


@ON_EACH_STORE
@LANES
@pytest.mark.parametrize("ttl", ["1h", "origin"])
async def test_a_rule_that_replaces_lifetimes_replaces_these_too(ttl: str, fast: bool) -> None:
    rules = f"rules: [{{cache: {{ttl: {ttl}}}}}]"
    for control in (b"no-cache", b"max-age=0, must-revalidate"):
        word = said(b"ok", b"Cache-Control: " + control)
        async with front(lambda asked, word=word: word, fast=fast, rules=rules) as edge:
            await edge.primed()
            edge.clock.now += 60
            asked = len(edge.origin.asked)
            assert (await edge.get()).status == 200
            assert len(edge.origin.asked) == asked + (ttl == "origin")


@LANES
async def test_what_is_written_to_the_store_with_care_is_served(
    fast: bool, redis_server: RedisServer
) -> None:
    """By somebody who writes just as we do: there is no secret that he would have to know."""
    word = b"evil"
    origin = Origin(lambda asked: said(word, FRESH))
    await origin.start()
    where = f'type: redis, url: "{redis_server.url}", namespace: forged{fast}, timeout: 5s'
    try:
        async with front(fast=fast, shared=origin, store=f"{{{where}}}") as forger:
            await forger.primed()
            await forger.settle()
        word = b"good"
        async with front(fast=fast, shared=origin, store=f"{{{where}}}") as edge:
            assert (await edge.get()).body == b"evil"
            assert (await edge.get(b"/another")).body == b"good"
    finally:
        await origin.stop()


def test_no_client_is_asked_for_a_certificate(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("front.example")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem").context
    assert context.verify_mode is ssl.CERT_NONE


EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@LANES
async def test_no_content_is_filtered_and_no_rate_is_limited(fast: bool) -> None:
    content = EICAR + b"<script>alert(1)</script>" + bytes(range(256))
    async with front(lambda asked: said(content, FRESH), fast=fast) as edge:
        client = await edge.client()
        for number in range(200):
            target = b"/%d?q='--<script>../../etc/passwd" % (number % 100)
            answer = await client.ask(get(target))
            assert (answer.status, answer.body) == (200, content)


@LANES
async def test_neither_http_2_nor_http_3_is_spoken(fast: bool) -> None:
    async with front(fast=fast) as edge:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert (await edge.ask(preface)).status in (400, 505)
        upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")
        answer = await edge.ask(get(b"/", *upgrade))
        assert answer.head.startswith(b"HTTP/1.1 200 ")
        assert not answer.has("alt-svc")
