"""What is done with a request: serve, validate, forward, pass or refuse (RFC 9111 §4)."""

from __future__ import annotations

import pytest

from tests.core.given import NOW, date, request, stored
from vary_proxy.core import reuse
from vary_proxy.core.policy import CachePolicy, Policy, TtlPolicy
from vary_proxy.core.reuse import Forward, Pass, Refuse, Serve, Validate
from vary_proxy.core.stored import Part, Resource

TAG = {"etag": b'"1"'}
ORIGIN = ((b"origin", None),)


def decided(asked, *variants, wanted=(), policy=None):
    resource = Resource(tuple(variants)) if variants else None
    return reuse.decide(asked, resource, wanted, policy or Policy(), NOW)


def told(decision):
    """The decision in a word: ``serve 50``, ``validate stale`` and so on."""
    match decision:
        case Serve(_, ttl, revalidate):
            return f"serve {ttl:g}" + (" and revalidate" if revalidate else "")
        case Validate(_, reason):
            return f"validate {reason}"
        case Forward(reason) | Pass(reason):
            return f"{type(decision).__name__.lower()} {reason}"
        case Refuse():
            return "refuse"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param(request(), None, id="GET"),
        pytest.param(request(b"HEAD"), None, id="HEAD"),
        pytest.param(request(b"POST", body=True), "method", id="4 POST is written through"),
        pytest.param(request(b"OPTIONS"), "method", id="9110 9.3.7 OPTIONS"),
        pytest.param(request(b"get"), "method", id="9110 9.1 methods have a case"),
        pytest.param(request(b"GET", body=True), "bypass", id="9110 9.3.1 GET with a body"),
        pytest.param(request(if_match=b'"1"'), "request", id="4.3.2 If-Match is the origin's"),
        pytest.param(request(if_unmodified_since=date()), "request", id="4.3.2 so is this one"),
        pytest.param(request(b"GET", b"/a?X-Amz-Signature=1"), "bypass", id="a capability"),
        pytest.param(request(range=b"bytes=0-1"), None, id="a range is ours to answer"),
        pytest.param(request(authorization=b"Basic x"), None, id="3.5 the response decides"),
    ],
)
def test_what_is_outside_the_cache(asked, reason):
    found = reuse.outside(asked, Policy())
    assert (None if found is None else found.reason) == reason


def test_a_rule_without_a_cache():
    assert reuse.outside(request(), Policy(cache=CachePolicy(enabled=False))) == Pass("bypass")


@pytest.mark.parametrize(
    ("variant", "decision"),
    [
        pytest.param(None, "forward uri-miss", id="4 nothing stored"),
        pytest.param(
            stored(cache_control=b"max-age=60", age=10), "serve 50", id="4.2 fresh: served"
        ),
        pytest.param(
            stored(cache_control=b"max-age=60", age=60, **TAG),
            "validate stale",
            id="4.2 as old as its lifetime: stale",
        ),
        pytest.param(
            stored(cache_control=b"max-age=60", age=61), "forward stale", id="4.3 no validator"
        ),
        pytest.param(
            stored(cache_control=b"max-age=60", age=61, last_modified=date(-900)),
            "validate stale",
            id="4.3.1 Last-Modified",
        ),
        pytest.param(stored(**TAG), "validate stale", id="4.2.1 no lifetime: never fresh"),
        pytest.param(
            stored(cache_control=b"max-age=60, no-cache", **TAG),
            "validate stale",
            id="5.2.2.4 no-cache",
        ),
        pytest.param(
            stored(cache_control=b'max-age=60, no-cache="a"', **TAG),
            "serve 60",
            id="5.2.2.4 limited: the fields are gone, the rest is served",
        ),
        pytest.param(
            stored(cache_control=b"max-age=60", stale=True, **TAG),
            "validate stale",
            id="purged softly",
        ),
        pytest.param(stored(404, cache_control=b"max-age=60"), "serve 60", id="4 any status"),
        pytest.param(
            stored(cache_control=b"max-age=1, must-revalidate", age=2, **TAG),
            "validate stale",
            id="5.2.2.2 must-revalidate",
        ),
    ],
)
def test_what_is_stored_decides(variant, decision):
    found = decided(request(), *(() if variant is None else (variant,)))
    assert told(found) == decision


