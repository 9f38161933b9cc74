"""Lists, dates, delta-seconds and entity tags (RFC 9110 §5.6, §8.8; RFC 9111 §1.2.2)."""

from __future__ import annotations

import calendar
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary_proxy.core import syntax
from vary_proxy.core.syntax import MAX_SECONDS, EntityTag

NOW = float(calendar.timegm((2026, 11, 22, 12, 0, 0)))


def at(*parts: int) -> float:
    return float(calendar.timegm((*parts, 0, 1, 0)))


IN_1994 = at(1994, 11, 6, 8, 49, 37)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT", IN_1994, id="5.6.7 IMF-fixdate"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT", IN_1994, id="5.6.7 RFC 850"),
        pytest.param(b"Sun Nov  6 08:49:37 1994", IN_1994, id="5.6.7 asctime"),
        pytest.param(b"Sun Nov 06 08:49:37 1994", IN_1994, id="5.6.7 asctime, two digits"),
        pytest.param(b"Sun Nov 16 08:49:37 1994", at(1994, 11, 16, 8, 49, 37), id="5.6.7 asctime"),
        pytest.param(b"Mon, 06 Nov 1994 08:49:37 GMT", IN_1994, id="wrong weekday means nothing"),
        pytest.param(
            b"Thu, 29 Feb 2024 00:00:00 GMT", at(2024, 2, 29, 0, 0, 0), id="a day of leap years"
        ),
        pytest.param(
            b"Sat, 31 Dec 2016 23:59:60 GMT", at(2017, 1, 1, 0, 0, 0), id="5.6.7 leap second"
        ),
        pytest.param(b"Tue, 19 Jan 2038 14:14:08 GMT", at(2038, 1, 19, 14, 14, 8), id="32 bits"),
        pytest.param(
            b"Fri, 31 Dec 9999 23:59:59 GMT", at(9999, 12, 31, 23, 59, 59), id="the last year"
        ),
        pytest.param(b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="the epoch"),
        pytest.param(b"Wed, 31 Dec 1969 23:59:59 GMT", -1.0, id="before the epoch"),
    ],
)
def test_the_three_forms_of_a_date_are_read(text, instant):
    assert syntax.http_date(text, NOW) == instant


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"0", id="zero"),
        pytest.param(b"-1", id="minus one"),
        pytest.param(b"1767225600", id="a number"),
        pytest.param(b"SUN, 06 Nov 1994 08:49:37 GMT", id="case of the weekday"),
        pytest.param(b"Sun, 06 NOV 1994 08:49:37 GMT", id="case of the month"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 gMT", id="case of the zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 UTC", id="UTC"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 +0000", id="a zone of mail"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 AEST", id="another zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37", id="no zone"),
        pytest.param(b"Sun 06 Nov 1994 08:49:37 GMT", id="no comma"),
        pytest.param(b"06 Nov 1994 08:49:37 GMT", id="no weekday"),
        pytest.param(b"Xyz, 06 Nov 1994 08:49:37 GMT", id="an unknown weekday"),
        pytest.param(b"Sun, 06 Xyz 1994 08:49:37 GMT", id="an unknown month"),
        pytest.param(b"Sunday, 06 Nov 1994 08:49:37 GMT", id="a long weekday in the short form"),
        pytest.param(b"Sun, 06-Nov-94 08:49:37 GMT", id="a short weekday in the long form"),
        pytest.param(b"Sunday, 06-Nov-1994 08:49:37 GMT", id="RFC 850 with four digits"),
        pytest.param(b"Sun, 06-Nov-1994 08:49:37 GMT", id="dashes"),
        pytest.param(b"Sun, 06 Nov 94 08:49:37 GMT", id="two digits of a year"),
        pytest.param(b"Sun, 6 Nov 1994 08:49:37 GMT", id="one digit of a day"),
        pytest.param(b"Sun, 06  Nov  1994 08:49:37 GMT", id="spaces"),
        pytest.param(b"Sun,\t06 Nov 1994 08:49:37 GMT", id="a tab"),
        pytest.param(b"Sun, 06 Nov 1994 08.49.37 GMT", id="periods"),
        pytest.param(b"Sun, 06 Nov 1994 8:49:37 GMT", id="one digit of an hour"),
        pytest.param(b"Sun, 06 Nov 1994 08:49 GMT", id="no seconds"),
        pytest.param(b"Sun, 06 Nov 1994 24:00:00 GMT", id="hour 24"),
        pytest.param(b"Sun, 06 Nov 1994 08:60:37 GMT", id="minute 60"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:61 GMT", id="second 61"),
        pytest.param(b"Sun, 00 Nov 1994 08:49:37 GMT", id="day 0"),
        pytest.param(b"Sun, 31 Nov 1994 08:49:37 GMT", id="day 31 of a short month"),
        pytest.param(b"Tue, 29 Feb 2023 08:49:37 GMT", id="29 February of a common year"),
        pytest.param(b"Sun, 06 Nov 0000 08:49:37 GMT", id="year 0"),
        pytest.param(b"Sun Nov 6 08:49:37 1994", id="asctime without padding"),
        pytest.param(b"Sun Nov  6 08:49:37 94", id="asctime with two digits of a year"),
        pytest.param(b"Sun Nov  6 08:49:37 1994 GMT", id="asctime with a zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT ", id="a space behind"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT ", id="a space behind RFC 850"),
        pytest.param(b" Sunday, 06-Nov-94 08:49:37 GMT", id="a space before RFC 850"),
        pytest.param(b" Sun, 06 Nov 1994 08:49:37 GMT", id="a space before"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT\n", id="a line feed behind"),
        pytest.param("Sun, 0６ Nov 1994 08:49:37 GMT".encode(), id="digits of another script"),
        pytest.param(b"1994-11-06T08:49:37Z", id="ISO 8601"),
    ],
)
def test_nothing_else_is_a_date(text):
    assert syntax.http_date(text, NOW) is None


@pytest.mark.parametrize(
    ("now", "text", "year"),
    [
        pytest.param((2026, 11, 22), b"Friday, 01-Jan-27 00:00:00 GMT", 2027, id="next year"),
        pytest.param((2026, 11, 22), b"Thursday, 18-Aug-50 00:00:00 GMT", 2050, id="24 ahead"),
        pytest.param((2026, 11, 22), b"Sunday, 22-Nov-76 00:00:00 GMT", 2076, id="50 to the day"),
        pytest.param((2026, 11, 22), b"Monday, 23-Nov-76 00:00:00 GMT", 1976, id="a day more"),
        pytest.param((2026, 11, 22), b"Sunday, 22-Nov-76 01:00:00 GMT", 1976, id="an hour more"),
        pytest.param((2026, 11, 22), b"Sunday, 22-Nov-76 00:01:00 GMT", 1976, id="a minute more"),
        pytest.param((2026, 11, 22), b"Sunday, 22-Nov-76 00:00:01 GMT", 1976, id="a second more"),
        pytest.param((2026, 11, 22), b"Sunday, 01-Jan-77 00:00:00 GMT", 1977, id="51 ahead"),
        pytest.param((2026, 11, 22), b"Friday, 31-Dec-99 00:00:00 GMT", 1999, id="last century"),
        pytest.param((2099, 12, 31), b"Friday, 01-Jan-00 00:00:00 GMT", 2100, id="tomorrow"),
        pytest.param((2099, 12, 31), b"Friday, 01-Jan-50 00:00:00 GMT", 2050, id="50 and a day"),
        pytest.param((2024, 2, 29), b"Thursday, 28-Feb-74 00:00:00 GMT", 2074, id="leap day"),
    ],
)
def test_5_6_7_two_digits_name_a_year_at_most_50_ahead(now, text, year):
    instant = syntax.http_date(text, at(*now, 0, 0, 0))
    assert instant is not None
    assert time.gmtime(instant).tm_year == year


@pytest.mark.parametrize(
    "weekday", [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"]
)
def test_5_6_7_every_weekday_is_read(weekday):
    long, short = weekday + b", 06-Nov-94 08:49:37 GMT", weekday[:3] + b", 06 Nov 1994 08:49:37 GMT"
    assert syntax.http_date(long, NOW) == syntax.http_date(short, NOW) == IN_1994


@pytest.mark.parametrize("number", range(1, 13))
def test_5_6_7_every_month_is_read_and_written(number):
    names = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    day = b"01 %s 1994 00:00:00 GMT" % names[number - 1]
    instant = syntax.http_date(b"Sat, " + day, NOW)
    assert instant == at(1994, number, 1, 0, 0, 0)
    assert syntax.format_date(instant).endswith(day)


@given(st.integers(min_value=-62135596800, max_value=253402300799))
def test_5_6_7_a_date_that_was_written_can_be_read(instant):
    assert syntax.http_date(syntax.format_date(instant), NOW) == instant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param(b"0", 0, id="zero"),
        pytest.param(b"3600", 3600, id="an hour"),
        pytest.param(b"003600", 3600, id="leading zeros"),
        pytest.param(b"2147483647", 2**31 - 1, id="below the cap"),
        pytest.param(b"2147483648", MAX_SECONDS, id="1.2.2 the cap"),
        pytest.param(b"2147483649", MAX_SECONDS, id="1.2.2 above the cap"),
        pytest.param(b"99999999999", MAX_SECONDS, id="1.2.2 eleven digits"),
        pytest.param(b"9" * 30000, MAX_SECONDS, id="1.2.2 as long as a head may be"),
        pytest.param(b"0" * 30000, 0, id="1.2.2 as many zeros"),
        pytest.param(b"0" * 30000 + b"60", 60, id="1.2.2 a minute behind zeros"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"-1", None, id="negative"),
        pytest.param(b"+1", None, id="a plus sign"),
        pytest.param(b"1.0", None, id="a decimal"),
        pytest.param(b"1e3", None, id="an exponent"),
        pytest.param(b"0x10", None, id="hexadecimal"),
        pytest.param(b" 1", None, id="a space before"),
        pytest.param(b"1 ", None, id="a space behind"),
        pytest.param(b"1_000", None, id="Python's own separator"),
        pytest.param("٣".encode(), None, id="digits of another script"),
        pytest.param(b"3600a", None, id="a letter behind"),
        pytest.param(b'"3600"', None, id="quotes"),
    ],
)
def test_delta_seconds(text, seconds):
    assert syntax.delta_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "members"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a", [b"a"], id="one"),
        pytest.param(b"a,b", [b"a", b"b"], id="two"),
        pytest.param(b" a ,\tb\t", [b"a", b"b"], id="5.6.1 white space"),
        pytest.param(b",, a, ,\t, b,", [b"a", b"b"], id="5.6.1.2 empty members"),
        pytest.param(b'a="1,2",b', [b'a="1,2"', b"b"], id="5.6.4 a comma in quotes"),
        pytest.param(b'a="1\\",2",b', [b'a="1\\",2"', b"b"], id="5.6.4 an escaped quote"),
        pytest.param(b'a="1\\\\",b', [b'a="1\\\\"', b"b"], id="5.6.4 an escaped backslash"),
        pytest.param(b'"a", "b"', [b'"a"', b'"b"'], id="quoted members"),
        pytest.param(b'""', [b'""'], id="nothing in quotes"),
        pytest.param(b'a="1, b', [b'a="1', b"b"], id="an open quote hides nothing"),
        pytest.param(b'x="y", a="1, b, c', [b'x="y"', b'a="1', b"b", b"c"], id="… later on"),
        pytest.param(b'a"b,c"d"e,f', [b'a"b,c"d"e', b"f"], id="… behind a closed one"),
        pytest.param(b'a="1, 2" b="3, c', [b'a="1, 2" b="3', b"c"], id="… in one member with one"),
        pytest.param(b"XaX,bX", [b"XaX", b"bX"], id="white space alone is taken off"),
        pytest.param(b'a="1\\", b', [b'a="1\\"', b"b"], id="… escaped where it would close"),
        pytest.param(b'"', [b'"'], id="a quote alone"),
        pytest.param(b"\\", [b"\\"], id="a backslash alone"),
        pytest.param(b"a\x00b\xff,c", [b"a\x00b\xff", b"c"], id="any bytes"),
    ],
)
def test_lists(text, members):
    assert syntax.members(text) == members


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"' + b'\\"' * 16000, id="escaped quotes"),
        pytest.param(b'"' * 32001, id="quotes"),
        pytest.param(b'a="b,' * 6000, id="open quotes and commas"),
        pytest.param(b'"\\' * 16000, id="quotes and backslashes"),
    ],
)
def test_a_hostile_list_costs_no_time(text):
    started = time.perf_counter()
    syntax.members(text)
    assert time.perf_counter() - started < 1.0  # a quadratic reader takes minutes


