"""Dictionaries are read as http_sf, a complete reader of structured fields, reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import unquote_to_bytes

import http_sf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vary_proxy.core import structured

KEYS = st.from_regex(r"[a-z*][a-z0-9_.*-]{0,8}", fullmatch=True)
ITEMS = st.one_of(
    st.integers(min_value=-999_999_999_999_999, max_value=999_999_999_999_999),
    st.booleans(),
    st.decimals(min_value=-999_999, max_value=999_999, places=3),
    st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
    st.binary(max_size=8),
    st.from_regex(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]{0,8}", fullmatch=True).map(http_sf.Token),
    st.text(max_size=6).map(http_sf.DisplayString),
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)).map(
        lambda instant: instant.replace(microsecond=0, tzinfo=UTC)
    ),
)
PARAMETERS = st.dictionaries(KEYS, ITEMS, max_size=2)
MEMBERS = st.one_of(
    st.tuples(ITEMS, PARAMETERS),
    st.tuples(st.lists(st.tuples(ITEMS, PARAMETERS), max_size=3), PARAMETERS),
)


def theirs(value: bytes) -> dict[bytes, object] | None:
    """What http_sf reads, in our terms; None where it refuses."""
    try:
        parsed = http_sf.parse(value, tltype="dictionary")
    except http_sf.StructuredFieldError:
        return None
    return {key.encode(): _ours(member) for key, (member, _) in parsed.items()}


def _ours(member: object) -> object:
    if isinstance(member, http_sf.Token):
        return str(member).encode()
    if isinstance(member, (http_sf.DisplayString, bytes, datetime, list)):
        return structured.OTHER
    if isinstance(member, str):
        return member.encode("ascii")
    return float(member) if isinstance(member, Decimal) else member


def typed(found: dict[bytes, object] | None) -> object:
    """Values with their types, since 1, 1.0 and True are equal."""
    return None if found is None else {key: (type(one), one) for key, one in found.items()}


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, MEMBERS, max_size=4))
def test_every_dictionary_is_read(dictionary):
    value = http_sf.ser(dictionary).encode("ascii") if dictionary else b""
    assert typed(structured.dictionary(value)) == typed(theirs(value))


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=32),
        st.text(alphabet='ab*=,;"\\ \t019.-?:@%()/+zZ~_', max_size=24).map(str.encode),
    )
)
@example(b"a=1.")
@example(b"a=-")
@example(b"a=--1")
@example(b"a=1.2.3")
@example(b"a=123456789012.5")
@example(b"a=-123456789012.5")
@example(b"a=-999999999999999")
@example(b"a=()")
@example(b"a=( 1  2 );x")
@example(b"a=(1;x 2)")
@example(b"a=(1")
@example(b"a=1;  b=2;c, d")
@example(b"a=1 \t, b")
@example(b"a=1;")
@example(b"a=")
@example(b"a=*x:/y")
@example(b"a=@-1")
@example(b"a=1234567890123456")
@example(b"a=1234567890123.1")
@example(b"a=123456789012.1234")
@example(b'a="\\a"')
@example(b"a=?2")
@example(b"a=(1 2")
@example(b"a=(1,2)")
@example(b"a=(1a)")
@example(b'a=("b"1)')
@example(b"a=(1;b\tc)")
@example(b"a=(1.2.3)")
@example(b"a=1;b=1.2.3")
@example(b"a=(1;b=1.)")
@example(b"a=1.1234")
@example(b"a=1.123")
@example(b"a=@1234567890123456")
@example(b"a=@")
@example(b"a=@--1")
@example(b'a=""')
@example(b"Xa=1X")
@example(b"a=:ab:")
@example(b"a=@1.5")
@example(b'a=%"%fg"')
@example(b'a=%"%FF"')
@example(b"a=1;A=2")
@example(b"a=1 ;b")
@example(b"a=1; b")
@example(b"a;b=?0;c, a=2")
@example(b"\ta=1")
@example(b"a=1\t")
@example(b"a=1,\x00")
@example(b"a=\xff")
def test_anything_else_is_refused_alike(value):
    ours, other = structured.dictionary(value), theirs(value)
    if other is None and ours is not None and (b":" in value or b'%"' in value):
        return  # what the bytes of these two types stand for is of no concern to a cache
    assert typed(ours) == typed(other)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(b"", {}, id="4.2 empty"),
        pytest.param(b"  ", {}, id="4.2 spaces"),
        pytest.param(b"max-age=60", {b"max-age": 60}, id="3.3.1 integer"),
        pytest.param(b"max-age=60.0", {b"max-age": 60.0}, id="3.3.2 decimal"),
        pytest.param(b"no-store", {b"no-store": True}, id="3.3.6 true"),
        pytest.param(b"no-store=?0", {b"no-store": False}, id="3.3.6 false"),
        pytest.param(b'private="a, b"', {b"private": b"a, b"}, id="3.3.3 string"),
        pytest.param(b"private=a", {b"private": b"a"}, id="3.3.4 token"),
        pytest.param(b"a=(1 2)", {b"a": structured.OTHER}, id="3.1.1 inner list"),
        pytest.param(b"a=1;x;y=2, b", {b"a": 1, b"b": True}, id="3.1.2 parameters are dropped"),
        pytest.param(b"a=1, a=2", {b"a": 2}, id="3.2 the last of two"),
        pytest.param(b"a=1,\t b=2", {b"a": 1, b"b": 2}, id="4.2.2 white space"),
        pytest.param(b"Max-Age=60", None, id="3.1.2 keys are lower-case"),
        pytest.param(b"a=1,", None, id="4.2.2 a trailing comma"),
        pytest.param(b"a=1,,b=2", None, id="4.2.2 an empty member"),
        pytest.param(b"a=1 b=2", None, id="4.2.2 no comma"),
        pytest.param(b"a= 1", None, id="4.2.2 a space behind the equals sign"),
        pytest.param(b"a =1", None, id="4.2.2 a space before it"),
        pytest.param(b'a="b', None, id="4.2.5 not closed"),
        pytest.param(b'a="b\\c"', None, id="4.2.5 an escape without need"),
        pytest.param(b"max-age=60, \xff", None, id="one error spoils all"),
    ],
)
def test_by_section_of_rfc_9651(value, found):
    assert typed(structured.dictionary(value)) == typed(found)


@given(st.binary(max_size=24))
@example(b'a"b\\c')
@example(b"\x1f\x20\x7e\x7f%\xff")
def test_3_3_3_any_bytes_can_be_shown_as_a_string(value):
    shown = http_sf.parse(structured.string(value).encode("ascii"), tltype="item")[0]
    assert unquote_to_bytes(shown) == value
    assert all(0x20 <= ord(one) < 0x7F for one in shown)