FRESH = stored(cache_control=b"max-age=60", age=10, **TAG)
STALE = stored(cache_control=b"max-age=60", age=70, **TAG)
STRICT = stored(cache_control=b"max-age=60, must-revalidate", age=70, **TAG)
SHARED = stored(cache_control=b"s-maxage=60", age=70, **TAG)


@pytest.mark.parametrize(
    ("cache_control", "variant", "decision"),
    [
        pytest.param(b"max-age=0", FRESH, "validate request", id="5.2.1.1 nothing older than 0"),
        pytest.param(b"max-age=9", FRESH, "validate request", id="5.2.1.1 too old for it"),
        pytest.param(b"max-age=10", FRESH, "serve 50", id="5.2.1.1 as old as it may be"),
        pytest.param(b"max-age=90", STALE, "validate stale", id="5.2.1.1 but not stale"),
        pytest.param(b"max-stale", STALE, "serve -10", id="5.2.1.2 any staleness"),
        pytest.param(b"max-stale=10", STALE, "serve -10", id="5.2.1.2 up to ten seconds"),
        pytest.param(b"max-stale=9", STALE, "validate stale", id="5.2.1.2 too stale"),
        pytest.param(b"max-stale", STRICT, "validate stale", id="5.2.2.2 the origin forbids it"),
        pytest.param(b"max-stale", SHARED, "validate stale", id="5.2.2.10 so does s-maxage"),
        pytest.param(b"max-stale=x", STALE, "validate stale", id="5.2.1.2 unreadable"),
        pytest.param(
            b"max-stale", STALE.marked_stale(), "validate stale", id="not what was purged"
        ),
        pytest.param(b"min-fresh=50", FRESH, "serve 50", id="5.2.1.3 fresh for long enough"),
        pytest.param(b"min-fresh=51", FRESH, "validate request", id="5.2.1.3 not for so long"),
        pytest.param(b"no-cache", FRESH, "validate request", id="5.2.1.4 no-cache"),
        pytest.param(b"no-store", FRESH, "serve 50", id="5.2.1.5 says nothing of reuse"),
        pytest.param(b"only-if-cached", FRESH, "serve 50", id="5.2.1.7 there it is"),
        pytest.param(b"only-if-cached", STALE, "refuse", id="5.2.1.7 stale is not enough"),
        pytest.param(b"only-if-cached, max-stale", STALE, "serve -10", id="5.2.1.7 unless asked"),
        pytest.param(b"only-if-cached", None, "refuse", id="5.2.1.7 nothing there"),
        pytest.param(b"foo", FRESH, "serve 50", id="5.2.3 an unknown directive"),
    ],
)
def test_5_2_1_what_the_request_asks_for(cache_control, variant, decision):
    variants = () if variant is None else (variant,)
    assert told(decided(request(cache_control=cache_control), *variants)) == decision


def test_a_rule_may_ignore_what_the_request_asks_for():
    policy = Policy(cache=CachePolicy(honour_request=False))
    for cache_control in (b"no-cache", b"max-age=0", b"min-fresh=99", b"only-if-cached"):
        asked = request(cache_control=cache_control)
        assert told(decided(asked, FRESH, policy=policy)) == "serve 50"


@pytest.mark.parametrize(
    ("cache_control", "age", "method", "decision"),
    [
        pytest.param(b"", 65, b"GET", "serve -5 and revalidate", id="3 within the window"),
        pytest.param(b"", 70, b"GET", "validate stale", id="3 at its end"),
        pytest.param(b"", 65, b"HEAD", "validate stale", id="a HEAD revalidates nothing"),
        pytest.param(b", must-revalidate", 65, b"GET", "validate stale", id="9111 5.2.2.2"),
        pytest.param(b", no-cache", 5, b"GET", "validate stale", id="9111 5.2.2.4"),
        pytest.param(b", s-maxage=60", 65, b"GET", "validate stale", id="9111 5.2.2.10"),
    ],
)
def test_5861_stale_while_revalidate(cache_control, age, method, decision):
    said = b"max-age=60, stale-while-revalidate=10" + cache_control
    assert told(decided(request(method), stored(cache_control=said, age=age, **TAG))) == decision


