"""How long a response is fresh, how old it is, when it may be used stale (RFC 9111 §4.2)."""

from __future__ import annotations

import pytest

from tests.core.given import NOW, date, fields, stored
from vary_proxy.core import freshness
from vary_proxy.core.directives import of_response
from vary_proxy.core.policy import CachePolicy, TtlPolicy
from vary_proxy.core.syntax import MAX_SECONDS

OLD = float(MAX_SECONDS)


@pytest.mark.parametrize(
    ("said", "requested", "age"),
    [
        pytest.param({}, 0.0, 0.0, id="4.2.3 nothing said: as old as it arrived"),
        pytest.param({"date": date()}, 0.0, 0.0, id="4.2.3 dated now"),
        pytest.param({"date": date(-60)}, 0.0, 60.0, id="4.2.3 apparent age"),
        pytest.param({"date": date(60)}, 0.0, 0.0, id="4.2.3 a clock ahead of ours"),
        pytest.param({"date": b"yesterday"}, 0.0, 0.0, id="4.2.3 a date that is none"),
        pytest.param({"age": b"30"}, 0.0, 30.0, id="5.1 Age"),
        pytest.param({"age": b"30", "date": date(-60)}, 0.0, 60.0, id="4.2.3 the older of both"),
        pytest.param({"age": b"90", "date": date(-60)}, 0.0, 90.0, id="4.2.3 … the other way"),
        pytest.param({"age": b"30"}, 5.0, 35.0, id="4.2.3 response delay"),
        pytest.param({}, 5.0, 5.0, id="4.2.3 response delay alone"),
        pytest.param({"age": b"99999999999"}, 0.0, OLD, id="1.2.2 too large"),
        pytest.param({"age": b"abc"}, 0.0, OLD, id="5.1 unreadable: old"),
        pytest.param({"age": b""}, 0.0, OLD, id="5.1 empty: old"),
        pytest.param({"age": b"-7200"}, 0.0, OLD, id="5.1 negative: old"),
        pytest.param({"age": b"7200.0"}, 0.0, OLD, id="5.1 a decimal: old"),
        pytest.param({"age": b"30,7200"}, 0.0, 30.0, id="5.1 a list: its first member"),
        pytest.param({"age": b"7200,30"}, 0.0, 7200.0, id="5.1 … whichever is older"),
        pytest.param({"age": b"x,30"}, 0.0, OLD, id="5.1 … unreadable: old"),
        pytest.param({"age": b"7200;foo=bar"}, 0.0, OLD, id="5.1 a parameter: old"),
        pytest.param({"age": (b"0", b"7200")}, 0.0, OLD, id="5.1 two lines: old"),
        pytest.param({"age": (b"0", b"0")}, 0.0, OLD, id="5.1 two equal lines: old"),
        pytest.param({"age": b"0, 0"}, 0.0, OLD, id="5.1 lines that a hop has joined: old"),
    ],
)
def test_the_instant_at_which_the_age_was_zero(said, requested, age):
    born = freshness.born_at(fields(**said), NOW - requested, NOW)
    assert NOW - born == pytest.approx(age)


def test_under_a_second_is_not_told_from_the_granularity_of_date():
    assert freshness.born_at(fields(date=date()), NOW, NOW + 0.9) == NOW + 0.9 - 0.9


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param({}, None, id="4.2.1 nothing"),
        pytest.param({"cache_control": b"max-age=60"}, 60.0, id="4.2.1 max-age"),
        pytest.param(
            {"cache_control": b"max-age=60, s-maxage=5"}, 5.0, id="4.2.1 s-maxage when shared"
        ),
        pytest.param(
            {"cache_control": b"max-age=5, s-maxage=60"}, 60.0, id="4.2.1 … also when longer"
        ),
        pytest.param(
            {"cache_control": b"max-age=60", "expires": date(5), "date": date()},
            60.0,
            id="4.2.1 max-age over Expires",
        ),
        pytest.param(
            {"cache_control": b"max-age=60", "expires": b"0"}, 60.0, id="5.3 … even a broken one"
        ),
        pytest.param({"expires": date(60), "date": date()}, 60.0, id="5.3 Expires less Date"),
        pytest.param(
            {"expires": date(60), "date": date(-40)}, 100.0, id="5.3 by the origin's clock"
        ),
        pytest.param({"expires": date(60)}, 60.0, id="5.3 without Date: since it arrived"),
        pytest.param({"expires": date(60), "date": b"x"}, 60.0, id="5.3 with a Date that is none"),
        pytest.param({"expires": date(-60), "date": date()}, 0.0, id="5.3 in the past"),
        pytest.param({"expires": b"0"}, 0.0, id="5.3 zero: already expired"),
        pytest.param({"expires": b""}, 0.0, id="5.3 empty: already expired"),
        pytest.param({"expires": b"-1"}, 0.0, id="5.3 a number: already expired"),
        pytest.param({"expires": (date(60), date(60))}, 60.0, id="5.3 twice the same"),
        pytest.param({"expires": (date(60), date(61))}, 0.0, id="4.2.1 two lines: stale"),
        pytest.param(
            {"cdn_cache_control": b"max-age=5", "expires": date(60)}, 5.0, id="9213 2.2 targeted"
        ),
        pytest.param(
            {"cdn_cache_control": b"must-revalidate", "expires": date(60)},
            None,
            id="9213 2.2 a targeted field silences Expires",
        ),
        pytest.param(
            {"cache_control": b"max-age=60, max-age=5"}, 0.0, id="4.2.1 repeated: we choose stale"
        ),
    ],
)
def test_the_lifetime_that_the_origin_stated(said, seconds):
    given = fields(**said)
    assert freshness.explicit_lifetime(given, of_response(given), NOW) == seconds


