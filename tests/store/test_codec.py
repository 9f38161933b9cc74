"""What is read from a shared store is believed only when it can be nothing but ours."""

from __future__ import annotations

import math
import os
import pickle
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.builders import KEY, stored
from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, Part, StoredResponse
from vary_proxy.store import codec
from vary_proxy.store.codec import Index, Listed, Place

_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20).map(str.encode)
_VALUE = st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0"))
_INSTANT = st.floats(min_value=0, max_value=4e9, allow_nan=False)

RESPONSES = st.builds(
    StoredResponse,
    status=st.integers(200, 599),
    fields=st.lists(st.tuples(_TOKEN, _VALUE), max_size=12).map(lambda pairs: Fields(tuple(pairs))),
    body=st.builds(
        Body, digest=st.binary(min_size=20, max_size=20), length=st.integers(0, 1 << 40)
    ),
    selecting=st.dictionaries(_TOKEN, st.none() | _VALUE, max_size=5).map(
        lambda pairs: tuple(sorted(pairs.items()))
    ),
    born=_INSTANT,
    received=_INSTANT,
    reason=_VALUE,
    part=st.none() | st.integers(0, 1 << 40).map(lambda first: Part(first, None)),
    authorized=st.booleans(),
    stale=st.booleans(),
    bare_304=st.booleans(),
)
WHOLE = replace(stored(b"https://a.example"), body=Body(bytes(20), 6))


@given(key=st.binary(max_size=200), response=RESPONSES)
def test_a_stored_response_comes_back_as_it_was(key: bytes, response: StoredResponse) -> None:
    assert codec.decode_variant(key, codec.encode_variant(key, response)) == response


@pytest.mark.parametrize(
    ("fields", "selecting", "name"), [(512, 64, 256), (513, 64, 256), (512, 65, 256), (1, 1, 257)]
)
def test_what_could_not_be_read_again_is_never_written(
    fields: int, selecting: int, name: int
) -> None:
    response = replace(
        WHOLE,
        fields=Fields(((b"n" * name, b"v"),) * fields),
        selecting=tuple((b"%02d" % number, None) for number in range(selecting)),
    )
    read = codec.decode_variant(KEY, codec.encode_variant(KEY, response))
    assert codec.holds(response) == (read == response) == (fields + selecting + name == 832)


@given(response=RESPONSES, other=st.binary(max_size=50))
def test_a_value_of_another_key_is_a_miss(response: StoredResponse, other: bytes) -> None:
    value = codec.encode_variant(KEY, response)
    assert codec.decode_variant(other, value) is None


@settings(max_examples=300)
@given(value=st.binary(max_size=400))
def test_arbitrary_bytes_are_a_miss(value: bytes) -> None:
    for noise in (value, b"\x01" + value):
        assert codec.decode_variant(KEY, noise) is None
        assert codec.decode_index(KEY, noise) is None
        assert codec.decode_bundle(noise) is None
        assert codec.key_of(noise) is None
        assert codec.decode_block("name", noise, len(noise)) is None


def _anything() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    leaves |= st.binary(max_size=30) | st.text(max_size=30)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=12,
    )


@settings(max_examples=150)
@given(record=_anything() | st.lists(_anything(), min_size=11, max_size=11))
def test_well_sealed_nonsense_is_a_miss(record: object) -> None:
    """Whoever can write to the store can also compute a checksum."""
    value = codec._seal(msgspec.msgpack.encode(record))
    assert codec.decode_variant(KEY, value) is None
    assert codec.decode_bundle(value) is None or isinstance(record, list)


def test_every_truncation_and_every_flipped_bit_is_a_miss() -> None:
    value = codec.encode_variant(KEY, WHOLE)
    for length in range(len(value)):
        assert codec.decode_variant(KEY, value[:length]) is None
    assert codec.decode_variant(KEY, value + b"\0") is None
    for at in range(len(value)):
        for bit in (1, 128):
            broken = bytearray(value)
            broken[at] ^= bit
            assert codec.decode_variant(KEY, bytes(broken)) is None


def test_another_version_is_a_miss() -> None:
    value = codec.encode_variant(KEY, WHOLE)
    for version in (0, 2, 255):
        assert codec.decode_variant(KEY, bytes([version]) + value[1:]) is None


