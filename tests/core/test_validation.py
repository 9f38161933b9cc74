"""Conditions that we make and answer, and what a 304 changes (RFC 9110 §13, RFC 9111 §4.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.given import NOW, date, fields, request, response, stored
from vary_proxy.core import validation
from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, Part, StoredResponse

MODIFIED = date(-3600)


@pytest.mark.parametrize(
    ("candidates", "conditions"),
    [
        pytest.param([stored(etag=b'"1"')], {b"if-none-match": b'"1"'}, id="4.3.1 a tag"),
        pytest.param([stored(etag=b'W/"1"')], {b"if-none-match": b'W/"1"'}, id="4.3.1 a weak tag"),
        pytest.param([stored(etag=b"1")], {b"if-none-match": b"1"}, id="a tag without quotes"),
        pytest.param(
            [stored(last_modified=MODIFIED)], {b"if-modified-since": MODIFIED}, id="4.3.1 a date"
        ),
        pytest.param(
            [stored(etag=b'"1"', last_modified=MODIFIED)],
            {b"if-none-match": b'"1"', b"if-modified-since": MODIFIED},
            id="4.3.1 both",
        ),
        pytest.param(
            [stored(etag=b'"1"', last_modified=MODIFIED), stored(etag=b'"2"'), stored(etag=b'"1"')],
            {b"if-none-match": b'"1", "2"'},
            id="4.3.1 the tags of several, each once",
        ),
        pytest.param([stored()], {}, id="no validator"),
        pytest.param([], {}, id="nothing to validate"),
    ],
)
def test_the_conditions_we_make(candidates, conditions):
    assert dict(validation.conditions(candidates)) == conditions


@pytest.mark.parametrize(
    ("asked", "said", "verdict"),
    [
        pytest.param({}, {"etag": b'"1"'}, False, id="no condition"),
        pytest.param({"if_none_match": b'"1"'}, {"etag": b'"1"'}, True, id="13.1.2 equal"),
        pytest.param({"if_none_match": b'"2"'}, {"etag": b'"1"'}, False, id="13.1.2 different"),
        pytest.param({"if_none_match": b'W/"1"'}, {"etag": b'"1"'}, True, id="13.1.2 weakly"),
        pytest.param({"if_none_match": b'"1"'}, {"etag": b'W/"1"'}, True, id="13.1.2 … stored"),
        pytest.param(
            {"if_none_match": b'"0", "1", "2"'}, {"etag": b'"1"'}, True, id="13.1.2 a list"
        ),
        pytest.param(
            {"if_none_match": (b'"0"', b'"1"')}, {"etag": b'"1"'}, True, id="13.1.2 lines"
        ),
        pytest.param({"if_none_match": b"*"}, {"etag": b'"1"'}, True, id="13.1.2 anything"),
        pytest.param({"if_none_match": b"*"}, {}, True, id="13.1.2 anything, without a tag"),
        pytest.param({"if_none_match": b'"1"'}, {}, False, id="13.1.2 no tag stored"),
        pytest.param({"if_none_match": b"1"}, {"etag": b'"1"'}, False, id="no quotes"),
        pytest.param({"if_none_match": b"1"}, {"etag": b"1"}, True, id="no quotes on either side"),
        pytest.param({"if_none_match": b'"\xe9"'}, {"etag": b'"\xe9"'}, True, id="8.8.3 obs-text"),
        pytest.param({"if_none_match": b'"a,b"'}, {"etag": b'"b"'}, False, id="a comma within"),
        pytest.param(
            {"if_modified_since": MODIFIED}, {"last_modified": MODIFIED}, True, id="13.1.3 equal"
        ),
        pytest.param(
            {"if_modified_since": date()}, {"last_modified": MODIFIED}, True, id="13.1.3 later"
        ),
        pytest.param(
            {"if_modified_since": date(-3601)},
            {"last_modified": MODIFIED},
            False,
            id="13.1.3 earlier",
        ),
        pytest.param(
            {"if_modified_since": b"yesterday"},
            {"last_modified": MODIFIED},
            False,
            id="13.1.3 no date: ignored",
        ),
        pytest.param(
            {"if_modified_since": (date(), date())},
            {"last_modified": MODIFIED},
            False,
            id="13.1.3 two lines: ignored",
        ),
        pytest.param(
            {"if_modified_since": b"Sunday, 22-Nov-26 11:00:00 GMT"},
            {"last_modified": MODIFIED},
            True,
            id="13.1.3 in another form of date",
        ),
        pytest.param(
            {"if_modified_since": date()}, {"date": date(-5)}, True, id="4.3.2 Date stands in"
        ),
        pytest.param(
            {"if_modified_since": date(-9)}, {"date": date(-5)}, False, id="4.3.2 … and is later"
        ),
        pytest.param(
            {"if_none_match": b'"2"', "if_modified_since": date()},
            {"etag": b'"1"', "last_modified": MODIFIED},
            False,
            id="13.2.2 If-None-Match goes before",
        ),
        pytest.param(
            {"if_none_match": b'"2"', "if_modified_since": date()},
            {"last_modified": MODIFIED},
            False,
            id="13.2.2 … even where no tag is stored",
        ),
    ],
)
def test_the_conditions_we_answer(asked, said, verdict):
    for method in (b"GET", b"HEAD"):
        assert validation.not_modified(request(method, b"/a", **asked), stored(**said)) is verdict


@pytest.mark.parametrize("status", [203, 204, 301, 404, 500])
def test_13_2_1_conditions_are_for_a_200(status):
    one = stored(status, etag=b'"1"')
    assert not validation.not_modified(request(if_none_match=b'"1"'), one)


ONE, TWO = stored(etag=b'"1"', x=b"1"), stored(etag=b'"2"', x=b"2")
ODD = stored(etag=b"odd")
WEAK, DATED = stored(etag=b'W/"1"'), stored(last_modified=MODIFIED)


@pytest.mark.parametrize(
    ("said", "candidates", "found"),
    [
        pytest.param({"etag": b'"2"'}, [ONE, TWO], TWO, id="4.3.4 by a strong tag"),
        pytest.param({"etag": b'"3"'}, [ONE, TWO], None, id="4.3.4 by one we do not have"),
        pytest.param({"etag": b'"1"'}, [WEAK, TWO], None, id="4.3.4 strong and weak differ"),
        pytest.param({"etag": b'W/"1"'}, [WEAK, TWO], WEAK, id="4.3.4 by a weak tag"),
        pytest.param({"etag": b'W/"2"'}, [WEAK, TWO], TWO, id="4.3.4 weakly, of a strong one"),
        pytest.param({"etag": b"odd"}, [ODD, TWO], ODD, id="no tag by the grammar, but the same"),
        pytest.param({"etag": b"odd"}, [ONE, TWO], None, id="no tag by the grammar, nor had"),
        pytest.param({"etag": b'W/"1"'}, [ODD, TWO], None, id="a weak tag, and one that is none"),
        pytest.param({}, [ONE], ONE, id="4.3.4 by nothing, and there is one"),
        pytest.param({}, [ONE, TWO], None, id="4.3.4 by nothing, and there are two"),
        pytest.param({"last_modified": MODIFIED}, [ONE, DATED], DATED, id="4.3.4 by the date"),
        pytest.param({"last_modified": date()}, [ONE, DATED], None, id="4.3.4 by another date"),
        pytest.param({"last_modified": MODIFIED}, [DATED], DATED, id="4.3.4 by the date, one"),
    ],
)
def test_4_3_4_which_stored_response_a_304_is_about(said, candidates, found):
    assert validation.identified(response(304, **said), candidates) == found


@pytest.mark.parametrize(
    ("name", "updated"),
    [
        *(
            pytest.param(name, True, id=f"3.2 {name}")
            for name in (
                ("cache-control", "expires", "date", "last-modified", "vary", "content-type")
                + ("content-location", "content-security-policy", "set-cookie", "x-test")
                + ("access-control-allow-origin", "x-frame-options", "content-foo")
            )
        ),
        *(
            pytest.param(name, False, id=f"3.2 not {name}")
            for name in (
                "content-length",
                "content-encoding",
                "content-md5",
                "content-range",
                "etag",
            )
        ),
    ],
)
def test_3_2_what_a_304_updates(name, updated):
    key = name.encode()
    old, new = fields((key, b"old"), (b"kept", b"1")), fields((key, b"new"))
    merged = validation.updated_fields(old, new)
    assert merged.lines(key) == ((b"new",) if updated else (b"old",))
    assert merged.get(b"kept") == b"1"


def test_3_2_all_lines_of_a_field_are_replaced():
    merged = validation.updated_fields(fields(a=(b"1", b"2")), fields(a=(b"3", b"4", b"5")))
    assert merged.lines(b"a") == (b"3", b"4", b"5")


def test_4_3_4_freshening_begins_a_new_life():
    one = stored(cache_control=b"max-age=5", age=100, etag=b'"1"', stale=True, x=b"kept")
    said = fields(cache_control=b"max-age=60", date=date(), y=b"new")
    fresh = validation.freshen(one, said, ((b"a", b"1"),), NOW, NOW)
    assert (fresh.born, fresh.received, fresh.stale) == (NOW, NOW, False)
    assert fresh.directives.max_age == 60
    assert fresh.fields.get(b"x") == b"kept"
    assert fresh.fields.get(b"y") == b"new"
    assert fresh.body == one.body
    assert fresh.selecting == ((b"a", b"1"),)


@pytest.mark.parametrize(
    ("said", "age"),
    [
        pytest.param({"date": date()}, 0.0, id="4.2.3 as old as the 304"),
        pytest.param({"date": date(), "age": b"20"}, 20.0, id="4.2.3 a 304 out of another cache"),
        pytest.param({"date": date(-30)}, 30.0, id="4.2.3 an old 304"),
    ],
)
def test_4_3_4_the_age_is_that_of_the_304(said, age):
    one = stored(age=500, etag=b'"1"')
    fresh = validation.freshen(one, fields(**said), (), NOW, NOW)
    assert NOW - fresh.born == age


def test_5_1_an_old_age_field_does_not_outlive_a_304():
    one = stored(200, (b"age", b"500"), etag=b'"1"')
    fresh = validation.freshen(one, fields(date=date()), (), NOW, NOW)
    assert b"age" not in fresh.fields


SIBLING = stored(
    cache_control=b"max-age=60",
    etag=b'"1"',
    content_type=b"image/png",
    vary=b"Origin",
    set_cookie=b"a=b",
    access_control_allow_origin=b"https://a.example",
    access_control_expose_headers=b"ETag",
    timing_allow_origin=b"https://a.example",
)


def test_a_new_variant_inherits_the_picture_and_nobodys_permission():
    said = fields(date=date(), etag=b'"1"', access_control_allow_origin=b"https://b.example")
    mine = validation.adopt(SIBLING, said, ((b"origin", b"https://b.example"),), NOW, NOW)
    assert mine.body == SIBLING.body
    assert mine.fields.get(b"content-type") == b"image/png"
    assert mine.fields.lines(b"access-control-allow-origin") == (b"https://b.example",)
    for name in (b"access-control-expose-headers", b"timing-allow-origin", b"set-cookie", b"vary"):
        assert name not in mine.fields


@pytest.mark.parametrize(
    ("one", "shareable"),
    [
        pytest.param(stored(etag=b'"1"'), True, id="a whole under a strong tag"),
        pytest.param(stored(etag=b'W/"1"'), False, id="a weak tag"),
        pytest.param(stored(etag=b"1"), False, id="no tag by the grammar"),
        pytest.param(stored(last_modified=MODIFIED), False, id="a date alone"),
        pytest.param(stored(404, etag=b'"1"'), False, id="not a 200"),
        pytest.param(stored(206, etag=b'"1"', part=Part(0, 20)), False, id="a part"),
        pytest.param(stored(etag=b'"1"', authorized=True), False, id="fetched with credentials"),
    ],
)
def test_which_bodies_are_shared(one, shareable):
    assert validation.shareable_body(one) is shareable


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        pytest.param({}, True, id="4.3.5 says nothing"),
        pytest.param({"etag": b'"1"', "content_length": b"10"}, True, id="4.3.5 all equal"),
        pytest.param({"etag": b'"2"'}, False, id="4.3.5 another tag"),
        pytest.param({"last_modified": date()}, False, id="4.3.5 another date"),
        pytest.param({"content_length": b"11"}, False, id="4.3.5 another length"),
    ],
)
def test_4_3_5_a_head_freshens_what_it_agrees_with(said, agrees):
    one = stored(etag=b'"1"', last_modified=MODIFIED, content_length=b"10")
    assert validation.head_agrees(one, response(200, **said)) is agrees


def test_4_3_5_another_status_does_not_agree():
    assert not validation.head_agrees(stored(), response(404))


@pytest.mark.parametrize(
    ("have", "said", "shared"),
    [
        pytest.param({"etag": b'"1"'}, {"etag": b'"1"'}, True, id="the tag"),
        pytest.param({"etag": b'"1"'}, {"etag": b'"2"'}, False, id="another tag"),
        pytest.param({"last_modified": MODIFIED}, {"last_modified": MODIFIED}, True, id="the date"),
        pytest.param({"last_modified": MODIFIED}, {"last_modified": date()}, False, id="another"),
        pytest.param({"etag": b'"1"'}, {"last_modified": MODIFIED}, False, id="one of each"),
        pytest.param({}, {}, False, id="none"),
    ],
)
def test_4_3_5_what_a_head_has_in_common_with_what_is_stored(have, said, shared):
    assert validation.shares_validator(stored(200, **have), response(200, **said)) is shared


def test_what_a_client_makes_conditional_is_not_asked_so():
    assert {b"if-none-match", b"if-modified-since"} == validation.CLIENT_CONDITIONS


def test_a_304_leaves_all_that_it_says_nothing_of() -> None:
    held = StoredResponse(
        status=203,
        fields=Fields(((b"etag", b'"1"'), (b"x", b"y"))),
        body=Body(b"d" * 20, 7),
        selecting=((b"origin", None),),
        born=1.0,
        received=2.0,
        reason=b"Odd",
        part=Part(1, 9),
        authorized=True,
        stale=True,
        bare_304=True,
        sparse=True,
        keep=5.0,
    )
    fresh = validation.freshen(held, Fields(), held.selecting, 50.0, 50.0)
    assert fresh == replace(held, born=50.0, received=50.0, stale=False)
    assert fresh.keep == held.keep
