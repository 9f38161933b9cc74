"""How a resource lies in a shared store: the names of its keys, its blocks, its lifetimes.

    NS:1:{H}:r          one row per resource: its index and all its variants
    NS:1:{H}:b:T:N      block N of the body with token T
    NS:1:{H}:f:V        the flight of one variant; :h its headway, :w whether somebody follows
    NS:1:{epochs}       purges of tags and of everything

H is derived from the primary key by SHA-256: clients choose keys, so nothing weaker will do.
The braces keep a resource on one slot of a cluster. The 1 is the version of this layout:
another version does not see these keys, and both may run side by side. No key lives for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from vary_proxy.core import blocks as sparse
from vary_proxy.core import freshness
from vary_proxy.core.stored import StoredResponse
from vary_proxy.store.codec import Place

VERSION = "1"
BLOCK = sparse.BLOCK  # bytes; a reader holds two, a writer at most eight
EPOCHS = f"{VERSION}:{{epochs}}"
PROBE = f"{VERSION}:{{probe}}"
ABANDONED = 120  # seconds after which the blocks of a dead writer are gone
GRACE = 60  # seconds for which those who read a body that was replaced may go on
TOMBSTONE = 900  # seconds for which a purge is remembered against slow writers
MINIMUM = 48 * 3600  # seconds: what can be validated outlives its freshness
MARGIN = 3600  # seconds beyond all use: clocks differ, and what is just over can be validated
MINIMUM_ERROR = 3600
MAXIMUM = 30 * 86400 - 1  # Memcached reads more as a date
EPOCHS_KEPT = 2 * MAXIMUM


def generation() -> bytes:
    """One that no row has had before."""
    return os.urandom(8)


def row(key: bytes) -> str:
    return f"{VERSION}:{{{_hash(key)}}}:r"


def flight(key: bytes, variant: bytes) -> str:
    return f"{VERSION}:{{{_hash(key)}}}:f:{_hash(variant)}"


def _hash(key: bytes) -> str:
    return sha256(key).hexdigest()[:40]


def block_names(row_name: str, place: Place, first: int = 0, last: int | None = None) -> list[str]:
    """Names of the blocks [first, last) of a body; to its end when *last* is None."""
    stem = f"{row_name[:-1]}b:{place.token.hex()}:"
    return [stem + str(at) for at in range(first, blocks(place) if last is None else last)]


def blocks(place: Place) -> int:
    return -(-place.length // place.block)


@dataclass(frozen=True, slots=True)
class Span:
    """The part of one block that a range of a body covers."""

    number: int
    length: int  # of the whole block
    start: int
    stop: int


def spans(place: Place, start: int, stop: int) -> list[Span]:
    """The blocks, and what of each, that make bytes [start, stop) of a body."""
    out = []
    for number in range(start // place.block, -(-stop // place.block)):
        base = number * place.block
        length = min(place.block, place.length - base)
        out.append(Span(number, length, max(0, start - base), min(length, stop - base)))
    return out


def lifetime(stored: StoredResponse, now: float) -> float:
    """Seconds for which a store keeps *stored*: fresh, stale but usable, then worth validating.

    What it says itself, what its rule made of that, and a margin; at most MAXIMUM.
    """
    fresh = freshness.explicit_lifetime(stored.fields, stored.directives, stored.received) or 0.0
    windows = (stored.directives.stale_while_revalidate, stored.directives.stale_if_error)
    said = fresh + max(float(seconds or 0) for seconds in windows) - (now - stored.born)
    left = MARGIN + max(said, stored.keep - (now - stored.received))
    least = MINIMUM_ERROR if stored.status >= 400 else MINIMUM
    return min(float(MAXIMUM), max(float(least), left))


def longest(variants: Iterable[StoredResponse], now: float) -> float:
    return max((lifetime(one, now) for one in variants), default=float(MINIMUM_ERROR))
