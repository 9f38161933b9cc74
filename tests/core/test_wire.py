"""core.wire: one table for what is read, one for what is refused, one for what is written."""

from __future__ import annotations

import pytest

from vary_proxy.core.message import Fields
from vary_proxy.core.wire import HeadLimits, Refused, read_head, response_head, spelled

LIMITS = HeadLimits(head=2000, line=900, fields=10, target=300)


def head(line: bytes, *fields: bytes, host: bytes | None = b"a.example") -> bytes:
    named = () if host is None else (b"Host: " + host,)
    return b"\r\n".join((line, *named, *fields))


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        (b"content-type", b"Content-Type"),
        (b"etag", b"ETag"),
        (b"te", b"TE"),
        (b"www-authenticate", b"WWW-Authenticate"),
        (b"content-md5", b"Content-MD5"),
        (b"x-xss-protection", b"X-XSS-Protection"),
        (b"sourcemap", b"SourceMap"),
        (b"dnt", b"DNT"),
        (b"x-amz-request-id", b"X-Amz-Request-Id"),
        (b"access-control-allow-origin", b"Access-Control-Allow-Origin"),
        (b"a--b", b"A--B"),
        (b"x_y", b"X_y"),
    ],
)
def test_spelling(name: bytes, spelling: bytes) -> None:
    assert spelled(name) == spelling
    assert spelled(name).lower() == name


# As registered with IANA; some of those who read them know no other spelling.
REGISTERED = """
CDN-Cache-Control CDN-Loop Content-MD5 DNT DPR ECT ETag HTTP2-Settings MIME-Version NEL P3P RTT
SOAPAction Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-GPC Sec-WebSocket-Accept
Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version
SourceMap TE WWW-Authenticate X-DNS-Prefetch-Control X-UA-Compatible X-XSS-Protection
"""


@pytest.mark.parametrize("name", REGISTERED.encode().split())
def test_registered_names_are_spelled_as_registered(name: bytes) -> None:
    assert spelled(name.lower()) == name


def test_spellings_are_bounded() -> None:
    for number in range(5000):
        spelled(b"x-%d" % number)
    assert spelled.cache_info().currsize <= 1024


def test_response_head() -> None:
    fields = ((b"vary", b"Origin"), (b"etag", b'"x"'), (b"set-cookie", b"a"), (b"set-cookie", b"b"))
    assert response_head(200, b"", fields) == (
        b'HTTP/1.1 200 OK\r\nVary: Origin\r\nETag: "x"\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n'
    )
    assert response_head(299, b"", ()) == b"HTTP/1.1 299 \r\n\r\n"
    assert response_head(404, b"Gone fishing", ()) == b"HTTP/1.1 404 Gone fishing\r\n\r\n"
    assert response_head(200, b"", (), (1, 0)) == b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize("evil", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0b", b"\r\n\r\n<html>"])
def test_a_response_cannot_be_split(evil: bytes) -> None:
    with pytest.raises(ValueError, match="line break or NUL"):
        response_head(200, b"", ((b"x", evil),))
    with pytest.raises(ValueError, match="line break or NUL"):
        response_head(200, b"", ((b"x" + evil, b"a"),))
    with pytest.raises(ValueError, match="line break or NUL"):
        response_head(200, evil, ())


def test_a_whole_request() -> None:
    data = head(b"GET /a%2Fb//../c;d?X-Amz=%20 HTTP/1.1", b"X-A:  b \t", b"x-a:", b"X-A: \xe9")
    read = read_head(data, client="192.0.2.1", scheme=b"https")
    request = read.request
    assert (request.method, request.target) == (b"GET", b"/a%2Fb//../c;d?X-Amz=%20")
    assert request.fields == Fields(
        ((b"host", b"a.example"), (b"x-a", b"b"), (b"x-a", b""), (b"x-a", b"\xe9"))
    )
    assert (request.scheme, request.authority) == (b"https", b"a.example")
    assert (request.version, request.client) == ((1, 1), "192.0.2.1")
    assert (request.has_body, request.body_length) == (False, None)
    assert (read.persistent, read.expects) == (True, False)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"//evil.example/x",
        b"/%2e%2e/%00",
        b"/a?b?c",
        b"/?",
        b'/a\\b|c^d`{e}"<f>',
        b"/\xc3\xa4\xff",
        b"/http://b.example/",
        b"/" + b"x" * 299,
    ],
)
def test_a_target_passes_byte_for_byte(target: bytes) -> None:
    assert read_head(head(b"GET %s HTTP/1.1" % target), LIMITS).request.target == target


