"""The key covers all that shapes the response: an origin that shows whatever reached it, and
a second client that must never see the first one's hand.

What a client may send without it being part of the key either does not reach the origin, or
the origin has to name it in Vary. Both lanes.
"""

from __future__ import annotations

import pytest

from tests.hold.worlds import HOST, Asked, echo, front, get, said

pytestmark = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
EVIL = b"evil.example"

ROUTING = [
    *(b"X-Forwarded-" + name for name in (b"Host", b"Scheme", b"Proto", b"Port", b"For")),
    *(b"X-Forwarded-" + name for name in (b"Server", b"Prefix", b"Path", b"Ssl", b"Anything")),
    *(b"Forwarded", b"X-Forwarded", b"X-Host", b"X-Original-URL", b"X-Rewrite-URL"),
    *(b"X-Original-Host", b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"),
    *(b"X-Real-IP", b"X-Client-IP", b"True-Client-IP", b"X-Cluster-Client-IP", b"X-Url-Scheme"),
    *(b"Front-End-Https", b"X-Original-URI", b"X-HTTP-Host-Override", b"X-Real-Host"),
    *(b"X-Backend-Host", b"X-Rewrite-URI", b"X-Scheme", b"X-Envoy-Original-Path"),
    *(b"X-Matched-Path", b"X-Invoke-Path", b"X-Middleware-Subrequest", b"CF-Connecting-IP"),
    *(b"Proxy-Authorization", b"Proxy-Connection", b"Keep-Alive", b"TE", b"Trailer"),
    *(b"Expect-Not", b"HTTP2-Settings", b"Surrogate-Capability"),
]  # fmt: skip
ROUTING.remove(b"Expect-Not")
UNDERSCORED = sorted({name.replace(b"-", b"_") for name in ROUTING if b"-" in name})


@LANES
async def test_what_routes_or_overrides_is_not_believed(fast: bool) -> None:
    names = [*ROUTING, *UNDERSCORED, b"x-forwarded_host", b"X_FORWARDED-HOST"]
    async with front(fast=fast) as edge:
        for number, name in enumerate(names):
            target = b"/%d" % number
            client = await edge.client()
            for _ in range(3):
                answer = await client.ask(get(target, name + b": " + EVIL))
                assert EVIL not in answer.body, name
            assert EVIL not in (await client.ask(get(target))).body, name
        assert EVIL not in b"".join(one.head for one in edge.origin.asked)
        assert len(edge.origin.asked) == len(names)


TOLD_BY_US = {b"x-forwarded-for", b"forwarded"}  # by the address: what varies by it is not shared
OF_A_HOP = {b"proxy-authorization", b"proxy-connection", b"keep-alive", b"te", b"trailer"}
OF_A_HOP |= {b"http2-settings", b"surrogate-capability"}


@LANES
async def test_what_is_not_believed_does_not_select_even_where_vary_names_it(fast: bool) -> None:
    """It did not reach the origin, so no answer can depend on it."""

    def varying(asked: Asked) -> bytes:
        name = asked.target.partition(b"?")[2]
        return said(b"ok", b"Cache-Control: max-age=600", b"Vary: " + name)

    names = [name for name in ROUTING if name.lower() not in TOLD_BY_US | OF_A_HOP]
    async with front(varying, fast=fast) as edge:
        for name in names:
            target = b"/?" + name
            await edge.primed(target)
            for value in (EVIL, b"http", b"1.2.3.4"):
                told = (await edge.get(target, name + b": " + value))["cache-status"]
                assert "; hit;" in told, name
        assert len(edge.origin.asked) == len(names)


@LANES
@pytest.mark.parametrize("name", [b"Accept-Language", b"User-Agent", b"X-Country", b"Origin"])
async def test_a_field_named_by_connection_does_not_select(name: bytes, fast: bool) -> None:
    """The origin gets it or not: that, and nothing else, is what the stored response is for."""

    def by_field(asked: Asked) -> bytes:
        value = asked.get(name.lower()) or b"nobody"
        return said(b"for " + value, b"Cache-Control: max-age=600", b"Vary: " + name)

    async with front(by_field, fast=fast) as edge:
        for _ in range(3):
            trick = await edge.get(b"/", name + b": victim", b"Connection: " + name)
            assert trick.body in (b"for victim", b"for nobody")
        for _ in range(3):
            assert (await edge.get(b"/", name + b": victim")).body == b"for victim"
            assert (await edge.get()).body == b"for nobody"


@LANES
@pytest.mark.parametrize(
    "name", [b"host", b"authorization", b"cookie", b"origin", b"range", b"cache-control", b"via",
             b"accept-encoding", b"content-type", b"x-amz-date", b"x-forwarded-for",
             b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"],
)  # fmt: skip
async def test_connection_cannot_strip_what_matters(name: bytes, fast: bool) -> None:
    async with front(fast=fast) as edge:
        sent = {
            b"authorization": b"Basic eDp5",
            b"cookie": b"a=b",
            b"origin": b"https://a.example",
            b"range": b"bytes=0-1",
            b"cache-control": b"no-store",
            b"via": b"1.1 another",
            b"accept-encoding": b"gzip",
            b"content-type": b"text/plain",
            b"x-amz-date": b"20270115T080000Z",
        }
        ours = {  # told to the origin whatever a client says of it
            b"host": HOST,
            b"x-forwarded-for": b"127.0.0.1",
            b"x-forwarded-proto": b"http",
            b"x-forwarded-host": HOST,
            b"forwarded": b"for=127.0.0.1",
        }
        lines = [name + b": " + sent[name]] if name in sent else []
        await edge.get(b"/", *lines, b"Connection: close, " + name)
        (asked,) = edge.origin.asked
        assert (asked.get(name) or b"").startswith((sent | ours)[name])


@LANES
@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param(b"X-Pick", "always", id="named in Vary"),
        pytest.param(b"X-Pick", "once", id="named in Vary by another response of the resource"),
        pytest.param(b"Origin", "never", id="left out of Vary, which is repaired"),
        pytest.param(b"Access-Control-Request-Method", "never", id="left out of it too"),
    ],
)
async def test_all_lines_of_a_selecting_field_count(name: bytes, says: str, fast: bool) -> None:
    """Neither the first line alone nor the last: another order or number is another variant."""

    def by_field(asked: Asked) -> bytes:
        value = asked.get(name.lower())
        shown = b"nothing" if value is None else b"<" + value + b">"
        named = says == "always" or (says == "once" and value is None)
        vary = b"Vary: " + name if named else b"Vary: Accept"
        return said(shown, b"Cache-Control: max-age=600", vary)

    several = [(), (b"",), (b"1",), (b"2",), (b"1", b"2"), (b"2", b"1"), (b"1", b"1"), (b"1", b"")]
    async with front(by_field, fast=fast) as edge:
        for _ in range(3):
            for values in several:
                shown = b"<" + b", ".join(values) + b">" if values else b"nothing"
                lines = (name + b": " + one for one in values)
                assert (await edge.get(b"/", *lines)).body == shown
                await edge.settle()  # so that what it says of Vary is known
        learned = says == "once"  # what was stored before is asked for anew
        assert len(edge.origin.asked) == len(several) + learned


