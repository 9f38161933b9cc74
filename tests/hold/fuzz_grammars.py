"""`make fuzz`, third part: what grammars make, held against other readings of the same bytes.

    python -m tests.hold.fuzz_grammars [--seconds 60] [--jobs 2] [TARGET …]

Where any bytes at all rarely get past the first rule, these inputs are messages, values, records
and files that mean something, or deviate in one place. What was meant is known; what we accept
other implementations must read as the same; what we write must be read back as what it was.
"""

from __future__ import annotations

import itertools
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.hold import (
    fuzz_config,
    fuzz_records,
    fuzz_values,
    fuzzing,
    grammars,
    grammars_config,
    grammars_values,
    readers,
)
from tests.hold.grammars import Message
from tests.hold.readers import Read, Reading
from vary_proxy.core.forwarding import HOP_BY_HOP, Hop, believed, to_origin
from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.message import Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.wire import Head, Refused, response_head
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpreader import Chunks, Limits, head_end, read_framing, read_head
from vary_proxy.origins.httprequest import request_head


@dataclass(frozen=True)
class Grammar:
    """Inputs, and what must hold of each."""

    inputs: SearchStrategy[Any]
    holds: Callable[[Any], None]


MARKED = b"GET /marked HTTP/1.1\r\nHost: a.example\r\n\r\n"
LIMITS = Limits(64 * 1024, 32 * 1024)


@dataclass
class Ours:
    """What we read of a client's bytes, as Reading; ``heads`` belong to its messages."""

    reading: Reading
    heads: list[Head]


def by_us(pieces: list[bytes]) -> Ours:
    """Requests in a row, as a connection takes them (vary_proxy.clients.intake)."""
    ours, reader = Ours(Reading(), []), HeadReader()
    reading = ours.reading
    missing, dechunker = 0, None
    for piece in pieces:
        data = piece
        try:
            while True:
                if reading.begun is None:
                    reader.feed(data)
                    head = reader.read() if _lasts(ours) else None
                    if head is None:
                        break
                    ours.heads.append(head)
                    reading.begun = _read(head.request)
                    missing = head.request.body_length or 0
                    coded = head.request.has_body and head.request.body_length is None
                    dechunker = Dechunker() if coded else None
                    data = reader.rest()
                elif dechunker is not None:
                    content, data = dechunker.feed(data)
                    reading.begun.body += content
                else:
                    content, data = data[:missing], data[missing:]
                    reading.begun.body += content
                    missing -= len(content)
                if not (missing if dechunker is None else not dechunker.done):
                    reading.messages.append(reading.begun)
                    reading.begun = None
                elif not data:
                    break
        except Refused:
            reading.refused, reading.begun = True, None
            break
    return ours


def _lasts(ours: Ours) -> bool:
    return not ours.heads or ours.heads[-1].persistent


def _read(request: Request) -> Read:
    return Read((request.method, request.target), request.fields.items)


def in_origin_form(method: bytes, target: bytes) -> bytes:
    """What an absolute target asks the host for (RFC 9112 §3.2.2)."""
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        return target
    ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
    path = rest[min(ends, default=len(rest)) :]
    if not path and method == b"OPTIONS":
        return b"*"
    return path if path[:1] == b"/" else b"/" + path


def _normal(read: Read) -> tuple[Any, ...]:
    """Codings have no case, and one reader lowers it."""
    method, target = read.line
    pairs = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in read.fields
    )
    return method, in_origin_form(method, target), pairs, read.body


def _agree(ours: Reading, theirs: Reading, by: str) -> None:
    """Both read the same requests, as far as both read."""
    for mine, other in zip(ours.messages, theirs.messages, strict=False):
        assert _normal(mine) == _normal(other), (by, mine, other)
    if not theirs.refused:
        assert len(theirs.messages) >= len(ours.messages), (by, ours, theirs)


Stream = tuple[list[Message], list[int]]


