"""Primary keys, selecting values, and when a stored response matches (RFC 9111 §2, §4.1)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.given import fields, request, stored
from vary_proxy.core import keys
from vary_proxy.core.policy import (
    CachePolicy,
    CorsMode,
    OriginKey,
    Policy,
    QueryKey,
    VaryMode,
    VaryPolicy,
)


def key(asked, policy=None):
    return keys.primary_key(asked, policy or Policy())


TARGETS = [b"/a", b"/A", b"/a/", b"//a", b"/a?", b"/a?b", b"/a?B", b"/a?b=1&c=2", b"/a?c=2&b=1"]
TARGETS += [b"/%61", b"/a%2Fb", b"/a/b", b"/a/../a", b"/a;b", b"/a?b=%2F", b"/a?b=/"]


def test_2_every_target_is_its_own_byte_for_byte():
    assert len({key(request(b"GET", target)) for target in TARGETS}) == len(TARGETS)


def test_2_get_and_head_share_what_is_stored():
    assert key(request(b"GET")) == key(request(b"HEAD"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(request(), authority=b"other.example"), id="host"),
        pytest.param(replace(request(), authority=b"edge.example:8080"), id="port"),
        pytest.param(replace(request(), scheme=b"https"), id="scheme"),
    ],
)
def test_2_the_target_uri_is_more_than_its_path(other):
    assert key(request()) != key(other)


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(Policy(origin="other"), id="another origin"),
        pytest.param(Policy(vary=VaryPolicy(VaryMode.PASSTHROUGH)), id="another repair"),
        pytest.param(Policy(cors_mode=CorsMode.OVERRIDE), id="CORS fields of ours"),
        pytest.param(
            Policy(cache=CachePolicy(origin_key=OriginKey.IGNORE)), id="another partition"
        ),
    ],
)
def test_what_was_stored_under_another_rule_is_not_found(policy):
    assert key(request(), policy) != key(request())


QUERY = st.text(alphabet="ab/?&=%20", max_size=8)


@given(QUERY, QUERY, QUERY, QUERY)
def test_no_two_uris_share_a_key(one, host, other, another_host):
    first = replace(request(b"GET", b"/" + one.encode()), authority=host.encode())
    second = replace(request(b"GET", b"/" + other.encode()), authority=another_host.encode())
    same = (one, host) == (other, another_host)
    assert (key(first) == key(second)) is same


def pattern(*names: str) -> tuple[re.Pattern[bytes], ...]:
    return tuple(re.compile(name.encode()) for name in names)


@pytest.mark.parametrize(
    ("rule", "target", "like"),
    [
        pytest.param(QueryKey(ignore=pattern("u.*")), b"/a?u1=1&b=2", b"/a?b=2", id="ignore"),
        pytest.param(QueryKey(ignore=pattern("u.*")), b"/a?b=2&u", b"/a?b=2", id="ignore, bare"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?u=1", b"/a", id="nothing is left"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?%75=1", b"/a", id="as it is decoded"),
        pytest.param(QueryKey(only=pattern("b")), b"/a?c=1&b=2&d", b"/a?b=2", id="only"),
        pytest.param(QueryKey(only=()), b"/a?c=1", b"/a", id="only none"),
        pytest.param(QueryKey(sort=True), b"/a?c=1&b=2", b"/a?b=2&c=1", id="sort"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a", b"/a", id="no query"),
    ],
)
def test_queries_by_rule(rule, target, like):
    policy = Policy(cache=CachePolicy(query=rule))
    assert key(request(b"GET", target), policy) == key(request(b"GET", like), policy)
    assert key(request(b"GET", target), policy).endswith(b"\0" + like)  # purges go by it


@pytest.mark.parametrize(
    ("rule", "target", "other"),
    [
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?ux=1", b"/a", id="the whole name counts"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?b=u", b"/a?b", id="values are no names"),
        pytest.param(QueryKey(sort=True), b"/a?b=1", b"/a?b=2", id="sorting keeps values"),
        pytest.param(QueryKey(only=pattern("b")), b"/a?b=1", b"/b?b=1", id="paths stay apart"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?c=1&b=2", b"/a?b=2&c=1", id="unsorted"),
        pytest.param(QueryKey(sort=True), b"/a?b=2&b=1", b"/a?b=1&b=2", id="order within a name"),
        pytest.param(QueryKey(ignore=pattern("u")), b"/a?b=1?u=2", b"/a?b=1", id="? in a value"),
        pytest.param(
            QueryKey(ignore=pattern("u")), b"/a?u=1;b=2", b"/a?u=1;b=3", id="two read as one"
        ),
    ],
)
def test_queries_that_stay_apart(rule, target, other):
    policy = Policy(cache=CachePolicy(query=rule))
    assert key(request(b"GET", target), policy) != key(request(b"GET", other), policy)


@pytest.mark.parametrize(
    ("target", "presigned"),
    [
        (b"/a", False),
        (b"/a?b=1", False),
        (b"/a?b=1&c=2", False),
        (b"/a?X-Amz-Credential=k", True),
        (b"/a?X-Amz-Signature=1?b", True),
        (b"/a?X-Amz-Signature=1", True),
        (b"/a?b=1&X-Goog-Signature=1", True),
        (b"/a?Expires=1&Signature=abc", True),
        (b"/a?X%2DAmz-Signature=1", True),
        (b"/a?b=1&%58-%61mz-Signature=1", True),
        (b"/a?b=1;X-Amz-Signature=1", True),
        (b"/a?b=1%26X-Amz-Signature=1", True),
        (b"/a?b=X-Amz-Signature=1", False),
        (b"/a?resignature=1", False),
        (b"/X-Amz-Signature=1", False),
    ],
)
def test_capabilities_are_recognised(target, presigned):
    assert keys.is_presigned(target) is presigned


@pytest.mark.parametrize(
    ("target", "known"),
    [
        (b"/a?X-Amz-Signature=1&X-Amz-Date=2&b=c&d=e", b"/a?b=c&d=e"),
        (b"/a?x-goog-signature=1&X-Goog-Expires=60", b"/a"),
        (b"/a?AWSAccessKeyId=k&Expires=1&Signature=s&versionId=v", b"/a?versionId=v"),
        (b"/a?x-id=GetObject&X-Amz-Signature=1", b"/a"),
        (b"/a?%58-Amz-Signature=1&X%2DAmz-Date=2&b=%26", b"/a?b=%26"),
        (b"/a?expires&b", b"/a?b"),
        (b"/a?b=c?d&X-Amz-Date=1", b"/a?b=c?d"),
        (b"/a?X-Amz-Date=1?c&b=d", b"/a?b=d"),
        (b"/a?signatures=1&xexpires=2&Signature=s", b"/a?signatures=1&xexpires=2"),
    ],
)
def test_what_a_capability_is_otherwise_known_by(target, known):
    assert keys.unsigned(target) == known


def selected(name: bytes, *lines: bytes) -> bytes | None:
    given_fields = fields(*((name, line) for line in lines))
    ((_, value),) = keys.select((name,), given_fields, None, exact_origin=True)
    return value


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        pytest.param(b"foo", [b"1", b"2"], [b"1, 2"], id="4.1 lines are combined"),
        pytest.param(b"accept-encoding", [b"gzip, br"], [b"br,gzip"], id="9110 12.5.3 order"),
        pytest.param(b"accept-encoding", [b"GZIP"], [b"gzip"], id="9110 8.4.1 case"),
        pytest.param(
            b"accept-encoding", [b"gzip;q=0.5"], [b"gzip ; q=0.5"], id="9110 12.4.2 space"
        ),
        pytest.param(b"accept-encoding", [b"br;q=1"], [b"br \t; \tq=1"], id="9110 5.6.3 OWS"),
        pytest.param(b"accept-language", [b"de;q=1"], [b"de\t;\tq=1"], id="9110 12.4.2 tab"),
        pytest.param(b"accept-language", [b"en-GB"], [b"EN-gb"], id="5646 2.1.1 case"),
        pytest.param(b"accept-language", [b"en, de"], [b" en ,   de"], id="9110 5.6.1 space"),
        pytest.param(
            b"access-control-request-headers",
            [b"X-A, x-b"],
            [b"x-b,x-a"],
            id="Fetch: a set of names",
        ),
    ],
)
def test_4_1_values_that_mean_the_same(name, one, other):
    assert selected(name, *one) == selected(name, *other)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        pytest.param(b"foo", [], [b""], id="absent and empty"),
        pytest.param(b"foo", [b"1"], [b"2"], id="values"),
        pytest.param(b"foo", [b"a"], [b"A"], id="case, where the field is unknown"),
        pytest.param(b"foo", [b"1,2"], [b"1, 2"], id="white space, where the field is unknown"),
        pytest.param(b"foo", [b"1", b"2"], [b"2", b"1"], id="order, where the field is unknown"),
        pytest.param(
            b"origin", [b"https://a.example"], [b"https://A.example"], id="an origin's case"
        ),
        pytest.param(b"origin", [b"null"], [], id="null is not absent"),
        pytest.param(b"access-control-request-method", [b"PUT"], [b"put"], id="a method's case"),
        pytest.param(b"accept-encoding", [b"gzip"], [b"gzip;q=0"], id="a weight"),
        pytest.param(b"accept-encoding", [b"br;q=1"], [b"brq=1"], id="a weight or a name"),
        pytest.param(b"accept-encoding", [b"br, gzip"], [b"brgzip"], id="two codings or one"),
        pytest.param(
            b"access-control-request-headers", [b"ab, c"], [b"a, bc"], id="where a name ends"
        ),
        pytest.param(b"access-control-request-headers", [], [b""], id="absent is not empty"),
        pytest.param(b"accept-encoding", [], [b""], id="no encodings, and nothing said"),
        pytest.param(b"accept-encoding", [b"g zip"], [b"gzip"], id="white space within a coding"),
        pytest.param(b"accept-encoding", [b"br\tx"], [b"brx"], id="a tab within a coding"),
        pytest.param(b"accept-language", [b"d e, en"], [b"de, en"], id="white space within a tag"),
        pytest.param(b"accept-language", [b"de;q=0. 5"], [b"de;q=0.5"], id="within a weight"),
        pytest.param(b"accept", [b"text/html"], [b"TEXT/HTML"], id="left to the origin"),
        pytest.param(b"cookie", [b"a=1; b=2"], [b"b=2; a=1"], id="cookies"),
    ],
)
def test_4_1_values_that_stay_apart(name, one, other):
    assert selected(name, *one) != selected(name, *other)


def test_4_1_names_are_sorted_and_once():
    given_fields = fields(b=b"2", a=b"1")
    found = keys.select((b"b", b"a", b"b", b"c"), given_fields, None, exact_origin=True)
    assert found == ((b"a", b"1"), (b"b", b"2"), (b"c", None))
    many = tuple(b"n%02d" % number for number in range(50))
    found = keys.select((*reversed(many), *many), given_fields, None, exact_origin=True)
    assert found == tuple((name, None) for name in many)


def test_a_set_of_names_is_one_value_in_every_process():
    """Processes share a store by it, and order the members of a set each in its own way."""
    names = [b"x-%02d" % number for number in range(24)]
    said = b", ".join((*names[::-2], *names[::2], *names))
    assert selected(b"access-control-request-headers", said) == b",".join(names)
    assert selected(b"accept-encoding", b"br;q=1, *, gzip") == b"*,br;q=1,gzip"


def test_an_origin_may_be_told_apart_by_something_else():
    given_fields = fields(origin=b"https://a.example", a=b"1")
    found = keys.select((b"origin", b"a"), given_fields, b"allowed", exact_origin=False)
    assert found == ((b"a", b"1"), (b"origin", b"allowed"))


@pytest.mark.parametrize(
    ("selecting", "wanted", "match"),
    [
        pytest.param((), (), True, id="nothing selects"),
        pytest.param(((b"a", b"1"),), ((b"a", b"1"),), True, id="equal"),
        pytest.param(((b"a", b"1"),), ((b"a", b"2"),), False, id="different"),
        pytest.param(((b"a", None),), ((b"a", b""),), False, id="absent is not empty"),
        pytest.param((), ((b"a", b"1"),), False, id="it knows nothing of a name"),
        pytest.param((), ((b"a", None),), False, id="… not even that it was absent"),
    ],
)
def test_4_1_matching(selecting, wanted, match):
    assert keys.matches(stored(selecting=selecting), wanted) is match
