"""What is to go, and what went: as values, and as workers of one supervisor tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from vary_proxy.core.message import Fields

Kind = Literal["url", "tag", "prefix", "pattern", "all"]
_NONE = Fields()


@dataclass(frozen=True, slots=True)
class Purge:
    """What is to go: ``value`` is a URL, a tag, a prefix or a pattern of URLs.

    ``fields`` narrow a URL.
    """

    kind: Kind
    value: str = ""
    fields: Fields = _NONE
    soft: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Purged:
    """What went, or would go; None: not counted. ``done`` False: the shared store is away, or
    so many workers are ``missing``, and the purge is made up for when they are back.
    """

    resources: int | None = 0
    stored_responses: int | None = 0
    done: bool = True
    missing: int = 0


def said(purge: Purge) -> bytes:
    """*purge*, for another worker."""
    return msgspec.msgpack.encode(purge, enc_hook=lambda fields: fields.items)


def read(told: bytes) -> Purge:
    """The purge that another worker has ``said``."""
    return msgspec.msgpack.decode(
        told,
        type=Purge,
        dec_hook=lambda kind, pairs: kind(tuple((name, value) for name, value in pairs)),
    )


def joined(several: list[Purged]) -> Purged:
    resources = [one.resources for one in several]
    responses = [one.stored_responses for one in several]
    done, missing = all(one.done for one in several), sum(one.missing for one in several)
    return Purged(_sum(resources), _sum(responses), done, missing)


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
