"""What edge policies answer: the truth tables of the contract, and each mode's effect."""

from __future__ import annotations

import pytest

from tests.core.fetchoracle import Asked, cors_check
from vary_proxy.core.cors import (
    CorsPolicy,
    Kind,
    Verdict,
    apply,
    blocked,
    compile_policy,
    family_verdict,
    key_value,
    reply_fields,
    verdict,
    verdict_of,
    without_family,
)
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CorsMode, OriginKey

A = b"https://a.example"
B = b"https://b.example"

POLICIES = {
    "star": compile_policy("star", origins="*"),
    "one": compile_policy("one", origins=["https://a.example"]),
    "list-cred": compile_policy(
        "list-cred", origins=["https://a.example", "https://b.example"], credentials=True
    ),
    "wildcard": compile_policy("wildcard", origins=["https://*.a.example"]),
    "regex": compile_policy("regex", origins=[r"~https://pr-[0-9]+\.a\.example"]),
    "null": compile_policy("null", origins=["https://a.example", "null"]),
}

# Origin -> what list-cred, wildcard, regex and null make of it; star and one are constant.
GRANTS: dict[bytes | None, tuple[bool, bool, bool, bool]] = {
    None: (False, False, False, False),
    A: (True, False, False, True),
    B: (True, False, False, False),
    b"https://evil.example": (False, False, False, False),
    b"null": (False, False, False, True),
    b"https://x.a.example": (False, True, False, False),
    b"https://x.y.a.example": (False, True, False, False),
    b"https://pr-12.a.example": (False, True, True, False),
    b"https://pr-12.a.example.evil.example": (False, False, False, False),
    b"https://a.example.evil.example": (False, False, False, False),
    b"https://evila.example": (False, False, False, False),
    b"http://a.example": (False, False, False, False),
    b"https://a.example:8443": (False, False, False, False),
    b"HTTPS://A.EXAMPLE": (False, False, False, False),
    b"https://a.example/": (False, False, False, False),
    b"": (False, False, False, False),
    b"https://a.example, https://b.example": (False, False, False, False),
    b"https://pr-12xa.example": (False, False, False, False),
    b"https://x.a.example:8443": (False, False, False, False),
    b"http://x.a.example": (False, False, False, False),
    b"https://.a.example": (False, False, False, False),
    b"https://x.a.example.": (False, False, False, False),
    b"https://x.a.example:443": (False, False, False, False),
    b"https://evil.example/.a.example": (False, False, False, False),
    b"https://evil.example:80.a.example": (False, False, False, False),
    b"https://user@x.a.example": (False, False, False, False),
    b"https://x..a.example": (False, False, False, False),
    b"https://pr-.a.example": (False, True, False, False),
    b"https://x" + b"x" * 400 + b".a.example": (False, False, False, False),
    b"https://\xff.a.example": (False, False, False, False),
    b"NULL": (False, False, False, False),
    b"*": (False, False, False, False),
}


def ask(origin: bytes | None, *more: Pair, method: bytes = b"GET") -> Request:
    fields = () if origin is None else ((b"origin", origin),)
    return Request(method, b"/", Fields((*fields, *more)), authority=b"media.example")


def acao(fields: tuple[Pair, ...]) -> bytes | None:
    return Fields(fields).combined(b"access-control-allow-origin")


@pytest.mark.parametrize("origin", GRANTS, ids=repr)
def test_the_truth_table_of_actual_requests(origin: bytes | None) -> None:
    for name, granted in zip(
        ("list-cred", "wildcard", "regex", "null"), GRANTS[origin], strict=True
    ):
        policy = POLICIES[name]
        judged = verdict(policy, origin)
        kind = Kind.ABSENT if origin is None else Kind.ALLOWED if granted else Kind.REFUSED
        assert judged.kind is kind, name
        assert acao(reply_fields(policy, judged)) == (origin if granted else None), name
        trusted = Fields(judged.fields).get(b"access-control-allow-credentials")
        assert trusted == (b"true" if granted and name == "list-cred" else None)
        assert policy.vary == (b"Origin",)


