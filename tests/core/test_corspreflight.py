"""Preflights: which are, the truth table of the answers, how an origin's answer is kept."""

from __future__ import annotations

import pytest

from tests.core.fetchoracle import Asked, max_age, preflight_passes
from vary_proxy.core.cors import Kind, blocked, compile_policy
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CORS_VARY
from vary_proxy.core.preflight import (
    PreflightAnswer,
    denied,
    is_preflight,
    preflight_key,
    preflight_lifetime,
    preflight_reply,
    requested_headers,
)

A = b"https://a.example"
EVIL = b"https://evil.example"
ACRH, ACRM = b"access-control-request-headers", b"access-control-request-method"

_COMMON = {"methods": ["GET", "PUT"], "headers": ["Content-Type", "X-Token"], "max_age": 7200}
POLICIES = {
    "star": compile_policy("star", origins="*", **_COMMON),
    "one": compile_policy("one", origins=["https://a.example"], **_COMMON),
    "list-cred": compile_policy(
        "list-cred",
        origins=["https://a.example", "https://b.example"],
        credentials=True,
        **_COMMON,
    ),
    "headers-star": compile_policy(
        "headers-star", origins="*", methods=["GET", "PUT"], headers=["*", "Authorization"]
    ),
    "headers-star-cred": compile_policy(
        "headers-star-cred",
        origins=["https://a.example"],
        methods=["GET", "PUT"],
        headers="*",
        credentials=True,
    ),
}


def ask(
    origin: bytes | None = A, method: bytes | None = b"PUT", headers: bytes | None = None
) -> Request:
    pairs: list[Pair] = []
    for name, value in ((b"origin", origin), (ACRM, method), (ACRH, headers)):
        if value is not None:
            pairs.append((name, value))
    return Request(b"OPTIONS", b"/", Fields(tuple(pairs)), authority=b"media.example")


def acah(answer: PreflightAnswer) -> bytes | None:
    return Fields(answer.fields).combined(b"access-control-allow-headers")


BOTH = b"Content-Type, X-Token"
STAR = b"*, Authorization"
# method, headers asked; then status, Allow-Headers, what failed: per policy of POLICIES.
TABLE = [
    (b"PUT", b"x-token", [(204, BOTH, "")] * 3, (204, STAR, ""), (204, b"x-token", "")),
    (b"PUT", None, [(204, BOTH, "")] * 3, (204, STAR, ""), (204, None, "")),
    (
        b"PATCH",
        b"x-token",
        [(204, BOTH, "method"), (204, BOTH, "method"), (403, None, "method")],
        (204, STAR, "method"),
        (204, b"x-token", "method"),
    ),
    (
        b"PUT",
        b"x-nope",
        [(204, BOTH, "header"), (204, BOTH, "header"), (403, None, "header")],
        (204, STAR, ""),
        (204, b"x-nope", ""),
    ),
    (
        b"PUT",
        b"X-Token,content-type",
        [(204, BOTH, "")] * 3,
        (204, STAR, ""),
        (204, b"content-type, x-token", ""),
    ),
    (
        b"GET",
        b"authorization",
        [(204, BOTH, "header"), (204, BOTH, "header"), (403, None, "header")],
        (204, STAR, ""),
        (204, None, "header"),
    ),
]


@pytest.mark.parametrize(("method", "headers", "plain", "star", "cred"), TABLE)
def test_the_truth_table_of_preflights(
    method: bytes,
    headers: bytes | None,
    plain: list[tuple[int, bytes | None, str]],
    star: tuple[int, bytes | None, str],
    cred: tuple[int, bytes | None, str],
) -> None:
    request = ask(A, method, headers)
    for policy, expected in zip(POLICIES.values(), [*plain, star, cred], strict=True):
        answer = preflight_reply(policy, request)
        assert (answer.status, acah(answer), answer.failing) == expected, policy.name
        if answer.status == 403:
            assert answer.fields == ()
        asked = Asked(A, method, tuple((headers or b"").lower().split(b",")) if headers else ())
        assert preflight_passes(asked, answer.status, answer.fields) is (not answer.failing)