@pytest.mark.parametrize(
    ("line", "target", "authority"),
    [
        (b"GET http://a.example/x?y HTTP/1.1", b"/x?y", b"a.example"),
        (b"GET HTTP://A.Example/x HTTP/1.1", b"/x", b"a.example"),
        (b"GET https://a.example HTTP/1.1", b"/", b"a.example"),
        (b"GET http://a.example?q HTTP/1.1", b"/?q", b"a.example"),
        (b"GET HTTPS://a.example/ HTTP/1.1", b"/", b"a.example"),
        (b"OPTIONS http://a.example HTTP/1.1", b"*", b"a.example"),
        (b"OPTIONS HTTP://A.EXAMPLE HTTP/1.1", b"*", b"a.example"),
        (b"OPTIONS http://a.example/ HTTP/1.1", b"/", b"a.example"),
        (b"OPTIONS http://a.example?q HTTP/1.1", b"/?q", b"a.example"),
        (b"OPTIONS * HTTP/1.1", b"*", b"a.example"),
    ],
)
def test_absolute_and_asterisk_form(line: bytes, target: bytes, authority: bytes) -> None:
    request = read_head(head(line)).request
    assert (request.target, request.authority) == (target, authority)


def test_an_absolute_target_may_spell_its_host_in_another_case() -> None:
    data = head(b"GET http://a.example/x HTTP/1.1", host=b"A.Example")
    assert read_head(data).request.authority == b"A.Example"


def test_http_1_0_may_leave_host_out() -> None:
    request = read_head(head(b"OPTIONS http://b.example HTTP/1.0", host=None)).request
    assert (request.target, request.authority) == (b"*", b"b.example")
    assert read_head(head(b"GET / HTTP/1.0", host=None)).request.authority == b""
    request = read_head(head(b"GET http://b.example/x HTTP/1.0", host=None)).request
    assert (request.target, request.authority) == (b"/x", b"b.example")


@pytest.mark.parametrize(
    "host",
    [
        *(b"a.example:8080", b"a.example:65535", b"a.example:0", b"my_bucket.s3", b"127.0.0.1"),
        *(b"[::1]", b"[::]", b"[2001:db8::1]:443", b"[0123:4567:89ab:cdef:ABCD:EF::]", b"70000"),
        *(b"[0000:0000:0000:0000:0000:ffff:255.255.255.255]:1", b"70000:80"),
        *(b"%41.b", b"%09%aF%Fa", b"x" * 255, b"x" * 255 + b":65535"),
    ],
)
def test_hosts(host: bytes) -> None:
    assert read_head(head(b"GET / HTTP/1.1", host=host)).request.authority == host


@pytest.mark.parametrize(
    ("fields", "has_body", "length"),
    [
        ((b"Content-Length: 0",), False, 0),
        ((b"Content-Length: 7",), True, 7),
        ((b"Content-Length: 007",), True, 7),
        ((b"Content-Length: 123456789012345678",), True, 123456789012345678),
        ((b"Transfer-Encoding: chunked",), True, None),
        ((b"transfer-encoding: Chunked",), True, None),
        ((), False, None),
    ],
)
def test_framing(fields: tuple[bytes, ...], has_body: bool, length: int | None) -> None:
    request = read_head(head(b"PUT / HTTP/1.1", *fields)).request
    assert (request.has_body, request.body_length) == (has_body, length)


@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"foo, CLOSE", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"upgrade", True),
        (b"1.0", None, False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
        (b"1.0", b"foo", False),
        (b"1.1", b"foo\r\nConnection: close", False),
        (b"1.0", b"foo\r\nConnection: keep-alive", True),
    ],
)
def test_persistence(version: bytes, connection: bytes | None, persistent: bool) -> None:
    fields = () if connection is None else (b"Connection: " + connection,)
    assert read_head(head(b"GET / HTTP/" + version, *fields)).persistent is persistent


def test_only_white_space_around_a_value_is_taken_off() -> None:
    """RFC 9110 §5.5: what else stands at an end belongs to the value."""
    for octet in (*range(0x21, 0x7F), *range(0x80, 0x100)):
        value = bytes((octet,))
        fields = read_head(head(b"GET / HTTP/1.1", b"a: \t%s \t" % value)).request.fields
        assert fields.get(b"a") == value