@pytest.mark.parametrize("origin", GRANTS, ids=repr)
def test_constant_policies_say_the_same_to_everybody(origin: bytes | None) -> None:
    for name, value in (("star", b"*"), ("one", A)):
        policy = POLICIES[name]
        assert policy.is_constant
        assert policy.vary == ()
        assert reply_fields(policy, verdict(policy, origin)) == reply_fields(policy, policy.absent)
        assert acao(reply_fields(policy, verdict(policy, origin))) == value


@pytest.mark.parametrize(
    ("name", "origin", "kind", "reason"),
    [
        ("star", b"https://any.example", Kind.ALLOWED, ""),
        ("star", b"null", Kind.ALLOWED, ""),
        ("star", b"nonsense", Kind.REFUSED, "malformed"),
        ("one", A, Kind.ALLOWED, ""),
        ("one", B, Kind.REFUSED, "origin"),
        ("one", b"null", Kind.REFUSED, "null-origin"),
        ("one", None, Kind.ABSENT, ""),
        ("list-cred", b"", Kind.REFUSED, "malformed"),
        ("list-cred", b"https://a.example/", Kind.REFUSED, "malformed"),
        ("list-cred", b"HTTPS://A.EXAMPLE", Kind.REFUSED, "malformed"),
        ("list-cred", b"http://a.example", Kind.REFUSED, "origin"),
        ("null", b"null", Kind.ALLOWED, ""),
        ("null", b"Null", Kind.REFUSED, "malformed"),
    ],
)
def test_verdicts_give_their_reason(
    name: str, origin: bytes | None, kind: Kind, reason: str
) -> None:
    judged = verdict(POLICIES[name], origin)
    assert (judged.kind, judged.reason) == (kind, reason)


def test_two_origin_lines_are_malformed_even_when_equal() -> None:
    request = Request(b"GET", b"/", Fields(((b"origin", A), (b"origin", A))))
    judged = verdict_of(POLICIES["list-cred"], request)
    assert (judged.kind, judged.reason) == (Kind.REFUSED, "malformed")
    assert judged.fields == ()
    assert verdict(POLICIES["list-cred"], A, 2).kind is Kind.REFUSED


def test_an_exact_origin_is_answered_from_what_was_rendered_when_loading() -> None:
    policy = POLICIES["list-cred"]
    assert verdict(policy, A) is verdict(policy, A)
    assert verdict(policy, None) is verdict(policy, None)


def test_one_origin_with_credentials_is_constant_too() -> None:
    policy = compile_policy("p", origins=["https://a.example"], credentials=True)
    assert policy.vary == ()
    fields = reply_fields(policy, verdict(policy, B))
    assert cors_check(Asked(A, include=True), fields)
    assert not cors_check(Asked(B), fields)


def test_null_is_admitted_by_name_and_never_by_pattern() -> None:
    policy = compile_policy("p", origins=[r"~null|https://a\.example"])
    assert verdict(policy, A).kind is Kind.ALLOWED
    assert verdict(policy, b"null").kind is Kind.REFUSED
    assert not policy.origins.admits(b"null")


def test_a_wildcard_stands_for_something() -> None:
    assert not POLICIES["wildcard"].origins.admits(b"https://.a.example")


def test_null_alone_is_not_spread_over_every_response() -> None:
    policy = compile_policy("p", origins=["null"])
    assert not policy.is_constant
    assert reply_fields(policy, verdict(policy, None)) == ()


FULL = compile_policy(
    "full",
    origins=["https://a.example", "https://b.example"],
    expose=["ETag", "Content-Range"],
    credentials=True,
    timing_allow_origin="*",
    resource_policy="cross-origin",
)


