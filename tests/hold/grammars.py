"""Grammars of messages, as RFC 9112 writes them, with deviations at each of their rules.

A strategy draws what a message means first and then one of the ways to write it; a deviation
makes of it what can be read in two ways. So it is known of each whether it must be read, and
as what, or must be refused; and what fails shrinks to the rule that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

HOST = b"a.example"
TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_TCHAR = b'(),/:;<=>?@[\\]{}" \t\x00\x01\x7f\x80\xff'
CONTROLS = bytes(one for one in (*range(0x20), 0x7F) if one not in (0x09, 0x0A, 0x0D))


def of(alphabet: bytes, least: int = 0, most: int = 12) -> SearchStrategy[bytes]:
    """Bytes of *alphabet*."""
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(bytes)


def one(*choices: bytes) -> SearchStrategy[bytes]:
    return st.sampled_from(choices)


VCHAR = bytes(range(0x21, 0x7F)) + b"\x80\xe9\xff"
OWS = one(b" ", b"", b"  ", b"\t", b" \t ")
TOKEN = of(TCHAR, 1, 10)
VALUE = st.lists(of(VCHAR, 1, 8), max_size=3).flatmap(
    lambda words: one(b" ", b"\t", b"  ").map(lambda space: space.join(words))
)
NAMES = (
    b"Accept", b"ACCEPT-ENCODING", b"cookie", b"Connection", b"Keep-Alive", b"TE", b"Trailer",
    b"Via", b"X-Forwarded-For", b"Forwarded", b"X-Original-URL", b"Content_Length",
    b"Transfer_Encoding", b"Proxy-Connection", b"Range", b"Origin", b"Authorization", b"Date",
    b"Content-Type", b"Vary", b"X-HTTP-Method-Override", b"X", b"HTTP2-Settings", b"Age",
)  # fmt: skip
OTHERS = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
CONNECTION = one(
    b"close", b"keep-alive", b"Keep-Alive, x", b"host", b"content-length", b"transfer-encoding",
    b"authorization", b"te, X", b"", b"CLOSE", b"x,,y",
)  # fmt: skip


@dataclass
class Line:
    """A field line in its pieces."""

    name: bytes
    value: bytes
    before: bytes = b""  # the colon
    colon: bytes = b":"
    space: bytes = b" "
    after: bytes = b""
    end: bytes = b"\r\n"

    def __bytes__(self) -> bytes:
        pieces = (self.name, self.before, self.colon, self.space, self.value, self.after)
        return b"".join(pieces) + self.end

    @property
    def pair(self) -> tuple[bytes, bytes]:
        return self.name.lower(), self.value.strip(b" \t")


@dataclass
class Message:
    """A message in its pieces; ``doubt`` names the deviation for which it must be refused."""

    start: list[bytes]
    lines: list[Line]
    content: bytes = b""
    body: bytes = b""
    end: bytes = b"\r\n"  # of the start line
    doubt: str = ""
    early: bytes = b""  # empty lines in front
    target: bytes = b""  # in origin-form

    @property
    def head(self) -> bytes:
        return self.early + b" ".join(self.start) + self.end + b"".join(map(bytes, self.lines))

    def __bytes__(self) -> bytes:
        return self.head + b"\r\n" + self.body

    def named(self, name: bytes) -> list[Line]:
        return [line for line in self.lines if line.name.lower() == name]


@st.composite
def chunked(draw: DrawFn, least: int = 0) -> tuple[bytes, bytes]:
    """Content, and one of the ways to write it in chunks (RFC 9112 §7.1)."""
    content, wire = b"", b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), min_size=least, max_size=4)):
        size = draw(one(b"%x", b"%X", b"0%x", b"000%X")) % len(piece)
        wire += size + draw(EXTENSION) + b"\r\n" + piece + b"\r\n"
        content += piece
    wire += draw(one(b"0", b"0", b"00", b"0000000")) + draw(EXTENSION) + b"\r\n"
    trailer = st.builds(Line, TOKEN | one(b"Host", b"Content-Length"), VALUE, space=OWS)
    wire += b"".join(map(bytes, draw(st.lists(trailer, max_size=2))))
    return content, wire + b"\r\n"


EXTENSION = one(
    b"", b"", b"", b";a", b";a=b", b';a="b;c"', b" ;a", b"\t; a=b", b';x="\\"', b";;", b";=\xff"
)
BROKEN_CHUNKS: tuple[bytes, ...] = (
    b"\r\n", b" 3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n",
    b"3\rabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    b"3;\0\r\nabc\r\n0\r\n\r\n", b"0\r\n A: b\r\n\r\n", b"0\r\nA: b\r\n c\r\n\r\n",
    b"0\r\nA : b\r\n\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n", b"0\r\nA: b\nC: d\r\n\r\n",
    b"0\r\nA: b\rC: d\r\n\r\n", b"0\r\nA: \0\r\n\r\n", b"0\r\n\n", b"0\n\n", b"0\r\r",
    b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n", b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    b"g\r\n", b";a\r\n0\r\n\r\n", b"3\r\nabc\r\n\r\n0\r\n\r\n", b"\xb2\r\nab\r\n0\r\n\r\n",
)  # fmt: skip


@st.composite
def broken_chunks(draw: DrawFn) -> bytes:
    """A chunked body with a fault behind some chunks that have none."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=2))
    whole = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return whole + draw(one(*BROKEN_CHUNKS))


