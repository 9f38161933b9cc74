"""Ranges asked for, and what is to be had of them (RFC 9110 §14, §13.1.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.given import date, fields, stored
from vary_proxy.core import ranges
from vary_proxy.core.ranges import Span


@pytest.mark.parametrize(
    ("value", "specs"),
    [
        pytest.param(b"bytes=0-4", [(0, 4)], id="14.1.2 closed"),
        pytest.param(b"bytes=5-", [(5, None)], id="14.1.2 open"),
        pytest.param(b"bytes=-3", [(None, 3)], id="14.1.2 suffix"),
        pytest.param(b"bytes=0-0,-1", [(0, 0), (None, 1)], id="14.1.2 several"),
        pytest.param(b"bytes= 0-4 ,, 6-7 ", [(0, 4), (6, 7)], id="5.6.1 white space and empties"),
        pytest.param(b"BYTES=0-4", [(0, 4)], id="14.1 units have no case"),
        pytest.param(b"bytes=-0", [(None, 0)], id="14.1.2 no bytes at all: unsatisfiable"),
        pytest.param(b"bytes=4-0", None, id="14.1.1 last before first"),
        pytest.param(b"bytes=0-4, 9-5", None, id="14.1.1 one bad one spoils all"),
        pytest.param(b"bytes=-", None, id="14.1.1 nothing"),
        pytest.param(b"bytes=a-b", None, id="14.1.1 no numbers"),
        pytest.param(b"bytes=0-4x", None, id="14.1.1 something behind"),
        pytest.param(b"bytes=+0-4", None, id="14.1.1 a sign"),
        pytest.param(b"bytes=0", None, id="14.1.1 no dash"),
        pytest.param(b"bytes=", None, id="14.1.1 no range"),
        pytest.param(b"bytes 0-4", None, id="14.2 no equals sign"),
        pytest.param(b"items=0-4", None, id="14.2 another unit"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"bytes=" + b"0-0," * 16, [(0, 0)] * 16, id="sixteen"),
        pytest.param(b"bytes=" + b"0-0," * 17, None, id="14.2 too many"),
        pytest.param(b"bytes=0-" + b"9" * 19, None, id="beyond any length"),
    ],
)
def test_what_a_range_field_asks_for(value, specs):
    found = ranges.specs(value)
    assert (None if found is None else list(found)) == specs


@pytest.mark.parametrize(
    ("value", "total", "spans"),
    [
        pytest.param(b"bytes=0-4", 10, [(0, 5)], id="14.1.2 within"),
        pytest.param(b"bytes=0-99", 10, [(0, 10)], id="14.1.2 cut at the end"),
        pytest.param(b"bytes=9-", 10, [(9, 10)], id="14.1.2 the last byte"),
        pytest.param(b"bytes=10-", 10, [], id="14.1.2 behind the end"),
        pytest.param(b"bytes=-3", 10, [(7, 10)], id="14.1.2 suffix"),
        pytest.param(b"bytes=-99", 10, [(0, 10)], id="14.1.2 a suffix longer than the whole"),
        pytest.param(b"bytes=-0", 10, [], id="14.1.2 an empty suffix"),
        pytest.param(b"bytes=20-30, 0-1", 10, [(0, 2)], id="14.1.2 one of two"),
        pytest.param(b"bytes=5-6, 0-1", 10, [(5, 7), (0, 2)], id="14.1.2 in the order asked"),
        pytest.param(b"bytes=0-", 0, [], id="14.1.2 of nothing"),
        pytest.param(b"bytes=-5", 0, [], id="14.1.2 a suffix of nothing"),
    ],
)
def test_what_is_to_be_had(value, total, spans):
    specs = ranges.specs(value)
    assert specs is not None
    assert list(ranges.resolve(specs, total)) == [Span(*span) for span in spans]


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=100))
def test_every_span_lies_within(noise, total):
    for value in (b"bytes=" + noise, b"bytes=" + bytes(b"0123456789-,"[one % 12] for one in noise)):
        specs = ranges.specs(value)
        for span in ranges.resolve(specs or (), total):
            assert 0 <= span.start < span.stop <= total


@pytest.mark.parametrize(
    ("value", "reasonable"),
    [
        pytest.param(b"bytes=0-4", True, id="one"),
        pytest.param(b"bytes=0-1, 3-4", True, id="apart"),
        pytest.param(b"bytes=3-4, 0-1", True, id="apart, in any order"),
        pytest.param(b"bytes=0-1, 2-3", True, id="touching"),
        pytest.param(b"bytes=0-4, 4-9", False, id="14.2 overlapping"),
        pytest.param(b"bytes=0-,0-,0-", False, id="14.2 the whole, three times"),
    ],
)
def test_which_sets_are_honoured(value, reasonable):
    spans = ranges.resolve(ranges.specs(value) or (), 10)
    assert ranges.is_reasonable(spans, 10) is reasonable


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"bytes 0-4/10", 5), (b"bytes 5-5/*", 1), (b"bytes 5-4/10", 0), (b"bytes */10", None)],
)
def test_the_length_that_a_part_announces(value, length):
    assert ranges.part_length(fields(content_range=value)) == length


@pytest.mark.parametrize(
    ("value", "said", "holds"),
    [
        pytest.param(None, {}, True, id="13.1.5 none"),
        pytest.param(b'"1"', {"etag": b'"1"'}, True, id="13.1.5 the same tag"),
        pytest.param(b'"2"', {"etag": b'"1"'}, False, id="13.1.5 another"),
        pytest.param(b'W/"1"', {"etag": b'W/"1"'}, False, id="13.1.5 strong comparison"),
        pytest.param(b'"1"', {"etag": b'W/"1"'}, False, id="13.1.5 … on either side"),
        pytest.param(b'"1"', {}, False, id="13.1.5 no tag stored"),
        pytest.param(
            date(-99), {"last_modified": date(-99), "date": date()}, True, id="13.1.5 the same date"
        ),
        pytest.param(
            date(-98), {"last_modified": date(-99), "date": date()}, False, id="13.1.5 later: exact"
        ),
        pytest.param(
            date(-99),
            {"last_modified": date(-99), "date": date(-99)},
            False,
            id="8.8.2.2 too young",
        ),
        pytest.param(date(-99), {"last_modified": date(-99)}, False, id="8.8.2.2 no Date"),
        pytest.param(date(-99), {"date": date()}, False, id="13.1.5 no Last-Modified stored"),
        pytest.param(b"1", {"etag": b"1"}, False, id="13.1.5 neither tag nor date"),
        pytest.param(b"*", {"etag": b'"1"'}, False, id="13.1.5 a star is neither"),
    ],
)
def test_if_range(value, said, holds):
    assert ranges.if_range_holds(value, stored(**said)) is holds


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(b'"1"', b'"1"', True, id="3.4 the same strong tag"),
        pytest.param(b'"1"', b'"2"', False, id="3.4 another"),
        pytest.param(b'W/"1"', b'W/"1"', False, id="3.4 a weak one"),
        pytest.param(b'"1"', None, False, id="3.4 none"),
    ],
)
def test_whose_bytes_may_be_combined(one, other, same):
    second = stored() if other is None else stored(etag=other)
    assert ranges.same_representation(stored(etag=one), second) is same
