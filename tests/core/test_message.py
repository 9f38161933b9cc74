"""Fields: order and repetition are kept (RFC 9110 §5.3), absent is not empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary_proxy.core import fieldlines
from vary_proxy.core.message import Fields

NAMES = (b"a", b"b", b"vary")
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((b"", b"x", b"y")))).map(tuple)


@given(PAIRS, st.sampled_from((*NAMES, b"absent")))
def test_every_question_is_answered_as_by_reading_all_lines(pairs, name):
    fields = Fields(pairs)
    lines = tuple(value for key, value in pairs if key == name)
    assert fields.lines(name) == lines
    assert fields.get(name) == (lines[0] if lines else None)
    assert fields.combined(name) == (b", ".join(lines) if lines else None)
    assert (name in fields) == bool(lines)
    assert fields.lacks(frozenset((name,))) == (not lines)
    assert fields.names() == {key for key, _ in pairs}
    assert fields.without({name}).items == tuple(pair for pair in pairs if pair[0] != name)


@given(PAIRS, st.sampled_from(NAMES))
def test_a_replaced_field_stands_once_where_its_first_line_stood(pairs, name):
    fields = Fields(pairs).replaced(name, b"new")
    at = next((at for at, pair in enumerate(pairs) if pair[0] == name), len(pairs))
    before = tuple(pair for pair in pairs[:at] if pair[0] != name)
    after = tuple(pair for pair in pairs[at + 1 :] if pair[0] != name)
    assert fields.items == (*before, (name, b"new"), *after)


def test_what_is_forgotten_is_found_again():
    fields = Fields(((b"a", b"1"), (b"a", b"2")))
    assert fields.combined(b"a") == b"1, 2"
    fields.forget()
    assert fields.combined(b"a") == b"1, 2"
    assert fields == Fields(((b"a", b"1"), (b"a", b"2")))


@pytest.mark.parametrize(
    "line", [b"", b"a", b" a: 1", b"a : 1", b"a: 1\n", b"a: \0", b": 1", b"a\r: 1"]
)
def test_a_line_that_is_none_is_none_each_time(line):
    assert fieldlines.read_lines([b"b: 1", line]) is None
    assert fieldlines.read_lines([b"b: 1", line]) is None


def test_lines_are_read_alike_when_known_and_when_not():
    lines = [b"Host:  h ", b"X-Y:", b"x-y:\tz\t"]
    read = [(b"host", b"h"), (b"x-y", b""), (b"x-y", b"z")]
    assert fieldlines.read_lines(lines) == fieldlines.read_lines(lines) == read


def test_what_is_remembered_is_bounded_and_holds_no_credentials(monkeypatch):
    monkeypatch.setattr(fieldlines, "_known", known := {})
    for number in range(fieldlines.MOST + 10):
        fieldlines.read_lines([b"n: %d" % number])
    assert len(known) <= fieldlines.MOST
    known.clear()
    fieldlines.read_lines([b"Authorization: Basic x", b"Cookie: a=b", b"l: " + b"x" * 300])
    assert not known