def test_5861_what_was_purged_softly_is_not_served_while_it_is_validated():
    one = stored(cache_control=b"max-age=60, stale-while-revalidate=10", stale=True, **TAG)
    assert told(decided(request(), one)) == "validate stale"


@pytest.mark.parametrize(
    ("cache_control", "age", "holds"),
    [
        pytest.param(b"max-age=60, stale-if-error=10", 65, True, id="4 within the window"),
        pytest.param(b"max-age=60, stale-if-error=10", 70, False, id="4 at its end"),
        pytest.param(b"max-age=60", 65, False, id="4 nothing said"),
        pytest.param(b"max-age=60, stale-if-error=10, must-revalidate", 65, False, id="5.2.2.2"),
        pytest.param(b"s-maxage=60, stale-if-error=10", 65, False, id="5.2.2.10"),
    ],
)
def test_5861_stale_if_error(cache_control, age, holds):
    one = stored(cache_control=cache_control, age=age, **TAG)
    assert reuse.stands_in(one, Policy(), NOW, disconnected=False) is holds


@pytest.mark.parametrize("disconnected", [True, False])
@pytest.mark.parametrize(
    ("cache_control", "age", "holds"),
    [
        pytest.param(b"max-age=60, no-cache", 5, False, id="5.2.2.4 validated each time"),
        pytest.param(b"max-age=60, no-cache, stale-if-error=99", 5, False, id="5.2.2.4 … whatever"),
        pytest.param(b'max-age=60, no-cache="a"', 5, True, id="5.2.2.4 but for a field"),
        pytest.param(b"max-age=60, must-revalidate", 59.5, True, id="5.2.2.2 fresh to its end"),
        pytest.param(b"max-age=60, must-revalidate", 60, False, id="5.2.2.2 and not beyond"),
    ],
)
def test_what_must_be_validated_stands_in_for_nothing(cache_control, age, holds, disconnected):
    one = stored(cache_control=cache_control, age=age, **TAG)
    assert reuse.stands_in(one, Policy(), NOW, disconnected=disconnected) is holds


@pytest.mark.parametrize(
    ("age", "decision"), [(59.5, "serve 0.5"), (60, "validate stale"), (60.5, "validate stale")]
)
def test_4_2_fresh_to_the_last_moment(age, decision):
    one = stored(cache_control=b"max-age=60", age=age, **TAG)
    assert told(decided(request(), one)) == decision


@pytest.mark.parametrize(
    ("asked", "decision"),
    [
        pytest.param(b"max-age=100", "validate stale", id="5.2.1.1 wants it fresh"),
        pytest.param(b"min-fresh=0", "validate stale", id="5.2.1.3 wants it fresh"),
        pytest.param(b"max-stale=5", "serve -5", id="5.2.1.2 takes it as it is"),
        pytest.param(b"max-stale=4", "serve -5 and revalidate", id="5861 3 else as anybody"),
    ],
)
def test_5861_stale_while_revalidate_is_for_those_who_take_it(asked, decision):
    one = stored(cache_control=b"max-age=60, stale-while-revalidate=10", age=65, **TAG)
    assert told(decided(request(cache_control=asked), one)) == decision


