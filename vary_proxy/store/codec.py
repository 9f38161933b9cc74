"""Stored values as bytes, and back: nothing read from a shared store is believed.

A value is a version byte, a checksum, and a msgpack record that names the primary key it was
made for. Decoding is typed and bounded; what is truncated, foreign, corrupt, of another
version, or could not have come from a response head, decodes to None, which is a miss. No
value can run code: there is no pickle. A block of a body is its bytes behind a short head
whose checksum covers the name under which it is kept, so blocks that change places are
noticed; CRC-32 there, because it costs a fifth of BLAKE2 and a whole body has its SHA-256.
"""

from __future__ import annotations

import re
import struct
import zlib
from hashlib import blake2b
from math import isfinite
from typing import Annotated, TypeVar

import msgspec

from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, Part, StoredResponse

VERSION = 1
DIGEST = 20  # bytes of a body's digest
TOKEN = 12  # bytes of the random token that names a body's blocks
IDENT = 8  # bytes of the identifier of a variant among those of its resource
MOST = 1 << 20  # bytes of one record: more is not ours
_SUM = 8
_HEAD = 1 + _SUM
_BLOCK_HEAD = struct.Struct(">BIi")  # version, CRC-32, length

_MOST_FIELDS = 512
_MOST_SELECTING = 64
_LONGEST_NAME = 256

Key = Annotated[bytes, msgspec.Meta(max_length=1 << 16)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Name = Annotated[bytes, msgspec.Meta(min_length=1, max_length=_LONGEST_NAME)]
Value = Annotated[bytes, msgspec.Meta(max_length=1 << 18)]
Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST, max_length=DIGEST)]
Token = Annotated[bytes, msgspec.Meta(min_length=TOKEN, max_length=TOKEN)]
Ident = Annotated[bytes, msgspec.Meta(min_length=IDENT, max_length=IDENT)]


class _Variant(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    key: Key
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    reason: Annotated[bytes, msgspec.Meta(max_length=1024)]
    fields: Annotated[list[tuple[Name, Value]], msgspec.Meta(max_length=_MOST_FIELDS)]
    digest: Digest
    length: Size
    selecting: Annotated[list[tuple[Name, Value | None]], msgspec.Meta(max_length=_MOST_SELECTING)]
    born: float
    received: float
    part: tuple[Size, Size | None] | None
    flags: Annotated[int, msgspec.Meta(ge=0, le=15)]
    keep: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Listed(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One variant in an index: its identifier, and the purges that it had seen (an epoch)."""

    ident: Ident
    epoch: Size


class Place(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Where the body of *digest* is kept: in blocks of *block* bytes, named by *token*."""

    digest: Digest
    length: Size
    token: Token
    block: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 24)]