DAY_OLD = {"last_modified": date(-864000), "date": date()}


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [
        *(
            pytest.param(status, DAY_OLD, 86400.0, id=f"4.2.2 {status}: a tenth of ten days")
            for status in (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501)
        ),
        *(
            pytest.param(status, DAY_OLD, None, id=f"4.2.2 {status}: not defined so")
            for status in (201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599)
        ),
        pytest.param(599, {**DAY_OLD, "cache_control": b"public"}, 86400.0, id="4.2.2 but public"),
        pytest.param(200, {"date": date()}, None, id="4.2.2 no Last-Modified: nothing invented"),
        pytest.param(200, {"last_modified": b"x"}, None, id="4.2.2 an unreadable one"),
        pytest.param(200, {"last_modified": date(60)}, 0.0, id="4.2.2 modified in the future"),
        pytest.param(200, {"last_modified": date(-100)}, 10.0, id="4.2.2 a tenth"),
        pytest.param(200, {"last_modified": date(-(10**9))}, 86400.0, id="4.2.2 a day at most"),
        pytest.param(
            200, {**DAY_OLD, "cache_control": b"max-age=5"}, 5.0, id="4.2.2 never over what is said"
        ),
        pytest.param(200, {**DAY_OLD, "expires": b"0"}, 0.0, id="4.2.2 … however it is said"),
    ],
)
def test_heuristics(status, said, seconds):
    given = fields(**said)
    found = freshness.lifetime(status, given, of_response(given), NOW, CachePolicy())
    assert found == seconds


@pytest.mark.parametrize(
    ("ttl", "status", "said", "seconds"),
    [
        pytest.param(TtlPolicy(default=9.0), 200, {}, 9.0, id="default where nothing is said"),
        pytest.param(TtlPolicy(default=9.0), 200, DAY_OLD, 9.0, id="default before a heuristic"),
        pytest.param(
            TtlPolicy(default=9.0), 200, {"cache_control": b"max-age=5"}, 5.0, id="not over a word"
        ),
        pytest.param(TtlPolicy(default=9.0), 500, {}, None, id="no default for errors"),
        pytest.param(TtlPolicy(default=9.0), 400, {}, None, id="no default for 400"),
        pytest.param(TtlPolicy(default=9.0), 399, {}, 9.0, id="a default below it"),
        pytest.param(TtlPolicy(override=9.0), 400, {}, None, id="no override for 400"),
        pytest.param(
            TtlPolicy(override=9.0), 200, {"cache_control": b"max-age=5"}, 9.0, id="override"
        ),
        pytest.param(TtlPolicy(override=9.0), 404, {}, None, id="no override for errors"),
        pytest.param(TtlPolicy(statuses={404: 9.0}), 404, {}, 9.0, id="a status"),
        pytest.param(TtlPolicy(statuses={5: 9.0}), 503, {}, 9.0, id="a class"),
        pytest.param(TtlPolicy(statuses={404: 1.0, 4: 2.0}), 404, {}, 1.0, id="status over class"),
        pytest.param(TtlPolicy(statuses={404: 1.0, 4: 2.0}), 410, {}, 2.0, id="class for the rest"),
        pytest.param(
            TtlPolicy(override=9.0, statuses={200: 1.0}), 200, {}, 1.0, id="status over override"
        ),
    ],
)
def test_lifetimes_that_a_rule_sets(ttl, status, said, seconds):
    given = fields(**said)
    found = freshness.lifetime(status, given, of_response(given), NOW, CachePolicy(ttl=ttl))
    assert found == seconds