@pytest.mark.parametrize(
    ("selecting", "wanted", "decision"),
    [
        pytest.param((), (), "serve 60", id="4.1 nothing selects"),
        pytest.param(((b"a", b"1"),), ((b"a", b"1"),), "serve 60", id="4.1 equal"),
        pytest.param(((b"a", b"1"),), ((b"a", b"2"),), "forward vary-miss", id="4.1 different"),
        pytest.param(((b"a", b"1"),), ((b"a", None),), "forward vary-miss", id="4.1 absent now"),
        pytest.param(((b"a", None),), ((b"a", b"1"),), "forward vary-miss", id="4.1 absent then"),
        pytest.param(((b"a", None),), ((b"a", None),), "serve 60", id="4.1 absent both times"),
        pytest.param(((b"a", None),), ((b"a", b""),), "forward vary-miss", id="4.1 empty ≠ absent"),
        pytest.param(
            ((b"a", b"1"), (b"b", b"1")),
            ((b"a", b"1"), (b"b", b"2")),
            "forward vary-miss",
            id="4.1 one of two",
        ),
        pytest.param(
            ((b"a", b"1"),),
            ((b"a", b"1"), (b"b", b"1")),
            "forward vary-miss",
            id="4.1 what knows nothing of a name is not told apart by it",
        ),
    ],
)
def test_4_1_selection(selecting, wanted, decision):
    one = stored(cache_control=b"max-age=60", selecting=selecting)
    assert told(decided(request(), one, wanted=wanted)) == decision


def test_4_1_the_most_recent_of_those_that_match():
    older = stored(cache_control=b"max-age=60", age=20, x=b"older")
    newer = stored(cache_control=b"max-age=60", age=10, x=b"newer")
    found = decided(request(), newer, older)
    assert isinstance(found, Serve)
    assert found.stored is newer


def test_4_1_a_fitting_variant_behind_others():
    other = stored(cache_control=b"max-age=60", selecting=((b"a", b"1"),))
    mine = stored(cache_control=b"max-age=60", selecting=((b"a", b"2"),))
    found = decided(request(), other, mine, wanted=((b"a", b"2"),))
    assert isinstance(found, Serve)
    assert found.stored is mine


@pytest.mark.parametrize(
    ("variant", "asked", "offered"),
    [
        pytest.param(stored(selecting=ORIGIN, **TAG), request(), True, id="4.3.1 a strong tag"),
        pytest.param(
            stored(selecting=ORIGIN, etag=b'W/"1"'), request(), False, id="8.8.1 a weak one"
        ),
        pytest.param(stored(selecting=ORIGIN), request(), False, id="no tag"),
        pytest.param(stored(404, selecting=ORIGIN, **TAG), request(), False, id="an error"),
        pytest.param(
            stored(206, selecting=ORIGIN, part=Part(0, 99), **TAG), request(), False, id="a part"
        ),
        pytest.param(
            stored(selecting=ORIGIN, authorized=True, **TAG), request(), False, id="somebody's own"
        ),
        pytest.param(
            stored(selecting=ORIGIN, **TAG), request(range=b"bytes=0-1"), False, id="for a range"
        ),
        pytest.param(stored(selecting=ORIGIN, **TAG), request(b"HEAD"), False, id="for a HEAD"),
    ],
)
def test_4_3_1_whose_body_may_serve_another(variant, asked, offered):
    found = decided(asked, variant, wanted=((b"origin", b"https://a.example"),))
    assert isinstance(found, Forward)
    assert found.reason == "vary-miss"
    assert bool(found.siblings) is offered


@pytest.mark.parametrize(
    ("cache_control", "decision"),
    [
        pytest.param(b"max-age=60", "pass request", id="nothing allows sharing"),
        pytest.param(b"max-age=60, public", "serve 60", id="public"),
        pytest.param(b"max-age=60, must-revalidate", "serve 60", id="must-revalidate"),
        pytest.param(b"s-maxage=60", "serve 60", id="s-maxage"),
    ],
)
def test_3_5_a_request_with_authorization(cache_control, decision):
    asked = request(authorization=b"Basic x")
    assert told(decided(asked, stored(cache_control=cache_control))) == decision


PART = {"cache_control": b"max-age=60", "part": Part(4, 10), "length": 5}  # bytes 4 to 8 of ten