LISTS = [b"Accept-Encoding", b"Accept-Language", b"Access-Control-Request-Headers"]


@LANES
@pytest.mark.parametrize("name", LISTS)
async def test_of_three_lists_the_members_count_and_nothing_else(name: bytes, fast: bool) -> None:
    def by_field(asked: Asked) -> bytes:
        members = sorted(
            (asked.get(name.lower()) or b"none").lower().replace(b" ", b"").split(b",")
        )
        return said(b" ".join(members), b"Cache-Control: max-age=600", b"Vary: " + name)

    alike = [(b"a, b",), (b"b,a",), (b"A ,B",), (b"b", b"a")]
    others = [(b"a",), (b"b",), (b"a, b, c",), (b"a b",), (b"ab",), (b"a;q=0.1, b",), (b'"a, b"',)]
    async with front(by_field, fast=fast) as edge:
        for _ in range(2):
            for values in alike:
                lines = (name + b": " + one for one in values)
                assert (await edge.get(b"/", *lines)).body == b"a b"
            assert len(edge.origin.asked) in (1, 1 + len(others))
            for values in others:
                told = await edge.get(b"/", name + b": " + values[0])
                assert (
                    told.body
                    == by_field(Asked(get(b"/", name + b": " + values[0]))).rpartition(b"\r\n\r\n")[
                        2
                    ]
                )
        assert len(edge.origin.asked) == 1 + len(others)