PATH = of(VCHAR.replace(b"#", b"").replace(b"?", b""), 0, 10).map(lambda path: b"/" + path)
QUERY = of(VCHAR.replace(b"#", b""), 0, 6).map(lambda query: b"?" + query) | st.just(b"")
ODD_PATHS = one(
    b"/", b"//", b"//evil.example/x", b"/..", b"/%2e%2e/%00", b"/a;b", b"/http://b/", b"/?",
    b"/a\\b", b"/@b", b"/:80", b"/*", b'/"<>`{|}^', b"/\xc3\xa4", b"/HTTP/1.1",
)  # fmt: skip
HOSTS = one(
    b"a.example", b"A.Example:8080", b"[::1]", b"[2001:db8::1]:443", b"my_bucket.s3", b"127.0.0.1",
    b"%41.example", b"a:0", b"a.example:00080", b"-._~!$&'()*+;=",
)  # fmt: skip
METHODS = one(
    b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE", b"TRACE"
) | TOKEN.filter(lambda name: name.upper() not in (b"CONNECT", b"PRI", b"HTTP"))


@st.composite
def requests(draw: DrawFn, *, deviates: bool | None = None) -> Message:
    """A request; *deviates*: it must be refused (None: either). RFC 9112 §3, §5, §6."""
    method, host = draw(METHODS), draw(HOSTS)
    target = draw(ODD_PATHS | PATH.flatmap(lambda path: QUERY.map(lambda query: path + query)))
    minor = draw(one(b"1", b"1", b"1", b"0"))
    message = Message([method, target, b"HTTP/1." + minor], [Line(b"Host", host)], target=target)
    form = draw(one(b"origin", b"origin", b"absolute", b"bare"))
    if form == b"absolute":
        scheme = draw(one(b"http://", b"HTTP://", b"https://"))
        message.start[1] = scheme + draw(one(host, host.lower())) + target
    elif form == b"bare":
        message.start[1] = b"http://" + host
        message.target = b"*" if method == b"OPTIONS" else b"/"
    if method == b"OPTIONS" and draw(st.booleans()):
        message.start[1] = message.target = b"*"
    _body(draw, message)
    names = one(*NAMES) | TOKEN.filter(lambda name: name.lower() not in OTHERS)
    for name in draw(st.lists(names, max_size=4)):
        value = draw(CONNECTION if name.lower() == b"connection" else VALUE)
        line = Line(name, value, space=draw(OWS), after=draw(OWS))
        message.lines.insert(draw(st.integers(0, len(message.lines))), line)
    message.early = draw(one(b"", b"", b"\r\n", b"\r\n\r\n"))
    if deviates or (deviates is None and draw(st.booleans())):
        _deviate(draw, message, st.sampled_from(sorted(REQUEST_DEVIATIONS)), REQUEST_DEVIATIONS)
    return message


