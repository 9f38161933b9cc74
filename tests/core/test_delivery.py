"""How replies are dressed (RFC 9110 §14, §15, RFC 9111 §5.1, RFC 9211)."""

from __future__ import annotations

from dataclasses import replace

import http_sf
import pytest

from tests.core.given import NOW, date, fields, request, stored
from vary_proxy.core import delivery
from vary_proxy.core.delivery import CacheStatus
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Body, Part

HIT = CacheStatus(hit=True, ttl=50.0)


def composed(asked, one, status=HIT, **options):
    options.setdefault("length", one.body.length)
    return delivery.compose(asked, one, one.fields, status, NOW, **options)


def test_5_1_a_stored_response_tells_its_age():
    plan = composed(request(), stored(age=12.9))
    assert plan.fields.lines(b"age") == (b"12",)


def test_5_1_the_origins_age_is_replaced_not_repeated():
    plan = composed(request(), stored(200, (b"age", b"5"), age=12.0))
    assert plan.fields.lines(b"age") == (b"12",)


def test_5_1_what_has_just_come_keeps_the_age_it_came_with():
    assert b"age" not in composed(request(), stored(), aged=False).fields
    plan = composed(request(), stored(200, (b"age", b"5")), aged=False)
    assert plan.fields.lines(b"age") == (b"5",)
    plan = composed(
        request(), stored(age=12.0), CacheStatus(fwd="miss", collapsed=True), aged=False
    )
    assert plan.fields.lines(b"age") == (b"12",)  # what others fetched may have come for long


def test_4_the_origins_date_stays():
    assert composed(request(), stored(age=60, date=date(-60))).fields.get(b"date") == date(-60)


@pytest.mark.parametrize(
    ("method", "status", "pieces", "length"),
    [
        pytest.param(b"GET", 200, (Span(0, 10),), b"10", id="GET"),
        pytest.param(b"HEAD", 200, (), b"10", id="9110 9.3.2 HEAD: the length, and no body"),
        pytest.param(b"GET", 404, (Span(0, 10),), b"10", id="any status"),
        pytest.param(b"GET", 204, (), None, id="9110 8.6 no length with 204"),
        pytest.param(b"GET", 304, (), None, id="9110 15.4.5 no body with a 304 of the origin"),
    ],
)
def test_a_whole(method, status, pieces, length):
    plan = composed(request(method), stored(status))
    assert (plan.status, plan.pieces, plan.fields.get(b"content-length")) == (
        status,
        pieces,
        length,
    )
    assert plan.bodiless is (pieces == ())


def test_a_body_of_unknown_length_has_none():
    plan = composed(request(), stored(), length=None)
    assert b"content-length" not in plan.fields
    assert plan.pieces == (Span(0, -1),)
    asked = composed(request(range=b"bytes=0-1"), stored(), length=None)
    assert (asked.status, asked.pieces) == (200, (Span(0, -1),))


def test_8_6_there_is_one_length():
    one = stored(content_length=b"10")
    assert composed(request(), one).fields.lines(b"content-length") == (b"10",)
    part = composed(request(range=b"bytes=0-1"), one)
    assert part.fields.lines(b"content-length") == (b"2",)


@pytest.mark.parametrize(
    "name",
    [
        *("content-length", "content-type", "content-encoding", "content-language"),
        *("content-range", "content-md5", "content-digest", "repr-digest", "digest"),
        *("content-disposition", "transfer-encoding", "accept-ranges"),
    ],
)
def test_15_4_5_what_describes_the_body_stays_out_of_a_304(name):
    said = fields((name.encode(), b"x"), content_location=b"/b", vary=b"Origin")
    kept = delivery.of_not_modified(said)
    assert kept == fields(content_location=b"/b", vary=b"Origin")


DRESSED = stored(
    etag=b'"1"',
    cache_control=b"max-age=60",
    expires=date(60),
    date=date(),
    vary=b"Origin",
    content_location=b"/b",
    access_control_allow_origin=b"*",
    content_type=b"image/png",
    content_encoding=b"gzip",
    last_modified=date(-9),
)


def test_15_4_5_a_304_guides_caches_and_describes_no_body():
    plan = composed(request(if_none_match=b'"1"'), DRESSED)
    assert (plan.status, plan.pieces, plan.bodiless) == (304, (), True)
    for name in (b"etag", b"cache-control", b"expires", b"date", b"vary", b"content-location"):
        assert plan.fields.get(name) == DRESSED.fields.get(name)
    assert plan.fields.get(b"access-control-allow-origin") == b"*"
    for name in (b"content-length", b"content-type", b"content-encoding"):
        assert name not in plan.fields


def test_13_2_2_a_condition_goes_before_a_range():
    plan = composed(request(if_none_match=b'"1"', range=b"bytes=0-1"), DRESSED)
    assert plan.status == 304