@LANES
async def test_every_host_has_its_own(fast: bool) -> None:
    hosts = [
        b"a.example",
        b"A.example",
        b"a.example:80",
        b"a.example:8080",
        b"a.example.",
        b"127.1",
    ]
    async with front(fast=fast) as edge:
        for _ in range(3):
            for host in hosts:
                body = (await edge.ask(get(b"/", host=host))).body
                assert b"\r\nHost: " + host + b"\r\n" in body
        assert len(edge.origin.asked) == len(hosts)


@LANES
async def test_behind_one_upstream_host_the_clients_host_is_still_in_the_key(fast: bool) -> None:
    async with front(fast=fast, host="upstream") as edge:
        for host in (b"a.example", b"b.example"):
            for _ in range(3):
                body = (await edge.ask(get(b"/", host=host))).body
                assert b"X-Forwarded-Host: " + host in body


TARGETS = [
    *(b"/a", b"/A", b"/a/", b"//a", b"/./a", b"/b/../a", b"/a//", b"/%61", b"/a%2f", b"/a%2F"),
    *(b"/a;x", b"/a;", b"/a%3b", b"/a%3B", b"/a?", b"/a??", b"/a%3f", b"/a%23", b"/a%00", b"/a%0a"),
    *(b"/a.css", b"/a/.css", b"/a%2f..%2fb", b"/a\\", b"/a%5c", b"/a?x", b"/a?x=", b"/a?x=1&x=2"),
    *(b"/a?x=2&x=1", b"/a?x=1;x=2", b"/a?X=1", b"/a?x=%31", b"/a?+x", b"/a?%20x", b"/a%", b"/a%zz"),
    *(b"/\xc3\xa4", b"/%c3%a4", b"/%C3%A4", b"/a?a[]=1", b"/a?a%5B%5D=1", b'/a"', b"/a|b", b"/a^"),
    *(b"/a{}", b"/a?&", b"/a?&&", b"/a?=", b"/..", b"/...", b"/a?utm_x=1", b"/a!$'()*,"),
]  # fmt: skip


@LANES
async def test_every_target_has_its_own_and_arrives_as_it_was(fast: bool) -> None:
    async with front(fast=fast) as edge:
        for _ in range(3):
            for target in TARGETS:
                assert (await edge.get(target)).body.startswith(b"GET " + target + b" HTTP/1.1\r\n")
        assert len(edge.origin.asked) == len(TARGETS)


MODIFIED = b"Last-Modified: Thu, 14 Jan 2010 08:00:00 GMT"
ERRORS = [*range(400, 419), 421, 422, 425, 426, 428, 429, 431, 451, *range(500, 509), 511, 599]
NEVER_STALE = "rules: [{cache: {stale_if_error: 0s, stale_while_revalidate: 0s}}]"
CLOAKS = [
    (b"/p?utm_x=1;id=evil", b"/p"),
    (b"/p?utm_x=1;id=evil", b"/p?utm_x=2"),
    (b"/p?id=1&utm_x=1;id=evil", b"/p?id=1"),
    (b"/p?id=1&utm_x=1%26id=evil&id=2", b"/p?id=1"),
    (b"/p?id=evil&id=1", b"/p?id=1&id=evil"),
    (b"/p?id=evil&utm_x=1&id=1", b"/p?id=1"),
    (b"/p?ID=evil", b"/p?id=1"),
]


@LANES
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("ignore: [utm_*]", id="ignore"),
        pytest.param("ignore: [utm_*], sort: true", id="ignore and sort"),
        pytest.param("only: [id]", id="only"),
        pytest.param("only: [id], sort: true", id="only and sort"),
    ],
)
async def test_parameters_cannot_be_cloaked(query: str, fast: bool) -> None:
    """By rule some parameters do not count, but a ``;`` may make two of one for the origin."""

    def page(asked: Asked) -> bytes:
        """As servers do that split at ``;`` too, and take the first of several."""
        parts = asked.target.partition(b"?")[2].replace(b";", b"&").split(b"&")
        values = [part[3:] for part in parts if part.startswith(b"id=")]
        return said(b"id " + (values or [b"none"])[0], b"Cache-Control: max-age=600")

    rules = f"rules: [{{cache: {{key: {{query: {{{query}}}}}}}}}]"
    async with front(page, fast=fast, rules=rules) as edge:
        for number, (attack, plain) in enumerate(CLOAKS):
            apart = b"/%d" % number  # what one leaves behind is not the next one's
            for _ in range(3):
                await edge.get(apart + attack)
            wanted = page(Asked(get(apart + plain))).rpartition(b"\r\n\r\n")[2]
            assert (await edge.get(apart + plain)).body == wanted, (attack, plain)


