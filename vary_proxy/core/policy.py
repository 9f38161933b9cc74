"""Policy: what one rule came to, compiled when the configuration is loaded.

A Policy is all that the core knows of the configuration. It is immutable and shared by
every request that its rule matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from re import Pattern
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vary_proxy.core.cors import CorsPolicy

CORS_VARY = (b"Origin", b"Access-Control-Request-Headers", b"Access-Control-Request-Method")


class VaryMode(Enum):
    """What we send as Vary (the contract's ``vary`` key)."""

    REPAIR = "repair"
    IF_MISSING = "if-missing"
    MINIMAL = "minimal"
    REPLACE = "replace"
    PASSTHROUGH = "passthrough"
    STRIP = "strip"


class CorsMode(Enum):
    """Who writes the CORS fields."""

    PASSTHROUGH = "passthrough"
    FILL = "fill"
    OVERRIDE = "override"
    STRIP = "strip"


class PreflightMode(Enum):
    FORWARD = "forward"
    CACHE = "cache"
    SYNTHESIZE = "synthesize"
    DENY = "deny"


class OriginKey(Enum):
    """How ``Origin`` partitions the store."""

    EXACT = "exact"
    VERDICT = "verdict"
    PRESENCE = "presence"
    IGNORE = "ignore"


class OriginHeader(Enum):
    """What becomes of the ``Origin`` field on its way to the origin."""

    AUTO = "auto"
    FORWARD = "forward"
    STRIP = "strip"
    INJECT = "inject"


@dataclass(frozen=True, slots=True)
class VaryPolicy:
    mode: VaryMode = VaryMode.REPAIR
    names: tuple[bytes, ...] = CORS_VARY  # in the spelling and order in which they are sent
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.mode, self.names)))

    def __hash__(self) -> int:  # asked for with every response: what is remembered is known by it
        return self._hash


@dataclass(frozen=True, slots=True)
class TtlPolicy:
    """Lifetimes in seconds that a rule sets.

    ``override`` replaces what the origin said; ``default`` is used where it said nothing;
    ``statuses`` maps a status (404) or a class (5, for 5xx) to a lifetime that replaces what
    the origin said. A lifetime of 0 means: do not store.
    """

    override: float | None = None
    default: float | None = None
    statuses: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueryKey:
    """How the query enters the key. With every field at rest: byte for byte.

    ``ignore`` and ``only`` hold compiled patterns that match a parameter's name whole.
    """

    ignore: tuple[Pattern[bytes], ...] = ()
    only: tuple[Pattern[bytes], ...] | None = None
    sort: bool = False


@dataclass(frozen=True, slots=True)
class CachePolicy:
    enabled: bool = True
    ttl: TtlPolicy = TtlPolicy()
    stale_while_revalidate: float = 0.0  # seconds past its lifetime, where the origin is silent
    stale_if_error: float | None = None  # None: a day without a connection, no 5xx
    collapse: bool = True
    honour_request: bool = True  # the client's Cache-Control (RFC 9111 §5.2.1)
    store_set_cookie: bool = False  # also without ``public``
    heuristic: bool = True  # 10 % of the time since Last-Modified (§4.2.2)
    query: QueryKey = QueryKey()
    origin_key: OriginKey = OriginKey.EXACT
    max_variants: int = 64


@dataclass(frozen=True, slots=True)
class Policy:
    """All that holds for the requests that one rule matches."""

    rule: str = "defaults"
    origin: str = "default"  # name of the origin asked
    vary: VaryPolicy = VaryPolicy()
    cache: CachePolicy = CachePolicy()
    cors: CorsPolicy | None = None
    cors_mode: CorsMode = CorsMode.PASSTHROUGH
    preflight: PreflightMode = PreflightMode.FORWARD
    origin_header: OriginHeader = OriginHeader.AUTO
    origin_value: bytes = b""  # what INJECT sends
    where: str = ""  # file:line of the rule, for explain
    lot: bytes = b""  # a secret of this instance, of all its workers (loops.told)
    mark: bytes = b""  # of all that makes stored responses mean something else (keys.primary_key)
    home: bytes = field(init=False, compare=False, repr=False)  # what its primary keys begin with

    def __post_init__(self) -> None:
        edge = b"edge" if self.cors_mode is CorsMode.OVERRIDE else b"origin"
        modes = (self.vary.mode.value.encode(), edge, self.cache.origin_key.value.encode())
        tag = b"/".join((*modes, self.mark) if self.mark else modes)
        object.__setattr__(self, "home", self.origin.encode() + b"\0" + tag)
