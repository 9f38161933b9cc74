"""Properties over made-up policies and requests: what a browser does is what was meant.

What a policy means is told here from how it was put together, not by asking the program:
each origin comes with the requesters that it is to admit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.core.fetchoracle import Asked, cors_check, exposed, preflight_passes
from vary_proxy.core.cors import (
    CorsPolicy,
    Kind,
    apply,
    compile_policy,
    family_verdict,
    reply_fields,
    verdict_of,
)
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CorsMode
from vary_proxy.core.preflight import is_preflight, preflight_key, preflight_reply

_SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

# As written in a policy -> the requesters below that it is meant to admit.
_MEANINGS = {
    "https://a.example": {b"https://a.example"},
    "https://b.example": {b"https://b.example"},
    "http://a.example:8080": {b"http://a.example:8080"},
    "capacitor://localhost": {b"capacitor://localhost"},
    "null": {b"null"},
    "https://*.a.example": {b"https://x.a.example", b"https://pr-1.x.a.example"},
    "https://*.a.example:8443": {b"https://x.a.example:8443"},
    r"~https://pr-[0-9]+\.(x\.)?a\.example": {b"https://pr-1.x.a.example", b"https://pr-22.a.example"},
    r"~https?://b\.example(:[0-9]+)?": {b"https://b.example", b"http://b.example:3000"},
}  # fmt: skip
_MEANINGS["https://*.a.example"].add(b"https://pr-22.a.example")
_STRANGERS = [
    b"https://evil.example",
    b"https://a.example.evil.example",
    b"https://evila.example",
    b"http://a.example",
    b"https://x.a.example.evil.example",
    b"https://pr-1xa.example",
    b"http://x.a.example",
    b"capacitor://other",
]
_REQUESTERS = sorted({one for admitted in _MEANINGS.values() for one in admitted}) + _STRANGERS
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"]
_HEADERS = ["Content-Type", "X-Token", "Authorization", "Range", "X-Amz-Date", "X-Amz-Acl", "Auto"]


@dataclass(frozen=True)
class Case:
    """A policy and what it was made from."""

    policy: CorsPolicy
    made_from: dict[str, Any]

    def means_to_admit(self, origin: bytes) -> bool:
        listed = self.made_from["origins"]
        return listed == "*" or any(origin in _MEANINGS[one] for one in listed)

    def means_to_grant(self, asked: Asked) -> bool:
        """True when the preflight of *asked*, without credentials of its own, is meant to pass."""
        methods, headers = self.made_from["methods"], self.made_from["headers"]
        by_star = methods == "*" or asked.method.decode() in methods
        safelisted = asked.method in (b"GET", b"HEAD", b"POST")
        granted = by_star or (safelisted and self.policy.is_constant)
        return granted and all(_covers(headers, name.decode()) for name in asked.headers)


def _covers(headers: list[str] | str, name: str) -> bool:
    if headers == "*":
        return name.lower() != "authorization"
    lowered = name.lower()
    if lowered in {one.lower() for one in headers}:
        return True
    stems = tuple(one[:-1].lower() for one in headers if one.endswith("*"))
    return lowered != "authorization" and lowered.startswith(stems)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    credentials = draw(st.booleans())
    admitted = st.lists(st.sampled_from(sorted(_MEANINGS)), min_size=1, max_size=3, unique=True)
    origins: Any = draw(admitted if credentials else st.one_of(st.just("*"), admitted))
    if credentials:
        origins = [one for one in origins if one != "null"] or ["https://a.example"]
    listed = st.lists(st.sampled_from(_METHODS), max_size=4, unique=True)
    names = st.lists(st.sampled_from([*_HEADERS, "X-Amz-*", "Auth*"]), max_size=4, unique=True)
    made_from = {
        "origins": origins,
        "methods": draw(listed if credentials else st.one_of(st.just("*"), listed)),
        "headers": draw(st.one_of(st.just("*"), names)),
        "expose": draw(st.lists(st.sampled_from(["ETag", "Age"]), unique=True)),
        "credentials": credentials,
        "max_age": draw(st.sampled_from([None, 0, 600])),
        "on_reject": draw(st.sampled_from([403, 204])),
        "timing_allow_origin": draw(st.sampled_from([None, "*"])),
        "allow_private_network": draw(st.booleans()),
    }
    return Case(compile_policy("made", **made_from), made_from)


@st.composite
def pages(draw: st.DrawFn) -> Asked:
    return Asked(
        origin=draw(st.sampled_from(_REQUESTERS)),
        method=draw(st.sampled_from(_METHODS)).encode(),
        headers=tuple(
            one.encode() for one in draw(st.lists(st.sampled_from(_HEADERS), max_size=3))
        ),
        include=draw(st.booleans()),
    )


def _actual(asked: Asked) -> Request:
    cookies: tuple[Pair, ...] = ((b"cookie", b"s=1"),) if asked.include else ()
    fields = Fields(((b"origin", asked.origin), *cookies))
    return Request(asked.method, b"/", fields, authority=b"media.example")


def _preflight(asked: Asked) -> Request:
    return Request(b"OPTIONS", b"/", Fields(tuple(asked.preflight_lines())), authority=b"m.example")


@_SETTINGS
@given(cases(), pages())
def test_a_browser_admits_whom_the_policy_means_and_nobody_else(case: Case, asked: Asked) -> None:
    judged = verdict_of(case.policy, _actual(asked))
    meant = case.means_to_admit(asked.origin)
    assert (judged.kind is Kind.ALLOWED) is meant
    lines = reply_fields(case.policy, judged)
    trusted = case.made_from["credentials"] or not asked.include
    assert cors_check(asked, lines) is (meant and trusted)
    if cors_check(asked, lines):
        wanted = {name.encode() for name in case.made_from["expose"]}
        assert exposed(asked, lines, wanted) == {name.lower() for name in wanted}


@_SETTINGS
@given(cases(), pages())
def test_a_browser_passes_the_preflights_that_the_policy_means_to(case: Case, asked: Asked) -> None:
    request = _preflight(asked)
    assert is_preflight(request)
    answer = preflight_reply(case.policy, request)
    meant = case.means_to_admit(asked.origin) and case.means_to_grant(asked)
    assert (answer.failing == "") is meant
    assert (answer.verdict.kind is Kind.ALLOWED) is meant
    passes = preflight_passes(asked, answer.status, answer.fields)
    if not asked.include or case.made_from["credentials"]:
        assert passes is meant
    else:
        assert not passes
    if not meant and not case.policy.is_constant:
        assert answer.fields == ()
        assert answer.status == case.made_from["on_reject"]


_VALUES = [*_REQUESTERS, b"", b"nonsense", b"https://a.example/", b"https://a.example, null"]
_request_fields = st.fixed_dictionaries(
    {},
    optional={
        "origin": st.sampled_from(_VALUES),
        "access-control-request-method": st.sampled_from([b"PUT", b"PATCH", b"GET", b"", b"a b"]),
        "access-control-request-headers": st.sampled_from(
            [b"", b"x-token", b"x-amz-date,x-amz-acl", b"authorization", b"a b", b"auto, x-none"]
        ),
        "access-control-request-private-network": st.just(b"true"),
        "cookie": st.just(b"s=1"),
        "sec-fetch-mode": st.sampled_from([b"cors", b"no-cors"]),
    },
).map(lambda found: Fields(tuple((name.encode(), value) for name, value in found.items())))


def _agree(one: Fields, two: Fields, vary: tuple[bytes, ...]) -> Fields:
    """*two* made to agree with *one* on the names of *vary*."""
    names = {name.lower() for name in vary}
    kept = tuple(pair for pair in one.items if pair[0] in names)
    return two.without(names).plus(kept)


@_SETTINGS
@given(cases(), _request_fields, _request_fields)
def test_requests_that_agree_on_vary_get_the_same_fields(
    case: Case, one: Fields, two: Fields
) -> None:
    policy = case.policy
    other = _agree(one, two, policy.vary)
    first = verdict_of(policy, Request(b"GET", b"/", one))
    second = verdict_of(policy, Request(b"GET", b"/", other))
    assert reply_fields(policy, first) == reply_fields(policy, second)


@_SETTINGS
@given(cases(), _request_fields, _request_fields)
def test_preflights_that_agree_on_vary_get_the_same_answer(
    case: Case, one: Fields, two: Fields
) -> None:
    first = preflight_reply(case.policy, Request(b"OPTIONS", b"/", one))
    second = preflight_reply(case.policy, Request(b"OPTIONS", b"/", _agree(one, two, first.vary)))
    assert (first.status, first.fields, first.vary) == (second.status, second.fields, second.vary)


@_SETTINGS
@given(cases(), _request_fields, _request_fields)
def test_vary_is_the_same_on_every_reply_of_a_policy(case: Case, one: Fields, two: Fields) -> None:
    replies = [preflight_reply(case.policy, Request(b"OPTIONS", b"/", each)) for each in (one, two)]
    assert {reply.vary for reply in replies} == {case.policy.preflight_vary}
    stored = Fields(((b"etag", b'"1"'),))
    done = [
        apply(CorsMode.OVERRIDE, case.policy, stored, Request(b"GET", b"/", each))
        for each in (one, two)
    ]
    assert {each.vary for each in done} == {case.policy.vary}
    if case.policy.is_constant:
        assert case.policy.vary == ()
        assert done[0].fields == done[1].fields


@_SETTINGS
@given(cases(), _request_fields, _request_fields)
def test_preflights_with_one_key_get_one_answer(case: Case, one: Fields, two: Fields) -> None:
    first, second = Request(b"OPTIONS", b"/", one), Request(b"OPTIONS", b"/", two)
    assume(preflight_key(first) == preflight_key(second))
    assert preflight_reply(case.policy, first).fields == preflight_reply(case.policy, second).fields


_origin_fields = st.fixed_dictionaries(
    {},
    optional={
        b"access-control-allow-origin": st.sampled_from([*_REQUESTERS, b"*", b"null", b""]),
        b"access-control-allow-credentials": st.sampled_from([b"true", b"True", b"false"]),
        b"access-control-expose-headers": st.just(b"ETag"),
        b"timing-allow-origin": st.just(b"https://a.example"),
        b"etag": st.just(b'"1"'),
    },
).map(lambda found: tuple(found.items()))


@_SETTINGS
@given(cases(), pages(), _origin_fields, st.booleans())
def test_modes_send_one_family_whole(
    case: Case, asked: Asked, pairs: tuple[Pair, ...], doubled: bool
) -> None:
    fields = Fields((*pairs, *(pairs[:1] if doubled else ())))
    request = _actual(asked)
    own = reply_fields(case.policy, verdict_of(case.policy, request))
    ours = Fields(apply(CorsMode.OVERRIDE, case.policy, fields, request).fields.items)
    filled = apply(CorsMode.FILL, case.policy, fields, request)
    assert _family(ours) == _family(Fields(own))
    assert _family(filled.fields) in (_family(fields), _family(Fields(own)))
    assert len(filled.fields.lines(b"access-control-allow-origin")) <= 1
    assert (filled.verdict.kind is Kind.ALLOWED) is _would_pass(asked, filled.fields, case)
    assert ours.get(b"etag") == fields.get(b"etag")


def _family(fields: Fields) -> list[Pair]:
    return [pair for pair in fields.items if pair[0].startswith(b"access-control-")]


def _would_pass(asked: Asked, fields: Fields, case: Case) -> bool:
    own = reply_fields(case.policy, verdict_of(case.policy, _actual(asked)))
    if _family(fields) == _family(Fields(own)):  # ours judges who asks, not with what
        return case.means_to_admit(asked.origin) or cors_check(asked, fields.items)
    return cors_check(asked, fields.items)


@_SETTINGS
@given(pages(), _origin_fields)
def test_the_origins_word_is_read_as_the_standard_reads_it(
    asked: Asked, pairs: tuple[Pair, ...]
) -> None:
    judged = family_verdict(Fields(pairs), _actual(asked))
    assert (judged.kind is Kind.ALLOWED) is cors_check(asked, pairs)