def test_expectation() -> None:
    expecting = b"Expect: 100-Continue"
    assert read_head(head(b"PUT / HTTP/1.1", expecting)).expects is True
    assert read_head(head(b"PUT / HTTP/1.0", expecting)).expects is False  # 9110 §10.1.1


LENGTH, CODING = b"Content-Length: 3", b"Transfer-Encoding: chunked"
STATUSES = {
    "bad-version": 505,
    "connect": 501,
    "bad-expect": 417,
    "target-too-long": 414,
    "too-many-fields": 431,
    "line-too-long": 431,
    "head-too-large": 431,
}  # of all others: 400
_TABLE = [
    ("no version", head(b"GET /"), "bad-request-line"),
    ("two spaces", head(b"GET  / HTTP/1.1"), "bad-request-line"),
    ("leading space", head(b" GET / HTTP/1.1"), "bad-request-line"),
    ("trailing space", head(b"GET / HTTP/1.1 "), "bad-request-line"),
    ("tab", head(b"GET\t/ HTTP/1.1"), "bad-request-line"),
    ("lower-case version", head(b"GET / http/1.1"), "bad-request-line"),
    ("long version", head(b"GET / HTTP/1.10"), "bad-request-line"),
    ("version 2", head(b"GET / HTTP/2.0"), "bad-version"),
    ("version 2, a path", head(b"GET /a/b HTTP/2.0"), "bad-version"),
    ("version 1.0, no token", head(b"G(T / HTTP/1.0"), "bad-request-line"),
    ("version 1.2", head(b"GET / HTTP/1.2"), "bad-version"),
    ("method no token", head(b"G(T / HTTP/1.1"), "bad-request-line"),
    ("empty method", head(b"/ HTTP/1.1"), "bad-request-line"),
    ("space in target", head(b"GET /a b HTTP/1.1"), "bad-request-line"),
    ("fragment", head(b"GET /a#b HTTP/1.1"), "fragment"),
    ("NUL in target", head(b"GET /a\0b HTTP/1.1"), "bad-request-line"),
    ("DEL in target", head(b"GET /a\x7fb HTTP/1.1"), "bad-request-line"),
    ("CR in target", head(b"GET /a\rb HTTP/1.1"), "bad-request-line"),
    ("relative target", head(b"GET a HTTP/1.1"), "bad-target"),
    ("asterisk with GET", head(b"GET * HTTP/1.1"), "bad-target"),
    ("other scheme", head(b"GET ftp://a.example/ HTTP/1.1"), "bad-target"),
    ("a scheme that ends so", head(b"GET xhttp://a.example/ HTTP/1.1"), "bad-target"),
    ("a scheme that begins so", head(b"GET httpss://a.example/ HTTP/1.1"), "bad-target"),
    ("authority form", head(b"GET a.example:80 HTTP/1.1"), "bad-target"),
    ("CONNECT", head(b"CONNECT a.example:443 HTTP/1.1"), "connect"),
    ("absolute, another host", head(b"GET http://b.example/ HTTP/1.1"), "host-mismatch"),
    ("absolute, another port", head(b"GET http://a.example:80/ HTTP/1.1"), "host-mismatch"),
    ("absolute, user", head(b"GET http://u@a.example/ HTTP/1.1"), "host-mismatch"),
    ("absolute, no host", head(b"GET http:///x HTTP/1.1"), "host-mismatch"),
    ("absolute, user in 1.0", head(b"GET http://u@a/ HTTP/1.0", host=None), "host-mismatch"),
    ("absolute, no host in 1.0", head(b"GET http:///x HTTP/1.0", host=None), "host-mismatch"),
    ("absolute, no Host", head(b"GET http://a.example/ HTTP/1.1", host=None), "no-host"),
    ("target too long", head(b"GET /%s HTTP/1.1" % (b"x" * 300)), "target-too-long"),
    ("long line of no request", head(b"GET /" + b"x" * 360), "target-too-long"),
    ("line of no request", head(b"GET /" + b"x" * 359), "bad-request-line"),
    ("no Host", head(b"GET / HTTP/1.1", host=None), "no-host"),
    ("two Hosts", head(b"GET / HTTP/1.1", b"Host: a.example"), "bad-host"),
    ("two Hosts in 1.0", head(b"GET / HTTP/1.0", b"Host: b.example"), "bad-host"),
    ("Host empty", head(b"GET / HTTP/1.1", host=b""), "bad-host"),
    ("Host list", head(b"GET / HTTP/1.1", host=b"a.example, b.example"), "bad-host"),
    ("Host with path", head(b"GET / HTTP/1.1", host=b"a.example/x"), "bad-host"),
    ("Host with user", head(b"GET / HTTP/1.1", host=b"u@a.example"), "bad-host"),
    ("Host with space", head(b"GET / HTTP/1.1", host=b"a example"), "bad-host"),
    ("Host port empty", head(b"GET / HTTP/1.1", host=b"a.example:"), "bad-host"),
    ("Host port text", head(b"GET / HTTP/1.1", host=b"a.example:http"), "bad-host"),
    ("Host port large", head(b"GET / HTTP/1.1", host=b"a.example:65536"), "bad-host"),
    ("Host port of six digits", head(b"GET / HTTP/1.1", host=b"a.example:000080"), "bad-host"),
    ("Host two ports", head(b"GET / HTTP/1.1", host=b"a.example:80:80"), "bad-host"),
    ("Host port large, IPv6", head(b"GET / HTTP/1.1", host=b"[::1]:65536"), "bad-host"),
    ("Host no IPv6", head(b"GET / HTTP/1.1", host=b"[:]"), "bad-host"),
    ("Host endless colons", head(b"GET / HTTP/1.1", host=b"[%s]" % (b":" * 400)), "bad-host"),
    ("Host IPv4 in brackets", head(b"GET / HTTP/1.1", host=b"[127.0.0.1]"), "bad-host"),
    ("Host with a zone", head(b"GET / HTTP/1.1", host=b"[fe80::1%25eth0]"), "bad-host"),
    ("Host too long", head(b"GET / HTTP/1.1", host=b"x" * 256), "bad-host"),
    ("Host cut escape", head(b"GET / HTTP/1.1", host=b"a%4"), "bad-host"),
    ("Host bad escape", head(b"GET / HTTP/1.1", host=b"a%zz"), "bad-host"),
    ("Host open bracket", head(b"GET / HTTP/1.1", host=b"[::1"), "bad-host"),
    ("Host not ASCII", head(b"GET / HTTP/1.1", host=b"\xc3\xa4.example"), "bad-host"),
    ("bare LF", head(b"GET / HTTP/1.1", b"A: b\nC: d"), "bad-line-end"),
    ("bare CR", head(b"GET / HTTP/1.1", b"A: b\rC: d"), "bad-line-end"),
    ("folded", head(b"GET / HTTP/1.1", b"A: b", b" c"), "folded"),
    ("folded by tab", head(b"GET / HTTP/1.1", b"A: b", b"\tc"), "folded"),
    ("folded first", b"GET / HTTP/1.1\r\n A: b\r\nHost: a.example", "folded"),
    ("space before colon", head(b"GET / HTTP/1.1", b"A : b"), "space-before-colon"),
    ("space before colon, first", b"GET / HTTP/1.1\r\nABC : b\r\nHost: a", "space-before-colon"),
    ("space in a name", head(b"GET / HTTP/1.1", b"A B: c"), "bad-field"),
    ("no colon but in a value", head(b"GET / HTTP/1.1", b"A: b :c\td", b"X", b"B: c"), "bad-field"),
    ("no colon, then a space", head(b"GET / HTTP/1.1", b"X", b"B: c :d"), "bad-field"),
    ("tab before colon", head(b"GET / HTTP/1.1", b"A\t: b"), "space-before-colon"),
    ("no colon", head(b"GET / HTTP/1.1", b"A"), "bad-field"),
    ("empty name", head(b"GET / HTTP/1.1", b": b"), "bad-field"),
    ("name no token", head(b"GET / HTTP/1.1", b"A(: b"), "bad-field"),
    ("name not ASCII", head(b"GET / HTTP/1.1", b"\xc3\xa4: b"), "bad-field"),
    ("NUL in value", head(b"GET / HTTP/1.1", b"A: b\0c"), "control-character"),
    ("control in value", head(b"GET / HTTP/1.1", b"A: b\x01c"), "control-character"),
    ("DEL in value", head(b"GET / HTTP/1.1", b"A: b\x7fc"), "control-character"),
    ("vertical tab", head(b"GET / HTTP/1.1", b"A: \x0bchunked"), "control-character"),
    ("both framings", head(b"PUT / HTTP/1.1", LENGTH, CODING), "two-framings"),
    ("other order", head(b"PUT / HTTP/1.1", CODING, LENGTH), "two-framings"),
    ("coding in 1.0", head(b"PUT / HTTP/1.0", b"Transfer-Encoding: chunked"), "coding-in-1.0"),
    ("coding twice", head(b"PUT / HTTP/1.1", *(b"Transfer-Encoding: chunked",) * 2), "bad-coding"),
    ("two codings", head(b"PUT / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), "bad-coding"),
    ("chunked first", head(b"PUT / HTTP/1.1", b"Transfer-Encoding: chunked, a"), "bad-coding"),
    ("identity", head(b"PUT / HTTP/1.1", b"Transfer-Encoding: identity"), "bad-coding"),
    ("coding empty", head(b"PUT / HTTP/1.1", b"Transfer-Encoding:"), "bad-coding"),
    ("coding quoted", head(b"PUT / HTTP/1.1", b'Transfer-Encoding: "chunked"'), "bad-coding"),
    ("coding parameter", head(b"PUT / HTTP/1.1", b"Transfer-Encoding: chunked;x=y"), "bad-coding"),
    ("length twice", head(b"PUT / HTTP/1.1", *(b"Content-Length: 3",) * 2), "bad-length"),
    ("lengths differ", head(b"PUT / HTTP/1.1", LENGTH, b"Content-Length: 4"), "bad-length"),
    ("length list", head(b"PUT / HTTP/1.1", b"Content-Length: 3, 3"), "bad-length"),
    ("length signed", head(b"PUT / HTTP/1.1", b"Content-Length: +3"), "bad-length"),
    ("length negative", head(b"PUT / HTTP/1.1", b"Content-Length: -3"), "bad-length"),
    ("length empty", head(b"PUT / HTTP/1.1", b"Content-Length:"), "bad-length"),
    ("length hexadecimal", head(b"PUT / HTTP/1.1", b"Content-Length: 0x3"), "bad-length"),
    ("length with underscore", head(b"PUT / HTTP/1.1", b"Content-Length: 1_0"), "bad-length"),
    ("length spaced", head(b"PUT / HTTP/1.1", b"Content-Length: 1 0"), "bad-length"),
    ("length not ASCII", head(b"PUT / HTTP/1.1", "Content-Length: ٣".encode()), "bad-length"),
    ("length endless", head(b"PUT / HTTP/1.1", b"Content-Length: " + b"9" * 19), "bad-length"),
    ("expectation", head(b"PUT / HTTP/1.1", b"Expect: 200-ok"), "bad-expect"),
    ("expectations", head(b"PUT / HTTP/1.1", b"Expect: 100-continue, x"), "bad-expect"),
    ("expectation twice", head(b"PUT / HTTP/1.1", *(b"Expect: 100-continue",) * 2), "bad-expect"),
    ("too many fields", head(b"GET / HTTP/1.1", *(b"A: b",) * 10), "too-many-fields"),
    ("long line", head(b"GET / HTTP/1.1", b"A: " + b"b" * 900), "line-too-long"),
    ("long head", head(b"GET / HTTP/1.1", *(b"A: " + b"b" * 400,) * 5), "head-too-large"),
]  # fmt: skip
REFUSED = [(name, data, STATUSES.get(detail, 400)) for name, data, detail in _TABLE]


@pytest.mark.parametrize(
    ("data", "detail"), [pytest.param(row[1], row[2], id=row[0]) for row in _TABLE]
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, detail: str) -> None:
    """``detail`` is what the log and Cache-Status say, and tells what to mend."""
    with pytest.raises(Refused) as refused:
        read_head(data, LIMITS)
    assert (refused.value.detail, refused.value.status) == (detail, STATUSES.get(detail, 400))
    assert refused.value.message.isprintable()
    assert refused.value.message.isascii()
    assert str(refused.value) == refused.value.message


def test_limits_are_inclusive() -> None:
    at_most = head(b"GET / HTTP/1.1", *(b"A: b",) * 9)
    assert len(read_head(at_most, LIMITS).request.fields.items) == 10
    assert read_head(head(b"GET / HTTP/1.1", b"A: " + b"b" * 897), LIMITS)
    whole = head(b"GET / HTTP/1.1", *(b"A: b",) * 3)
    assert read_head(whole, HeadLimits(head=len(whole)))
    with pytest.raises(Refused):
        read_head(whole, HeadLimits(head=len(whole) - 1))