def test_vary_is_left_out_by_constant_policies_and_whole_otherwise() -> None:
    assert POLICIES["star"].preflight_vary == ()
    assert POLICIES["one"].preflight_vary == ()
    assert POLICIES["headers-star"].preflight_vary == ()
    assert POLICIES["headers-star-cred"].preflight_vary == (b"Access-Control-Request-Headers",)
    for request in (ask(), ask(EVIL), ask(A, b"PATCH"), ask(A, b"PUT", b"x-nope")):
        assert preflight_reply(POLICIES["list-cred"], request).vary == CORS_VARY


@pytest.mark.parametrize("name", ["star", "one", "headers-star"])
def test_a_constant_policy_answers_everybody_with_the_same_204(name: str) -> None:
    requests = [
        ask(origin, method, headers)
        for origin in (A, EVIL, b"null", b"", b"nonsense")
        for method in (b"PUT", b"PATCH", b"", b"b\xffd")
        for headers in (None, b"", b"x-token", b"x y", b",,")
    ]
    answers = {
        (one.status, one.fields, one.vary)
        for one in (preflight_reply(POLICIES[name], request) for request in requests)
    }
    assert len(answers) == 1


def test_a_refusal_says_nothing_to_the_client_and_all_to_the_log() -> None:
    policy = POLICIES["list-cred"]
    for request, reason, failing, culprit in (
        (ask(EVIL), "origin", "origin", EVIL),
        (ask(b"null"), "null-origin", "origin", b"null"),
        (ask(b"a.example"), "malformed", "origin", b"a.example"),
        (ask(A, b"PATCH"), "method", "method", b"PATCH"),
        (ask(A, b"put"), "method", "method", b"put"),
        (ask(A, b"PUT", b"x-token, x-b, x-a"), "header", "header", b"x-a"),
        (ask(A, b"PUT", b"x token"), "header", "header", b"x token"),
    ):
        answer = preflight_reply(policy, request)
        assert (answer.status, answer.fields) == (403, ())
        assert answer.verdict.kind is Kind.REFUSED
        assert (answer.verdict.reason, answer.failing, answer.culprit) == (reason, failing, culprit)
        assert blocked(request, answer.verdict) == reason


@pytest.mark.parametrize(
    ("name", "line", "failing"),
    [
        (b"origin", A, "origin"),
        (ACRM, b"PUT", "method"),
        (ACRH, b"x-nope", "header"),
        (ACRH, b"x y", "header"),
    ],
)
def test_a_second_line_counts(name: bytes, line: bytes, failing: str) -> None:
    """RFC 9110 §5.3: what is said in two lines is said; a browser sends each field once."""
    request = ask(A, b"PUT", b"x-token")
    twice = request.to(b"http", b"", b"/", request.fields.plus(((name, line),)))
    answer = preflight_reply(POLICIES["list-cred"], twice)
    assert (answer.status, answer.fields, answer.failing) == (403, (), failing)
    assert answer.culprit == (line if line == b"x-nope" else twice.fields.combined(name))
    assert preflight_key(twice) != preflight_key(request)


def test_on_reject_204_refuses_without_a_status() -> None:
    policy = compile_policy("p", origins=["https://a.example", "https://b.example"], on_reject=204)
    answer = preflight_reply(policy, ask(EVIL))
    assert (answer.status, answer.fields, answer.vary) == (204, (), CORS_VARY)
    assert not preflight_passes(Asked(EVIL, b"PUT"), answer.status, answer.fields)


def test_success_of_a_policy_with_everything() -> None:
    policy = compile_policy(
        "p",
        origins=["https://a.example", "https://b.example"],
        methods=["GET", "PUT"],
        headers=["X-Token"],
        expose=["ETag"],
        credentials=True,
        max_age=86400.0,
        allow_private_network=True,
        preflight_cache_control=True,
        timing_allow_origin="*",
    )
    assert preflight_reply(policy, ask(A, b"PUT", b"x-token")).fields == (
        (b"access-control-allow-origin", A),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", b"GET, PUT"),
        (b"access-control-allow-headers", b"X-Token"),
        (b"access-control-max-age", b"86400"),
        (b"cache-control", b"public, max-age=86400"),
        (b"access-control-allow-private-network", b"true"),
    )


