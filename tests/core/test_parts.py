"""Parts that join, and wholes that are completed (RFC 9111 §3.3, §3.4)."""

from __future__ import annotations

import pytest

from tests.core.given import response, stored
from vary_proxy.core import parts
from vary_proxy.core.stored import Part, Resource


def part(first: int, length: int, total: int | None = 20, etag: bytes | None = b'"1"', **more):
    named = {} if etag is None else {"etag": etag}
    return stored(206, part=Part(first, total), length=length, **named, **more)


@pytest.mark.parametrize(
    ("one", "completable"),
    [
        pytest.param(part(0, 5), True, id="a beginning under a strong tag"),
        pytest.param(part(1, 5), False, id="not the beginning"),
        pytest.param(part(0, 5, None), False, id="of unknown length"),
        pytest.param(part(0, 20), False, id="nothing is missing"),
        pytest.param(part(0, 5, etag=b'W/"1"'), False, id="a weak tag"),
        pytest.param(part(0, 5, etag=None), False, id="no tag"),
        pytest.param(stored(etag=b'"1"'), False, id="a whole"),
    ],
)
def test_what_can_be_completed(one, completable):
    assert parts.completable(one) is completable


def test_the_rest_is_asked_for_on_condition():
    assert dict(parts.rest_of(part(0, 5))) == {b"range": b"bytes=5-", b"if-range": b'"1"'}


@pytest.mark.parametrize(
    ("status", "said", "completes"),
    [
        pytest.param(206, {"content_range": b"bytes 5-19/20"}, True, id="exactly the rest"),
        pytest.param(200, {}, False, id="the whole, since it changed"),
        pytest.param(206, {"content_range": b"bytes 6-19/20"}, False, id="a gap"),
        pytest.param(206, {"content_range": b"bytes 4-19/20"}, False, id="an overlap"),
        pytest.param(206, {"content_range": b"bytes 5-18/20"}, False, id="not to the end"),
        pytest.param(206, {"content_range": b"bytes 5-20/21"}, False, id="of another length"),
        pytest.param(206, {"content_range": b"bytes 5-19/*"}, False, id="of unknown length"),
        pytest.param(206, {}, False, id="no Content-Range"),
        pytest.param(416, {"content_range": b"bytes */20"}, False, id="unsatisfiable"),
        pytest.param(
            206, {"content_range": b"bytes 5-19/20", "etag": b'"2"'}, False, id="another tag"
        ),
    ],
)
def test_what_completes(status, said, completes):
    head = response(status, **{"etag": b'"1"', **said})
    assert parts.completes(part(0, 5), head) is completes


def test_3_4_a_completed_whole_has_the_newest_fields():
    head = response(206, etag=b'"1"', content_range=b"bytes 5-19/20", x=b"new")
    whole = parts.completed_head(part(0, 5, x=b"old", y=b"kept"), head)
    assert whole.status == 200
    assert whole.fields.get(b"x") == b"new"
    assert whole.fields.get(b"y") == b"kept"
    assert b"content-range" not in whole.fields


@pytest.mark.parametrize(
    ("one", "total", "size", "kept"),
    [
        pytest.param(stored(etag=b'"1"'), 20, 5, Part(0, 20), id="3.3 cut: what came is a part"),
        pytest.param(stored(etag=b'"1"'), 20, 0, None, id="3.3 nothing came"),
        pytest.param(stored(etag=b'"1"'), 20, 20, None, id="3.3 all came"),
        pytest.param(stored(etag=b'"1"'), None, 5, None, id="3.3 cut, of unknown length"),
        pytest.param(stored(), 20, 5, None, id="3.3 no tag to complete it under"),
        pytest.param(stored(404, etag=b'"1"'), 20, 5, None, id="3.3 not a 200"),
        pytest.param(part(0, 10), 20, 5, None, id="3.3 a cut part"),
    ],
)
def test_incomplete_responses(one, total, size, kept):
    found = parts.incomplete(one, total, size)
    assert (None if found is None else found.part) == kept
    if found is not None:
        assert found.status == 206


@pytest.mark.parametrize(
    ("one", "other", "held"),
    [
        pytest.param(part(0, 5), part(5, 5), (0, 10), id="touching"),
        pytest.param(part(5, 5), part(0, 5), (0, 10), id="touching, the earlier one later"),
        pytest.param(part(0, 8), part(4, 8), (0, 12), id="overlapping"),
        pytest.param(part(0, 12), part(4, 4), (0, 12), id="one within the other"),
        pytest.param(part(0, 4), part(5, 5), None, id="a gap"),
        pytest.param(part(0, 5), part(5, 5, etag=b'"2"'), None, id="another tag"),
        pytest.param(part(0, 5, etag=b'W/"1"'), part(5, 5, etag=b'W/"1"'), None, id="weak tags"),
        pytest.param(part(0, 5, etag=None), part(5, 5, etag=None), None, id="no tags"),
        pytest.param(part(0, 5), part(5, 5, 21), None, id="another length"),
        pytest.param(part(0, 5), part(5, 5, selecting=((b"a", b"1"),)), None, id="another variant"),
        pytest.param(part(0, 5), stored(etag=b'"1"'), None, id="a whole"),
    ],
)
def test_3_4_neighbours_are_joined(one, other, held):
    found = parts.neighbour(Resource((other,)), one)
    assert (found is None) is (held is None)
    if found is None or held is None:
        return
    whole, skip = parts.joined(one, found)
    before, after = parts.in_order(one, found)
    assert whole.part == Part(held[0], 20)
    assert before.body.length + max(0, after.body.length - skip) == held[1] - held[0]


def test_3_4_parts_that_make_the_whole_become_a_200():
    whole, skip = parts.joined(part(0, 12, x=b"new"), part(10, 10, x=b"old"))
    assert (whole.status, whole.part, skip) == (200, None, 2)
    assert whole.fields.get(b"x") == b"new"


def test_there_is_no_neighbour_where_nothing_is_stored():
    assert parts.neighbour(None, part(0, 5)) is None
    assert parts.neighbour(Resource((part(5, 5),)), stored(etag=b'"1"')) is None


def test_of_parts_that_begin_alike_the_first_named_comes_first():
    one, other = (stored(206, part=Part(5, 99), etag=b'"1"', length=n) for n in (5, 20))
    assert parts.in_order(one, other) == (one, other)
    assert parts.in_order(other, one) == (other, one)
