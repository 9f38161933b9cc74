"""Configurations that are refused, each with where, what and what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from vary_proxy.core.cors import PolicyError, compile_policy
from vary_proxy.core.corsorigins import dotted, parse_origin


def refused(**given: Any) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        compile_policy("p", **given)
    return caught.value


@pytest.mark.parametrize(
    ("origin", "what", "remedy"),
    [
        ("https://a.example/", "ends with a slash", "write https://a.example"),
        ("https://a.example/app", "has a path", "write https://a.example"),
        ("https://a.example?x", "has a path", "write https://a.example"),
        ("https://a.example#x", "has a path", "write https://a.example"),
        ("https://a.example/b/", "has a path", "write https://a.example"),
        ("https://a.example//", "has a path", "write https://a.example"),
        (" https://a.example", "is not an origin", "write https://a.example"),
        ("APP+x.y-1://a.example", "not in lower case", "write app+x.y-1://a.example"),
        ("https://A.Example", "not in lower case", "write https://a.example"),
        ("HTTPS://a.example", "not in lower case", "write https://a.example"),
        ("https://a.example:443", "the default port", "write https://a.example"),
        ("http://a.example:80", "the default port", "write http://a.example"),
        ("http://[::1]:80", "the default port", "write http://[::1]"),
        ("https://me@a.example", "names a user", "write https://a.example"),
        ("https://bücher.example", "not in ASCII", "write https://xn--bcher-kva.example"),
        ("a.example", "is not an origin", "write https://a.example"),
        ("localhost:3000", "is not an origin", "write https://localhost:3000"),
        ("https://a.example:99999", "is not an origin", "scheme://host[:port]"),
        ("https://a b", "is not an origin", "scheme://host[:port]"),
        ("https://a..example", "is not an origin", "scheme://host[:port]"),
        ("", "is not an origin", "for example https://example.com"),
        ("file://", "is not an origin", "scheme://host[:port]"),
        ("https://\udcff.example", "is not an origin", "scheme://host[:port]"),  # a flag's odd byte
        ("https://*.\udcff.example", "is not an origin", "scheme://host[:port]"),
        ("Null", "not in lower case", "write null"),
        ("**", "is no origin", 'write origins: "*"'),
        ("https://*", "not the whole leftmost label", "https://*.example.com"),
        ("*.a.example", "not the whole leftmost label", "https://*.example.com"),
        ("https://*a.example", "not the whole leftmost label", "https://*.example.com"),
        ("https://a.*.example", "not the whole leftmost label", "https://*.example.com"),
        ("https://*.*.example", "not the whole leftmost label", "https://*.example.com"),
        ("*://*.a.example", "not the whole leftmost label", "https://*.example.com"),
        ("https://a.example:*", "not the whole leftmost label", "https://*.example.com"),
        ("https://*.A.example", "not in lower case", "write https://*.a.example"),
        ("https://*.a.example/", "ends with a slash", "write https://*.a.example"),
        ("https://*.a.example:443", "the default port", "write https://*.a.example"),
        ("https://*.com", "everybody who has a name under .com", "https://*.example.com"),
        ("https://*.10.0.0.1", "before an address", "write https://10.0.0.1"),
        ("https://*.10.0.0.1.:8080", "before an address", "write https://10.0.0.1.:8080"),
        ("https://*.[::1]", "before an address", "write https://[::1]"),
        ("https://*.com.", "everybody who has a name under .com", "https://*.example.com"),
        ("https://*.bücher.example", "not in ASCII", "write https://*.xn--bcher-kva.example"),
    ],
)
def test_origins_that_no_browser_sends(origin: str, what: str, remedy: str) -> None:
    error = refused(origins=["https://fine.example", origin])
    assert error.path == ("origins", 1)
    assert what in error.what
    assert f'"{origin}"' in error.what
    assert remedy in error.remedy
    assert str(error) == f"origins[1]: {error.what}; {error.remedy}"


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"~.*", "admits everybody"),
        (r"~https://.*", "admits everybody"),
        (r"~https?://.+", "admits everybody"),
        (r"~https://a\.example.*", "https://a.example.evil.example (suffix)"),
        (r"~https://a\.example\..+", "(suffix)"),
        (r"~https://example\.[a-z]+", "https://example.xevil (suffix)"),
        (r"~https://.*a\.example", "https://evila.example (prefix)"),
        (r"~https://.*example\.co\.uk", "https://evilexample.co.uk (prefix)"),
        (r"~https://[a-z]+\.co\.uk", "(prefix)"),
        (r"~https://[a-d]+\.com", "(prefix)"),
        (r"~https://.*\..*\.com", "(prefix)"),
        (r"~https://[a-z]{3}\.com", "https://axx.com (domain)"),
        (r"~https://pr-[0-9]+.a.example", "https://pr-1xa.example (dot)"),
        (r"~https://pr-[0-9]+\.a.example", "https://pr-1.axexample (dot)"),
        (r"~http://192.168\.1\.1", "http://192x168.1.1 (dot)"),
        (r"~https://(a\.example|b.example)", "https://bxexample (dot)"),
        (r"~https://a\.example(:.*)?", "https://a.example:8443 (port)"),
        (r"~[a-z]+://a\.example", "http://a.example (scheme)"),
        (r"~.*://a\.example", "http://a.example (scheme)"),
        (r"~a\.example", "matches no origin"),
        (r"~https://A\.EXAMPLE", "matches no origin"),
        (r"~https://a\.example/", "matches no origin"),
        (r"~", "matches no origin"),
        (r"~https://(a+)+\.example\.com", "is catastrophic"),
        (r"~https://(a|a)*\.example\.com", "is catastrophic"),
        (r"~https://([a-z0-9]+-?)+\.example\.com", "is catastrophic"),
        (r"~https://(a?)*\.example\.com", "is catastrophic"),
        (r"~https://(?=a)a\.example", "uses (?…)"),
        (r"~(?i)https://a\.example", "uses (?…)"),
        (r"~https://(a)\1\.example", r"uses \1"),
        (r"~https://a\.example\Z", r"uses \Z"),
        (r"~https://a$|https://b", "has $ in its middle"),
        (r"~https://(a", "lacks a closing parenthesis"),
        (r"~https://a)", "a closing parenthesis too many"),
        (r"~https://[a", "ends too early"),
        (r"~https://[[:alpha:]]", "has [ inside a class"),
        (r"~https://[z-a]", "an impossible range"),
        (r"~https://a++", "repeats a repetition"),
        (r"~*", "nothing to repeat"),
        (r"~https://a{2", "opens no repetition"),
        (r"~https://a{3,2}", "bounds {3,2}"),
        (r"~https://a{1,999}", "bounds {1,999}"),
        (r"~https://((a{200}){200}){2}\.example\.com", "is too large"),
        (r"~https://a@b", "holds @"),
        ("~https://ä\\.example", "not ASCII"),
    ],
)
def test_patterns_that_admit_strangers_or_cannot_be_judged(pattern: str, what: str) -> None:
    error = refused(origins=[pattern])
    assert error.path == ("origins", 0)
    assert what in error.what
    assert error.remedy


@pytest.mark.parametrize(
    ("pattern", "match", "miss"),
    [
        (
            r"~https://pr-[0-9]+\.example\.dev",
            "https://pr-7.example.dev",
            "https://pr-x.example.dev",
        ),
        (r"~^https://a\.example$", "https://a.example", "https://a.example.evil.example"),
        (r"~https://(.+\.)?a\.example", "https://x.y.a.example", "https://xa.example"),
        (r"~https://([a-z0-9-]+\.)+a\.example", "https://x.y.a.example", "https://a.example"),
        (r"~https?://localhost(:\d+)?", "http://localhost:3000", "http://localhost.evil.example"),
        (r"~https?://(.*\.)?localhost(:[0-9]+)?", "http://x.localhost:1", "http://xlocalhost"),
        (r"~http://192\.168\.\d+\.\d+:\d{4}", "http://192.168.0.9:3000", "http://192.168.0.9"),
        (r"~https://(www|m)\.example\.(com|org)", "https://m.example.org", "https://x.example.org"),
        (
            r"~https://x-[^.]+-team\.vercel\.app",
            "https://x-a-team.vercel.app",
            "https://vercel.app",
        ),
        (r"~https://a\.example|https://b\.example", "https://b.example", "https://c.example"),
        (r"~https://a{2,3}?\.example\.com", "https://aaa.example.com", "https://aaaa.example.com"),
        (r"~capacitor://localhost", "capacitor://localhost", "https://localhost"),
        (r"~https://a\.example:8443", "https://a.example:8443", "https://a.example:8444"),
    ],
)
def test_patterns_that_are_taken_match_whole_values(pattern: str, match: str, miss: str) -> None:
    policy = compile_policy("p", origins=[pattern])
    assert policy.origins.admits(match.encode())
    assert not policy.origins.admits(miss.encode())


@pytest.mark.parametrize(
    ("wildcard", "match", "miss"),
    [
        ("https://*.a.example", b"https://x.y.a.example", b"https://a.example"),
        ("https://*.a.example", b"https://x.a.example", b"http://x.a.example"),
        ("https://*.a.example:8443", b"https://x.a.example:8443", b"https://x.a.example"),
        ("http://*.localhost:3000", b"http://x.localhost:3000", b"http://localhost:3000"),
        ("app://*.a.example", b"app://x.a.example", b"app://xa.example"),
        ("https://*.a.example.", b"https://x.a.example.", b"https://x.a.example"),
    ],
)
def test_wildcards_stand_for_whole_labels(wildcard: str, match: bytes, miss: bytes) -> None:
    policy = compile_policy("p", origins=[wildcard])
    assert policy.origins.admits(match)
    assert not policy.origins.admits(miss)
    assert not policy.is_constant


@pytest.mark.parametrize(
    ("origins", "fixed"),
    [
        ("*", b"*"),
        (["https://a.example"], b"https://a.example"),
        (["null"], None),
        (["https://a.example", "null"], None),
        (["https://a.example", "https://b.example"], None),
        (["https://a.example", "https://*.a.example"], None),
        (["https://a.example", r"~https://pr-[0-9]+\.a\.example"], None),
    ],
)
def test_whose_answer_is_the_same_for_everybody(origins: list[str], fixed: bytes | None) -> None:
    policy = compile_policy("p", origins=origins)
    assert policy.fixed == fixed
    assert policy.is_constant is (fixed is not None)
    assert policy.vary == (() if fixed else (b"Origin",))
    assert policy.origins.admits(b"null") is (fixed == b"*" or "null" in origins)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"https://a.example", (b"https", b"a.example", None)),
        (b"http://[::1]:8080", (b"http", b"[::1]", b"8080")),
        (b"app://Localhost", (b"app", b"Localhost", None)),
        (b"app+x://a:443", (b"app+x", b"a", b"443")),
    ],
)
def test_the_parts_of_an_origin(value: bytes, parts: tuple[bytes, bytes, bytes | None]) -> None:
    assert parse_origin(value) == parts


@pytest.mark.parametrize(
    ("given", "path", "what", "remedy"),
    [
        ({"origins": "*", "credentials": True}, "origins", '"*" with credentials', "list the"),
        ({"origins": ["null"], "credentials": True}, "origins", "everybody can be null", "leave"),
        ({"methods": "*", "credentials": True}, "methods", "means nothing", "list the names"),
        ({"expose": ["ETag", "*"], "credentials": True}, "expose", "means nothing", "list the"),
        ({"origins": ["*", "https://b.example"]}, "origins", "every origin already", '"*"'),
        ({"origins": []}, "origins", "admits nobody", "strip"),
        ({"methods": ["GET", "put"]}, "methods[1]", "case-sensitive", "write PUT"),
        ({"methods": ["GET", "GET", "put"]}, "methods[2]", "case-sensitive", "write PUT"),
        ({"methods": ["GET", "get"]}, "methods[1]", "case-sensitive", "write GET"),
        ({"methods": ["TRACE"]}, "methods[0]", "never send TRACE", "leave it out"),
        ({"methods": ["GET", "connect"]}, "methods[1]", "never send CONNECT", "leave it out"),
        ({"methods": ["TRACK"]}, "methods[0]", "never send TRACK", "leave it out"),
        ({"methods": ["GET,PUT"]}, "methods[0]", "is not a name", "one method, as PUT"),
        ({"methods": ["get,put"]}, "methods[0]", "is not a name", "one method, as PUT"),
        ({"methods": ["P*"]}, "methods[0]", "is not a name", "one method, as PUT"),
        ({"headers": ["X Token"]}, "headers[0]", "is not a name", "or a prefix"),
        ({"headers": [""]}, "headers[0]", "is not a name", "or a prefix"),
        ({"headers": ["*-Date"]}, "headers[0]", "is not a name", "or a prefix"),
        ({"headers": ["X-**"]}, "headers[0]", "is not a name", "or a prefix"),
        ({"expose": ["X-Amz-*"]}, "expose[0]", "is not a name", "one name, as X-Token"),
        ({"max_age": -1.0}, "max_age", "not a lifetime", "2h"),
        ({"max_age": 2.0**31}, "max_age", "not a lifetime", "2h"),
        ({"preflight_cache_control": True}, "preflight_cache_control", "max_age", "set max_age"),
        ({"on_reject": 200}, "on_reject", "200", "403 or 204"),
        ({"resource_policy": "all"}, "resource_policy", '"all"', "same-site"),
        ({"timing_allow_origin": ["a.example"]}, "timing_allow_origin[0]", "origin", "https://a.e"),
    ],
)
def test_what_browsers_would_not_honour(
    given: dict[str, Any], path: str, what: str, remedy: str
) -> None:
    error = refused(**{"origins": ["https://a.example"], **given})
    assert dotted(error.path) == path
    assert what in error.what
    assert remedy in error.remedy
    assert len(error.every) == 1


def test_all_errors_are_reported_at_once() -> None:
    error = refused(
        origins=["https://a.example/", "~.*"], methods=["get"], headers=["a b"], on_reject=1
    )
    assert [dotted(one.path) for one in error.every] == [
        "origins[0]",
        "origins[1]",
        "methods[0]",
        "headers[0]",
        "on_reject",
    ]
    error = refused(origins=["https://a.example/", "null"], methods="*", credentials=True)
    assert [dotted(one.path) for one in error.every] == ["origins[0]", "origins", "methods"]


def test_what_is_left_out_is_get_and_head_for_everybody_without_credentials() -> None:
    policy = compile_policy("p", origins="*")
    assert policy.preflight == ((b"access-control-allow-methods", b"GET, HEAD"),)
    assert policy.granted == policy.static == ()
    assert policy.on_reject == 403


def test_names_are_listed_once_as_first_spelled() -> None:
    policy = compile_policy(
        "p", origins="*", methods=["GET", "GET"], headers=["X-A", "x-a"], expose=["ETag", "etag"]
    )
    assert policy.preflight == (
        (b"access-control-allow-methods", b"GET"),
        (b"access-control-allow-headers", b"X-A"),
    )
    assert policy.granted == ((b"access-control-expose-headers", b"ETag"),)


@pytest.mark.parametrize("value", ["same-origin", "same-site", "cross-origin"])
def test_every_resource_policy_there_is(value: str) -> None:
    policy = compile_policy("p", origins="*", timing_allow_origin="*", resource_policy=value)
    assert policy.static == (
        (b"timing-allow-origin", b"*"),
        (b"cross-origin-resource-policy", value.encode()),
    )


def test_the_longest_lifetime() -> None:
    policy = compile_policy("p", origins="*", max_age=2**31 - 1)
    assert policy.preflight[1] == (b"access-control-max-age", b"2147483647")


def test_a_scalar_is_a_list_of_one() -> None:
    policy = compile_policy("p", origins="https://a.example", methods="PUT", headers="X-A")
    assert policy.origins.only == b"https://a.example"
    assert policy.methods == {b"PUT"}
    assert refused(origins="a.example").path == ("origins",)


@pytest.mark.parametrize(
    "value",
    [
        b"https://a.example",
        b"http://localhost:3000",
        b"https://a_b.example",
        b"https://xn--bcher-kva.example",
        b"http://127.0.0.1:8080",
        b"http://[::1]:8080",
        b"chrome-extension://abcdefghijklmnop",
        b"capacitor://localhost",
        b"https://a.example.",
        b"https://a.example:65535",
        b"https://a-b_c.d-e_f.example:1",
        b"https://[189:af::]:99",
        b"ws://a.example",
        b"wss://a.example:80",
        b"ftp://a.example:80",
        b"app+x.y-z19://Zaz.A_~%41-90:443",
        b"httpsx://Abc",
        b"x://" + b"y" * 316,
    ],
)
def test_well_formed_origins(value: bytes) -> None:
    assert parse_origin(value) is not None
    policy = compile_policy("p", origins=[value.decode()])
    assert policy.fixed == value


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"https:", b"https://", b"//a.example", b"https://a.example:", b"https://a:0",
     b"https://a:080", b"https://a:65536", b" https://a", b"https://a\n", b"https://a,https://b",
     b"https://a https://b", b"ws://a:80", b"wss://a:443", b"ftp://a:21", b"https://[::1",
     b"1http://a", b"https://a:655350", b"https://a:80:80", b"https://[]", b"https://[::g]",
     b"https://a..", b"ws://A", b"wss://A", b"ftp://A", b"http://A", b"https://A",
     b"x://" + b"y" * 317],
)  # fmt: skip
def test_malformed_origins(value: bytes) -> None:
    assert parse_origin(value) is None
