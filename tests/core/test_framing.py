"""core.framing: whole, byte by byte, cut anywhere, and with bytes of what follows."""

from __future__ import annotations

import pytest

from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.wire import HeadLimits, Refused

GET = b"GET /a HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\n\r\n"
LIMITS = HeadLimits(head=400, line=300, fields=10, target=100)


def refusal_of(data: bytes, size: int) -> tuple[int, str] | None:
    """How *data* is refused that comes in pieces of *size*; None while it could become whole."""
    reader = HeadReader(LIMITS)
    try:
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
            assert reader.read() is None
    except Refused as refused:
        return refused.status, refused.detail
    return None


def test_a_head_byte_by_byte() -> None:
    reader = HeadReader()
    for byte in GET[:-1]:
        reader.feed(bytes((byte,)))
        assert reader.read() is None
    reader.feed(GET[-1:])
    head = reader.read()
    assert head is not None
    assert head.request.target == b"/a"
    assert (len(reader.buffer), reader.read()) == (0, None)


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_a_head_cut_anywhere(cut: int) -> None:
    reader = HeadReader()
    reader.feed(GET[:cut])
    assert reader.read() is None
    reader.feed(GET[cut:] + b"rest")
    assert reader.read() is not None
    assert reader.rest() == b"rest"
    assert not reader.buffer


def test_heads_in_a_row() -> None:
    reader = HeadReader()
    reader.feed(GET + b"\r\n\r\n" + GET.replace(b"/a", b"/b") + b"GET")
    first, second = reader.read(), reader.read()
    assert first is not None
    assert second is not None
    assert (first.request.target, second.request.target) == (b"/a", b"/b")
    assert reader.read() is None
    assert reader.rest() == b"GET"


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_skipped(empty: bytes) -> None:
    reader = HeadReader()
    for byte in empty:
        reader.feed(bytes((byte,)))
        assert reader.read() is None
    assert not reader.buffer
    reader.feed(GET)
    assert reader.read() is not None


