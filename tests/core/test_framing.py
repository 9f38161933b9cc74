"""core.framing: whole, byte by byte, cut anywhere, and with bytes of what follows."""

from __future__ import annotations

import pytest

from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.wire import HeadLimits, Refused

GET = b"GET /a HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\n\r\n"
LIMITS = HeadLimits(head=400, line=300, fields=10, target=100)


def refusal_of(data: bytes, limits: HeadLimits = LIMITS) -> int:
    """Status of the refusal as soon as it is certain; 0 while the head could become whole."""
    reader = HeadReader(limits)
    reader.feed(data)
    try:
        assert reader.read() is None
    except Refused as refused:
        return refused.status
    return 0


def test_a_head_byte_by_byte() -> None:
    reader = HeadReader()
    for byte in GET[:-1]:
        reader.feed(bytes((byte,)))
        assert reader.read() is None
    reader.feed(GET[-1:])
    head = reader.read()
    assert head is not None
    assert head.request.target == b"/a"
    assert (reader.pending, reader.read()) == (0, None)


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_a_head_cut_anywhere(cut: int) -> None:
    reader = HeadReader()
    reader.feed(GET[:cut])
    assert reader.read() is None
    reader.feed(GET[cut:] + b"rest")
    assert reader.read() is not None
    assert reader.pending == 4
    assert reader.rest() == b"rest"
    assert reader.pending == 0


def test_heads_in_a_row() -> None:
    reader = HeadReader()
    reader.feed(GET + b"\r\n\r\n" + GET.replace(b"/a", b"/b") + b"GET")
    first, second = reader.read(), reader.read()
    assert first is not None
    assert second is not None
    assert (first.request.target, second.request.target) == (b"/a", b"/b")
    assert reader.read() is None
    assert reader.pending == 3


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_skipped(empty: bytes) -> None:
    reader = HeadReader()
    for byte in empty:
        reader.feed(bytes((byte,)))
        assert reader.read() is None
    assert reader.pending == 0
    reader.feed(GET)
    assert reader.read() is not None


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        pytest.param(b"G", 0, id="a beginning"),
        pytest.param(b"\r", 0, id="half an empty line"),
        pytest.param(b"\n", 400, id="bare LF first"),
        pytest.param(b"\rG", 400, id="bare CR first"),
        pytest.param(b"\x16\x03\x01\x02\x00", 400, id="TLS"),
        pytest.param(b" GET", 400, id="white space first"),
        pytest.param(b"GET /\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n", 505, id="HTTP/2"),
        pytest.param(b"GET / HTTP/1.1\n", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\n\n", 400, id="an empty line of LF"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\n", 400, id="bare LF in a field"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\rc", 400, id="bare CR in a field"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r", 0, id="CR whose LF may come"),
        pytest.param(b"GET /" + b"x" * 90, 0, id="a target at its limit"),
        pytest.param(b"GET /" + b"x" * 200, 414, id="endless target"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"x" * 400, 431, id="endless head"),
    ],
)
def test_a_hopeless_beginning_is_refused_at_once(begun: bytes, status: int) -> None:
    assert refusal_of(begun) == status


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


def test_chunked_whole() -> None:
    assert decode([CHUNKED]) == (CONTENT, b"", True)
    assert decode([b"0\r\n\r\n"]) == (b"", b"", True)
    assert decode([CHUNKED + b"GET /"]) == (CONTENT, b"GET /", True)


def test_chunked_byte_by_byte() -> None:
    assert decode([bytes((byte,)) for byte in CHUNKED]) == (CONTENT, b"", True)


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
        decode([bytes((byte,)) for byte in coded])


def test_many_small_chunks_come_out_as_one() -> None:
    content, _ = Dechunker().feed(b"1\r\na\r\n" * 1000)
    assert content == b"a" * 1000


def test_a_flood_of_chunks_is_decoded_in_turns() -> None:
    dechunker = Dechunker()
    content, rest = dechunker.feed(b"1\r\na\r\n" * 10000 + b"0\r\n\r\nGET")
    assert not dechunker.done
    assert len(content) + len(rest) // 6 >= 10000
    assert decode([b"1\r\na\r\n" * 10000 + b"0\r\n\r\nGET"]) == (b"a" * 10000, b"GET", True)


def test_ordinary_extensions_pass() -> None:
    signed = b"400;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 1024 + b"\r\n"
    assert decode([signed * 500 + b"0\r\n\r\n"]) == (b"x" * 512000, b"", True)
