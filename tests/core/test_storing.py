"""Which responses may be stored, and what of them (RFC 9111 §3)."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tests.core.given import NOW, date, fields, request, response, stored
from vary_proxy.core import storing, vary
from vary_proxy.core.policy import CachePolicy, OriginKey, Policy, TtlPolicy, VaryPolicy
from vary_proxy.core.stored import Part
from vary_proxy.core.storing import Storable, still_shared

MINUTE = {"cache_control": b"max-age=60"}
MODIFIED = {"last_modified": date(-86400)}


def judged(asked, answer, policy=None, *, whole=True):
    """``stored``, or the reason why not."""
    effective = vary.effective(answer.fields, VaryPolicy(), asked.method)
    verdict = storing.judge(asked, answer, effective, policy or Policy(), NOW, whole=whole)
    return "stored" if isinstance(verdict, Storable) else verdict.reason


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        pytest.param(request(), "stored", id="3 GET"),
        pytest.param(request(b"HEAD"), "method", id="3 HEAD has nothing to store"),
        pytest.param(request(b"PUT"), "method", id="3 PUT"),
        pytest.param(request(b"DELETE"), "method", id="3 DELETE"),
        pytest.param(request(b"OPTIONS"), "method", id="9110 9.3.7 OPTIONS is not cacheable"),
        pytest.param(request(b"get"), "method", id="9110 9.1 methods have a case"),
        pytest.param(request(b"M-SEARCH"), "method", id="3 an unknown method"),
        pytest.param(request(b"GET", body=True), "method", id="9110 9.3.1 GET with a body"),
        pytest.param(
            request(cache_control=b"no-store"), "request-no-store", id="5.2.1.5 no-store asked"
        ),
        pytest.param(
            request(b"GET", b"/a?X-Amz-Signature=abc"), "presigned", id="a capability is not shared"
        ),
        pytest.param(
            request(b"GET", b"/a?b=1&x-amz-signature=abc"), "presigned", id="… in any case"
        ),
        pytest.param(request(cookie=b"a=b"), "stored", id="3 Cookie alone forbids nothing"),
        pytest.param(request(authorization=b"Basic x"), "authorization", id="3.5 Authorization"),
    ],
)
def test_by_request(asked, verdict):
    assert judged(asked, response(**MINUTE)) == verdict


@pytest.mark.parametrize(
    ("cache_control", "verdict"),
    [
        pytest.param(b"max-age=60", "authorization", id="3.5 fresh is not enough"),
        pytest.param(b"max-age=60, public", "stored", id="3.5 public"),
        pytest.param(b"max-age=60, must-revalidate", "stored", id="3.5 must-revalidate"),
        pytest.param(b"s-maxage=60", "stored", id="3.5 s-maxage"),
        pytest.param(b"max-age=60, proxy-revalidate", "authorization", id="3.5 not this one"),
    ],
)
def test_3_5_authorization(cache_control, verdict):
    asked = request(authorization=b"Basic x")
    assert judged(asked, response(cache_control=cache_control)) == verdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        pytest.param({**MINUTE, "content_location": b"/a"}, "stored", id="the target itself"),
        pytest.param(
            {**MINUTE, "content_location": b"http://edge.example/a"}, "stored", id="… in full"
        ),
        pytest.param(
            {"expires": date(60), "content_location": b"/a"}, "stored", id="freshness by Expires"
        ),
        pytest.param({**MINUTE, "content_location": b"/b"}, "method", id="another resource"),
        pytest.param(
            {**MINUTE, "content_location": b"http://other.example/a"}, "method", id="host"
        ),
        pytest.param({**MINUTE}, "method", id="no Content-Location"),
        pytest.param({"content_location": b"/a"}, "method", id="no explicit freshness"),
        pytest.param({**MODIFIED, "content_location": b"/a"}, "method", id="a heuristic only"),
    ],
)
def test_9110_9_3_3_post(said, verdict):
    assert judged(request(b"POST", body=True), response(**said)) == verdict


FINAL = [200, 201, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 410, 499]
FINAL += [500, 502, 503, 504, 599]


@pytest.mark.parametrize("status", FINAL)
def test_3_any_final_status_with_explicit_freshness(status):
    assert judged(request(), response(status, **MINUTE)) == "stored"
    assert judged(request(), response(status, expires=date(60), date=date())) == "stored"


@pytest.mark.parametrize("status", [100, 103, 304, 412, 416])
def test_3_statuses_that_never_stand_for_the_resource(status):
    assert judged(request(), response(status, **MINUTE)) == "status"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *(
            pytest.param(status, "stored", id=f"4.2.2 {status}")
            for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
        ),
        *(
            pytest.param(status, "status", id=f"4.2.2 {status}")
            for status in (201, 202, 302, 303, 307, 403, 500, 502, 503, 504, 599)
        ),
    ],
)
def test_3_without_explicit_freshness_only_some_statuses(status, verdict):
    assert judged(request(), response(status, **MODIFIED)) == verdict


@pytest.mark.parametrize("status", [404, 405, 410, 414, 501])
def test_an_error_needs_a_last_modified_of_its_own(status):
    assert judged(request(), response(status)) == "error-status"
    assert judged(request(), response(status, etag=b'"1"')) == "error-status"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        pytest.param({"cache_control": b"no-store"}, "no-store", id="5.2.2.5 no-store"),
        pytest.param({"cache_control": b"max-age=60, no-store"}, "no-store", id="5.2.2.5 … fresh"),
        pytest.param({"cache_control": b"private"}, "private", id="5.2.2.7 private"),
        pytest.param({"cache_control": b"max-age=60, private"}, "private", id="5.2.2.7 … fresh"),
        pytest.param(
            {"cache_control": b'max-age=60, private="a"'}, "stored", id="5.2.2.7 but for a field"
        ),
        pytest.param({"cache_control": b"no-cache"}, "no-freshness", id="5.2.2.4 no validator"),
        pytest.param(
            {"cache_control": b"no-cache", "etag": b'"1"'}, "stored", id="5.2.2.4 to be validated"
        ),
        pytest.param(
            {"cache_control": b"max-age=0", "etag": b'"1"'}, "stored", id="4.3 stale, validatable"
        ),
        pytest.param({"cache_control": b"max-age=0"}, "no-freshness", id="3 stale, of no use"),
        pytest.param({"etag": b'"1"'}, "stored", id="4.3 no lifetime, but a validator"),
        pytest.param({}, "no-freshness", id="3 nothing invented"),
        pytest.param({"expires": b"0"}, "no-freshness", id="5.3 already expired"),
        pytest.param({**MINUTE, "vary": b"*"}, "vary-star", id="4.1 Vary: *"),
        pytest.param({**MINUTE, "vary": b"Accept, *"}, "vary-star", id="4.1 * among others"),
        pytest.param({**MINUTE, "vary": b"a b"}, "vary-star", id="4.1 unreadable: as *"),
        pytest.param({**MINUTE, "set_cookie": b"a=b"}, "set-cookie", id="Set-Cookie"),
        pytest.param(
            {"cache_control": b"max-age=60, public", "set_cookie": b"a=b"}, "stored", id="… public"
        ),
        pytest.param(
            {"cache_control": b"no-store", "cdn_cache_control": b"max-age=60"},
            "stored",
            id="9213 2.2 a targeted field over no-store",
        ),
        pytest.param(
            {**MINUTE, "cdn_cache_control": b"no-store"},
            "no-store",
            id="9213 2.2 … and the reverse",
        ),
        pytest.param(
            {**MINUTE, "surrogate_control": b"no-store"}, "no-store", id="Surrogate-Control"
        ),
        pytest.param({**MINUTE, "pragma": b"no-cache"}, "stored", id="5.4 Pragma is a request's"),
        pytest.param({"cache_control": b"max-age=0", **MODIFIED}, "stored", id="4.3 by its date"),
        pytest.param({**MINUTE, "vary": b"Forwarded"}, "vary-client", id="the client's address"),
        pytest.param({**MINUTE, "vary": b"X-Forwarded-For"}, "vary-client", id="… so spelled"),
        pytest.param({**MINUTE, "vary": b"Accept, Via"}, "vary-client", id="the client's way"),
    ],
)
def test_by_response(said, verdict):
    assert judged(request(), response(200, **said)) == verdict


@pytest.mark.parametrize(
    ("status", "cache_control", "verdict"),
    [
        pytest.param(200, b"max-age=60, must-understand", "stored", id="5.2.2.3 understood"),
        pytest.param(
            200, b"max-age=60, must-understand, no-store", "stored", id="5.2.2.3 over no-store"
        ),
        pytest.param(
            599, b"max-age=60, must-understand", "must-understand", id="5.2.2.3 not understood"
        ),
        pytest.param(
            599, b"max-age=60, must-understand, no-store", "must-understand", id="5.2.2.3 nor so"
        ),
        pytest.param(
            200,
            b"max-age=60, must-understand, private",
            "private",
            id="5.2.2.3 lifts no-store only",
        ),
    ],
)
def test_5_2_2_3_must_understand(status, cache_control, verdict):
    assert judged(request(), response(status, cache_control=cache_control)) == verdict


@pytest.mark.parametrize(
    ("content_range", "verdict"),
    [
        pytest.param(b"bytes 0-4/10", Part(0, 10), id="9110 14.4 a part"),
        pytest.param(b"bytes 5-9/*", Part(5, None), id="9110 14.4 of unknown length"),
        pytest.param(b"Bytes 5-9/10", Part(5, 10), id="9110 14.1 units have no case"),
        pytest.param(b"bytes 5-4/10", None, id="9110 14.4 last before first"),
        pytest.param(b"bytes 5-10/10", None, id="9110 14.4 last beyond the end"),
        pytest.param(b"bytes */10", None, id="9110 14.4 unsatisfied"),
        pytest.param(b"items 0-4/10", None, id="9110 14.4 another unit"),
        pytest.param(b"bytes 0-4", None, id="9110 14.4 no length"),
        pytest.param(b"bytes 0-4/10, bytes 5-9/10", None, id="9110 14.4 two"),
        pytest.param(None, None, id="9110 15.3.7 none at all"),
    ],
)
def test_3_3_parts(content_range, verdict):
    said = {} if content_range is None else {"content_range": content_range}
    answer = response(206, **MINUTE, **said)
    asked = request(range=b"bytes=0-4")
    effective = vary.effective(answer.fields, VaryPolicy(), b"GET")
    found = storing.judge(asked, answer, effective, Policy(), NOW)
    assert (found.part if isinstance(found, Storable) else None) == verdict


def test_3_3_a_multipart_answer_is_not_stored():
    answer = response(206, content_type=b"multipart/byteranges; boundary=x", **MINUTE)
    assert judged(request(range=b"bytes=0-1,4-5"), answer) == "content-range"


def test_a_body_whose_end_is_not_proved_is_not_stored():
    assert judged(request(), response(**MINUTE), whole=False) == "unproven-length"


@pytest.mark.parametrize(
    ("cache", "said", "verdict"),
    [
        pytest.param(CachePolicy(enabled=False), MINUTE, "cache-off", id="off"),
        pytest.param(CachePolicy(ttl=TtlPolicy(override=60.0)), {}, "stored", id="override"),
        pytest.param(CachePolicy(ttl=TtlPolicy(override=0.0)), MINUTE, "ttl-zero", id="override 0"),
        pytest.param(
            CachePolicy(ttl=TtlPolicy(statuses={200: 0.0})), MINUTE, "ttl-zero", id="status"
        ),
        pytest.param(CachePolicy(ttl=TtlPolicy(default=60.0)), {}, "stored", id="default"),
        pytest.param(
            CachePolicy(ttl=TtlPolicy(override=60.0)),
            {"cache_control": b"private"},
            "private",
            id="no rule makes private shared",
        ),
        pytest.param(
            CachePolicy(store_set_cookie=True),
            {**MINUTE, "set_cookie": b"a"},
            "stored",
            id="cookies",
        ),
    ],
)
def test_by_rule(cache, said, verdict):
    assert judged(request(), response(**said), Policy(cache=cache)) == verdict


def test_a_rule_may_ignore_the_request():
    policy = Policy(cache=CachePolicy(honour_request=False))
    assert judged(request(cache_control=b"no-store"), response(**MINUTE), policy) == "stored"


@pytest.mark.parametrize(
    ("cache_control", "kept"),
    [
        pytest.param(b"max-age=60", b"a b c", id="3.1 all, known or not"),
        pytest.param(b'max-age=60, private="A"', b"b c", id="5.2.2.7 not the private ones"),
        pytest.param(b'max-age=60, no-cache="b, c"', b"a", id="5.2.2.4 nor those to be validated"),
        pytest.param(b'max-age=60, private="a", no-cache="b"', b"c", id="both"),
    ],
)
def test_what_is_kept(cache_control, kept):
    answer = response(cache_control=cache_control, a=b"1", b=b"2", c=b"3")
    effective = vary.effective(answer.fields, VaryPolicy(), b"GET")
    found = storing.judge(request(), answer, effective, Policy(), NOW)
    assert isinstance(found, Storable)
    assert found.fields.names() - {b"cache-control"} == frozenset(kept.split())
    assert fields(cache_control=cache_control).items[0] in found.fields.items


@pytest.mark.parametrize("status", sorted({*range(200, 600)} - {206}))
def test_5_2_2_3_the_statuses_that_are_understood(status):
    """Those that are registered, but for a few that ask something else of a cache."""
    known = {one.value for one in HTTPStatus} - {207, 208, 226, 305, 418, 423, 424, 425}
    known -= {412, 416, 304, 506, 507, 508, 510}
    wanted = "stored" if status in known else "must-understand"
    verdict = judged(request(), response(status, cache_control=b"max-age=60, must-understand"))
    assert verdict == ("status" if status in (304, 412, 416) else wanted)


SHARED = {"cache_control": b"max-age=60"}
ONE_FOR_ALL = Policy(cache=CachePolicy(origin_key=OriginKey.PRESENCE))


@pytest.mark.parametrize(
    ("asked", "said", "policy", "shared"),
    [
        pytest.param({}, SHARED, Policy(), True, id="as before"),
        pytest.param({}, {"cache_control": b"no-store"}, Policy(), False, id="5.2.2.5"),
        pytest.param({}, {"cache_control": b"private"}, Policy(), False, id="5.2.2.7"),
        pytest.param({}, {"cache_control": b'private="a"'}, Policy(), True, id="5.2.2.7 a field"),
        pytest.param({"authorization": b"x"}, SHARED, Policy(), False, id="3.5"),
        pytest.param(
            {"authorization": b"x"}, {"cache_control": b"public"}, Policy(), True, id="3.5 public"
        ),
        pytest.param({"origin": b"https://a.example"}, SHARED, ONE_FOR_ALL, False, id="of one"),
        pytest.param(
            {"origin": b"https://a.example"},
            {**SHARED, "access_control_allow_origin": b"*"},
            ONE_FOR_ALL,
            True,
            id="of everybody",
        ),
    ],
)
def test_4_3_4_a_304_may_take_back_that_it_is_shared(asked, said, policy, shared):
    assert still_shared(request(**asked), stored(200, **said), policy) is shared