@pytest.mark.parametrize("value", [None, "text", 5, [], {}, bytearray(b"\x01")])
def test_what_is_not_bytes_is_a_miss(value: object) -> None:
    assert codec.decode_variant(KEY, value) is None
    assert codec.decode_block("name", value, 1) is None


class _Trap:
    sprung = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (_spring, ())


def _spring() -> None:
    _Trap.sprung = True


def test_a_pickle_is_a_miss_and_is_not_run() -> None:
    value = pickle.dumps(_Trap())
    for noise in (value, codec._seal(value)):
        assert codec.decode_variant(KEY, noise) is None
        assert codec.decode_index(KEY, noise) is None
    assert not _Trap.sprung


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(
            {"fields": Fields(((b"x", b"a\r\nset-cookie: b"),))}, id="line break in value"
        ),
        pytest.param({"fields": Fields(((b"x\r\ny", b"a"),))}, id="line break in name"),
        pytest.param({"fields": Fields(((b"x\ny", b"a"),))}, id="line feed in name"),
        pytest.param({"fields": Fields(((b"X", b"a"),))}, id="name not in lower case"),
        pytest.param({"fields": Fields(((b"x y", b"a"),))}, id="name not a token"),
        pytest.param({"fields": Fields(((b"", b"a"),))}, id="no name"),
        pytest.param({"reason": b"OK\r\nx: y"}, id="line break in reason"),
        pytest.param({"status": 101}, id="not a final status"),
        pytest.param({"status": 1000}, id="not a status"),
        pytest.param({"born": math.nan}, id="no instant"),
        pytest.param({"received": math.inf}, id="instant without end"),
        pytest.param({"body": Body(b"short", 1)}, id="not a digest"),
        pytest.param({"body": Body(bytes(20), -1)}, id="negative length"),
        pytest.param({"part": Part(-1, None)}, id="negative offset"),
        pytest.param({"part": Part(5, 10)}, id="part beyond the whole"),
        pytest.param({"selecting": ((b"b", None), (b"a", None))}, id="names not sorted"),
        pytest.param({"selecting": ((b"a", None), (b"a", b"x"))}, id="a name twice"),
        pytest.param({"selecting": ((b"a\nb", None),)}, id="line feed in a selecting name"),
    ],
)
def test_what_no_response_head_could_be_is_a_miss(changed: dict[str, object]) -> None:
    hostile = replace(WHOLE, **changed)  # type: ignore[arg-type]
    assert codec.decode_variant(KEY, codec.encode_variant(KEY, hostile)) is None


def test_a_record_beyond_all_bounds_is_a_miss() -> None:
    many = replace(WHOLE, fields=Fields(((b"x", b"y"),) * 600))
    assert codec.decode_variant(KEY, codec.encode_variant(KEY, many)) is None
    long = replace(WHOLE, fields=Fields(((b"x", b"y" * 300_000),)))
    assert codec.decode_variant(KEY, codec.encode_variant(KEY, long)) is None


def test_an_index_comes_back_and_only_for_its_key() -> None:
    index = Index(KEY, [Listed(b"i" * 8, 7)], [Place(b"d" * 20, 5, b"t" * 12, 131072)])
    value = codec.encode_index(index)
    assert codec.decode_index(KEY, value) == index
    assert codec.key_of(value) == KEY
    assert codec.decode_index(KEY + b"x", value) is None
    assert codec.decode_variant(KEY, value) is None


def test_a_block_comes_back_only_under_its_name_and_length() -> None:
    data = os.urandom(1000)
    value = codec.encode_block("1:{h}:b:t:0", data)
    assert codec.decode_block("1:{h}:b:t:0", value, 1000) == data
    assert codec.decode_block("1:{h}:b:t:1", value, 1000) is None
    assert codec.decode_block("1:{h}:b:t:0", value, 999) is None
    assert codec.decode_block("1:{h}:b:t:0", value[:-1], 1000) is None
    for at in range(len(value)):
        broken = bytearray(value)
        broken[at] ^= 4
        assert codec.decode_block("1:{h}:b:t:0", bytes(broken), 1000) is None
