"""Records of a store by their grammar: what is read is what was written, or a miss.

Two of the same kind are drawn, and a hostile writer who exchanges parts of them under a right
checksum: what is then taken must be whole, of its key, and fit to be sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.hold.grammars import TCHAR, VALUE, of
from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, Part, StoredResponse
from vary_proxy.core.wire import response_head
from vary_proxy.store import codec

NAME = of(TCHAR, 1, 10).map(bytes.lower)
TEXT = VALUE.map(lambda value: value.strip(b" \t"))
KEYS = st.sampled_from((b"o\0http\0a.example\0/", b"o\0http\0b.example\0/", b"", b"k" * 300))
SIZE = st.integers(0, 1 << 40)
INSTANT = st.floats(-1e10, 1e12) | st.just(0.0) | st.just(-0.0)


def _digest(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


@st.composite
def responses(draw: DrawFn) -> StoredResponse:
    selecting = draw(st.dictionaries(NAME, st.none() | TEXT, max_size=3))
    length = draw(SIZE)
    first = draw(st.integers(0, 1000))
    total = draw(st.none() | st.integers(first + length, first + length + 100))
    return StoredResponse(
        status=draw(st.integers(200, 599)),
        fields=Fields(tuple(draw(st.lists(st.tuples(NAME, TEXT), max_size=5)))),
        body=Body(draw(_digest(codec.DIGEST)), length),
        selecting=tuple(sorted(selecting.items())),
        born=draw(INSTANT),
        received=draw(INSTANT),
        reason=draw(TEXT),
        part=draw(st.sampled_from((None, Part(first, total)))),
        authorized=draw(st.booleans()),
        stale=draw(st.booleans()),
        bare_304=draw(st.booleans()),
        sparse=draw(st.booleans()),
        keep=draw(st.floats(0, 1e9)),
    )


@st.composite
def indexes(draw: DrawFn) -> codec.Index:
    listed = st.builds(codec.Listed, _digest(codec.IDENT), SIZE)
    place = st.builds(
        codec.Place, _digest(codec.DIGEST), SIZE, _digest(codec.TOKEN), st.integers(1024, 1 << 24)
    )
    return codec.Index(
        draw(KEYS), draw(st.lists(listed, max_size=3)), draw(st.lists(place, max_size=3))
    )


@dataclass
class Kind:
    """How records of a kind are written and read."""

    drawn: st.SearchStrategy[Any]
    encode: Callable[[bytes, Any], bytes]
    decode: Callable[[bytes, bytes], Any]


def _bundle(value: bytes) -> Any:
    return codec.decode_bundle(value)


def _headway(key: bytes, drawn: tuple[StoredResponse, int, bytes]) -> bytes:
    stored, size, tail = drawn
    head = codec.encode_variant(key, stored)
    length = size + len(tail)
    return codec.encode_headway(
        codec.Headway(key, b"owner", head, length, b"t" * codec.TOKEN, size, tail, bool(size % 2))
    )


def _came(key: bytes, value: bytes) -> Any:
    found = codec.decode_headway(key, value)
    return None if found is None else (found[1], found[0].size, found[0].tail)


SHORT = st.binary(max_size=10)
KINDS = {
    "variant": Kind(responses(), codec.encode_variant, codec.decode_variant),
    "index": Kind(
        indexes(),
        lambda key, index: codec.encode_index(msgspec.structs.replace(index, key=key)),
        lambda key, value: codec.decode_index(key, value),
    ),
    "bundle": Kind(
        st.tuples(SHORT, SHORT, SHORT, st.dictionaries(SHORT, SHORT, max_size=3)),
        lambda key, drawn: codec.encode_bundle(*drawn),
        lambda key, value: _bundle(value),
    ),
    "headway": Kind(st.tuples(responses(), st.integers(0, 99), SHORT), _headway, _came),
}
RECORDS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda name: st.tuples(
        st.just(name), KINDS[name].drawn, KINDS[name].drawn, KEYS, KEYS, st.integers(0, 1 << 20)
    )
)


def a_record(drawn: tuple[str, Any, Any, bytes, bytes, int]) -> None:
    name, one, other, key, foreign, number = drawn
    kind, dice = KINDS[name], random.Random(number)
    value, second = kind.encode(key, one), kind.encode(key, other)
    _is(kind.decode(key, value), one, key)
    if foreign != key and name != "bundle":
        assert kind.decode(foreign, value) is None  # it is of another key
    for changed in _changes(value, second, dice):
        assert kind.decode(key, changed) is None or changed in (value, second), changed
    for strange in set(KINDS) - {name}:
        assert KINDS[strange].decode(key, value) is None, strange
    _exchanged(kind, key, value, second, dice)


def _is(found: Any, meant: Any, key: bytes) -> None:
    if isinstance(meant, codec.Index):
        meant = msgspec.structs.replace(meant, key=key)
    assert found == meant
    if isinstance(meant, StoredResponse):
        assert found.keep == meant.keep  # which is no part of what makes two equal
        assert found.directives == meant.directives


def _changes(value: bytes, other: bytes, dice: random.Random) -> list[bytes]:
    """*value* with a bit, a byte or a piece changed, cut, doubled, or put together with another."""
    at, to = sorted(dice.randrange(len(value)) for _ in range(2))
    bit = bytearray(value)
    bit[at] ^= 1 << dice.randrange(8)
    return [
        bytes(bit), value[:at], value[at + 1 :], value + b"\0", value + value,
        value[:at] + other[at:], other[:9] + value[9:], value[:at] + value[to:], b"",
    ]  # fmt: skip


def _exchanged(kind: Kind, key: bytes, value: bytes, other: bytes, dice: random.Random) -> None:
    """A writer who knows the checksum puts parts in the place of others."""
    one, two = (msgspec.msgpack.decode(each[9:]) for each in (value, other))
    odd: list[Any] = [
        None,
        -1,
        1 << 60,
        0.5,
        float("nan"),
        b"a\r\nb: c",
        [],
        {},
        "text",
        b"\0",
        True,
    ]
    for _ in range(4):
        mixed = list(one)
        at = dice.randrange(len(mixed))
        mixed[at] = dice.choice([two[at], two[dice.randrange(len(two))], *odd])
        if dice.random() < 0.3 and isinstance(one[at], list) and one[at]:
            mixed[at] = [*one[at], dice.choice(odd)]
        found = kind.decode(key, codec._seal(msgspec.msgpack.encode(mixed)))
        if isinstance(found, StoredResponse):
            _can_be_sent(found)
            assert codec.decode_variant(key, codec.encode_variant(key, found)) == found


def _can_be_sent(stored: StoredResponse) -> None:
    """Nothing in it ends a line, and it says of itself what another reading of it says."""
    head = response_head(stored.status, stored.reason, stored.fields.items)
    assert head.count(b"\r\n") == len(stored.fields.items) + 2
    assert replace(stored).directives == stored.directives
    assert stored.born == stored.born  # a number
    assert stored.part is None or stored.part.first >= 0