@pytest.mark.parametrize(
    ("range_", "span", "content_range"),
    [
        pytest.param(b"bytes=0-4", Span(0, 5), b"bytes 0-4/10", id="14.1.2 closed"),
        pytest.param(b"bytes=4-", Span(4, 10), b"bytes 4-9/10", id="14.1.2 open"),
        pytest.param(b"bytes=-3", Span(7, 10), b"bytes 7-9/10", id="14.1.2 suffix"),
        pytest.param(b"bytes=0-99", Span(0, 10), b"bytes 0-9/10", id="14.1.2 cut"),
    ],
)
def test_15_3_7_1_one_range_of_a_whole(range_, span, content_range):
    plan = composed(request(range=range_), stored(etag=b'"1"'))
    assert (plan.status, plan.pieces) == (206, (span,))
    assert plan.fields.get(b"content-range") == content_range
    assert plan.fields.get(b"content-length") == b"%d" % span.length
    assert plan.fields.get(b"etag") == b'"1"'
    assert composed(request(range=range_), stored(etag=b'"1"'), aged=False).pieces == (span,)


@pytest.mark.parametrize(
    ("asked", "one"),
    [
        pytest.param(request(range=b"bytes=x"), stored(), id="14.2 unreadable"),
        pytest.param(request(range=b"items=0-1"), stored(), id="14.2 another unit"),
        pytest.param(request(range=b"bytes=0-5, 3-9"), stored(), id="14.2 overlapping"),
        pytest.param(request(b"HEAD", b"/a", range=b"bytes=0-1"), stored(), id="14.2 only for GET"),
        pytest.param(request(range=b"bytes=0-1"), stored(404), id="14.2 not for errors"),
        pytest.param(
            request(range=b"bytes=0-1", if_range=b'"2"'), stored(etag=b'"1"'), id="13.1.5 If-Range"
        ),
        pytest.param(
            request(range=b"bytes=0-1", if_range=(b'"1"', b'"1"')),
            stored(etag=b'"1"'),
            id="13.1.5 two lines of If-Range are no validator",
        ),
        pytest.param(
            request(range=(b"bytes=0-1", b"bytes=2-3")), stored(), id="14.2 two lines of Range"
        ),
    ],
)
def test_14_2_ranges_that_are_ignored(asked, one):
    plan = composed(asked, one)
    assert plan.status == one.status
    assert b"content-range" not in plan.fields
    assert plan.fields.get(b"content-length") == b"10"


@pytest.mark.parametrize("range_", [b"bytes=10-", b"bytes=-0", b"bytes=99-100, 50-60"])
def test_15_5_17_nothing_of_it_is_to_be_had(range_):
    one = stored(
        etag=b'"1"',
        content_type=b"text/plain",
        cache_control=b"public, max-age=60",
        expires=b"Sun, 22 Nov 2026 00:00:00 GMT",
        cdn_cache_control=b"max-age=60",
        surrogate_control=b"max-age=60",
        last_modified=date(-60),
        pragma=b"x",
        accept_ranges=b"bytes",
        vary=b"Origin",
    )
    plan = composed(request(range=range_), one)
    assert (plan.status, plan.pieces) == (416, ())
    # Else a cache after us could keep it, and answer requests for the whole with it.
    assert plan.fields.get(b"cache-control") == b"no-store"
    assert plan.fields.names() == {
        *(b"age", b"cache-status", b"cache-control", b"content-range", b"content-length"),
        *(b"accept-ranges", b"vary"),
    }
    assert plan.fields.get(b"content-range") == b"bytes */10"
    assert plan.fields.get(b"content-length") == b"0"


def test_14_6_several_ranges():
    body = b"0123456789"
    one = stored(content_type=b"text/plain", etag=b'"1"')
    plan = composed(request(range=b"bytes=0-1, 5-6, -1"), one)
    assert plan.status == 206
    assert b"content-range" not in plan.fields
    sent = b"".join(
        piece if isinstance(piece, bytes) else body[piece.start : piece.stop]
        for piece in plan.pieces
    )
    assert plan.fields.get(b"content-length") == b"%d" % len(sent)
    kind, _, boundary = (plan.fields.get(b"content-type") or b"").partition(b"; boundary=")
    assert kind == b"multipart/byteranges"
    before, *parts, after = sent.split(b"\r\n--" + boundary)  # 2046 §5.1.1
    assert (before, after) == (b"", b"--\r\n")
    assert parts == [
        b"\r\nContent-Type: text/plain\r\nContent-Range: bytes %s/10\r\n\r\n%s" % part
        for part in ((b"0-1", b"01"), (b"5-6", b"56"), (b"9-9", b"9"))
    ]


def test_14_6_who_writes_a_body_cannot_know_what_will_part_it():
    def parted_by(**of) -> bytes:
        one = stored(content_type=b"text/plain", etag=b'"1"')
        plan = composed(request(range=b"bytes=0-1, 5-6"), replace(one, **of))
        return (plan.fields.get(b"content-type") or b"").partition(b"; boundary=")[2]

    assert len({parted_by(), parted_by(born=1.5), parted_by(body=Body(b"other", 10))}) == 3
    assert parted_by() == parted_by()