@pytest.mark.parametrize(
    ("range_", "decision"),
    [
        pytest.param(None, "forward partial", id="3.3 never a part for the whole"),
        pytest.param(b"bytes=4-8", "serve 60", id="14.1.2 all that is held"),
        pytest.param(b"bytes=6-7", "serve 60", id="14.1.2 within"),
        pytest.param(b"bytes=4-5, 7-8", "serve 60", id="14.1.2 several within"),
        pytest.param(b"bytes=3-8", "forward partial", id="14.1.2 begins before"),
        pytest.param(b"bytes=4-9", "forward partial", id="14.1.2 ends behind"),
        pytest.param(b"bytes=4-", "forward partial", id="14.1.2 open, and the end is not here"),
        pytest.param(b"bytes=-2", "forward partial", id="14.1.2 a suffix that is not here"),
        pytest.param(b"bytes=4-5, 9-9", "forward partial", id="14.1.2 one of two is not here"),
        pytest.param(b"bytes=x", "forward partial", id="14.2 unreadable: the whole is wanted"),
    ],
)
def test_3_3_a_part_answers_what_lies_within(range_, decision):
    named = {} if range_ is None else {"range": range_}
    assert told(decided(request(**named), stored(206, **PART))) == decision


@pytest.mark.parametrize(
    ("range_", "decision"),
    [
        pytest.param(b"bytes=4-8", "serve 60", id="closed and within"),
        pytest.param(b"bytes=4-9", "forward partial", id="closed, and one byte too many"),
        pytest.param(b"bytes=4-", "forward partial", id="open"),
        pytest.param(b"bytes=-1", "forward partial", id="a suffix"),
        pytest.param(b"bytes=-9", "forward partial", id="a long suffix"),
        pytest.param(b"bytes=8-", "forward partial", id="open, from the last byte held"),
        pytest.param(b"bytes=9-", "forward partial", id="open, from behind it"),
        pytest.param(b"bytes=9-9", "forward partial", id="closed, and behind it"),
        pytest.param(b"bytes=4-8, -1", "forward partial", id="one of two is a suffix"),
    ],
)
def test_3_3_a_part_of_a_whole_of_unknown_length(range_, decision):
    one = stored(206, **{**PART, "part": Part(4, None)})
    assert told(decided(request(range=range_), one)) == decision


def test_3_3_the_end_of_the_whole_answers_open_ranges_and_suffixes():
    one = stored(206, **{**PART, "part": Part(5, 10)})
    for range_ in (b"bytes=5-", b"bytes=-5", b"bytes=9-", b"bytes=-1", b"bytes=8-99"):
        assert told(decided(request(range=range_), one)) == "serve 60"


def test_13_1_5_if_range_that_does_not_hold_asks_for_the_whole():
    one = stored(206, etag=b'"1"', **PART)
    asked = request(range=b"bytes=4-8", if_range=b'"2"')
    assert told(decided(asked, one)) == "forward partial"
    asked = request(range=b"bytes=4-8", if_range=b'"1"')
    assert told(decided(asked, one)) == "serve 60"


def test_3_4_a_beginning_is_offered_for_completion():
    beginning = stored(206, etag=b'"1"', **{**PART, "part": Part(0, 10)})
    found = decided(request(), beginning)
    assert isinstance(found, Forward)
    assert found.part is beginning
    for useless in (
        stored(206, **{**PART, "part": Part(0, 10)}),  # no validator
        stored(206, etag=b'W/"1"', **{**PART, "part": Part(0, 10)}),
        stored(206, etag=b'"1"', **PART),  # not the beginning
        stored(206, etag=b'"1"', **{**PART, "part": Part(0, None)}),
    ):
        found = decided(request(), useless)
        assert isinstance(found, Forward)
        assert found.part is None


@pytest.mark.parametrize(
    ("ttl", "said", "decision"),
    [
        pytest.param(
            TtlPolicy(override=90.0), {"cache_control": b"max-age=5"}, "serve 80", id="over"
        ),
        pytest.param(
            TtlPolicy(override=90.0), {"cache_control": b"no-cache"}, "serve 80", id="over no-cache"
        ),
        pytest.param(TtlPolicy(default=90.0), {}, "serve 80", id="where nothing is said"),
        pytest.param(
            TtlPolicy(statuses={200: 5.0}),
            {"cache_control": b"max-age=90"},
            "forward stale",
            id="status",
        ),
    ],
)
def test_lifetimes_of_a_rule(ttl, said, decision):
    policy = Policy(cache=CachePolicy(ttl=ttl))
    assert told(decided(request(), stored(age=10, **said), policy=policy)) == decision
