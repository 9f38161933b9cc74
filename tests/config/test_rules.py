"""The rule book: the first match wins, whatever is remembered."""

from __future__ import annotations

import pytest

from vary_proxy.config import loads
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import CorsMode
from vary_proxy.rules import RuleBook


def book(rules: str) -> RuleBook:
    return loads(
        f"origins: {{main: http://a.example}}\nrules:\n{rules}".encode(), "r.yaml", (), {}
    ).rules


def request(target: str, method: str = "GET", host: str = "a.example", **fields: str) -> Request:
    pairs = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()
    )
    return Request(method.encode(), target.encode(), Fields(pairs), b"http", host.encode())


FIVE = book("""
  - {name: signed, match: {query: {X-Amz-Signature: "*"}}}
  - {name: host, match: {host: ["*.b.example", "c.example:8443"], path: "/x/**"}}
  - {name: put, match: {methods: [PUT]}}
  - {name: bot, match: {headers: {User-Agent: "~.*[Bb]ot.*"}}}
  - {name: images, match: {path: ["/img/**", "**.png"]}}
""")


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (request("/img/a"), "images"),
        (request("/a.png?x=1"), "images"),
        (request("/a?x=.png"), "defaults"),
        (request("/img/a?X-Amz-Signature=1"), "signed"),
        (request("/img/a?X-Amz-Signature"), "signed"),
        (request("/img/a?a=1&%58-Amz-Signature=1"), "signed"),
        (request("/img/a?x-amz-signature=1"), "images"),
        (request("/x/y", host="m.b.example"), "host"),
        (request("/x/y", host="M.B.Example:8080"), "host"),
        (request("/x/y", host="m.b.example."), "host"),
        (request("/x/y", host="c.example:8443"), "host"),
        (request("/x/y", host="c.example"), "defaults"),
        (request("/x/y", host="m.n.b.example"), "defaults"),
        (request("/y", host="m.b.example"), "defaults"),
        (request("/", "PUT"), "put"),
        (request("/", "OPTIONS", origin="https://o", access_control_request_method="PUT"), "put"),
        (request("/", "OPTIONS", access_control_request_method="PUT"), "defaults"),
        (request("/img/", user_agent="Googlebot/2.1"), "bot"),
        (request("/img/", user_agent="Mozilla"), "images"),
        (request("*", "OPTIONS"), "defaults"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.target.decode(),
)
def test_the_first_match_wins(asked: Request, rule: str) -> None:
    assert FIVE.match(asked).rule == rule
    assert FIVE.match(asked).rule == rule  # now from memory
    winners = [one.rule for one in FIVE.explain(asked) if one.matched]
    assert winners == [rule]


def test_what_is_remembered_never_mixes_requests() -> None:
    asked = [request("/img/a"), request("/img/a?X-Amz-Signature=1"), request("/img/a", "PUT")]
    for _ in range(3):
        assert [FIVE.match(one).rule for one in asked] == ["images", "signed", "put"]


def test_memory_is_bounded() -> None:
    rules = book("  - {name: a, match: {path: /a/**}}")
    for number in range(10_000):
        rules.match(request(f"/a/{number}"))
    rules.match(request("/a/" + "x" * 5000))
    assert len(rules._known) <= 4096
    assert all(len(path) < 600 for _, _, _, path in rules._known)


def test_every_rule_says_why_not() -> None:
    told = FIVE.explain(request("/other", user_agent="curl"))
    assert [(one.rule, one.reason) for one in told] == [
        ("signed", "no query parameter X-Amz-Signature"),
        ("host", 'path "/other" does not match "/x/**"'),
        ("put", 'method "GET" is not PUT'),
        ("bot", 'field user-agent does not match "~.*[Bb]ot.*"'),
        ("images", 'path "/other" does not match "/img/**" or "**.png"'),
        ("defaults", ""),
    ]
    assert told[1].where == "r.yaml:5"
    assert told[-1].matched