@LANES
async def test_deception_by_a_path_stores_nothing_private(fast: bool) -> None:
    """Content and directives decide, never what a path ends in."""

    def account(asked: Asked) -> bytes:
        who = asked.get(b"cookie") or b"nobody"
        return said(b"account of " + who, b"Content-Type: text/html", b"Cache-Control: private")

    async with front(account, fast=fast) as edge:
        for target in (
            b"/me/x.css",
            b"/me;x.js",
            b"/me%2f.png",
            b"/me%00.jpg",
            b"/me?.css",
            b"/me%0a",
        ):
            for who in (b"alice", b"bob", b"alice"):
                assert (await edge.get(target, b"Cookie: " + who)).body == b"account of " + who
            assert (await edge.get(target)).body == b"account of nobody"


GUARDED = """\
cors:
  any: {origins: "*"}
rules:
  - {name: account, match: {path: "/account/**"}, cache: off, cors: strip}
  - {name: pictures, match: {path: "/img/**"}, cors: {policy: any, mode: override}}
"""
SPELLINGS = (
    *(b"/account/me", b"/%61ccount/me", b"/account%2fme", b"//account/me", b"/./account//me"),
    *(b"/img/../account/me", b"/img/%2e%2e/account/me", b"/img/..%2faccount/me"),
    *(b"/img/%252e%252e/account/me", b"/img/..;/account/me", b"/img/..\\account\\me"),
    *(b"/account;.css/me", b"/account/;/../me", b"/img//../%61ccount/me;.png"),
)


@LANES
async def test_no_spelling_of_a_path_leads_around_a_rule(fast: bool) -> None:
    """The origin reads a path in every way that there is, and says nothing of whom it is for."""

    def careless(asked: Asked) -> bytes:
        who = asked.get(b"cookie") or b"nobody"
        allowed = b"Access-Control-Allow-Origin: https://evil.example"
        return said(b"account of " + who, b"Cache-Control: max-age=600", allowed)

    async with front(careless, fast=fast, rules=GUARDED) as edge:
        for target in SPELLINGS:
            for who in (b"alice", b"bob", b"alice"):
                fields = (b"Cookie: " + who, b"Origin: https://evil.example")
                answer = await edge.get(target, *fields)
                assert answer.body == b"account of " + who
                assert not answer.has("access-control-allow-origin")
        await edge.get(b"/img/a%20b/..c.png")
        await edge.get(b"/img/a%20b/..c.png")
        assert len(edge.origin.asked) == 3 * len(SPELLINGS) + 1


@LANES
async def test_a_session_without_directives_is_not_kept_for_others(fast: bool) -> None:
    def login(asked: Asked) -> bytes:
        number = b"%d" % len(edge.origin.asked)
        return said(b"hello " + number, b"Set-Cookie: id=" + number, b"Cache-Control: max-age=60")

    async with front(login, fast=fast) as edge:
        seen = [(await edge.get()).body for _ in range(4)]
        assert len(set(seen)) == 4


def _picky(asked: Asked) -> bytes:
    """Refuses what is odd, as application servers do, and says nothing of caching."""
    if len(asked.head) > 8000 or asked.get(b"x-odd") is not None:
        return said(b"no", status=b"400 Bad Request")
    return said(b"fine", b"Cache-Control: max-age=600")


@LANES
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b"X-Large: " + b"x" * 9000, id="large"),
        pytest.param(b"X-Odd: \xff\xfe", id="odd bytes"),
        pytest.param(b"X-Odd:", id="empty"),
    ],
)
async def test_an_error_that_one_provokes_is_not_for_others(odd: bytes, fast: bool) -> None:
    async with front(_picky, fast=fast) as edge:
        assert (await edge.get(b"/", odd)).status == 400
        assert (await edge.get(b"/")).status == 200
        assert (await edge.get(b"/", odd)).status in (200, 400)
        for _ in range(3):
            assert (await edge.get(b"/")).body == b"fine"