def test_private_network_access_is_answered_by_explicit_option_only() -> None:
    request = ask(A, b"PUT")
    asking = Request(
        b"OPTIONS",
        b"/",
        request.fields.plus([(b"access-control-request-private-network", b"true")]),
    )
    for policy in POLICIES.values():
        fields = Fields(preflight_reply(policy, asking).fields)
        assert b"access-control-allow-private-network" not in fields


@pytest.mark.parametrize(("given", "sent"), [(None, 5), (0, 0), (2.9, 2), (86400, 86400)])
def test_max_age_is_in_whole_seconds_and_left_out_when_unset(
    given: float | None, sent: int
) -> None:
    policy = compile_policy("p", origins="*", max_age=given)
    assert max_age(preflight_reply(policy, ask()).fields) == sent


PREFIXED = compile_policy(
    "prefixed",
    origins=["https://a.example", "https://b.example"],
    methods=["PUT"],
    headers=["Authorization", "X-Amz-*", "Content-Type"],
    credentials=True,
)


@pytest.mark.parametrize(
    ("headers", "listed", "failing"),
    [
        (None, b"Authorization, Content-Type", ""),
        (b"x-amz-date", b"Authorization, Content-Type, x-amz-date", ""),
        (
            b"X-Amz-Date,authorization,x-amz-acl,x-amz-date",
            b"Authorization, Content-Type, x-amz-acl, x-amz-date",
            "",
        ),
        (b"x-amz-", b"Authorization, Content-Type, x-amz-", ""),
        (b"x-amzn-trace", None, "header"),
        (b"y-x-amz-date", None, "header"),
    ],
)
def test_prefixes_are_expanded_to_what_is_asked_for(
    headers: bytes | None, listed: bytes | None, failing: str
) -> None:
    answer = preflight_reply(PREFIXED, ask(A, b"PUT", headers))
    assert (acah(answer), answer.failing) == (listed, failing)
    names = tuple(headers.lower().split(b",")) if headers else ()
    asked = Asked(A, b"PUT", names, include=True)
    assert preflight_passes(asked, answer.status, answer.fields) is (failing == "")


def test_prefixes_make_a_constant_policy_depend_on_the_headers_asked_for() -> None:
    policy = compile_policy("p", origins="*", headers=["X-Amz-*"])
    answer = preflight_reply(policy, ask(A, b"GET", b"x-nope, x-amz-date"))
    assert (answer.status, acah(answer), answer.failing) == (204, b"x-amz-date", "header")
    assert answer.vary == (b"Access-Control-Request-Headers",)
    answer = preflight_reply(policy, ask(A, b"GET", b"x y"))
    assert (answer.status, acah(answer), answer.failing) == (204, None, "header")


@pytest.mark.parametrize("headers", ["*", ["Auth*"], ["*", "X-A"], ["A*", "X-*"]])
@pytest.mark.parametrize("credentials", [False, True])
def test_authorization_is_granted_by_name_only(headers: list[str], credentials: bool) -> None:
    policy = compile_policy(
        "p", origins=["https://a.example"], headers=headers, credentials=credentials
    )
    answer = preflight_reply(policy, ask(A, b"GET", b"authorization"))
    assert (answer.failing, answer.culprit) == ("header", b"authorization")
    asked = Asked(A, b"GET", (b"authorization",), include=credentials)
    assert not preflight_passes(asked, answer.status, answer.fields)


def test_methods_star_grants_any_method_without_credentials() -> None:
    policy = compile_policy("p", origins=["https://a.example", "https://b.example"], methods="*")
    answer = preflight_reply(policy, ask(A, b"PURGE"))
    assert answer.failing == ""
    assert Fields(answer.fields).get(b"access-control-allow-methods") == b"*"
    assert preflight_reply(policy, ask(A, b"not a token")).failing == "method"


def test_a_policy_that_can_refuse_refuses_unlisted_safelisted_methods() -> None:
    policy = compile_policy(
        "p", origins=["https://a.example", "https://b.example"], methods=["GET"]
    )
    assert preflight_reply(policy, ask(A, b"POST")).status == 403
    constant = compile_policy("p", origins="*", methods=["PUT"])
    for method in (b"GET", b"HEAD", b"POST"):  # a browser takes them all the same
        answer = preflight_reply(constant, ask(A, method))
        assert (answer.status, answer.failing) == (204, "")
        assert preflight_passes(Asked(A, method), 204, answer.fields)


