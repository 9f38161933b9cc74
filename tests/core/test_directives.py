"""Cache-Control and its relatives (RFC 9111 §5.2, RFC 5861, RFC 8246, RFC 9213)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary_proxy.core.directives import (
    RequestDirectives,
    ResponseDirectives,
    field_names,
    of_request,
    of_response,
)
from vary_proxy.core.message import Fields
from vary_proxy.core.syntax import MAX_SECONDS

INFINITY = float("inf")


def cache_control(*lines: bytes) -> Fields:
    return Fields(tuple((b"cache-control", line) for line in lines))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([], {}, id="absent"),
        pytest.param([b""], {}, id="empty"),
        pytest.param([b"max-age=60"], {"max_age": 60}, id="5.2.2.1 max-age"),
        pytest.param([b"max-age=0"], {"max_age": 0}, id="5.2.2.1 max-age of zero"),
        pytest.param([b"s-maxage=60"], {"s_maxage": 60}, id="5.2.2.10 s-maxage"),
        pytest.param([b"must-revalidate"], {"must_revalidate": True}, id="5.2.2.2 must-revalidate"),
        pytest.param([b"must-understand"], {"must_understand": True}, id="5.2.2.3 must-understand"),
        pytest.param([b"no-cache"], {"no_cache": True}, id="5.2.2.4 no-cache"),
        pytest.param(
            [b'no-cache="Set-Cookie, X-A"'],
            {"no_cache": frozenset((b"set-cookie", b"x-a"))},
            id="5.2.2.4 no-cache for these fields",
        ),
        pytest.param(
            [b"no-cache=Set-Cookie"],
            {"no_cache": frozenset((b"set-cookie",))},
            id="5.2.2.4 no-cache with a token",
        ),
        pytest.param(
            [b'no-cache="a", no-cache="b"'],
            {"no_cache": frozenset((b"a", b"b"))},
            id="5.2.2.4 no-cache twice: both lists",
        ),
        pytest.param(
            [b'no-cache="a", no-cache'], {"no_cache": True}, id="5.2.2.4 limited and not: not"
        ),
        pytest.param([b"no-cache="], {"no_cache": True}, id="5.2.2.4 an empty argument limits not"),
        pytest.param([b'no-cache=""'], {"no_cache": True}, id="5.2.2.4 nor does an empty string"),
        pytest.param([b'no-cache="a b"'], {"no_cache": True}, id="5.2.2.4 nor what is no name"),
        pytest.param([b'no-cache="a'], {"no_cache": True}, id="5.2.2.4 nor what is not closed"),
        pytest.param([b"no-store"], {"no_store": True}, id="5.2.2.5 no-store"),
        pytest.param([b"no-store=1"], {"no_store": True}, id="5.2.2.5 an argument changes nothing"),
        pytest.param([b"no-transform"], {"no_transform": True}, id="5.2.2.6 no-transform"),
        pytest.param([b"private"], {"private": True}, id="5.2.2.7 private"),
        pytest.param(
            [b'private="a"'], {"private": frozenset((b"a",))}, id="5.2.2.7 private for this field"
        ),
        pytest.param(
            [b'private="*, a'], {"private": True}, id="5.2.2.7 an open quote hides nothing"
        ),
        pytest.param(
            [b"proxy-revalidate"], {"proxy_revalidate": True}, id="5.2.2.8 proxy-revalidate"
        ),
        pytest.param([b"public"], {"public": True}, id="5.2.2.9 public"),
        pytest.param([b"immutable"], {"immutable": True}, id="8246 immutable"),
        pytest.param([b"immutable=1"], {"immutable": True}, id="8246 an argument is ignored"),
        pytest.param(
            [b"max-age=1, stale-while-revalidate=2, stale-if-error=3"],
            {"max_age": 1, "stale_while_revalidate": 2, "stale_if_error": 3},
            id="5861 both windows",
        ),
        pytest.param([b"stale-if-error"], {"stale_if_error": 0}, id="5861 no argument: no window"),
        pytest.param([b"MaX-aGe=60, No-StOrE"], {"max_age": 60, "no_store": True}, id="5.2 case"),
        pytest.param([b"max-age=60", b"no-store"], {"max_age": 60, "no_store": True}, id="lines"),
        pytest.param([b" , max-age=60,,\t,public ,"], {"max_age": 60, "public": True}, id="spaces"),
        pytest.param([b"foobar, max-age=60"], {"max_age": 60}, id="5.2.3 an unknown directive"),
        pytest.param([b"foo=bar, max-age=60"], {"max_age": 60}, id="5.2.3 … with an argument"),
        pytest.param([b'max-age="60"'], {"max_age": 60}, id="5.2 a quoted number"),
        pytest.param([b"max-age=0060"], {"max_age": 60}, id="1.2.2 leading zeros"),
        pytest.param([b"max-age=99999999999"], {"max_age": MAX_SECONDS}, id="1.2.2 too large"),
        pytest.param(
            [b'extension="max-age=3600", max-age=1'],
            {"max_age": 1},
            id="5.2 within another's quotes",
        ),
        pytest.param(
            [b'max-age=1, extension="max-age=3600"'], {"max_age": 1}, id="5.2 … and behind it"
        ),
        pytest.param(
            [b'extension="a\\", no-store", max-age=1'], {"max_age": 1}, id="5.2 … and escaped"
        ),
        pytest.param(
            [b'max-age=60, x="oops, no-store'],
            {"max_age": 60, "no_store": True},
            id="5.2 behind a quote that nothing closes",
        ),
        pytest.param([b"max-age"], {"max_age": 0}, id="4.2.1 no argument: stale"),
        pytest.param([b"max-age="], {"max_age": 0}, id="4.2.1 an empty argument: stale"),
        pytest.param([b"max-age='60'"], {"max_age": 0}, id="4.2.1 single quotes: stale"),
        pytest.param([b"max-age=-60"], {"max_age": 0}, id="4.2.1 negative: stale"),
        pytest.param([b"max-age=60.0"], {"max_age": 0}, id="4.2.1 a decimal: stale"),
        pytest.param([b"max-age=a60"], {"max_age": 0}, id="4.2.1 a letter before: stale"),
        pytest.param([b"max-age=60a"], {"max_age": 0}, id="4.2.1 a letter behind: stale"),
        pytest.param([b"max-age=60;a"], {"max_age": 0}, id="4.2.1 a parameter: stale"),
        pytest.param([b"max-age= 60"], {"max_age": 0}, id="4.2.1 a space behind =: stale"),
        pytest.param([b"max-age =60"], {}, id="5.2 a space before =: another name"),
        pytest.param([b"max-age=60, max-age=60"], {"max_age": 60}, id="4.2.1 twice the same"),
        pytest.param([b"max-age=60, max-age=1"], {"max_age": 0}, id="4.2.1 repeated: stale"),
        pytest.param([b"max-age=1", b"max-age=60"], {"max_age": 0}, id="4.2.1 … on two lines"),
        pytest.param([b"max-age=60, max-age=x"], {"max_age": 0}, id="4.2.1 … once unreadable"),
        pytest.param(
            [b"max-age=60, s-maxage=1, s-maxage=2"],
            {"max_age": 60, "s_maxage": 0},
            id="s-maxage too",
        ),
    ],
)
def test_response_directives(lines, said):
    assert of_response(cache_control(*lines)) == ResponseDirectives(**said)


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        pytest.param([], {}, id="absent"),
        pytest.param([b"max-age=60"], {"max_age": 60}, id="5.2.1.1 max-age"),
        pytest.param([b"max-age=x"], {"max_age": 0}, id="5.2.1.1 unreadable: the strictest"),
        pytest.param([b"max-stale"], {"max_stale": INFINITY}, id="5.2.1.2 any staleness"),
        pytest.param([b"max-stale=60"], {"max_stale": 60.0}, id="5.2.1.2 up to a minute"),
        pytest.param([b"max-stale=x"], {"max_stale": 0.0}, id="5.2.1.2 unreadable: none"),
        pytest.param([b"max-stale, max-stale=60"], {"max_stale": 0.0}, id="5.2.1.2 two: none"),
        pytest.param([b"min-fresh=60"], {"min_fresh": 60}, id="5.2.1.3 min-fresh"),
        pytest.param([b"no-cache"], {"no_cache": True}, id="5.2.1.4 no-cache"),
        pytest.param([b"no-store"], {"no_store": True}, id="5.2.1.5 no-store"),
        pytest.param([b"only-if-cached"], {"only_if_cached": True}, id="5.2.1.7 only-if-cached"),
        pytest.param([b"nothing-to-see-here"], {}, id="5.2.3 an unknown directive"),
        pytest.param([b"s-maxage=1, public, private"], {}, id="5.2.2 a response's directives"),
        pytest.param(
            [b"MAX-AGE=0", b"No-Cache"], {"max_age": 0, "no_cache": True}, id="5.2 case and lines"
        ),
    ],
)
def test_request_directives(lines, asked):
    assert of_request(cache_control(*lines)) == RequestDirectives(**asked)


@pytest.mark.parametrize(
    ("pairs", "no_cache"),
    [
        pytest.param([(b"pragma", b"no-cache")], True, id="5.4 Pragma alone"),
        pytest.param([(b"pragma", b"foo, No-Cache")], True, id="5.4 among others"),
        pytest.param([(b"pragma", b"foo")], False, id="5.4 an extension"),
        pytest.param(
            [(b"pragma", b"no-cache"), (b"cache-control", b"max-age=60")],
            False,
            id="5.4 Cache-Control goes before",
        ),
        pytest.param(
            [(b"pragma", b"no-cache"), (b"cache-control", b"")], False, id="5.4 even if empty"
        ),
    ],
)
def test_pragma_of_a_request(pairs, no_cache):
    assert of_request(Fields(tuple(pairs))).no_cache is no_cache


def test_5_4_pragma_of_a_response_means_nothing():
    assert of_response(Fields(((b"pragma", b"no-cache"),))) == ResponseDirectives()


TARGETED = [
    pytest.param(b"max-age=60", {"max_age": 60}, id="an integer"),
    pytest.param(b"max-age=60;ext=1", {"max_age": 60}, id="parameters are ignored"),
    pytest.param(
        b"max-age=1, max-age=60", {"max_age": 60}, id="the last of two, as dictionaries go"
    ),
    pytest.param(b"no-store", {"no_store": True}, id="a boolean"),
    pytest.param(b"no-store=?0, max-age=1", {"max_age": 1}, id="false: not said"),
    pytest.param(b"no-store=?1", {"no_store": True}, id="true, in full"),
    pytest.param(b'private="a, b"', {"private": frozenset((b"a", b"b"))}, id="a string of names"),
    pytest.param(b"no-cache=a", {"no_cache": frozenset((b"a",))}, id="a token"),
    pytest.param(b'no-cache=""', {"no_cache": True}, id="no names limit nothing"),
    pytest.param(b"none", {}, id="an unknown directive replaces Cache-Control all the same"),
    pytest.param(b"max-age", {}, id="wrong type: a boolean for seconds"),
    pytest.param(b'max-age="60"', {}, id="wrong type: a string for seconds"),
    pytest.param(b"max-age=60.0", {}, id="wrong type: a decimal is not coerced"),
    pytest.param(b"max-age=(60)", {}, id="wrong type: an inner list"),
    pytest.param(b"max-age=:YQ==:", {}, id="wrong type: bytes"),
    pytest.param(b"no-store=1, max-age=1", {"max_age": 1}, id="wrong type: a number for a flag"),
    pytest.param(b'public="yes"', {}, id="wrong type: a string for a flag"),
    pytest.param(b"private=1", {}, id="wrong type: a number for names"),
    pytest.param(b"max-age=-1", {"max_age": 0}, id="the right type, below zero: stale"),
    pytest.param(
        b"max-age=60, stale-while-revalidate=5, stale-if-error=6, must-revalidate, immutable",
        {
            "max_age": 60,
            "stale_while_revalidate": 5,
            "stale_if_error": 6,
            "must_revalidate": True,
            "immutable": True,
        },
        id="all kinds",
    ),
]


@pytest.mark.parametrize("name", [b"vary-proxy-cache-control", b"cdn-cache-control"])
@pytest.mark.parametrize(("value", "said"), TARGETED)
def test_9213_2_2_a_targeted_field_replaces_cache_control(name, value, said):
    fields = Fields(((b"cache-control", b"max-age=9, private"), (name, value)))
    assert of_response(fields) == ResponseDirectives(**said, targeted=True)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"max-age=60,", id="a trailing comma"),
        pytest.param(b"Max-Age=60", id="upper case is no key"),
        pytest.param(b"max-age=60, x=\xff", id="a byte beyond ASCII"),
        pytest.param(b"max-age=06x0", id="half a number"),
        pytest.param(b"max-age=1000000000000000", id="sixteen digits"),
    ],
)
def test_9213_2_1_an_unreadable_or_empty_field_is_as_if_absent(value):
    fields = Fields(((b"cache-control", b"max-age=9"), (b"cdn-cache-control", value)))
    assert of_response(fields) == ResponseDirectives(max_age=9)


@pytest.mark.parametrize(
    ("pairs", "max_age"),
    [
        pytest.param(
            [(b"cdn-cache-control", b"max-age=2"), (b"vary-proxy-cache-control", b"max-age=1")],
            1,
            id="2.2 the most specific target first",
        ),
        pytest.param(
            [(b"cdn-cache-control", b"max-age=2"), (b"vary-proxy-cache-control", b",")],
            2,
            id="2.2 the next one that is valid",
        ),
        pytest.param(
            [(b"cdn-cache-control", b"max-age=1"), (b"cdn-cache-control", b"max-age=2")],
            2,
            id="lines are one dictionary",
        ),
        pytest.param(
            [(b"cdn-cache-control", b"max-age=2"), (b"surrogate-control", b"max-age=3")],
            2,
            id="a targeted field goes before the older Surrogate-Control",
        ),
        pytest.param(
            [(b"other-cache-control", b"max-age=2"), (b"cache-control", b"max-age=3")],
            3,
            id="2.2 somebody else's target",
        ),
    ],
)
def test_9213_which_field_speaks(pairs, max_age):
    assert of_response(Fields(tuple(pairs))).max_age == max_age


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(b"max-age=60", {"max_age": 60}, id="a lifetime"),
        pytest.param(b"MaX-aGe=60", {"max_age": 60}, id="in any case"),
        pytest.param(b"max-age=99999999999", {"max_age": MAX_SECONDS}, id="too large"),
        pytest.param(b"max-age=60+600", {"max_age": 60}, id="with seconds of stale use"),
        pytest.param(b"no-store", {"no_store": True}, id="not to be stored"),
        pytest.param(b'content="ESI/1.0", max-age=60', {"max_age": 60}, id="among others"),
        pytest.param(b"max-age=60;vary-proxy", {"max_age": 60}, id="for us"),
        pytest.param(b"max-age=1, max-age=60;vary-proxy", {"max_age": 60}, id="ours over all's"),
        pytest.param(b"no-store;other, max-age=60", {"max_age": 60}, id="not another's"),
        pytest.param(b"max-age=x", {"max_age": 0}, id="unreadable: stale"),
        pytest.param(b"max-age= 60", {"max_age": 0}, id="a space behind =: stale"),
    ],
)
def test_surrogate_control_replaces_cache_control(value, said):
    fields = Fields(((b"cache-control", b"no-store, max-age=9"), (b"surrogate-control", value)))
    assert of_response(fields) == ResponseDirectives(**said, targeted=True)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'content="ESI/1.0"', id="nothing for a cache"),
        pytest.param(b"max-age=60;not-for-you", id="for another device"),
        pytest.param(b"max-age =60", id="another name"),
    ],
)
def test_surrogate_control_that_does_not_concern_us(value):
    fields = Fields(((b"cache-control", b"max-age=9"), (b"surrogate-control", value)))
    assert of_response(fields) == ResponseDirectives(max_age=9)


def test_which_fields_a_limit_names():
    said = of_response(cache_control(b'no-cache="A"'))
    assert set(field_names(said.no_cache)) == {b"a"}
    assert set(field_names(True)) == set(field_names(said.private)) == set()


def test_explicit_says_that_a_lifetime_was_stated():
    nothing = ResponseDirectives()
    assert not nothing.explicit
    assert replace(nothing, max_age=0).explicit
    assert replace(nothing, s_maxage=0).explicit


NAMES = [b"cache-control", b"cdn-cache-control", b"surrogate-control", b"pragma"]
VALUES = st.text(alphabet='max-gesintorvp=0129",;+\\ \t?()', max_size=40).map(str.encode)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40) | VALUES), max_size=3))
def test_no_bytes_at_all_raise(pairs):
    fields = Fields(tuple(pairs))
    of_request(fields)
    of_response(fields)
