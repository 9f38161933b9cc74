"""`make fuzz`, first part: any bytes at all into everything that reads bytes from outside.

    python -m tests.hold.fuzz_parsers [--seconds 60] [--jobs 2] [TARGET …]

Each target says what must hold whatever comes: it answers or refuses in the one way that it
has for refusing, and never otherwise.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.core.test_wire import REFUSED
from tests.hold import fuzzing
from vary_proxy import config
from vary_proxy.configuration.problems import ConfigError
from vary_proxy.core import directives, ranges, structured, syntax
from vary_proxy.core.framing import Dechunker, HeadReader
from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.core.wire import DEFAULT_LIMITS, Refused, read_head
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpreader import Limits, read_framing
from vary_proxy.origins.httpreader import head_end as response_end
from vary_proxy.origins.httpreader import read_head as read_response
from vary_proxy.store import codec

KEY = b"o\0http\0a.example\0/"
STORED = StoredResponse(
    200,
    Fields(((b"etag", b'"v"'), (b"vary", b"Origin"))),
    Body(b"d" * 32, 5),
    ((b"origin", b"https://a.example"), (b"accept", None)),
    1e9,
    1e9,
)
SAMPLES = [
    *(data for _, data, _ in REFUSED),
    b"GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVary: Origin, *\r\n\r\n",
    b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n",
    b'max-age=60, private="set-cookie, x", no-cache, s-maxage="5", stale-if-error=1e9',
    b"bytes=0-1, -5, 7-", b"bytes 0-4/10", b'W/"a", "b\\"", *', b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"max-age=60;x, a=?1, b=:YQ==:",
    codec.encode_variant(KEY, STORED),
    b"version: 1\norigins: {o: {url: http://a}}\nrules: [{match: {path: '/**'}, cache: off}]\n",
    b"cors: {a: {origins: ['~https://x', '*'], max_age: 1h}}\n&a [*a, !!python/object:os.system x]",
]  # fmt: skip


def head(data: bytes) -> None:
    """A head is taken or refused; what is taken holds nothing that ends a line."""
    try:
        request = read_head(data).request
    except Refused:
        return
    assert not set(b"\r\n\0") & set(request.target + request.authority + request.method)
    assert all(not set(b"\r\n\0") & set(name + value) for name, value in request.fields.items)
    assert not (request.body_length is not None and b"transfer-encoding" in request.fields)


def stream(data: bytes) -> None:
    """Heads out of a stream are the same, however it is cut."""
    assert _heads([data]) == _heads([data[at : at + 1] for at in range(len(data))])


def _heads(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    reader = HeadReader(DEFAULT_LIMITS, b"http", "")
    out: list[bytes] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (found := reader.read()) is not None:
                out.append(found.request.method + b" " + found.request.target)
    except Refused:
        return out, True  # why may differ: of two faults, another is seen first
    return out, False


def chunks(data: bytes) -> None:
    """A coded body is the same, however it is cut; a broken one is broken."""
    whole, bytewise = _content([data]), _content([data[at : at + 1] for at in range(len(data))])
    assert whole == bytewise or None in (whole, bytewise)


def _content(pieces: list[bytes]) -> bytes | None:
    decoder, out = Dechunker(), b""
    try:
        for piece in pieces:
            rest = piece
            while rest and not decoder.done:
                content, rest = decoder.feed(rest)
                out += content
    except Refused:
        return None
    return out if decoder.done else None


def response(data: bytes) -> None:
    """A response head is read with one extent, or is a failure of its origin."""
    limits = Limits(64 * 1024, 32 * 1024)
    try:
        end = response_end(data, limits)
        if end >= 0:
            read, minor = read_response(data[:end], limits)
            for method in (b"GET", b"HEAD"):
                read_framing(read, minor, method)
            assert 100 <= read.status <= 999
            assert all(not set(b"\r\n\0") & set(n + v) for n, v in read.fields.items)
    except OriginFailure:
        pass


def values(data: bytes) -> None:
    """Parsers of field values say something or None; none raises, none is slow."""
    for name in (b"cache-control", b"surrogate-control", b"cdn-cache-control", b"expires"):
        fields = Fields(((name, data), (b"content-range", data), (b"age", data)))
        directives.of_request(fields)
        directives.of_response(fields)
        ranges.content_range(fields)
    wanted = ranges.specs(data)
    assert all(0 <= one.start < one.stop <= 100 for one in ranges.resolve(wanted or (), 100))
    syntax.members(data)
    syntax.http_date(data, 1e9)
    syntax.entity_tags(data)
    syntax.delta_seconds(data)
    structured.dictionary(data)


def stored(data: bytes) -> None:
    """What a store holds is what was put there, or a miss."""
    found = codec.decode_variant(KEY, data)
    assert found is None or data == codec.encode_variant(KEY, found)
    codec.decode_index(KEY, data)
    codec.decode_bundle(data)
    block = codec.decode_block("n", data, max(0, len(data) - 9))
    assert block is None or codec.encode_block("n", block) == data


def rules(data: bytes) -> None:
    """A file is a configuration, or an error that says where."""
    said = ""
    try:
        config.loads(data, "fuzz.yaml", (), {})
    except ConfigError as error:
        said = str(error)
    assert not said or "fuzz.yaml" in said


TARGETS: tuple[Callable[[bytes], None], ...] = (
    head, stream, chunks, response, values, stored, rules,
)  # fmt: skip


def mutated(dice: random.Random, samples: Sequence[bytes] = SAMPLES) -> bytes:
    """A sample with bytes changed, doubled, dropped, and pieces of others put in."""
    data = bytearray(dice.choice(samples))
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data[at : at + 1] = bytes((dice.randrange(256),))
            case 1:
                del data[at : at + dice.randrange(1, 9)]
            case 2:
                data[at:at] = data[at : at + dice.randrange(1, 30)]
            case 3:
                other = dice.choice(samples)
                data[at:at] = other[dice.randrange(len(other)) :][:30]
            case 4:
                data[at:at] = dice.choice(
                    (b"\r\n", b"\n", b"\r", b"\0", b" ", b",", b'"', b";", b":")
                )
    return bytes(data)


def run(
    target: Callable[[bytes], None],
    seconds: float,
    number: int,
    samples: Sequence[bytes] = SAMPLES,
) -> int:
    """How many inputs *target* was given; half mutations of samples, then any bytes at all."""
    dice = random.Random(number)
    ends = time.monotonic() + seconds / 2
    count = 0
    while time.monotonic() < ends:
        data = mutated(dice, samples)
        count += 1
        begun = time.perf_counter()
        try:
            target(data)
        except Exception:
            print(f"{target.__name__} fails on {data!r}", file=sys.stderr)
            raise
        assert time.perf_counter() - begun < 2, f"{target.__name__} is slow on {data!r}"
    until = time.monotonic() + seconds / 2
    while time.monotonic() < until:
        count += _any_bytes(target, dice.randrange(1 << 30))
    return count


def _any_bytes(target: Callable[[bytes], None], number: int) -> int:
    """Bytes as hypothesis makes them, shrunk to the least that fails."""
    count = 0

    @seed(number)
    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=400))
    def check(data: bytes) -> None:
        nonlocal count
        count += 1
        target(data)

    check()
    return count


def main() -> int:
    if sys.argv[1:2] != [fuzzing.HERE]:
        title = "any bytes at all into every parser"
        names = [each.__name__ for each in TARGETS]
        return fuzzing.main(title, names, fuzzing.apart("tests.hold.fuzz_parsers"))
    name, seconds, number = sys.argv[2:]
    (target,) = (each for each in TARGETS if each.__name__ == name)
    fuzzing.say(fuzzing.Report(run(target, float(seconds), int(number))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