@pytest.mark.parametrize(
    ("said", "rule", "seconds"),
    [
        pytest.param({"cache_control": b"max-age=60"}, {}, 60.0, id="as long as it is fresh"),
        pytest.param({}, {}, 0.0, id="nothing said"),
        pytest.param({}, {"stale_while_revalidate": 30.0}, 30.0, id="stale while validated"),
        pytest.param({}, {"stale_if_error": 90.0}, 90.0, id="stale in place of an error"),
        pytest.param(
            {"cache_control": b"max-age=60"},
            {"stale_while_revalidate": 30.0, "stale_if_error": 90.0},
            150.0,
            id="the longer of both comes behind",
        ),
        pytest.param(
            {"cache_control": b"max-age=60"}, {"ttl": TtlPolicy(override=5.0)}, 5.0, id="a rule's"
        ),
    ],
)
def test_how_long_a_response_may_be_of_use(said, rule, seconds):
    assert freshness.keeping(200, fields(**said), NOW, CachePolicy(**rule)) == seconds


def test_a_rule_may_forbid_heuristics():
    given = fields(**DAY_OLD)
    policy = CachePolicy(heuristic=False)
    assert freshness.lifetime(200, given, of_response(given), NOW, policy) is None


def test_a_stored_response_that_was_purged_softly_has_no_lifetime():
    one = stored(cache_control=b"max-age=60")
    assert freshness.stored_lifetime(one, CachePolicy()) == 60.0
    assert freshness.stored_lifetime(one.marked_stale(), CachePolicy()) == 0.0
    assert freshness.stored_lifetime(stored(), CachePolicy()) == 0.0


@pytest.mark.parametrize(
    ("age", "expected"), [(0.0, 0.0), (5.5, 5.5), (-3.0, 0.0)], ids=["born", "older", "clock back"]
)
def test_4_2_3_current_age(age, expected):
    assert freshness.current_age(stored(age=age), NOW) == expected


@pytest.mark.parametrize(
    ("cache_control", "forbidden"),
    [
        pytest.param(b"max-age=1", False, id="4.2.4 nothing forbids"),
        pytest.param(b"max-age=1, must-revalidate", True, id="5.2.2.2 must-revalidate"),
        pytest.param(b"max-age=1, proxy-revalidate", True, id="5.2.2.8 proxy-revalidate"),
        pytest.param(b"s-maxage=1", True, id="5.2.2.10 s-maxage implies it"),
        pytest.param(b"max-age=1, no-cache", True, id="5.2.2.4 no-cache"),
        pytest.param(b'max-age=1, no-cache="a"', False, id="5.2.2.4 limited to fields"),
    ],
)
def test_what_forbids_stale_use(cache_control, forbidden):
    said = cache_control + b", stale-while-revalidate=60, stale-if-error=60"
    one = stored(cache_control=said)
    assert freshness.forbids_stale(one) is forbidden
    assert freshness.revalidate_window(one, CachePolicy()) == (0.0 if forbidden else 60.0)
    for disconnected in (True, False):
        window = freshness.error_window(one, CachePolicy(), disconnected=disconnected)
        assert window == (0.0 if forbidden else 60.0)


@pytest.mark.parametrize(
    ("status", "cache_control", "revalidate", "error"),
    [
        pytest.param(200, b"max-age=1", 30.0, 40.0, id="the rule's, where the origin is silent"),
        pytest.param(
            200, b"max-age=1, stale-while-revalidate=5", 5.0, 40.0, id="5861 3 the origin's"
        ),
        pytest.param(200, b"max-age=1, stale-if-error=5", 30.0, 5.0, id="5861 4 the origin's"),
        pytest.param(
            200, b"max-age=1, stale-while-revalidate=0", 0.0, 40.0, id="5861 3 zero is a word too"
        ),
        pytest.param(
            200, b"max-age=1, stale-if-error=x", 30.0, 0.0, id="5861 4 unreadable: no window"
        ),
        pytest.param(404, b"max-age=1", 0.0, 0.0, id="no stale errors"),
    ],
)
def test_5861_stale_windows(status, cache_control, revalidate, error):
    policy = CachePolicy(stale_while_revalidate=30.0, stale_if_error=40.0)
    one = stored(status, cache_control=cache_control)
    assert freshness.revalidate_window(one, policy) == revalidate
    assert freshness.error_window(one, policy, disconnected=False) == error


@pytest.mark.parametrize(
    ("cache_control", "rule", "disconnected", "seconds"),
    [
        pytest.param(b"max-age=1", None, True, 86400.0, id="4.2.4 no connection: a day"),
        pytest.param(b"max-age=1", None, False, 0.0, id="an answer, if an error: not unasked"),
        pytest.param(b"max-age=1", 0.0, True, 0.0, id="a rule that says never"),
        pytest.param(b"max-age=1, stale-if-error=0", None, True, 0.0, id="an origin that says so"),
        pytest.param(b"max-age=1, must-revalidate", None, True, 0.0, id="5.2.2.2 must-revalidate"),
        pytest.param(b"s-maxage=1", None, True, 0.0, id="5.2.2.10 s-maxage"),
    ],
)
def test_4_2_4_without_a_connection(cache_control, rule, disconnected, seconds):
    one = stored(cache_control=cache_control)
    policy = CachePolicy(stale_if_error=rule)
    assert freshness.error_window(one, policy, disconnected=disconnected) == seconds