def a_stream(stream: Stream) -> None:
    """Requests behind one another: each is what was meant, to us and to other readers."""
    messages, cuts = stream
    data = b"".join(map(bytes, messages)) + MARKED
    ours = by_us([data])
    for pieces in (_cut(data, cuts), [data[at : at + 1] for at in range(len(data))]):
        assert by_us(pieces).reading == ours.reading, pieces
    _as_meant(messages, ours.reading)
    _agree(ours.reading, readers.by_h11(data), "h11")
    _agree(ours.reading, readers.by_llhttp(data), "llhttp")
    for head, read in zip(ours.heads, ours.reading.messages, strict=False):
        for trusted in (False, True):
            _goes_on(head.request, read.body, trusted=trusted)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({at % (len(data) + 1) for at in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


def _as_meant(messages: list[Message], ours: Reading) -> None:
    for at, meant in enumerate(messages):
        if meant.doubt:
            assert ours.refused, (meant.doubt, ours)
            assert len(ours.messages) == at
            return
        assert len(ours.messages) > at, (meant, ours)
        read = ours.messages[at]
        assert read.line == (meant.start[0], meant.target)
        assert read.fields == tuple(line.pair for line in meant.lines)
        assert read.body == meant.content
        if not _persists(meant):
            assert len(ours.messages) == at + 1
            return
    assert [one.line[1] for one in ours.messages[len(messages) :]] == [b"/marked"]


def _persists(meant: Message) -> bool:
    lines = [line.value.lower() for line in meant.named(b"connection")]
    options = [word.strip(b" \t") for word in b",".join(lines).split(b",")]
    return b"close" not in options and (meant.start[2] == b"HTTP/1.1" or b"keep-alive" in options)


_ABOUT_HOST = {b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-for", b"forwarded"}


def _goes_on(request: Request, body: bytes, *, trusted: bool) -> None:
    """What the origin gets of *request* is one request to everybody, and says the same."""
    sent = to_origin(believed(request, trusted=trusted), Policy(), Hop(trusted=trusted))
    data = request_head(sent, has_body=request.has_body)
    if request.has_body and request.body_length is None:
        data += (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    else:
        data += body
    read = readers.by_the_letter(data)
    assert read is not None, data
    assert read.line == (request.method, request.target)
    assert read.body == body
    names = [name for name, _ in read.fields]
    assert not (HOP_BY_HOP - {b"transfer-encoding"}) & set(names)
    assert [value for name, value in read.fields if name == b"host"] == [request.authority]
    end_to_end = [pair for pair in request.fields.items if pair in sent.fields.items]
    assert [pair for pair in read.fields if pair in end_to_end and pair[0] != b"host"] == [
        pair for pair in end_to_end if pair[0] not in (b"host", b"content-length")
    ]
    for by, theirs in (("h11", readers.by_h11(data)), ("llhttp", readers.by_llhttp(data))):
        if not theirs.refused:
            assert [_normal(one) for one in theirs.messages] == [_normal(read)], (by, data)


Coded = tuple[bytes | None, bytes, list[int]]


def a_chunked_body(coded: Coded) -> None:
    """Both decoders give the content however it is cut, or refuse; nothing is read twice."""
    content, data, cuts = coded
    behind = data + MARKED
    for pieces in ([behind], _cut(behind, cuts), [bytes((one,)) for one in behind]):
        for decoded in (_client_chunks(pieces), _origin_chunks(pieces)):
            if content is None:
                assert decoded is None, (data, decoded)
            else:
                assert decoded == (content, MARKED), (data, decoded)
    if content is not None:
        framed = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data
        for theirs in (readers.by_h11(framed), readers.by_llhttp(framed)):
            assert theirs.refused or [one.body for one in theirs.messages] == [content], theirs


def _client_chunks(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    decoder, out, rest = Dechunker(), b"", b""
    try:
        for piece in pieces:
            rest += piece
            while rest and not decoder.done:
                content, rest = decoder.feed(rest)
                out += content
    except Refused:
        return None
    assert decoder.done
    return out, rest


def _origin_chunks(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    decoder, out = Chunks(LIMITS), b""
    try:
        for at, piece in enumerate(pieces):
            out += b"".join(decoder.feed(piece))
            if decoder.rest is not None:
                return out, decoder.rest + b"".join(pieces[at + 1 :])
    except OriginFailure:
        return None
    raise AssertionError("it did not end")


def an_answer(answer: tuple[Message, bool]) -> None:
    """A response is what was meant, to us and to other readers, or its origin's failure."""
    meant, asked_for_head = answer
    method = b"HEAD" if asked_for_head else b"GET"
    data = meant.head + b"\r\n" + (b"" if asked_for_head else meant.body)
    ours = _our_answer(data, method)
    if meant.doubt:
        assert ours is None, (meant.doubt, data, ours)
        return
    assert ours is not None, data
    assert ours.line == (meant.start[1],)
    assert ours.body == (b"" if asked_for_head else meant.content)
    told = tuple(line.pair for line in meant.lines if line.name.lower() != b"content-length")
    assert tuple(pair for pair in ours.fields if pair[0] != b"content-length") == told
    for by, theirs in (
        ("h11", readers.answer_by_h11(data, method, closed=True)),
        ("llhttp", readers.by_llhttp(data, answers=True)),
    ):
        _same_answer(ours, theirs, by, whole=by == "h11")
    _is_written_as_read(ours, meant.start[2])


def _our_answer(data: bytes, method: bytes) -> Read | None:
    try:
        end = head_end(data, LIMITS)
        if end < 0:  # the connection ended in the head
            return None
        response, minor = read_head(data[:end], LIMITS)
        response, framing = read_framing(response, minor, method)
        read = Read((b"%d" % response.status,), response.fields.items)
        if framing.chunked:
            decoder = Chunks(LIMITS)
            read.body = b"".join(decoder.feed(data[end:]))
            assert decoder.rest == b""
        else:
            read.body = data[end:] if framing.length is None else data[end:][: framing.length]
        return read
    except OriginFailure:
        return None


def _same_answer(ours: Read, theirs: Reading, by: str, *, whole: bool) -> None:
    if theirs.refused:
        return
    if whole:
        assert len(theirs.messages) == 1, (by, ours, theirs)
    for other in theirs.messages:
        assert other.line == ours.line, (by, other)
        assert other.body == ours.body, (by, other)
        unframed = [pair for pair in other.fields if pair[0] not in grammars.OTHERS]
        assert unframed == [pair for pair in ours.fields if pair[0] not in grammars.OTHERS]


def _is_written_as_read(ours: Read, reason: bytes) -> None:
    data = response_head(int(ours.line[0]), reason.strip(b" \t"), ours.fields)
    again, _ = read_head(data, LIMITS)
    assert again.fields.items == ours.fields
    assert (again.status, again.reason) == (int(ours.line[0]), reason.strip(b" \t") or again.reason)


CUTS = st.lists(st.integers(0, 4096), max_size=6)
GRAMMARS: dict[str, Grammar] = {
    "requests": Grammar(
        st.tuples(
            st.lists(grammars.requests(deviates=False), max_size=2).flatmap(
                lambda before: grammars.requests().map(lambda last: [*before, last])
            ),
            CUTS,
        ),
        a_stream,
    ),
    "chunks": Grammar(
        st.tuples(grammars.chunked(), CUTS).map(lambda drawn: (*drawn[0], drawn[1]))
        | st.tuples(st.none(), grammars.broken_chunks(), CUTS),
        a_chunked_body,
    ),
    "answers": Grammar(st.tuples(grammars.answers(), st.booleans()), an_answer),
    "values": Grammar(grammars_values.ANY, fuzz_values.a_value),
    "records": Grammar(fuzz_records.RECORDS, fuzz_records.a_record),
    "files": Grammar(grammars_config.files(), fuzz_config.a_file),
}


class Found(Exception):
    """An input of which something does not hold: the least of its kind."""


def run(
    grammar: Grammar, seconds: float, number: int, *, most: int | None = None
) -> fuzzing.Report:
    """Draws inputs for *seconds*, or *most* of them, and then shrinks none. Raises Found."""
    ends = time.monotonic() + seconds
    seen: set[int] = set()
    count = 0
    while count == 0 or (most is None and time.monotonic() < ends):
        drawn = _round(grammar, number + count, most, seen)
        count += drawn
    return fuzzing.Report(count, len(seen))


def _round(grammar: Grammar, number: int, most: int | None, seen: set[int]) -> int:
    count = 0

    @seed(number)
    @settings(
        max_examples=most or 200,
        deadline=None,
        database=None,
        phases=(Phase.generate,) if most else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(grammar.inputs)
    def check(drawn: Any) -> None:
        nonlocal count
        count += 1
        seen.add(hash(repr(drawn)))
        grammar.holds(drawn)

    try:
        check()
    except Exception as failed:
        said = "".join(traceback.format_exception_only(failed))
        where = traceback.extract_tb(failed.__traceback__)[-1]
        raise Found(f"{where.name}:{where.lineno}: {said}") from failed
    return count


def main() -> int:
    if sys.argv[1:2] != [fuzzing.HERE]:
        title = "messages, values, records and files by their grammars"
        return fuzzing.main(title, list(GRAMMARS), fuzzing.apart("tests.hold.fuzz_grammars"))
    name, seconds, number = sys.argv[2:]
    try:
        fuzzing.say(run(GRAMMARS[name], float(seconds), int(number)))
    except Found as found:
        print(f"{name}: {found}", file=sys.stderr)  # the input stands at its end
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
