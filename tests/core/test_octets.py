"""Which octets may stand where: all 256 in each place, against the sets that the standards list.

One octet too many in a name, a value or a line is how two parsers come to disagree on where a
message ends (RFC 9112 §11.2); one too few refuses what is well-formed.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.structured import OTHER, dictionary
from vary_proxy.core.syntax import entity_tag, is_token
from vary_proxy.core.wire import Refused, read_head

ALNUM = frozenset((string.ascii_letters + string.digits).encode())
TOKEN = ALNUM | frozenset(b"!#$%&'*+-.^_`|~")  # RFC 9110 §5.6.2
VISIBLE = frozenset(range(0x21, 0x7F))
OBSOLETE = frozenset(range(0x80, 0x100))  # obs-text
TEXT = VISIBLE | OBSOLETE | frozenset(b" \t")  # RFC 9110 §5.5
HOST = ALNUM | frozenset(b"-._~!$&'()*+;=")  # RFC 3986 §3.2.2; a comma would make a list of it
HEX = frozenset(string.hexdigits.encode())


def _line(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((line, b"Host: a.example", *fields))


def _method(one: bytes) -> bool:
    return read_head(_line(b"X%sY / HTTP/1.1" % one)).request.method == b"X%sY" % one


def _target(one: bytes) -> bool:
    return read_head(_line(b"GET /x%sy HTTP/1.1" % one)).request.target == b"/x%sy" % one


def _name(one: bytes) -> bool:
    fields = read_head(_line(b"GET / HTTP/1.1", b"x%sy: v" % one)).request.fields
    return fields.items[1] == ((b"x%sy" % one).lower(), b"v")


def _value(one: bytes) -> bool:
    fields = read_head(_line(b"GET / HTTP/1.1", b"a: x%sy" % one)).request.fields
    return fields.items[1] == (b"a", b"x%sy" % one)


def _host(one: bytes) -> bool:
    return read_head(b"GET / HTTP/1.1\r\nHost: x%sy" % one).request.authority == b"x%sy" % one


def _escape(one: bytes) -> bool:
    hosts = b"x%%%s0" % one, b"x%%0%s" % one
    return all(read_head(b"GET / HTTP/1.1\r\nHost: " + host).request.authority for host in hosts)


def _first(one: bytes) -> bool:
    reader = HeadReader()
    reader.feed(one + b"X")
    return reader.read() is None


def _decoded(coded: bytes) -> bool:
    try:
        whole = Dechunker()
        content, rest = whole.feed(coded)
        piecewise = Dechunker()
        for byte in coded:
            piecewise.feed(bytes((byte,)))
    except Refused:
        return False
    return whole.done and piecewise.done and (content, rest) == (b"abcde", b"")


def _size(one: bytes) -> bool:
    dripping = Dechunker()
    dripping.feed(one)
    return Dechunker().feed(b"%s1\r\n" % one) == dripping.feed(b"1\r\n") == (b"", b"")


def _extension(one: bytes) -> bool:
    return _decoded(b"5;a=%sb\r\nabcde\r\n0;%s\r\n\r\n" % (one, one))


def _trailer_name(one: bytes) -> bool:
    return _decoded(b"5\r\nabcde\r\n0\r\nx%sy:v\r\n\r\n" % one)


def _trailer_value(one: bytes) -> bool:
    return _decoded(b"5\r\nabcde\r\n0\r\nx:v%sw\r\n\r\n" % one)


def _tag(one: bytes) -> bool:
    return entity_tag(b'"x%sy"' % one) is not None


LOWER = frozenset(string.ascii_lowercase.encode())
DIGITS = frozenset(string.digits.encode())
PRINTABLE = VISIBLE | {0x20}


def _key(one: bytes) -> bool:
    return dictionary(b"x%sy=1" % one) == {b"x%sy" % one: 1}


def _first_of_key(one: bytes) -> bool:
    return dictionary(b"%sy=1" % one) == {b"%sy" % one: 1}


def _sf_token(one: bytes) -> bool:
    return dictionary(b"a=x%sy" % one) == {b"a": b"x%sy" % one}


def _first_of_sf_token(one: bytes) -> bool:
    return dictionary(b"a=%sy" % one) == {b"a": b"%sy" % one}


def _sf_string(one: bytes) -> bool:
    return dictionary(b'a="x%sy"' % one) == {b"a": b"x%sy" % one}


def _sf_escape(one: bytes) -> bool:
    return dictionary(b'a="x\\%sy"' % one) == {b"a": b"x%sy" % one}


def _sf_binary(one: bytes) -> bool:
    return dictionary(b"a=:x%syz:" % one) == {b"a": OTHER}


def _sf_display(one: bytes) -> bool:
    return dictionary(b'a=%%"x%sy"' % one) == {b"a": OTHER}


@pytest.mark.parametrize(
    ("reads", "allowed"),
    [
        pytest.param(_first, TOKEN, id="9112 §3.1 the first of a method"),
        pytest.param(_method, TOKEN, id="9112 §3.1 a method"),
        pytest.param(_target, (VISIBLE | OBSOLETE) - {ord("#")}, id="9112 §3.2 a target"),
        pytest.param(_host, HOST, id="9110 §7.2 Host"),
        pytest.param(_escape, HEX, id="3986 §2.1 an escape in Host"),
        pytest.param(_name, TOKEN, id="9110 §5.1 a field name"),
        pytest.param(_value, TEXT, id="9110 §5.5 a field value"),
        pytest.param(_size, HEX, id="9112 §7.1 a chunk's size"),
        pytest.param(_extension, TEXT, id="9112 §7.1.1 a chunk's extension"),
        pytest.param(_trailer_name, TOKEN | {ord(":")}, id="9112 §7.1.2 a trailer's name"),
        pytest.param(_trailer_value, TEXT, id="9112 §7.1.2 a trailer's value"),
        pytest.param(is_token, TOKEN, id="9110 §5.6.2 a token"),
        pytest.param(_first_of_key, LOWER | {ord("*")}, id="9651 §3.1.2 the first of a key"),
        pytest.param(_key, LOWER | DIGITS | set(b"_-.*"), id="9651 §3.1.2 a key"),
        pytest.param(
            _first_of_sf_token,
            (ALNUM - DIGITS) | {ord("*")},
            id="9651 §3.3.4 the first of a token",
        ),
        pytest.param(_sf_token, TOKEN | set(b":/"), id="9651 §3.3.4 a token"),
        pytest.param(_sf_string, PRINTABLE - set(b'"\\'), id="9651 §3.3.3 a string"),
        pytest.param(_sf_escape, frozenset(b'"\\'), id="9651 §3.3.3 an escape"),
        pytest.param(_sf_binary, ALNUM | set(b"+/"), id="9651 §3.3.5 a byte sequence"),
        pytest.param(_sf_display, PRINTABLE - set(b'"%'), id="9651 §3.3.8 a display string"),
        pytest.param(_tag, VISIBLE - {ord('"')} | OBSOLETE, id="9110 §8.8.3 an entity tag"),
    ],
)
def test_what_may_stand_where(reads: Callable[[bytes], bool], allowed: frozenset[int]) -> None:
    def is_read(octet: int) -> bool:
        try:
            return reads(bytes((octet,)))
        except Refused:
            return False

    assert {octet for octet in range(256) if is_read(octet)} == set(allowed)