class Index(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a resource consists of: its variants, newest first, and where their bodies are."""

    key: Key
    variants: Annotated[list[Listed], msgspec.Meta(max_length=1024)]
    places: Annotated[list[Place], msgspec.Meta(max_length=1024)]


class _Bundle(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: bytes
    generation: bytes
    index: bytes
    values: dict[bytes, bytes]


class Headway(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """How far a flight has come: the head that it brings, and what of its body can be read."""

    key: Key
    owner: Annotated[bytes, msgspec.Meta(max_length=64)]
    head: Annotated[bytes, msgspec.Meta(max_length=1 << 19)]  # as a variant of a row
    length: Size | None  # announced; None when unknown
    token: Token
    size: Size  # bytes that are there in blocks
    tail: Annotated[bytes, msgspec.Meta(max_length=1 << 18)]  # those behind them
    done: bool  # that is all


_encoder = msgspec.msgpack.Encoder()
_variant = msgspec.msgpack.Decoder(_Variant)
_index = msgspec.msgpack.Decoder(Index)
_bundle = msgspec.msgpack.Decoder(_Bundle)
_headway = msgspec.msgpack.Decoder(Headway)
_RecordT = TypeVar("_RecordT")

_AUTHORIZED, _STALE, _BARE_304, _SPARSE = 1, 2, 4, 8
_NAMES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z\n]*")  # lower-case tokens, joined by line feeds
_BROKEN = re.compile(rb"[\r\n\0]")


def holds(stored: StoredResponse) -> bool:
    """True when *stored* is within what one value may hold, and so can be decoded again."""
    fields, selecting = stored.fields.items, stored.selecting
    if len(fields) > _MOST_FIELDS or len(selecting) > _MOST_SELECTING:
        return False
    return all(len(name) <= _LONGEST_NAME for name, _ in (*fields, *selecting))


def encode_variant(key: bytes, stored: StoredResponse) -> bytes:
    """*stored* as one value that decodes only for *key*."""
    part = stored.part
    flags = _AUTHORIZED * stored.authorized | _STALE * stored.stale | _BARE_304 * stored.bare_304
    flags |= _SPARSE * stored.sparse
    record = _Variant(
        key=key,
        status=stored.status,
        reason=stored.reason,
        fields=list(stored.fields.items),
        digest=stored.body.digest,
        length=stored.body.length,
        selecting=list(stored.selecting),
        born=float(stored.born),
        received=float(stored.received),
        part=None if part is None else (part.first, part.total),
        flags=flags,
        keep=float(stored.keep),
    )
    return _seal(_encoder.encode(record))


def decode_variant(key: bytes, value: object) -> StoredResponse | None:
    """The stored response in *value*; None when it is anything but ours, whole, and of *key*."""
    record = _open(value, _variant)
    if record is None or record.key != key or not _plausible(record):
        return None
    part = None if record.part is None else Part(*record.part)
    try:
        return StoredResponse(
            status=record.status,
            fields=Fields(tuple(record.fields)),
            body=Body(record.digest, record.length),
            selecting=tuple(record.selecting),
            born=record.born,
            received=record.received,
            reason=record.reason,
            part=part,
            authorized=bool(record.flags & _AUTHORIZED),
            stale=bool(record.flags & _STALE),
            bare_304=bool(record.flags & _BARE_304),
            sparse=bool(record.flags & _SPARSE),
            keep=record.keep,
        )
    except Exception:  # its directives are parsed here, from bytes that anybody may have written
        return None


def encode_headway(headway: Headway) -> bytes:
    return _seal(_encoder.encode(headway))


def decode_headway(key: bytes, value: object) -> tuple[Headway, StoredResponse] | None:
    """A headway and the head that it brings; None when it is anything but ours and of *key*."""
    found = _open(value, _headway)
    head = None if found is None or found.key != key else decode_variant(key, found.head)
    return None if found is None or head is None else (found, head)


def encode_index(index: Index) -> bytes:
    return _seal(_encoder.encode(index))


def decode_index(key: bytes, value: object) -> Index | None:
    index = _open(value, _index)
    return None if index is None or index.key != key else index


def key_of(value: object) -> bytes | None:
    """The primary key that an index names; None when *value* is not an index."""
    index = _open(value, _index)
    return None if index is None else index.key


def encode_bundle(
    version: bytes, generation: bytes, index: bytes, values: dict[bytes, bytes]
) -> bytes:
    """A whole resource as one value, for stores that know no hashes."""
    return _seal(_encoder.encode(_Bundle(version, generation, index, values)))


def decode_bundle(value: object) -> tuple[bytes, bytes, bytes, dict[bytes, bytes]] | None:
    found = _open(value, _bundle)
    if found is None:
        return None
    return found.version, found.generation, found.index, found.values


def ident_of(value: bytes) -> bytes:
    """The identifier of an encoded variant: its checksum."""
    return value[1:_HEAD]


def encode_block(name: str, data: bytes | bytearray | memoryview) -> bytes:
    """One block of a body, to be kept under *name*."""
    crc = zlib.crc32(data, zlib.crc32(name.encode()))
    return b"".join((_BLOCK_HEAD.pack(VERSION, crc, len(data)), data))


def decode_block(name: str, value: object, length: int) -> memoryview | None:
    """The *length* bytes of a block; None when they are not the ones kept under *name*."""
    if not isinstance(value, bytes) or len(value) != _BLOCK_HEAD.size + length:
        return None
    version, crc, said = _BLOCK_HEAD.unpack_from(value)
    data = memoryview(value)[_BLOCK_HEAD.size :]
    if version != VERSION or said != length:
        return None
    return data if crc == zlib.crc32(data, zlib.crc32(name.encode())) else None


def _seal(payload: bytes) -> bytes:
    return b"%c%b%b" % (VERSION, blake2b(payload, digest_size=_SUM).digest(), payload)


def _open(value: object, decoder: msgspec.msgpack.Decoder[_RecordT]) -> _RecordT | None:
    if not isinstance(value, bytes) or not _HEAD < len(value) <= MOST or value[0] != VERSION:
        return None
    payload = memoryview(value)[_HEAD:]
    if blake2b(payload, digest_size=_SUM).digest() != value[1:_HEAD]:
        return None
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _plausible(record: _Variant) -> bool:
    """False for what no response head could have come to: it would be sent to a client."""
    selecting = [name for name, _ in record.selecting]
    if not _are_names([name for name, _ in record.fields]) or not _are_names(selecting):
        return False
    if any(_BROKEN.search(value) for _, value in record.fields) or _BROKEN.search(record.reason):
        return False
    if selecting != sorted(set(selecting)):
        return False
    if not all(map(isfinite, (record.born, record.received, record.keep))):
        return False
    if record.part is None:
        return True
    first, total = record.part
    return total is None or first + record.length <= total


def _are_names(names: list[bytes]) -> bool:
    # One search for all of them: a resource has up to sixty-four times thirty names.
    joined = b"\n".join(names)
    return _NAMES.fullmatch(joined) is not None and joined.count(b"\n") == max(0, len(names) - 1)
