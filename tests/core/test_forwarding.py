"""The request that the origin gets (RFC 9110 §7.6, RFC 7239)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.given import fields, request
from vary_proxy.core import forwarding
from vary_proxy.core.forwarding import Hop
from vary_proxy.core.policy import CorsMode, OriginHeader, Policy

PLAIN = Hop(b"origin.example")
TRUSTED = Hop(b"origin.example", trusted=True)
FROM = replace(request(), client="192.0.2.1")


def sent(asked, hop=PLAIN, policy=None, **options):
    return forwarding.to_origin(asked, policy or Policy(), hop, **options)


@pytest.mark.parametrize(
    ("connection", "kept"),
    [
        pytest.param(None, b"a b", id="7.6.1 nothing is named"),
        pytest.param(b"a", b"b", id="7.6.1 a field is named"),
        pytest.param(b"A, close , b", b"", id="7.6.1 several, in any case"),
        pytest.param(b"keep-alive", b"a b", id="7.6.1 an option that is no field"),
    ],
)
def test_7_6_1_what_concerns_the_connection_alone(connection, kept):
    named = {} if connection is None else {"connection": connection}
    found = forwarding.end_to_end(fields(a=b"1", b=b"2", **named))
    assert found.names() == frozenset(kept.split())


@pytest.mark.parametrize("policy", [Policy(), Policy(origin_header=OriginHeader.STRIP)])
@pytest.mark.parametrize(
    "name",
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "trailer",
    ]
    + ["proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "http2-settings"],
)
def test_7_6_1_fields_that_never_go_further(name, policy):
    line = (name.encode(), b"x")
    assert forwarding.end_to_end(fields(line, a=b"1")) == fields(a=b"1")
    found = sent(
        request(b"GET", b"/a", line, content_length=b"1", host=b"h", a=b"1"), policy=policy
    )
    assert found.fields.get(b"a") == b"1"
    assert found.fields.lacks(frozenset((name.encode(), b"content-length", b"host")))


def test_7_6_1_what_two_lines_of_connection_name_neither_selects_nor_goes_on():
    """RFC 9111 §4.1: a field that the origin does not get selects nothing of what it says."""
    asked = request(b"GET", b"/a", connection=(b"x-a, close", b"X-B"), x_a=b"1", x_b=b"2", x_c=b"3")
    assert forwarding.end_to_end(asked.fields).names() == {b"x-c"}
    believed = forwarding.believed(asked, trusted=True)
    assert believed.fields.names() == {b"connection", b"x-c"}
    found = sent(request(b"GET", b"/a", te=b"trailers", **_named(asked.fields))).fields
    assert found.get(b"x-c") == b"3"
    assert found.lacks(frozenset((b"x-a", b"x-b", b"connection", b"te")))


def _named(said):
    return {name.decode().replace("-", "_"): said.lines(name) for name in said.names()}


def test_nothing_of_a_plain_request_is_disbelieved():
    asked = request(b"GET", b"/a", connection=b"keep-alive", accept=b"*/*")
    assert forwarding.believed(asked, trusted=False) is asked


def test_the_target_goes_on_byte_for_byte_behind_the_prefix():
    asked = request(b"GET", b"/a%2Fb//c/../d?x=%20&y")
    found = sent(asked, Hop(b"o", b"/base"))
    assert found.target == b"/base/a%2Fb//c/../d?x=%20&y"


@pytest.mark.parametrize(
    ("host", "authority"), [(b"origin.example", b"origin.example"), (None, b"edge.example")]
)
def test_host_is_the_origins_or_the_clients(host, authority):
    found = sent(request(b"GET", b"/a", host=b"edge.example"), Hop(host))
    assert found.authority == authority
    assert b"host" not in found.fields  # it is written once, from the authority


@pytest.mark.parametrize(("scheme", "origins"), [(b"", b"http"), (b"https", b"https")])
def test_the_scheme_is_the_origins_or_the_clients(scheme, origins):
    assert sent(request(), Hop(b"o", scheme=scheme)).scheme == origins


def test_nothing_of_the_client_is_lost_or_invented():
    said = {"accept": b"*/*", "cookie": (b"a=1", b"b=2"), "x_own": b"1", "range": b"bytes=0-1"}
    found = sent(request(b"GET", b"/a", **said)).fields
    for name, value in said.items():
        lines = value if isinstance(value, tuple) else (value,)
        assert found.lines(name.replace("_", "-").encode()) == lines
    invented = found.names() - {name.replace("_", "-").encode() for name in said}
    assert invented == {
        *(b"via", b"cdn-loop", b"forwarded", b"surrogate-capability"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
    }


def test_10_1_1_expect_is_answered_by_us():
    assert b"expect" not in sent(request(b"PUT", b"/a", expect=b"100-continue")).fields


def test_conditions_of_ours_take_the_place_of_the_clients():
    asked = request(b"GET", b"/a", if_none_match=b'"theirs"')
    drop = frozenset((b"if-none-match",))
    found = sent(asked, drop=drop, add=((b"if-none-match", b'"ours"'),))
    assert found.fields.lines(b"if-none-match") == (b'"ours"',)


OVERRIDES = ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-host", "x-real-ip"]
OVERRIDES += ["x-forwarded-prefix", "x-forwarded-port", "x-forwarded-server", "x-original-host"]


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_routes_or_overrides_is_believed_from_ours_only(name):
    asked = request(b"GET", b"/a", (name.encode(), b"evil"))
    assert name.encode() not in sent(asked).fields
    assert sent(asked, TRUSTED).fields.get(name.encode()) == b"evil"


def test_7239_who_asked_and_how():
    asked = replace(FROM, scheme=b"https", authority=b"edge.example:8443")
    found = sent(asked).fields
    assert found.get(b"x-forwarded-for") == b"192.0.2.1"
    assert found.get(b"x-forwarded-proto") == b"https"
    assert found.get(b"x-forwarded-host") == b"edge.example:8443"
    assert found.get(b"forwarded") == b'for=192.0.2.1;host="edge.example:8443";proto=https'


def test_7239_6_an_ipv6_client_is_quoted():
    found = sent(replace(request(), client="2001:db8::1")).fields
    assert (found.get(b"forwarded") or b"").startswith(b'for="[2001:db8::1]";')


def test_7239_6_2_a_client_without_an_address_is_unknown():
    found = sent(request()).fields
    assert found.get(b"x-forwarded-for") == b"unknown"
    assert (found.get(b"forwarded") or b"").startswith(b"for=unknown;")


def test_what_ours_told_of_the_client_goes_on_in_all_its_lines():
    said = {
        "x_forwarded_for": (b"203.0.113.9", b"198.51.100.1"),
        "forwarded": (b"for=203.0.113.9", b"for=198.51.100.1"),
        "surrogate_capability": (b'a="Surrogate/1.0"', b'b="Surrogate/1.0"'),
        "x_forwarded_proto": b"https",
        "x_forwarded_host": b"www.example",
    }
    asked = replace(request(b"GET", b"/a", **said), client="192.0.2.1")
    found = sent(asked, TRUSTED).fields
    assert found.lines(b"x-forwarded-for") == (b"203.0.113.9, 198.51.100.1, 192.0.2.1",)
    ours = b"for=192.0.2.1;host=edge.example;proto=http"
    assert found.lines(b"forwarded") == (b"for=203.0.113.9, for=198.51.100.1, " + ours,)
    assert found.lines(b"surrogate-capability") == (
        b'a="Surrogate/1.0", b="Surrogate/1.0", vary-proxy="Surrogate/1.0"',
    )
    assert found.lines(b"x-forwarded-proto") == (b"https",)
    assert found.lines(b"x-forwarded-host") == (b"www.example",)
    found = sent(asked).fields  # a stranger's word is not passed on
    assert found.lines(b"x-forwarded-for") == (b"192.0.2.1",)
    assert found.lines(b"x-forwarded-proto") == (b"http",)
    assert found.lines(b"x-forwarded-host") == (b"edge.example",)
    assert found.lines(b"surrogate-capability") == (b'vary-proxy="Surrogate/1.0"',)


def test_8586_the_chain_of_loops_is_one_line():
    (line,) = sent(request(b"GET", b"/a", cdn_loop=(b"a", b"b"))).fields.lines(b"cdn-loop")
    assert line.startswith(b"a, b, vary-proxy;")


@pytest.mark.parametrize(
    ("hop", "chain", "forwarded"),
    [
        pytest.param(
            PLAIN, b"192.0.2.1", b"for=192.0.2.1;host=edge.example;proto=http", id="a stranger's"
        ),
        pytest.param(
            TRUSTED,
            b"203.0.113.9, 192.0.2.1",
            b"for=203.0.113.9, for=192.0.2.1;host=edge.example;proto=http",
            id="one of ours",
        ),
    ],
)
def test_7239_a_chain_is_continued_for_ours_only(hop, chain, forwarded):
    said = {"x_forwarded_for": b"203.0.113.9", "forwarded": b"for=203.0.113.9"}
    asked = replace(request(b"GET", b"/a", **said), client="192.0.2.1")
    found = sent(asked, hop).fields
    assert found.lines(b"x-forwarded-for") == (chain,)
    assert found.lines(b"forwarded") == (forwarded,)


@pytest.mark.parametrize(
    "name", [b"x-forwarded-proto", b"x-forwarded-for", b"x-forwarded-host"], ids=bytes.decode
)
def test_7239_7_4_what_ours_told_otherwise_is_not_contradicted(name):
    """Rack and Spring believe Forwarded before X-Forwarded-Proto: https behind us was http."""
    asked = request(b"GET", b"/a", (name, b"https"))
    assert b"forwarded" not in sent(asked, TRUSTED).fields
    assert b"forwarded" in sent(asked).fields  # a stranger's is not believed
    assert b"forwarded" in sent(request(b"GET", b"/a"), TRUSTED).fields


@pytest.mark.parametrize(
    ("lines", "version", "via"),
    [
        pytest.param((), (1, 1), b"1.1 vary-proxy", id="7.6.3 first"),
        pytest.param((), (1, 0), b"1.0 vary-proxy", id="7.6.3 as it was received"),
        pytest.param(
            (b"1.0 a", b"1.1 b"), (1, 1), b"1.0 a, 1.1 b, 1.1 vary-proxy", id="7.6.3 chain"
        ),
    ],
)
def test_7_6_3_via(lines, version, via):
    asked = replace(request(b"GET", b"/a", via=lines), version=version)
    assert sent(asked).fields.lines(b"via") == (via,)


@pytest.mark.parametrize(
    ("policy", "origin"),
    [
        pytest.param(Policy(), (b"https://a.example",), id="forwarded"),
        pytest.param(Policy(origin_header=OriginHeader.STRIP), (), id="stripped"),
        pytest.param(
            Policy(origin_header=OriginHeader.INJECT, origin_value=b"https://x.example"),
            (b"https://x.example",),
            id="injected",
        ),
        pytest.param(Policy(cors_mode=CorsMode.OVERRIDE), (), id="the edge answers"),
    ],
)
def test_what_becomes_of_origin(policy, origin):
    asked = request(b"GET", b"/a", origin=b"https://a.example")
    assert sent(asked, policy=policy).fields.lines(b"origin") == origin


@pytest.mark.parametrize(
    ("method", "said", "goes_on"),
    [
        pytest.param(b"OPTIONS", [b"5"], [b"4"], id="7.6.2 one less"),
        pytest.param(b"TRACE", [b"1"], [b"0"], id="7.6.2 to nought"),
        pytest.param(b"OPTIONS", [b"99999999999"], [b"2147483647"], id="7.6.2 as far as we count"),
        pytest.param(b"OPTIONS", [b"x"], [b"x"], id="what cannot be read is left alone"),
        pytest.param(b"OPTIONS", [b"-1"], [b"-1"], id="nor can this"),
        pytest.param(b"GET", [b"5"], [b"5"], id="7.6.2 means nothing elsewhere"),
        pytest.param(b"OPTIONS", [], [], id="none"),
        pytest.param(b"OPTIONS", [b"2", b"2"], [b"2", b"2"], id="two, which say nothing"),
        pytest.param(b"OPTIONS", [b"0", b"0"], [b"0", b"0"], id="two noughts"),
    ],
)
def test_7_6_2_max_forwards(method, said, goes_on):
    asked = request(method, b"/a", *((b"max-forwards", one) for one in said))
    assert list(sent(asked).fields.lines(b"max-forwards")) == goes_on
    assert not forwarding.is_for_us(asked)


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE", b"GET"])
def test_7_6_2_at_nought_it_ends_here(method):
    asked = request(method, b"/a", max_forwards=b"0")
    assert forwarding.is_for_us(asked) is (method != b"GET")


MATTERS = [
    "host", "authorization", "origin", "cookie", "range", "if-range", "if-match",
    "if-none-match", "if-modified-since", "if-unmodified-since", "cache-control",
    "content-length", "content-type", "content-encoding", "accept", "accept-encoding",
    "accept-language", "via", "cdn-loop", "forwarded", "age", "date", "etag", "vary", "expires",
    "access-control-request-method", "access-control-request-headers", "set-cookie",
    "x-amz-date", "x-forwarded-for",
]  # fmt: skip
TOLD = [
    "forwarded", "x-real-ip", "x-host", "x-original-url", "x-rewrite-url", "x-original-host",
    "x-http-method-override", "x-http-method", "x-method-override", "x-forwarded",
    "x-url-scheme", "front-end-https", "x-client-ip", "true-client-ip",
    "x-cluster-client-ip", "x-original-uri", "x-proxyuser-ip", "x-scheme", "x-rewrite-uri",
    "x-http-host-override", "x-real-host", "x-backend-host", "x-http-destinationurl",
    "x-envoy-original-path", "x-invoke-path", "x-matched-path", "x-middleware-rewrite",
    "x-middleware-subrequest", "cf-connecting-ip", "fastly-client-ip", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-anything",
]  # fmt: skip
OF_A_HOP = [
    "keep-alive", "proxy-connection", "trailer", "transfer-encoding", "proxy-authenticate",
    "proxy-authorization", "proxy-authentication-info", "http2-settings",
]  # fmt: skip


@pytest.mark.parametrize("name", MATTERS)
def test_connection_cannot_name_what_matters(name):
    asked = request(b"GET", b"/a", (name.encode(), b"x"), connection=b"close, " + name.encode())
    kept = forwarding.believed(asked, trusted=True).fields
    assert kept.get(name.encode()) == b"x"
    assert forwarding.end_to_end(asked.fields).get(name.encode()) == b"x"


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_is_believed_of_ours_alone(name):
    asked = request(b"GET", b"/a", (name.encode(), b"x"))
    assert name.encode() not in forwarding.believed(asked, trusted=False).fields
    assert name.encode() in forwarding.believed(asked, trusted=True).fields


@pytest.mark.parametrize(
    "name",
    [name for name in (*MATTERS, *TOLD, *OF_A_HOP, "surrogate-capability") if "-" in name],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_what_passes_for_such_a_field_by_an_underscore_goes_no_further(name, trusted):
    odd = name.replace("-", "_").encode()
    asked = request(b"GET", b"/a", (odd, b"x"), (b"x_plain", b"y"))
    kept = forwarding.believed(asked, trusted=trusted).fields
    assert (odd in kept) is (name == "x-amz-date")  # S3 knows no such spelling
    assert kept.get(b"x_plain") == b"y"


def test_a_capability_before_ours_is_kept_from_ours_alone():
    asked = request(b"GET", b"/a", surrogate_capability=b'edge="Surrogate/1.0"')
    for trusted, said in (
        (True, b'edge="Surrogate/1.0", vary-proxy="Surrogate/1.0"'),
        (False, b'vary-proxy="Surrogate/1.0"'),
    ):
        found = sent(asked, Hop(b"o.example", trusted=trusted))
        assert found.fields.lines(b"surrogate-capability") == (said,)


def test_many_names_are_judged_as_few_are():
    pairs = [(b"x-%d" % number, b"y") for number in range(200)]
    asked = request(b"GET", b"/a", *pairs, (b"x-host", b"z"), (b"x_host", b"z"))
    assert forwarding.believed(asked, trusted=False).fields.items == tuple(pairs)