def test_all_fields_of_a_grant_and_the_static_ones_of_every_response() -> None:
    static = (
        (b"timing-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    )
    assert reply_fields(FULL, verdict(FULL, B)) == (
        (b"access-control-allow-origin", B),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"ETag, Content-Range"),
        *static,
    )
    assert reply_fields(FULL, verdict(FULL, None)) == static
    assert reply_fields(FULL, verdict(FULL, b"https://evil.example")) == static


def test_timing_allow_origin_can_be_a_fixed_list() -> None:
    policy = compile_policy("p", origins="*", timing_allow_origin=["https://a.example", "null"])
    fields = Fields(reply_fields(policy, verdict(policy, None)))
    assert fields.get(b"timing-allow-origin") == b"https://a.example, null"


# Modes ---------------------------------------------------------------------------------------

STORED = Fields(
    (
        (b"content-type", b"image/png"),
        (b"access-control-allow-origin", b"https://origins-own.example"),
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-private-network", b"true"),
        (b"timing-allow-origin", b"https://origins-own.example"),
        (b"etag", b'"1"'),
    )
)


def test_override_drops_the_origins_family_and_writes_ours() -> None:
    done = apply(CorsMode.OVERRIDE, POLICIES["list-cred"], STORED, ask(A))
    assert done.fields.lines(b"access-control-allow-origin") == (A,)
    assert b"access-control-allow-private-network" not in done.fields
    assert done.fields.get(b"etag") == b'"1"'
    assert done.vary == (b"Origin",)
    assert done.verdict.kind is Kind.ALLOWED


def test_override_leaves_fields_that_the_policy_does_not_rule() -> None:
    done = apply(CorsMode.OVERRIDE, POLICIES["list-cred"], STORED, ask(A))
    assert done.fields.get(b"timing-allow-origin") == b"https://origins-own.example"
    done = apply(CorsMode.OVERRIDE, FULL, STORED, ask(None))
    assert done.fields.lines(b"timing-allow-origin") == (b"*",)
    assert b"access-control-allow-origin" not in done.fields


def test_override_of_a_constant_policy_reports_no_vary() -> None:
    assert apply(CorsMode.OVERRIDE, POLICIES["star"], STORED, ask(A)).vary == ()


def test_strip_takes_the_family_and_says_that_a_browser_will_block() -> None:
    done = apply(CorsMode.STRIP, None, STORED, ask(A))
    assert not any(name.startswith(b"access-control-") for name in done.fields.names())
    assert (done.verdict.kind, done.verdict.reason) == (Kind.REFUSED, "stripped")
    assert apply(CorsMode.STRIP, None, STORED, ask(None)).verdict.kind is Kind.ABSENT


def test_passthrough_touches_nothing() -> None:
    done = apply(CorsMode.PASSTHROUGH, None, STORED, ask(A))
    assert done.fields is STORED
    assert done.vary == ()
    assert apply(CorsMode.PASSTHROUGH, FULL, STORED, ask(A)) == done


ONE_OWN = Fields(((b"access-control-allow-origin", B), (b"etag", b'"1"')))


def test_fill_leaves_the_origins_grant_alone_and_adds_no_half_of_ours() -> None:
    done = apply(CorsMode.FILL, FULL, ONE_OWN, ask(B))
    assert done.fields.lines(b"access-control-allow-origin") == (B,)
    assert b"access-control-allow-credentials" not in done.fields
    assert done.fields.get(b"timing-allow-origin") == b"*"
    assert done.vary == (b"Origin",)


def test_fill_leaves_what_the_origin_says_of_timing() -> None:
    timed = ONE_OWN.plus([(b"timing-allow-origin", B)])
    for stored in (timed, timed.without({b"access-control-allow-origin"})):
        done = apply(CorsMode.FILL, FULL, stored, ask(B))
        assert done.fields.lines(b"timing-allow-origin") == (B,)
        assert done.fields.get(b"cross-origin-resource-policy") == b"cross-origin"


def test_fill_writes_ours_where_the_origin_said_nothing() -> None:
    done = apply(CorsMode.FILL, FULL, Fields(((b"etag", b'"1"'),)), ask(A))
    assert acao(done.fields.items) == A
    assert done.verdict.kind is Kind.ALLOWED


def test_fill_replaces_an_unreadable_answer_and_stray_fields() -> None:
    done = apply(CorsMode.FILL, POLICIES["null"], STORED, ask(A))
    assert done.fields.lines(b"access-control-allow-origin") == (A,)
    assert b"access-control-allow-credentials" not in done.fields
    stray = Fields(((b"access-control-allow-credentials", b"true"),))
    done = apply(CorsMode.FILL, POLICIES["star"], stray, ask(A))
    assert done.fields.items == ((b"access-control-allow-origin", b"*"),)


def test_fill_depends_on_origin_even_with_a_constant_policy() -> None:
    assert apply(CorsMode.FILL, POLICIES["star"], Fields(), ask(A)).vary == (b"Origin",)


@pytest.mark.parametrize("mode", [CorsMode.OVERRIDE, CorsMode.FILL])
@pytest.mark.parametrize("origin", [A, B, None, b"null", b"https://evil.example"])
@pytest.mark.parametrize("stored", [STORED, ONE_OWN, Fields()])
@pytest.mark.parametrize("policy", [*POLICIES.values(), FULL], ids=lambda one: one.name)
def test_never_two_allow_origin_fields(
    mode: CorsMode, origin: bytes | None, stored: Fields, policy: CorsPolicy
) -> None:
    done = apply(mode, policy, stored, ask(origin))
    assert len(done.fields.lines(b"access-control-allow-origin")) <= 1
    names = [name for name, _ in done.fields.items]
    assert len(names) == len(set(names))


def test_what_is_stored_under_override_has_no_family() -> None:
    kept = without_family(STORED, FULL.owned)
    assert kept.names() == {b"content-type", b"etag"}
    assert without_family(kept) is kept


# Reading the origin's own word ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "cookie", "fields", "kind", "reason"),
    [
        (None, False, {}, Kind.ABSENT, ""),
        (A, False, {}, Kind.REFUSED, "origin"),
        (A, False, {b"allow-origin": A}, Kind.ALLOWED, ""),
        (A, False, {b"allow-origin": B}, Kind.REFUSED, "origin"),
        (A, False, {b"allow-origin": b"*"}, Kind.ALLOWED, ""),
        (A, True, {b"allow-origin": b"*"}, Kind.REFUSED, "credentials"),
        (A, True, {b"allow-origin": A}, Kind.REFUSED, "credentials"),
        (A, True, {b"allow-origin": A, b"allow-credentials": b"True"}, Kind.REFUSED, "credentials"),
        (A, True, {b"allow-origin": A, b"allow-credentials": b"true"}, Kind.ALLOWED, ""),
        (b"null", False, {}, Kind.REFUSED, "null-origin"),
        (b"null", False, {b"allow-origin": b"null"}, Kind.ALLOWED, ""),
        (b"a.example", False, {}, Kind.REFUSED, "malformed"),
    ],
)
def test_the_origins_answer_is_read_as_a_browser_would(
    origin: bytes | None, cookie: bool, fields: dict[bytes, bytes], kind: Kind, reason: str
) -> None:
    answer = Fields(tuple((b"access-control-" + key, value) for key, value in fields.items()))
    request = ask(origin, *(((b"cookie", b"s=1"),) if cookie else ()))
    judged = family_verdict(answer, request)
    assert (judged.kind, judged.reason) == (kind, reason)
    if origin is not None:
        passes = cors_check(Asked(origin, include=cookie), answer.items)
        assert passes is (kind is Kind.ALLOWED)