LINE = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("begun", "status", "detail"),
    [
        pytest.param(b"G", 0, "", id="a beginning"),
        pytest.param(b"\r", 0, "", id="half an empty line"),
        pytest.param(b"\n", 400, "not-http", id="bare LF first"),
        pytest.param(b"\rG", 400, "bad-line-end", id="bare CR first"),
        pytest.param(b"\r\r", 400, "bad-line-end", id="two CR first"),
        pytest.param(b"\x16\x03\x01\x02\x00", 400, "not-http", id="TLS"),
        pytest.param(b" GET", 400, "not-http", id="white space first"),
        pytest.param(b"GET /\r\n", 400, "bad-request-line", id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n", 505, "bad-version", id="HTTP/2"),
        pytest.param(b"GET / HTTP/1.1\n", 400, "bad-line-end", id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\n\n", 400, "bad-line-end", id="an empty line of LF"),
        pytest.param(LINE + b"A: b\n", 400, "bad-line-end", id="bare LF in a field"),
        pytest.param(LINE + b"A: b\rc", 400, "bad-line-end", id="bare CR in a field"),
        pytest.param(LINE + b"A: b\r\r", 400, "bad-line-end", id="two CR"),
        pytest.param(LINE + b"A: b\r", 0, "", id="CR whose LF may come"),
        pytest.param(b"GET /" + b"x" * 90, 0, "", id="a target at its limit"),
        pytest.param(b"GET /" + b"x" * 159, 0, "", id="a line at its limit"),
        pytest.param(b"GET /" + b"x" * 160, 414, "target-too-long", id="a line beyond it"),
        pytest.param(
            b"GET /" + b"x" * 200 + b" HTTP/1.1\r\n", 414, "target-too-long", id="a long line ended"
        ),
        pytest.param(
            b"GET /" + b"x" * 99 + b" HTTP/1.1\r\nA: " + b"x" * 200,
            0,
            "",
            id="fields behind a line",
        ),
        pytest.param(LINE + b"A: " + b"x" * 384, 0, "", id="a head at its limit"),
        pytest.param(LINE + b"A: " + b"x" * 385, 431, "head-too-large", id="a head beyond it"),
        pytest.param(LINE + b"A: " + b"x" * 9000, 431, "head-too-large", id="far beyond it"),
    ],
)
def test_a_hopeless_beginning_is_refused_at_once(begun: bytes, status: int, detail: str) -> None:
    for size in (1 if len(begun) < 1500 else 61, 7, len(begun)):
        refused = refusal_of(begun, size)
        assert refused == ((status, detail) if status else None)


@pytest.mark.parametrize("method", [b"HEAD", b"GET", b"HEADY"])
@pytest.mark.parametrize("rest", [b" /\r\n", b" / HTTP/1.1\r\n\r\n", b" / HTTP/1.1\r\nA\nB: c"])
def test_a_refused_head_request_is_answered_without_a_body(method: bytes, rest: bytes) -> None:
    """RFC 9110 §9.3.2: what followed would be taken for the next reply."""
    reader = HeadReader()
    reader.feed(GET + method + rest)
    assert reader.read() is not None
    with pytest.raises(Refused) as refused:
        reader.read()
    assert refused.value.bodiless is (method == b"HEAD")


def test_what_is_taken_as_a_body_leaves_nothing_behind() -> None:
    reader = HeadReader()
    begun = b"PUT /" + b"x" * 100
    reader.feed(begun)
    assert reader.read() is None
    assert reader.rest() == begun
    reader.feed(GET)
    assert reader.read() is not None
    reader.feed(begun)
    assert reader.read() is None
    reader.feed(b" HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert reader.read() is not None
    assert reader.read() is not None


def test_a_head_says_where_it_came_from() -> None:
    reader = HeadReader(LIMITS, b"https", "192.0.2.1")
    reader.feed(GET)
    head = reader.read()
    assert head is not None
    assert (head.request.scheme, head.request.client) == (b"https", "192.0.2.1")


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_bad_request_line_is_refused_before_its_fields(cut: int) -> None:
    reader = HeadReader()
    reader.feed(b"GET /\r\n"[:cut])
    if cut < 7:
        assert reader.read() is None
        reader.feed(b"GET /\r\n"[cut:])
    with pytest.raises(Refused):
        reader.read()


@pytest.mark.parametrize("pieces", [(b"\r", b"\nA: b", b"\n"), (b"\r\nA: b\r", b"c")])
def test_a_stray_line_end_is_seen_at_the_seam(pieces: tuple[bytes, ...]) -> None:
    reader = HeadReader()
    reader.feed(b"GET / HTTP/1.1")
    for piece in pieces:
        assert reader.read() is None
        reader.feed(piece)
    with pytest.raises(Refused):
        reader.read()


def test_a_whole_head_over_the_limit_is_refused() -> None:
    reader = HeadReader(HeadLimits(head=100))
    reader.feed(GET[:-2] + b"B: " + b"x" * 9000 + b"\r\n\r\n")
    with pytest.raises(Refused) as refused:
        reader.read()
    assert refused.value.status == 431


CHUNKED = b'5\r\nhello\r\n0A;ext="a;b"\r\n, world...\r\n1 ;x\r\n!\r\n0;last\r\nX-T: a\r\nB:\r\n\r\n'
CONTENT = b"hello, world...!"


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    dechunker = Dechunker()
    content, rest = b"", b""
    for piece in pieces:
        rest += piece
        while rest and not dechunker.done:
            some, rest = dechunker.feed(rest)
            content += some
    return content, rest, dechunker.done


def dripped(coded: bytes) -> list[bytes]:
    """*coded* byte by byte; what is long in larger pieces, whose ends fall everywhere."""
    size = 1 if len(coded) < 1500 else 61
    return [coded[at : at + size] for at in range(0, len(coded), size)]


def test_chunked_whole() -> None:
    assert decode([CHUNKED]) == (CONTENT, b"", True)
    assert decode([b"0\r\n\r\n"]) == (b"", b"", True)
    assert decode([CHUNKED + b"GET /"]) == (CONTENT, b"GET /", True)


def test_chunked_byte_by_byte() -> None:
    assert decode(dripped(CHUNKED)) == (CONTENT, b"", True)


@pytest.mark.parametrize("cut", range(1, len(CHUNKED)))
def test_chunked_cut_anywhere(cut: int) -> None:
    assert decode([CHUNKED[:cut], CHUNKED[cut:] + b"GET"]) == (CONTENT, b"GET", True)
    assert decode([CHUNKED[:cut]])[2] is False


@pytest.mark.parametrize(
    "coded",
    [
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b"g\r\n", id="no hexadecimal"),
        pytest.param(b"0x5\r\nhello\r\n", id="0x"),
        pytest.param(b"+5\r\nhello\r\n", id="signed"),
        pytest.param(b"-1\r\n", id="negative"),
        pytest.param(b" 5\r\nhello\r\n", id="space before"),
        pytest.param(b"5 \r\nhello\r\n", id="space after"),
        pytest.param(b"5_0\r\n", id="underscore"),
        pytest.param(b"1000000000000000\r\n", id="endless size"),
        pytest.param(b"00000000000000005\r\nhello\r\n", id="endless zeros"),
        pytest.param(b"5\nhello\n0\n\n", id="bare LF"),
        pytest.param(b"5\rhello", id="bare CR"),
        pytest.param(b"5;a\nhello\r\n", id="bare LF ends an extension"),
        pytest.param(b"5;a\rb\r\nhello\r\n", id="CR in an extension"),
        pytest.param(b"5;a\0b\r\nhello\r\n", id="NUL in an extension"),
        pytest.param(b"5 x\r\nhello\r\n", id="extension without semicolon"),
        pytest.param(b"5;" + b"a" * 1100 + b"\r\nhello\r\n", id="long extension"),
        pytest.param(b"5;" + b"a" * 1100, id="endless extension"),
        pytest.param((b"1;" + b"a" * 900 + b"\r\nx\r\n") * 20, id="many long extensions"),
        pytest.param(b"5\r\nhelloX\r\n", id="more data than said"),
        pytest.param(b"5\r\nhello0\r\n\r\n", id="no CR LF after the data"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", id="LF after the data"),
        pytest.param(b"5\r\nhello\r0\r\n\r\n", id="CR after the data"),
        pytest.param(b"5\r\nhello\r\n\r\n0\r\n\r\n", id="two line ends after the data"),
        pytest.param(b"0\r\nX\r\n\r\n", id="trailer without colon"),
        pytest.param(b"0\r\n X: a\r\n\r\n", id="folded trailer"),
        pytest.param(b"0\r\nX : a\r\n\r\n", id="trailer with space before colon"),
        pytest.param(b"0\r\nX: a\0\r\n\r\n", id="trailer with NUL"),
        pytest.param(b"0\r\nX: a\n\r\n", id="trailer ended by LF"),
        pytest.param(b"0\r\n\n", id="trailers ended by LF"),
        pytest.param(b"0\r\n" + b"X: a\r\n" * 2000, id="endless trailers"),
    ],
)
def test_a_broken_coding_is_refused(coded: bytes) -> None:
    with pytest.raises(Refused) as refused:
        decode([coded])
    assert refused.value.status == 400
    with pytest.raises(Refused):
        decode(dripped(coded))


@pytest.mark.parametrize(
    "begun",
    [
        *(b"\r", b"\n", b" ", b";", b"g", b"5 x", b"5\rh", b"5\r\r", b"5;a\0", b"5;a\n", b"5;a\rb"),
        *(b"0123456789abcdef", b"5\r\nhello\n", b"5\r\nhello\rX", b"5\r\nhelloX"),
        *(b"0\r\n\n", b"0\r\n\rX", b"0\r\nX: a\n", b"0\r\nX: a\rb", b"0\r\nX\r\n\r\n"),
    ],
)
def test_a_hopeless_coding_is_refused_at_once(begun: bytes) -> None:
    """The origin is told early, and no client holds a connection with what never becomes a body."""
    for pieces in ([begun], dripped(begun)):
        with pytest.raises(Refused):
            decode(pieces)


@pytest.mark.parametrize(
    "size", [b"a", b"A", b"00000000000000a", b"a;", b"A \t \t;x", b'a;b="c;d"', b"a\t; \xe9\t~"]
)
def test_a_size_as_the_grammar_allows_it(size: bytes) -> None:
    coded = size + b"\r\n0123456789\r\n0\r\n\r\n"
    assert decode([coded]) == (b"0123456789", b"", True)
    assert decode(dripped(coded)) == (b"0123456789", b"", True)


def taken(coded: bytes) -> bool:
    """Whether *coded* is read; the same whether it comes in one piece or byte by byte."""
    done = set()
    for pieces in ([coded + b"GET"], dripped(coded)):
        try:
            done.add(decode(pieces)[2])
        except Refused:
            done.add(False)
    assert len(done) == 1
    return done.pop()


def test_what_is_not_content_is_bounded() -> None:
    """RFC 9112 §7.1.1: a recipient ought to limit the length of chunk extensions."""
    assert taken(b"1;" + b"a" * 1020 + b"\r\nx\r\n0\r\n\r\n")
    assert not taken(b"1;" + b"a" * 1021 + b"\r\nx\r\n0\r\n\r\n")
    assert taken(b"0\r\n" + b"X: " + b"a" * 8185 + b"\r\n\r\n")
    assert not taken(b"0\r\n" + b"X: " + b"a" * 8186 + b"\r\n\r\n")
    padded = b"1;" + b"a" * 1016 + b"\r\nx\r\n"  # 1 018 bytes of line, 1 000 of them too many
    assert taken(padded * 16 + b"0;" + b"a" * 398 + b"\r\n\r\n")
    assert not taken(padded * 16 + b"0;" + b"a" * 399 + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("coded", "detail"),
    [(b"5\r\nhelloX", "bad-chunk"), (b"x\r\n", "bad-chunk"), (b"0\r\n\n", "bad-trailer")],
)
def test_a_broken_coding_is_called_so_in_the_log(coded: bytes, detail: str) -> None:
    with pytest.raises(Refused) as refused:
        decode([coded])
    assert refused.value.detail == detail


def test_many_small_chunks_come_out_as_one() -> None:
    content, _ = Dechunker().feed(b"1\r\na\r\n" * 1000)
    assert content == b"a" * 1000


def test_a_flood_of_chunks_is_decoded_in_turns() -> None:
    dechunker = Dechunker()
    content, rest = dechunker.feed(b"1\r\na\r\n" * 10000 + b"0\r\n\r\nGET")
    assert not dechunker.done
    assert len(content) == 2000
    assert rest == b"1\r\na\r\n" * 8000 + b"0\r\n\r\nGET"
    assert decode([b"1\r\na\r\n" * 10000 + b"0\r\n\r\nGET"]) == (b"a" * 10000, b"GET", True)


def test_ordinary_extensions_pass() -> None:
    signed = b"400;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 1024 + b"\r\n"
    assert decode([signed * 500 + b"0\r\n\r\n"]) == (b"x" * 512000, b"", True)