def test_denied_preflights() -> None:
    answer = denied(ask())
    assert (answer.status, answer.fields, answer.vary) == (403, (), CORS_VARY)
    assert (answer.failing, answer.verdict.reason) == ("denied", "denied")


@pytest.mark.parametrize(
    ("method", "origin", "asked", "is_one"),
    [
        (b"OPTIONS", A, b"PUT", True),
        (b"OPTIONS", b"", b"", True),
        (b"OPTIONS", A, None, False),
        (b"OPTIONS", None, b"PUT", False),
        (b"GET", A, b"PUT", False),
        (b"options", A, b"PUT", False),
    ],
)
def test_which_requests_are_preflights(
    method: bytes, origin: bytes | None, asked: bytes | None, is_one: bool
) -> None:
    request = ask(origin, asked)
    assert is_preflight(Request(method, b"/", request.fields)) is is_one


# Keeping the origin's answers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        (b"", ()),
        (b" , ,", ()),
        (b"X-B,x-a , X-A", (b"x-a", b"x-b")),
        (b"x a", None),
        (b'"x"', None),
    ],
)
def test_requested_headers(value: bytes | None, names: tuple[bytes, ...] | None) -> None:
    assert requested_headers(ask(headers=value)) == names


def test_preflights_that_ask_the_same_have_the_same_key() -> None:
    assert preflight_key(ask(headers=b"X-B, x-a")) == preflight_key(ask(headers=b"x-a,x-b,X-a"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ask(headers=b"ab,c"), ask(headers=b"a,bc")),
        (ask(headers=None), ask(headers=b"")),
        (ask(headers=b"x a"), ask(headers=b"x b")),
    ],
)
def test_preflights_with_other_headers_have_another_key(one: Request, other: Request) -> None:
    assert preflight_key(one) != preflight_key(other)


def test_a_second_line_on_private_networks_makes_another_key() -> None:
    once = ask().fields.plus(((b"access-control-request-private-network", b"true"),))
    twice = once.plus(((b"access-control-request-private-network", b"true"),))
    assert preflight_key(ask().to(b"http", b"", b"/", once)) != preflight_key(
        ask().to(b"http", b"", b"/", twice)
    )


@pytest.mark.parametrize(
    "other",
    [
        ask(EVIL, headers=b"x-a"),
        ask(None, headers=b"x-a"),
        ask(A, b"put", b"x-a"),
        ask(A, b"PUT", b"x-a,x-b"),
        ask(A, b"PUT", b""),
        ask(A, b"PUT", None),
        ask(A, b"PUT", b"x a"),
        Request(
            b"OPTIONS",
            b"/",
            ask(A, b"PUT", b"x-a").fields.plus(
                [(b"access-control-request-private-network", b"true")]
            ),
        ),
    ],
)
def test_preflights_that_ask_something_else_have_another_key(other: Request) -> None:
    assert preflight_key(ask(A, b"PUT", b"x-a")) != preflight_key(other)


def test_the_key_is_made_of_selecting_values_in_order() -> None:
    names = [name for name, _ in preflight_key(ask())]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("max_age", "cache_control", "seconds"),
    [
        (None, None, 0),
        (b"600", None, 600),
        (None, b"max-age=60", 60),
        (b"600", b"max-age=60", 60),
        (b"30", b"public, max-age=60", 30),
        (b"600", b"max-age=60, s-maxage=120", 120),
        (b"600", b"no-store", 0),
        (b"600", b"private, max-age=60", 0),
        (b"600", b"no-cache", 0),
        (b"-1", b"max-age=60", 0),
        (b"soon", None, 0),
        (b"0", b"max-age=60", 0),
        (b"600", b"public", 600),
    ],
)
def test_an_origins_answer_is_kept_for_the_shorter_of_what_it_states(
    max_age: bytes | None, cache_control: bytes | None, seconds: int
) -> None:
    pairs = ((b"access-control-max-age", max_age), (b"cache-control", cache_control))
    fields = Fields(tuple((name, value) for name, value in pairs if value is not None))
    assert preflight_lifetime(fields) == seconds
    if max_age is not None:  # in two lines it is no number; a browser takes 5 s then
        assert preflight_lifetime(fields.plus(((b"access-control-max-age", max_age),))) == 0