@pytest.mark.parametrize(
    ("text", "content"),
    [
        pytest.param(b'"a b"', b"a b", id="plain"),
        pytest.param(b'""', b"", id="empty"),
        pytest.param(b'"a\\"b"', b'a"b', id="an escaped quote"),
        pytest.param(b'"a\\\\b"', b"a\\b", id="an escaped backslash"),
        pytest.param(b'"\\a"', b"a", id="an escape without need"),
        pytest.param(b"a", None, id="a token"),
        pytest.param(b'"', None, id="a quote alone"),
        pytest.param(b'"a', None, id="not closed"),
        pytest.param(b'a"', None, id="not opened"),
        pytest.param(b'"a"b"', None, id="closed too early"),
        pytest.param(b'"a\\"', None, id="the closing quote escaped"),
        pytest.param(b"'a'", None, id="single quotes"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_5_6_4_quoted_strings(text, content):
    assert syntax.unquote(text) == content


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        pytest.param(b'"xyzzy"', EntityTag(b'"xyzzy"'), id="8.8.3 strong"),
        pytest.param(b'W/"xyzzy"', EntityTag(b'"xyzzy"', weak=True), id="8.8.3 weak"),
        pytest.param(b'""', EntityTag(b'""'), id="8.8.3 empty"),
        pytest.param(b'"a,b"', EntityTag(b'"a,b"'), id="8.8.3 a comma"),
        pytest.param(b'"a\\b"', EntityTag(b'"a\\b"'), id="8.8.3 a backslash escapes nothing"),
        pytest.param(b'"\xc3\xa9"', EntityTag(b'"\xc3\xa9"'), id="8.8.3 obs-text"),
        pytest.param(b'w/"xyzzy"', None, id="8.8.3 the flag has a case"),
        pytest.param(b'W\\"xyzzy"', None, id="a backslash for the slash"),
        pytest.param(b'W"xyzzy"', None, id="no slash"),
        pytest.param(b'W/ "xyzzy"', None, id="a space in between"),
        pytest.param(b"xyzzy", None, id="no quotes"),
        pytest.param(b'"a b"', None, id="a space within"),
        pytest.param(b'"a"b"', None, id="a quote within"),
        pytest.param(b'"a\x7f"', None, id="DEL"),
        pytest.param(b'"a', None, id="not closed"),
        pytest.param(b"*", None, id="a star"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_entity_tags(text, tag):
    assert syntax.entity_tag(text) == tag


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        pytest.param(b"*", None, id="13.1.2 any"),
        pytest.param(b" * ", None, id="13.1.2 any, with white space"),
        pytest.param(b'"a"', [b'"a"'], id="one"),
        pytest.param(b'"a", W/"b" ,"c"', [b'"a"', b'W/"b"', b'"c"'], id="several"),
        pytest.param(b'"a,b", "c"', [b'"a,b"', b'"c"'], id="a comma within"),
        pytest.param(b"", [], id="none"),
        pytest.param(b"a, b", [], id="no tags at all"),
    ],
)
def test_lists_of_entity_tags(text, tags):
    found = syntax.entity_tags(text)
    assert (None if found is None else [bytes(tag) for tag in found]) == tags


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        pytest.param(b'W/"1"', b'W/"1"', False, True, id="8.8.3.2 both weak"),
        pytest.param(b'W/"1"', b'W/"2"', False, False, id="8.8.3.2 weak and different"),
        pytest.param(b'W/"1"', b'"1"', False, True, id="8.8.3.2 one weak"),
        pytest.param(b'"1"', b'W/"1"', False, True, id="8.8.3.2 the other weak"),
        pytest.param(b'"1"', b'"1"', True, True, id="8.8.3.2 both strong"),
        pytest.param(b'"a"', b'"A"', False, False, id="8.8.3.2 case counts"),
    ],
)
def test_comparison(one, other, strong, weak):
    first, second = syntax.entity_tag(one), syntax.entity_tag(other)
    assert first is not None
    assert second is not None
    assert first.strong_match(second) is strong
    assert first.weak_match(second) is weak


@pytest.mark.parametrize(
    ("text", "token"),
    [
        pytest.param(b"X-Test", True, id="a name"),
        pytest.param(b"!#$%&'*+-.^_`|~09azAZ", True, id="5.6.2 every character"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b"a b", False, id="a space"),
        pytest.param(b"a\n", False, id="a line feed behind"),
        pytest.param(b'"a"', False, id="quotes"),
        pytest.param(b"a:b", False, id="a colon"),
        pytest.param(b"\xe9", False, id="obs-text"),
    ],
)
def test_tokens(text, token):
    assert syntax.is_token(text) is token


@given(
    st.binary(max_size=64) | st.text(alphabet=' "\\,;=*W/0123aGMT:-', max_size=64).map(str.encode)
)
def test_no_bytes_at_all_raise(value):
    syntax.http_date(value, NOW)
    syntax.delta_seconds(value)
    syntax.unquote(value)
    syntax.entity_tag(value)
    syntax.entity_tags(value)
    syntax.is_token(value)
    for member in syntax.members(value):
        assert member == member.strip(b" \t")
        assert member