@LANES
async def test_no_error_is_kept_without_saying_for_how_long(fast: bool) -> None:
    """Not even beside a stored response that said when it was last modified."""
    failing = False

    def respond(asked: Asked) -> bytes:
        number = b"%d" % len(edge.origin.asked)
        if not failing:
            return said(number, b"Cache-Control: max-age=10", MODIFIED)
        return said(number, b"Age: 0", status=asked.target[1:4] + b" No")

    async with front(respond, fast=fast, rules=NEVER_STALE) as edge:
        client = await edge.client()
        for _ in range(2):
            for status in ERRORS:
                seen = [(await client.ask(get(b"/%d" % status))).body for _ in range(2)]
                assert len(set(seen)) == 1 + failing, status
            failing = True
            edge.clock.now += 11
        for status in ERRORS:  # where nothing was stored before
            seen = [(await client.ask(get(b"/%d?" % status))).body for _ in range(2)]
            assert len(set(seen)) == 2, status


@LANES
@pytest.mark.parametrize("word", [b"X-Nothing: said", b"Cache-Control: public"])
async def test_an_error_that_says_when_it_was_last_modified_may_be_kept(
    word: bytes, fast: bool
) -> None:
    """A tenth of its own age, and only those statuses that the standard lets be, or ``public``."""
    public = b"public" in word

    def respond(asked: Asked) -> bytes:
        number = b"%d" % len(edge.origin.asked)
        return said(number, MODIFIED, word, status=asked.target[1:] + b" No")

    async with front(respond, fast=fast) as edge:
        client = await edge.client()
        for status in ERRORS:
            seen = [(await client.ask(get(b"/%d" % status))).body for _ in range(2)]
            assert len(set(seen)) == 1 or status not in {404, 405, 410, 414, 501}, status
            assert len(set(seen)) == 2 or public or status in {404, 405, 410, 414, 501}, status


@LANES
async def test_what_we_refuse_is_not_kept(fast: bool) -> None:
    async with front(fast=fast) as edge:
        for _ in range(2):
            assert (await edge.get(b"/" + b"x" * 9000)).status == 414
            assert (await edge.get(b"/", b"X: " + b"x" * 20_000)).status == 431
            assert (await edge.get(b"/", *(b"X: y",) * 120)).status == 431
            assert (await edge.get(b"/", b"Expect: more")).status == 417
        assert edge.origin.asked == []
        assert (await edge.get()).status == 200


@LANES
async def test_the_scheme_told_by_a_trusted_proxy_is_in_the_key(fast: bool) -> None:
    """A redirect to https, kept for those who are there already, would never end."""

    def upgrading(asked: Asked) -> bytes:
        if asked.get(b"x-forwarded-proto") == b"https":
            return said(b"secret page", b"Cache-Control: max-age=600")
        moved = (b"Location: https://front.example/", b"Cache-Control: max-age=600")
        return said(b"", *moved, status=b"301 Moved")

    async with front(upgrading, fast=fast, trusted="[127.0.0.0/8]") as edge:
        for _ in range(3):
            assert (await edge.get(b"/", b"X-Forwarded-Proto: http")).status == 301
            assert (await edge.get(b"/", b"X-Forwarded-Proto: https")).status == 200
            assert (await edge.get(b"/")).status == 301


@LANES
async def test_a_host_told_by_a_trusted_proxy_is_in_the_key(fast: bool) -> None:
    async with front(fast=fast, trusted="[127.0.0.0/8]") as edge:
        for _ in range(3):
            for host in (b"one.example", b"two.example"):
                body = (await edge.get(b"/", b"X-Forwarded-Host: " + host)).body
                assert b"X-Forwarded-Host: " + host in body


@LANES
@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"Forwarded", b"Via"])
async def test_what_depends_on_a_clients_address_is_not_shared(name: bytes, fast: bool) -> None:
    """We tell the address ourselves; the key does not know it."""
    by_address = said(b"for you", b"Cache-Control: max-age=600", b"Vary: " + name)
    async with front(lambda asked: by_address, fast=fast) as edge:
        for _ in range(3):
            await edge.get()
        assert len(edge.origin.asked) == 3


@LANES
async def test_head_and_get_do_not_poison_each_other(fast: bool) -> None:
    async with front(lambda asked: echo(asked), fast=fast) as edge:
        for _ in range(3):
            head = await edge.ask(get(method=b"HEAD"))
            assert (head.status, head.body) == (200, b"")
            assert (await edge.get()).body
