"""Large bodies in blocks: what is asked for, and what an answer brings (RFC 9111 §3.3, §3.4)."""

from __future__ import annotations

import pytest

from tests.core.given import fields, response, stored
from vary_proxy.core import blocks
from vary_proxy.core.blocks import BLOCK, STRETCH
from vary_proxy.core.ranges import Span

LARGE = stored(etag=b'"1"', length=10 * BLOCK + 7)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        pytest.param((0, 0), (0, BLOCK - 1), id="the first byte"),
        pytest.param((BLOCK - 1, BLOCK), (0, 2 * BLOCK - 1), id="over a border"),
        pytest.param((BLOCK, 2 * BLOCK - 1), (BLOCK, 2 * BLOCK - 1), id="just one block"),
        pytest.param((5, None), (0, STRETCH * BLOCK - 1), id="open: one stretch"),
        pytest.param((BLOCK + 5, None), (BLOCK, (1 + STRETCH) * BLOCK - 1), id="open, from later"),
        pytest.param((0, 10**15), (0, STRETCH * BLOCK - 1), id="long: one stretch"),
    ],
)
def test_the_range_asked_for_is_of_whole_blocks(wanted, asked):
    assert blocks.slot((wanted,)) == b"bytes=%d-%d" % asked


def test_a_suffix_is_lengthened_to_where_its_block_must_begin():
    assert blocks.slot(((None, 10),)) == b"bytes=-%d" % (10 + BLOCK - 1)
    assert blocks.slot(((None, 0),)) is None


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (((BLOCK, BLOCK), (5, 9)), b"bytes=0-%d" % (BLOCK - 1)),
        (((BLOCK, None), (None, 5)), b"bytes=-%d" % (5 + BLOCK - 1)),
        (((None, 0), (BLOCK, None)), b"bytes=%d-%d" % (BLOCK, (1 + STRETCH) * BLOCK - 1)),
    ],
)
def test_of_several_ranges_one_is_asked_for_that_is_there_if_any_is(wanted, asked, order):
    assert blocks.slot(wanted[::order]) == asked


def test_what_is_missing_is_asked_for_on_a_condition():
    told = blocks.ask_for(Span(BLOCK, 2 * BLOCK), LARGE)
    assert told == ((b"range", b"bytes=%d-%d" % (BLOCK, 2 * BLOCK - 1)), (b"if-match", b'"1"'))


@pytest.mark.parametrize(
    ("span", "around", "numbers", "whole"),
    [
        pytest.param(Span(0, 1), (0, BLOCK), range(1), range(0), id="a byte"),
        pytest.param(Span(0, BLOCK), (0, BLOCK), range(1), range(1), id="a block"),
        pytest.param(
            Span(1, 2 * BLOCK), (0, 2 * BLOCK), range(2), range(1, 2), id="less than two blocks"
        ),
        pytest.param(
            Span(10 * BLOCK, 10 * BLOCK + 7),
            (10 * BLOCK, 10 * BLOCK + 7),
            range(10, 11),
            range(10, 11),
            id="the last, which is short",
        ),
        pytest.param(
            Span(10 * BLOCK, 10 * BLOCK + 6),
            (10 * BLOCK, 10 * BLOCK + 7),
            range(10, 11),
            range(10, 10),
            id="not all of the last",
        ),
    ],
)
def test_blocks_around_and_within_a_span(span, around, numbers, whole):
    total = LARGE.body.length
    assert blocks.around(span, total) == Span(*around)
    assert blocks.numbers(span) == numbers
    assert blocks.whole_blocks(span, total) == whole


@pytest.mark.parametrize(
    ("said", "strong"),
    [
        pytest.param({"etag": b'"1"'}, True, id="8.8.3 strong"),
        pytest.param({"etag": b'W/"1"'}, False, id="8.8.3 weak"),
        pytest.param({"etag": (b'"1"', b'"1"')}, False, id="twice"),
        pytest.param({"etag": b"1"}, False, id="no tag by the grammar"),
        pytest.param({}, False, id="none"),
    ],
)
def test_what_is_strong(said, strong):
    assert blocks.is_strong(fields(**said)) is strong


TOTAL = LARGE.body.length


@pytest.mark.parametrize(
    ("status", "said", "length", "brought"),
    [
        pytest.param(206, {}, BLOCK, Span(0, BLOCK), id="15.3.7 a part"),
        pytest.param(206, {}, None, Span(0, BLOCK), id="15.3.7 whose length its framing hides"),
        pytest.param(206, {}, BLOCK - 1, None, id="15.3.7 that says two lengths"),
        pytest.param(206, {"etag": b'"2"'}, BLOCK, None, id="15.3.7.3 of another representation"),
        pytest.param(206, {"etag": b'W/"1"'}, BLOCK, None, id="15.3.7.3 weakly the same"),
        pytest.param(206, {"content_encoding": b"gzip"}, BLOCK, None, id="8.4 encoded"),
        pytest.param(
            206, {"content_range": b"bytes 0-9/99"}, 10, None, id="15.3.7.3 of another length"
        ),
        pytest.param(206, {"content_range": b"bytes 0-9/*"}, 10, None, id="14.4 of no length"),
        pytest.param(200, {}, TOTAL, Span(0, TOTAL), id="14.2 the whole"),
        pytest.param(200, {}, TOTAL - 1, None, id="14.2 another whole"),
        pytest.param(200, {}, None, None, id="14.2 a whole of unknown length"),
        pytest.param(412, {}, 0, None, id="13.1.1 it has changed"),
    ],
)
def test_which_bytes_an_answer_brings(status, said, length, brought):
    told = {"etag": b'"1"', "content_range": b"bytes 0-%d/%d" % (BLOCK - 1, TOTAL), **said}
    assert blocks.answers(response(status, **told), length, LARGE) == brought


def test_a_part_is_told_as_the_head_of_the_whole():
    told = {"etag": b'"1"', "content_length": b"10", "content_range": b"bytes 5-14/99", "x": b"y"}
    assert blocks.of_whole(response(206, **told), 10) == (
        response(200, etag=b'"1"', x=b"y"),
        Span(5, 15),
        99,
    )
    for odd in ({"etag": b'W/"1"'}, {"content_range": b"bytes 5-14/*"}, {"content_range": b"x"}):
        assert blocks.of_whole(response(206, **{**told, **odd}), 10) is None