@pytest.mark.parametrize(
    ("answer", "more", "reason"),
    [
        pytest.param((A, A), (), "origin", id="two Allow-Origin"),
        pytest.param((A,), ((b"origin", A),), "malformed", id="two Origin"),
    ],
)
def test_what_is_said_twice_passes_no_browser(
    answer: tuple[bytes, ...], more: tuple[Pair, ...], reason: str
) -> None:
    """Fetch, "get, decode, and split": two lines are one value with a comma."""
    said = Fields(tuple((b"access-control-allow-origin", one) for one in answer))
    assert family_verdict(said, ask(A, *more)) == Verdict(Kind.REFUSED, reason)


def test_credentials_that_are_allowed_twice_are_not_allowed() -> None:
    trust = (b"access-control-allow-credentials", b"true")
    said = Fields(((b"access-control-allow-origin", A), trust, trust))
    judged = family_verdict(said, ask(A, (b"cookie", b"s=1")))
    assert judged == Verdict(Kind.REFUSED, "credentials")


def test_two_lines_of_origin_are_a_value_of_their_own_in_the_key() -> None:
    twice = ask(A, (b"origin", B))
    values = {key_value(None, OriginKey.EXACT, one) for one in (twice, ask(A), ask(B), ask(None))}
    assert len(values) == 4
    assert key_value(POLICIES["list-cred"], OriginKey.VERDICT, twice) == b"refused"