def _body(draw: DrawFn, message: Message) -> None:
    match draw(st.sampled_from(("none", "length", "chunked"))):
        case "length":
            message.content = message.body = draw(st.binary(max_size=40) | one(SMUGGLED))
            size = draw(one(b"%d", b"%d", b"0%d", b"000%d")) % len(message.body)
            name = draw(one(b"Content-Length", b"content-length", b"CONTENT-LENGTH"))
            message.lines.append(Line(name, size, space=draw(OWS), after=draw(OWS)))
        case "chunked" if message.start[-1] == b"HTTP/1.1":
            message.content, message.body = draw(chunked())
            name = draw(one(b"Transfer-Encoding", b"transfer-encoding"))
            coding = draw(one(b"chunked", b"Chunked", b"CHUNKED"))
            message.lines.append(Line(name, coding, space=draw(OWS), after=draw(OWS)))


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
Deviation = Callable[[DrawFn, Message], bool]  # False: it does not apply here


def _deviate(
    draw: DrawFn, message: Message, names: SearchStrategy[str], known: dict[str, Deviation]
) -> None:
    name = draw(names)
    if known[name](draw, message):
        message.doubt = name


def _insert(draw: DrawFn, value: bytes, what: bytes) -> bytes:
    at = draw(st.integers(0, len(value)))
    return value[:at] + what + value[at:]


def _any_line(draw: DrawFn, message: Message) -> Line:
    return draw(st.sampled_from(message.lines))