def test_policies_are_shared_by_all_requests_of_a_rule() -> None:
    assert FIVE.match(request("/img/a")) is FIVE.match(request("/img/b"))
    assert FIVE.policies[-1] is FIVE.match(request("/nothing"))


GUARDED = book("""
  - {name: images, match: {path: "/img/**"}, cors: {policy: open, mode: override}}
  - {name: spelled, match: {path: "/my%20pictures/**"}, cors: {policy: open, mode: override}}
  - {name: private, match: {path: ["/private", "/private/**"]}, cache: off, cors: strip}
  - {name: pages, match: {path: "/pages/**"}, cache: {ttl: 60s}}
cors: {open: {origins: "*"}}
""")


@pytest.mark.parametrize(
    "target",
    [
        "/%70rivate/a",
        "/%50rivate/../private/a",
        "/private%2Fa",
        "//private/a",
        "/./private/a",
        "/pages/../private/a",
        "/pages/%2e%2e/private/a",
        "/pages/..%2fprivate/a",
        "/img/%252e%252e/private/a",
        "/img/..\\private\\a",
        "/img/..%5cprivate",
        "/img/..;/private/a",
        "/private;x=.css",
        "/private;/a.png?b=1",
        "/img//../private/a",
        "/my%20pictures/../private/a",
        "/my%20pictures/..%2Fprivate",
        "/img/" + "%70" * 400 + "/a",
        "/img/%25%36%31;a\\b//c/./d",
    ],
)
def test_no_spelling_of_a_path_leads_around_a_rule(target: str) -> None:
    for _ in range(2):
        policy = GUARDED.match(request(target))
        assert not policy.cache.enabled
        assert policy.cors is None
        assert policy.cors_mode is CorsMode.STRIP


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/img/a%20b.png", "images"),
        ("/img//a.png", "images"),
        ("/img/a/../b.png", "images"),
        ("/img/a;v=1.png", "images"),
        ("/img/%E4%B8%AD/%E6%96%87.png", "images"),
        ("/img/.hidden", "images"),
        ("/img/private", "images"),
        ("/img/a.png?next=/../private/", "images"),
        ("/img/a%3f/../b.png", "images"),
        ("/my%20pictures/a%20b.png", "spelled"),
        ("/pages/..%2fother", "pages"),
        ("/other%20page", "defaults"),
    ],
)
def test_odd_paths_that_no_other_rule_is_about_stay_as_they_are(target: str, rule: str) -> None:
    policy = GUARDED.match(request(target))
    assert policy.rule == rule
    assert any(policy is one for one in GUARDED.policies)


def test_what_an_origin_may_read_otherwise_is_explained() -> None:
    told = {one.rule: one for one in GUARDED.explain(request("/pages/%2e%2e/private/a"))}
    assert told["pages"].matched
    assert told["pages"].reason == (
        "but the origin may read the path as one of private: kept to as well"
    )
    assert not told["private"].matched
    plain = {one.rule: one for one in GUARDED.explain(request("/pages/a"))}
    assert plain["pages"].reason == ""


def test_what_may_hold_for_a_place_does_not_depend_on_fields() -> None:
    def names(target: str, method: str = "GET") -> list[str]:
        return [policy.rule for policy in FIVE.possible(request(target, method))]

    assert names("/img/a") == ["signed", "bot", "images"]
    assert names("/other") == ["signed", "bot", "defaults"]
    assert names("/other", "PUT") == ["signed", "put"]


def test_answers_got_with_another_client_certificate_are_others() -> None:
    def home(tls: str) -> bytes:
        said = f"origins: {{main: {{url: https://a.example{tls}}}}}"
        return loads(said.encode(), "r.yaml", (), {}).rules.fallback.home

    one, two = (f", tls: {{cert: {name}.crt, key: {name}.key}}" for name in ("one", "two"))
    assert len({home(""), home(one), home(two)}) == 3
    assert home(one) == home(one)