def test_14_6_several_ranges_of_a_part_without_a_type():
    one = stored(206, (b"content-range", b"bytes 4-9/10"), part=Part(4, 10), length=6)
    plan = composed(request(range=b"bytes=4-4, 8-9"), one)
    assert plan.status == 206
    heads, spans = plan.pieces[:-1:2], plan.pieces[1::2]
    assert spans == (Span(0, 1), Span(4, 6))
    assert [head.splitlines()[2:] for head in heads] == [
        [b"Content-Range: bytes 4-4/10", b""],
        [b"Content-Range: bytes 8-9/10", b""],
    ]
    assert b"content-range" not in plan.fields


@pytest.mark.parametrize(
    ("range_", "span", "content_range"),
    [
        pytest.param(b"bytes=4-8", Span(0, 5), b"bytes 4-8/10", id="all that is held"),
        pytest.param(b"bytes=6-7", Span(2, 4), b"bytes 6-7/10", id="within"),
    ],
)
def test_3_3_a_part_answers_from_where_it_lies(range_, span, content_range):
    one = stored(206, (b"content-range", b"bytes 4-8/10"), part=Part(4, 10), length=5)
    plan = composed(request(range=range_), one)
    assert (plan.status, plan.pieces) == (206, (span,))
    assert plan.fields.lines(b"content-range") == (content_range,)


def test_3_3_a_part_of_unknown_length():
    one = stored(206, (b"content-range", b"bytes 4-8/*"), part=Part(4, None), length=5)
    plan = composed(request(range=b"bytes=4-5"), one)
    assert plan.pieces == (Span(0, 2),)
    assert plan.fields.lines(b"content-range") == (b"bytes 4-5/*",)


def test_15_3_7_a_part_just_asked_for_goes_as_it_came():
    one = stored(206, (b"content-range", b"bytes 0-4/10"), part=Part(0, 10), length=5)
    plan = composed(request(range=b"bytes=-5"), one, aged=False)  # the origin chose otherwise
    assert (plan.status, plan.pieces) == (206, (Span(0, 5),))
    assert plan.fields.get(b"content-range") == b"bytes 0-4/10"


STATUSES = [
    CacheStatus(hit=True),
    CacheStatus(hit=True, ttl=312.7),
    CacheStatus(hit=True, ttl=-5.0),
    CacheStatus(hit=True, ttl=float("inf")),
    CacheStatus(hit=True, ttl=float("-inf")),
    CacheStatus(fwd="vary-miss", fwd_status=200, stored=True, collapsed=True),
    CacheStatus(fwd="stale", fwd_status=304),
    CacheStatus(fwd="uri-miss", fwd_status=200, detail="no-store"),
    CacheStatus(fwd="stale", detail='odd "text", with; everything\\'),
    CacheStatus(detail="5xx"),
]


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: bytes(status).decode())
def test_9211_cache_status_is_a_list_of_tokens_with_parameters(status):
    ((name, parameters),) = http_sf.parse(bytes(status), tltype="list")
    assert name == http_sf.Token("vary-proxy")
    expected = {"hit": status.hit, "stored": status.stored, "collapsed": status.collapsed}
    assert {key: parameters.get(key, False) for key in expected} == expected
    assert str(parameters.get("fwd", "")) == status.fwd
    assert parameters.get("fwd-status", 0) == status.fwd_status
    assert str(parameters.get("detail", "")) == status.detail
    if status.ttl is not None:
        assert isinstance(parameters["ttl"], int)


@pytest.mark.parametrize(
    ("detail", "told"),
    [("no-store", b"no-store"), ("a1", b"a1"), ("5xx", b'"5xx"'), ("a b", b'"a b"')],
)
def test_9211_2_8_a_detail_is_a_token_where_it_can_be(detail, told):
    assert bytes(CacheStatus(detail=detail)) == b"vary-proxy; detail=" + told


def test_what_was_forwarded_after_all_tells_how_it_was_answered():
    status = CacheStatus(fwd="stale", ttl=-5.0, collapsed=True)
    assert bytes(status.of(200)) == b"vary-proxy; fwd=stale; fwd-status=200; collapsed"
    assert bytes(status.of(304, "odd", stored=True)) == (
        b"vary-proxy; fwd=stale; fwd-status=304; stored; collapsed; detail=odd"
    )


def test_9211_2_our_member_comes_after_those_nearer_the_origin():
    plan = composed(request(), stored(cache_status=b"inner; hit"))
    assert plan.fields.lines(b"cache-status") == (b"inner; hit, vary-proxy; hit; ttl=50",)
    passed = delivery.chained(fields(cache_status=(b"a", b"b")), CacheStatus(fwd="method"))
    assert passed.lines(b"cache-status") == (b"a, b, vary-proxy; fwd=method",)


def test_9110_6_6_1_a_response_without_date_gets_one():
    assert delivery.received(fields(), NOW).get(b"date") == date()
    assert delivery.received(fields(date=b"odd"), NOW).lines(b"date") == (b"odd",)


@pytest.mark.parametrize(
    ("lines", "via"),
    [((), b"1.1 vary-proxy"), ((b"1.0 a", b"1.1 b"), b"1.0 a, 1.1 b, 1.1 vary-proxy")],
)
def test_9110_7_6_3_via(lines, via):
    assert delivery.received(fields(via=lines), NOW).lines(b"via") == (via,)
