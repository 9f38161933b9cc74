"""What is held for reuse: a StoredResponse, and the Resource that gathers its variants.

Metadata and body are two values. A StoredResponse is a few hundred bytes that point to a
Body; a Body is known by the digest of its content within its resource, so that variants
share it and a 304 never touches it. A Resource is all stored responses of one target URI,
newest first: the unit of storage, invalidation and purge (RFC 9111 §2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vary_proxy.core.directives import ResponseDirectives, of_response
from vary_proxy.core.message import Fields
from vary_proxy.core.values import immutable

Selecting = tuple[tuple[bytes, bytes | None], ...]


@immutable
class Body:
    """The content of a stored response, by reference.

    Of a sparse one, ``digest`` is a name drawn by lot and ``length`` that of the whole.
    """

    digest: bytes  # 20 bytes of SHA-256 over the bytes held
    length: int  # bytes held


@dataclass(frozen=True, slots=True)
class Part:
    """Where the bytes held lie within the whole representation (RFC 9111 §3.3)."""

    first: int  # offset of the first byte held
    total: int | None  # length of the whole; None when the origin said ``*``


@immutable
class StoredResponse:
    """One variant (RFC 9111 §2, §4.1).

    ``fields`` are as delivered later: Vary repaired, nothing connection-specific.
    ``selecting`` pairs each name of the effective Vary with the normalised value that the
    request had (None: absent), names in lower case, sorted.
    ``part`` is None for a whole response. A store that lets go by time keeps it for ``keep``
    seconds at least, and for as long as its own fields say.
    """

    status: int
    fields: Fields
    body: Body
    selecting: Selecting
    born: float  # instant at which its age was zero
    received: float  # instant at which it, or its last 304, arrived
    reason: bytes = b""
    part: Part | None = None
    authorized: bool = False  # the request that brought it had Authorization
    stale: bool = False  # marked by a soft purge: validate before use
    bare_304: bool = False  # its origin's 304s lack the CORS family: never fill by validation
    sparse: bool = False  # its body is held in blocks, some of which may be missing
    keep: float = field(default=0.0, compare=False)  # seconds from ``received`` that a rule makes
    directives: ResponseDirectives = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directives", of_response(self.fields))

    @property
    def names(self) -> tuple[bytes, ...]:
        """The selecting header fields' names."""
        return tuple(name for name, _ in self.selecting)

    def hold(self, body: Body) -> None:
        """Take *body* for the one unknown till then: for whoever made this and alone has it."""
        object.__setattr__(self, "body", body)

    def marked_stale(self) -> StoredResponse:
        return replace(self, stale=True)


@immutable
class Resource:
    """All stored responses of one target URI, newest first."""

    variants: tuple[StoredResponse, ...] = ()

    def names(self) -> tuple[bytes, ...]:
        """Every selecting name seen on this resource, sorted: the union (RFC 9111 §4.1)."""
        return tuple(sorted({name for one in self.variants for name, _ in one.selecting}))

    def said(self) -> tuple[bytes, ...]:
        """The Vary lines of the stored responses, newest first, each once."""
        lines = (line for one in self.variants for line in one.fields.lines(b"vary"))
        return tuple(dict.fromkeys(lines))
