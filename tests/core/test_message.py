"""Fields: order and repetition are kept (RFC 9110 §5.3), absent is not empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary_proxy.core.message import Fields, Request

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


def test_equal_fields_are_one_key_of_a_table():
    fields = Fields(((b"a", b"1"),))
    assert {fields: 1}[Fields(((b"a", b"1"),))] == 1
    assert fields != ((b"a", b"1"),)
    assert fields != Fields(((b"a", b"2"),))
    assert repr(fields) == "Fields(((b'a', b'1'),))"


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda fields: fields.without({b"a"}).items, ((b"b", b"2"),)),
        (lambda fields: fields.lacks(frozenset((b"a",))), False),
        (lambda fields: fields.names(), {b"a", b"b"}),
        (lambda fields: fields.shape(), (b"a", b"b")),
        (lambda fields: fields.replaced(b"a", b"0").items, ((b"a", b"0"), (b"b", b"2"))),
    ],
)
def test_the_first_question_is_answered_like_any_other(ask, answer):
    assert ask(Fields(((b"a", b"1"), (b"b", b"2"), (b"a", b"3")))) == answer


def test_a_request_at_another_address_is_the_same_but_for_that():
    asked = Request(b"PUT", b"/a", Fields(((b"a", b"1"),)), b"http", b"a", (1, 0), "::1", True, 3)
    there = asked.to(b"https", b"b", b"/b", Fields())
    assert there == Request(b"PUT", b"/b", Fields(), b"https", b"b", (1, 0), "::1", True, 3)
