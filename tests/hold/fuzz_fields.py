"""Targets for what single values mean: each says what must hold of any bytes at all.

Where another implementation exists, both must say the same; where a value can be written
again, it must be read again as it was.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from decimal import Decimal

import http_sf

from vary_proxy.clients import proxyprotocol
from vary_proxy.configuration import yaml12
from vary_proxy.configuration.problems import ConfigError
from vary_proxy.core import automaton, corsorigins, directives, patterns, ranges, structured, syntax
from vary_proxy.core.message import Fields
from vary_proxy.core.policy import VaryMode, VaryPolicy
from vary_proxy.core.stored import Body, Part, StoredResponse
from vary_proxy.core.vary import dress, effective
from vary_proxy.core.wire import response_head
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpreader import Chunks, Limits, read_head
from vary_proxy.store import codec

KEY = b"o\0http\0a.example\0/"
STORED = StoredResponse(
    200,
    Fields(((b"etag", b'"v"'), (b"cache-control", b"max-age=60"))),
    Body(b"d" * codec.DIGEST, 5),
    ((b"accept", None), (b"origin", b"https://a.example")),
    1e9,
    1e9,
    part=Part(0, 10),
)
INDEX = codec.Index(
    KEY,
    [codec.Listed(b"i" * codec.IDENT, 0)],
    [codec.Place(b"d" * codec.DIGEST, 5, b"t" * codec.TOKEN, 1 << 16)],
)
SEAL = len(codec._seal(b""))  # bytes in front of a record
NOW = 1_800_000_000.0
_CONTROLS = (b"cache-control", b"surrogate-control", b"cdn-cache-control", b"expires", b"pragma")


def control(data: bytes) -> None:
    """Directives are read from any bytes; no lifetime is negative, no name has odd bytes."""
    for name in _CONTROLS:
        fields = Fields(((name, data),))
        asked, said = directives.of_request(fields), directives.of_response(fields)
        for seconds in (asked.max_age, asked.min_fresh, said.max_age, said.s_maxage):
            assert seconds is None or 0 <= seconds < 1 << 40
        for names in (said.no_cache, said.private):
            assert isinstance(names, bool) or all(one == one.lower() for one in names)
    # To forbid storing cannot be undone by what is said before it.
    if data.count(b'"') == 0:
        assert directives.of_response(Fields(((b"cache-control", data + b",no-store"),))).no_store


def varying(data: bytes) -> None:
    """What we send as Vary is a list of names, is read as what it was, and selects."""
    fields = Fields((*((b"vary", line) for line in data.split(b"\n")), (b"etag", b'"v"')))
    for mode in VaryMode:
        result = effective(fields, VaryPolicy(mode), b"GET")
        if result.star:
            assert dress(fields, result) is fields
            continue
        assert list(result.names) == sorted({name.lower() for name in result.names})
        assert all(map(syntax.is_token, result.names))
        assert b"*" not in result.names
        again = effective(dress(fields, result), VaryPolicy(mode), b"GET")
        if mode in (VaryMode.REPAIR, VaryMode.PASSTHROUGH):
            assert again.names == result.names
        if mode is VaryMode.REPAIR:
            assert b"origin" in result.names


def ranged(data: bytes) -> None:
    """Spans lie within the whole, and what is honoured is never more than the whole."""
    for total in (0, 1, 100):
        wanted = ranges.specs(data)
        spans = ranges.resolve(wanted or (), total)
        assert all(0 <= one.start < one.stop <= total for one in spans)
        assert len(spans) <= ranges.MOST_RANGES
        if ranges.is_reasonable(spans, total):
            assert sum(one.length for one in spans) <= total
    part = ranges.content_range(Fields(((b"content-range", data),)))
    assert part is None or part.first >= 0
    assert part is None or part.total is None or part.first < part.total


def dictionary(data: bytes) -> None:
    """A structured field is read as another implementation reads it, or by neither."""
    ours = structured.dictionary(data)
    try:
        theirs = http_sf.parse(data, tltype="dictionary")
    except Exception:  # its own errors, and those of datetime and Unicode beneath it
        theirs = None
    if ours is None or theirs is None:
        # It checks what no directive has (dates in range, base64, UTF-8): we read on there.
        lenient = any(mark in data for mark in (b"@", b":", b"%"))
        assert ours is None or lenient or not data.strip(b" "), (ours, theirs)
        assert theirs is None, (ours, theirs)
        return
    assert isinstance(theirs, dict)
    assert sorted(ours) == sorted(key.encode() for key in theirs)
    for key, value in ours.items():
        member = theirs[key.decode()]
        assert isinstance(member, tuple)
        _same(value, member[0])


def _same(ours: object, theirs: object) -> None:
    if isinstance(theirs, bool) or type(theirs) is int:
        assert ours == theirs
        assert type(ours) is type(theirs)
    elif isinstance(theirs, Decimal):
        assert ours == float(theirs)
    elif type(theirs) in (str, http_sf.Token):
        assert ours == str(theirs).encode()
    else:
        assert ours == structured.OTHER


def dates(data: bytes) -> None:
    """A date that is read is an instant, which is read again from how we write it."""
    instant = syntax.http_date(data, NOW)
    if instant is not None and instant >= 0:
        assert syntax.http_date(syntax.format_date(instant), NOW) == instant


def lists(data: bytes) -> None:
    """Members have no white space around them; entity tags are what they were written as."""
    for member in syntax.members(data):
        assert member
        assert member == member.strip(b" \t")
    for tag in syntax.entity_tags(data) or ():
        assert bytes(tag) in data
        assert syntax.entity_tag(bytes(tag)) == tag
    seconds = syntax.delta_seconds(data)
    assert seconds is None or (seconds >= 0 and data.isdigit())


def sealed(data: bytes) -> None:
    """A record with the right checksum, written by whoever can write to the store.

    What is taken for a stored response can be sent without a line of it becoming another.
    """
    value = codec._seal(data)
    found = codec.decode_variant(KEY, value)
    if found is not None:
        assert codec.decode_variant(KEY, codec.encode_variant(KEY, found)) == found
        head = response_head(found.status, found.reason, found.fields.items)
        assert head.count(b"\r\n") == len(found.fields.items) + 2
    index = codec.decode_index(KEY, value)
    assert index is None or codec.decode_index(KEY, codec.encode_index(index)) == index
    bundle = codec.decode_bundle(value)
    assert bundle is None or codec.decode_bundle(codec.encode_bundle(*bundle)) == bundle
    block = codec.encode_block("n", data)
    assert codec.decode_block("n", block, len(data)) == data
    assert codec.decode_block("m", block, len(data)) is None


def origin_chunks(data: bytes) -> None:
    """A coded body of an origin is the same however it is cut, and never longer than it was."""
    whole = _content([data])
    assert whole == _content([data[at : at + 1] for at in range(len(data))])
    assert whole is None or len(whole[0]) + len(whole[1]) < len(data)


def _content(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    reader = Chunks(Limits(64 * 1024, 32 * 1024))
    out: list[bytes] = []
    try:
        for at, piece in enumerate(pieces):
            out += reader.feed(piece)
            if reader.rest is not None:
                return b"".join(out), reader.rest + b"".join(pieces[at + 1 :])
    except OriginFailure:
        pass
    return None


def origin_head(data: bytes) -> None:
    """What is read of an origin's head can be written, and is then read as the same."""
    limits = Limits(64 * 1024, 32 * 1024)
    try:
        read, _ = read_head(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", limits)
        again, _ = read_head(response_head(read.status, read.reason, read.fields.items), limits)
    except OriginFailure:
        return
    assert again.fields == read.fields
    assert again.status == read.status


def yaml(data: bytes) -> None:
    """A file has nodes with lines, or an error that says where."""
    said = "fuzz.yaml"
    try:
        yaml12.compose(data, "fuzz.yaml")
    except ConfigError as error:
        said = str(error)
    assert "fuzz.yaml" in said


def pattern(data: bytes) -> None:
    """A pattern is refused, or answers about any origin in time that grows with its length."""
    text, _, value = data.decode("latin-1").partition("\n")
    try:
        node = patterns.parse(text)
        compiled = automaton.build(node)
    except patterns.PatternError:
        return
    compiled.matches((value or "a").encode("latin-1") * 20)
    for sample in patterns.samples(node):
        assert compiled.matches(sample)


def an_origin(data: bytes) -> None:
    """An origin that is read has a scheme and a host, and is written in one way."""
    parsed = corsorigins.parse_origin(data)
    if parsed is not None:
        scheme, host, port = parsed
        assert scheme
        assert host
        assert data == scheme + b"://" + host + (b"" if port is None else b":" + port)


def proxy_header(data: bytes) -> None:
    """A PROXY header names an address, none, or is malformed."""
    left = memoryview(data)

    async def receive(count: int) -> bytes:
        nonlocal left
        piece, left = bytes(left[:count]), left[count:]
        if len(piece) < count:
            raise proxyprotocol.Malformed("it ended")
        return piece

    async def asked() -> None:
        with contextlib.suppress(proxyprotocol.Malformed):
            said = await proxyprotocol.read(receive)
            assert said is None or ipaddress.ip_address(said)

    with contextlib.suppress(StopIteration):
        asked().send(None)  # it never waits


SAMPLES = [
    b"(b|qD+\\.m?:a|" + bytes(30) + b"*" + bytes(84) + b"b)+\\.m",  # took seconds to be read
    b'max-age=60, private="set-cookie, x", no-cache="a", s-maxage="5", no-store',
    b"max-age=60;x, must-revalidate", b"Origin, accept-encoding\n*", b"bytes=0-1, -5, 7-",
    b"bytes 0-4/10", b"bytes 0-4/*", b'a=1, b=(1 "x" tok;y);z=?0, c=:YQ==:, d=@12, e=%"a%c3%bc"',
    b"a=-1.5, b=*t/:x, c", b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994", b'W/"a", "b\\"", *', b"5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nVary: Origin\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\n",
    b"a: {b: [1, 2], c: |\n  text\n}\n", b"a: &x [1]\nb: *x\n", b"'a': \"\\x41\\n\"\n- ? : |-\n",
    b"(?:a|b){1,3}[^.]+\\.example\nhttps://a.example", b"https://a.example:8443",
    b"https://[::1]:80", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2",
    codec.encode_variant(KEY, STORED)[SEAL:], codec.encode_index(INDEX)[SEAL:],
    codec.encode_bundle(b"v", b"g", codec.encode_index(INDEX), {b"i": b"x"})[SEAL:],
]  # fmt: skip

TARGETS: tuple[Callable[[bytes], None], ...] = (
    control, varying, ranged, dictionary, dates, lists, sealed, origin_chunks, origin_head,
    yaml, pattern, an_origin, proxy_header,
)  # fmt: skip