def _line_end(draw: DrawFn, message: Message) -> bool:
    end = draw(one(b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\0\r\n"))
    if draw(st.booleans()):
        message.end = end
    else:
        _any_line(draw, message).end = end
    return True


def _start_line(draw: DrawFn, message: Message) -> bool:
    start = message.start
    at = draw(st.integers(0, 2))
    match draw(st.integers(0, 3)):
        case 0:
            start[at] = draw(one(b" ", b"\t", b"\0", b"\x0b")) + start[at]
        case 1:
            start[at] += draw(one(b" ", b"\t", b"\0", b"\x7f", b"\r", b" \n"))
        case 2:
            del start[at]
        case 3:
            start.insert(at, draw(one(b"", b"GET", b"/x", b"HTTP/1.1")))
    return True


def _version(draw: DrawFn, message: Message) -> bool:
    message.start[2] = draw(
        one(b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"HTTP/01.1", b"HTTP/1.1x")
        | one(b"HTTP/11", b"HTTP 1.1", b"HTTP/0.9", b"HTTP/1,1", b"", b"HTTPS/1.1", b"HTTP/1.")
    )
    return True


def _method(draw: DrawFn, message: Message) -> bool:
    bad = bytes((draw(st.sampled_from(NO_TCHAR)),))
    message.start[0] = draw(one(b"", b"CONNECT", _insert(draw, message.start[0], bad)))
    return True


def _target(draw: DrawFn, message: Message) -> bool:
    bad = bytes((draw(st.sampled_from(CONTROLS + b"# ")),))
    odd = one(b"", b"a", b"a.example:80", b"http:/a.example/", b"http:///", b"ftp://a.example/")
    bent = one(b"http://u@" + HOST + b"/", b"http://b.invalid/", b"http://a.example\\@b/", b"?")
    message.start[1] = draw(odd | bent | st.just(_insert(draw, message.start[1], bad)))
    if message.start[1][:1] != b"/" and message.start[0] != b"OPTIONS" and draw(st.booleans()):
        message.start[1] = b"*"
    return True


def _fold(draw: DrawFn, message: Message) -> bool:
    line = _any_line(draw, message)
    line.after += b"\r\n" + draw(one(b" ", b"\t", b"  x", b"\tchunked"))
    return True


def _name(draw: DrawFn, message: Message) -> bool:
    line = _any_line(draw, message)
    match draw(st.integers(0, 3)):
        case 0:
            line.before = draw(one(b" ", b"\t", b"\0", b"\x0b"))
        case 1:
            line.name = draw(one(b"", b" ", b"\t" + line.name))
        case 2:
            bad = bytes((draw(st.sampled_from(NO_TCHAR.replace(b":", b""))),))
            line.name = _insert(draw, line.name, bad)
        case 3:
            line.colon = b"=" if b":" in line.value else draw(one(b"", b"="))
    return True


def _value(draw: DrawFn, message: Message) -> bool:
    line = _any_line(draw, message)
    line.value = _insert(draw, line.value, bytes((draw(st.sampled_from(CONTROLS)),)))
    return True


def _host(draw: DrawFn, message: Message) -> bool:
    (line,) = message.named(b"host")
    match draw(st.integers(0, 2)):
        case 0:
            message.lines.remove(line)
            return message.start[2] == b"HTTP/1.1"
        case 1:
            again = Line(draw(one(b"Host", b"hOST")), draw(st.just(line.value) | HOSTS))
            message.lines.insert(draw(st.integers(0, len(message.lines))), again)
        case 2:
            line.value = draw(
                one(b"", b"a,b", b"a, b", b"a/x", b"u@a", b"a b", b"a:", b"a:http", b"a:65536")
                | one(b"a%zz", b"[::1", b"::1", b"\xc3\xa4", b"http://a", b"a?b", b"a\\b", b'"a"')
                | one(b"a#b", b"[::1]x", b"a:80:80", b"[]", b"a:-1", b"a:+1", b" ,a", b"<a>")
            )
    return True


def _framing(draw: DrawFn, message: Message) -> bool:
    lengths = one(
        b"+3", b"-3", b"", b"0x3", b"1_0", b"1 0", b"3, 3", b"3,3", b"3.0", b"1e1", b"9" * 19,
        b"9" * 40, b"\xd9\xa3", b"\xb2", b"3;", b'"3"', b"3\t3", b"-0", b"+0", b"3,", b",3",
    )  # fmt: skip
    codings = one(
        b"identity", b"gzip, chunked", b"chunked, identity", b"", b'"chunked"', b"chunked;x=y",
        b"xchunked", b"chunked,", b",chunked", b"chunked chunked", b"chun ked", b"gzip", b"cow",
        b"chunked\xa0", b"\xa0chunked", b"chunked, chunked", b"chunked;", b"x",
    )  # fmt: skip
    framed = [*message.named(b"content-length"), *message.named(b"transfer-encoding")]
    choice = draw(st.integers(0, 3))
    if choice == 0:
        new = [Line(b"Content-Length", draw(lengths))]
    elif choice == 1:
        new = [Line(b"Transfer-Encoding", draw(codings))]
    elif choice == 2:
        new = [Line(b"Transfer-Encoding", b"chunked"), Line(b"Content-Length", b"0")]
    else:
        value = draw(one(b"3", b"0")) if draw(st.booleans()) else b"chunked"
        name = b"Transfer-Encoding" if value == b"chunked" else b"Content-Length"
        new = [Line(name, value), Line(name, draw(one(value, b"4")))]
    message.lines = [line for line in message.lines if line not in framed]
    for line in new:
        message.lines.insert(draw(st.integers(0, len(message.lines))), line)
    return True


def _coding_in_1_0(draw: DrawFn, message: Message) -> bool:
    message.start[2] = b"HTTP/1.0"
    if not message.named(b"transfer-encoding"):
        message.lines.append(Line(b"Transfer-Encoding", b"chunked"))
    return True


def _expect(draw: DrawFn, message: Message) -> bool:
    message.lines.append(Line(b"Expect", draw(one(b"200-ok", b"100-continue, x", b"", b"100"))))
    return message.start[2] == b"HTTP/1.1"


REQUEST_DEVIATIONS: dict[str, Deviation] = {
    "line end": _line_end, "start line": _start_line, "version": _version, "method": _method,
    "target": _target, "folding": _fold, "name": _name, "value": _value, "host": _host,
    "framing": _framing, "coding in 1.0": _coding_in_1_0, "expectation": _expect,
}  # fmt: skip


@st.composite
def answers(draw: DrawFn, *, deviates: bool | None = None) -> Message:
    """A response to GET, as requests(). RFC 9112 §4, §6.3"""
    minor = draw(one(b"1", b"1", b"1", b"0", b"9"))
    status = draw(one(b"200", b"204", b"206", b"301", b"304", b"404", b"500", b"599", b"999"))
    reason = draw(one(b"OK", b"", b"Not  at all", b"\xc3\xa4\t!", b"200 200"))
    message = Message([b"HTTP/1." + minor, status, reason], [])
    bodiless = status in (b"204", b"304")
    match draw(st.sampled_from(("close", "length", "chunked", "lengths"))):
        case "close" if not bodiless:
            message.content = message.body = draw(st.binary(max_size=30))
        case "length" | "lengths" as how:
            body = draw(st.binary(max_size=30))
            message.content = message.body = b"" if bodiless else body
            size = draw(one(b"%d", b"0%d", b"%d, %d", b"%d,%d"))
            length = size.replace(b"%d", b"%d" % len(message.body))
            for _ in range(1 + (how == "lengths")):
                message.lines.append(Line(b"Content-Length", length, space=draw(OWS)))
        case "chunked" if minor != b"0" and not bodiless:
            message.content, message.body = draw(chunked())
            coding = draw(one(b"chunked", b"Chunked"))
            message.lines.append(Line(b"Transfer-Encoding", coding, space=draw(OWS)))
    names = one(b"Vary", b"ETag", b"Set-Cookie", b"Connection", b"Keep-Alive", b"X") | TOKEN
    for name in draw(st.lists(names.filter(lambda one: one.lower() not in OTHERS), max_size=4)):
        line = Line(name, draw(VALUE), space=draw(OWS), after=draw(OWS))
        message.lines.insert(draw(st.integers(0, len(message.lines))), line)
    if deviates or (deviates is None and draw(st.booleans())):
        _deviate(draw, message, st.sampled_from(sorted(ANSWER_DEVIATIONS)), ANSWER_DEVIATIONS)
    return message


def _answer_line_end(draw: DrawFn, message: Message) -> bool:
    end = draw(one(b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n"))
    if message.lines and draw(st.booleans()):
        _any_line(draw, message).end = end
    else:
        message.end = end
    return True


def _status_line(draw: DrawFn, message: Message) -> bool:
    at, odd = draw(
        st.sampled_from(
            [(0, b"HTTP/2.0"), (0, b"HTTP/1.11"), (0, b"http/1.1"), (0, b"ICY"), (0, b""), (1, b"")]
            + [(1, b"20"), (1, b"2000"), (1, b"020"), (1, b"2x0"), (1, b"-20"), (1, b" 200")]
            + [(0, b" HTTP/1.1"), (0, b"HTTP/1.1 "), (1, b"\xb2\xb2\xb2"), (0, b"HTTP/1.")]
        )
    )
    message.start[at] = odd
    return True


def _answer_framing(draw: DrawFn, message: Message) -> bool:
    length, coding = b"Content-Length", b"Transfer-Encoding"
    drawn = draw(
        st.sampled_from(
            [
                *([(length, odd)] for odd in (b"+3", b"-3", b"", b"0x3", b"3, 4", b"3;", b"3,")),
                *([(length, odd)] for odd in (b"1_0", b"1 0", b"9" * 20, b"\xb2", b"1e1", b'"3"')),
                *([(coding, odd)] for odd in (b"identity", b"gzip, chunked", b"", b"chunked, x")),
                *([(coding, odd)] for odd in (b"xchunked", b"chunked,", b'"chunked"', b"gzip")),
                [(length, b"3"), (length, b"4")],
                [(coding, b"chunked"), (coding, b"chunked")],
                [(coding, b"chunked"), (length, b"3")],
                [(length, b"3"), (coding, b"chunked")],
                [(b"Content-Length ", b"3"), (length, b"4")],
                [(b"Content-Length\xa0", b"3")],
                [(b"Transfer-Encoding\t", b"chunked"), (length, b"3")],
                [(b"Content-Len\x80gth", b"3")],
                [(b'"Transfer-Encoding"', b"chunked")],
                [(length, b"\r\n 3")],
                [(coding, b"chunked\r\n x")],
                [(b"Connection", b"\r\n close")],
            ]
        )
    )
    kept = (b"content-length", b"transfer-encoding")
    message.lines = [line for line in message.lines if line.name.lower() not in kept]
    message.lines += [Line(name, value) for name, value in drawn]
    return True


def _answer_line(draw: DrawFn, message: Message) -> bool:
    odd = draw(
        one(b"no colon", b": no name", b"", b"a\0b: c", b"\x01: b", b" folded: first")
        if not message.lines
        else one(b"no colon", b": no name", b"a\0b: c", b"\x01: b", b"a: b\0", b"\x7f: b")
    )
    if odd:
        message.lines.insert(0, Line(b"", odd, colon=b"", space=b""))
    return bool(odd)


ANSWER_DEVIATIONS: dict[str, Deviation] = {
    "line end": _answer_line_end, "status line": _status_line, "framing": _answer_framing,
    "line": _answer_line,
}  # fmt: skip