REFUSED = Verdict(Kind.REFUSED, "origin")


@pytest.mark.parametrize(
    ("origin", "authority", "mode", "reason"),
    [
        pytest.param(A, b"media.example", None, "origin", id="another host"),
        pytest.param(A, b"media.example", b"cors", "origin", id="a browser says cors"),
        pytest.param(A, b"media.example", b"no-cors", None, id="a form or a beacon"),
        pytest.param(A, b"media.example", b"websocket", None, id="a WebSocket"),
        pytest.param(A, b"media.example", b"navigate", None, id="a navigation with POST"),
        pytest.param(A, b"a.example", None, None, id="same-origin POST"),
        pytest.param(A, b"A.Example:443", None, None, id="the default port written out"),
        pytest.param(b"http://a.example", b"a.example:80", None, None, id="the same for http"),
        pytest.param(b"https://a.example:8443", b"a.example:8443", None, None, id="its port"),
        pytest.param(b"https://a.example:8443", b"a.example", None, "origin", id="other port"),
        pytest.param(b"https://a.example", b"a.example:80", None, "origin", id="another's default"),
        pytest.param(b"null", b"null", None, "origin", id="null is no host"),
    ],
)
def test_only_a_browser_blocks_and_only_across_hosts(
    origin: bytes, authority: bytes, mode: bytes | None, reason: str | None
) -> None:
    fields = ((b"origin", origin), *(((b"sec-fetch-mode", mode),) if mode else ()))
    request = Request(b"POST", b"/", Fields(fields), authority=authority)
    assert blocked(request, REFUSED) == reason


def test_what_was_allowed_or_has_no_origin_is_not_blocked() -> None:
    assert blocked(ask(A), Verdict(Kind.ALLOWED)) is None
    assert blocked(ask(None), Verdict(Kind.ABSENT)) is None


def test_two_lines_of_origin_are_no_hosts_own() -> None:
    request = Request(
        b"POST", b"/", Fields(((b"origin", A), (b"origin", A))), authority=b"a.example"
    )
    assert blocked(request, REFUSED) == "origin"


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        (OriginKey.EXACT, (None, A, b"https://evil.example", b"")),
        (OriginKey.VERDICT, (None, b"allowed", b"refused", b"refused")),
        (OriginKey.PRESENCE, (None, b"present", b"present", b"present")),
        (OriginKey.IGNORE, (None, None, None, None)),
    ],
)
def test_what_stands_for_origin_in_the_key(
    mode: OriginKey, values: tuple[bytes | None, ...]
) -> None:
    origins = (None, A, b"https://evil.example", b"")
    policy = POLICIES["list-cred"]
    assert tuple(key_value(policy, mode, ask(origin)) for origin in origins) == values
