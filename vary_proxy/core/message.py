"""Messages as values: Fields, Request, Response, Reply.

A message is parsed once, at the border. Field names are lower-case bytes; values are the
bytes between the optional white space; order and repetition are kept (RFC 9110 §5.3).
Bodies are not part of a Request or Response: they travel beside it, as streams of chunks.
A Reply is what the server writes: complete, dressed, nothing left to decide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from vary_proxy.core.values import immutable

Pair = tuple[bytes, bytes]


class Fields:
    """Header fields in order, names in lower case (RFC 9110 §5). Not to be changed once made.

    A message is asked for some fifty names on its way: the first question makes an index.
    """

    # Plain slots: a frozen dataclass takes twice as long to make, and many are made.
    __slots__ = ("_index", "items")

    def __init__(self, items: tuple[Pair, ...] = ()) -> None:
        self.items = items
        self._index: dict[bytes, bytes | tuple[bytes, ...]] | None = None

    def __eq__(self, other: object) -> bool:
        return self.items == other.items if isinstance(other, Fields) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"Fields({self.items!r})"

    def __contains__(self, name: object) -> bool:
        return name in (self._index or self._indexed())

    def get(self, name: bytes) -> bytes | None:
        """The first line of *name*; None when absent, ``b""`` when present and empty."""
        found = (self._index or self._indexed()).get(name)
        return found if found is None or isinstance(found, bytes) else found[0]

    def lines(self, name: bytes) -> tuple[bytes, ...]:
        """Every line of *name*, in order; empty when absent."""
        found = (self._index or self._indexed()).get(name)
        if found is None:
            return ()
        return (found,) if isinstance(found, bytes) else found

    def combined(self, name: bytes) -> bytes | None:
        """All lines of *name* joined by comma and space; None when absent (RFC 9110 §5.2)."""
        found = (self._index or self._indexed()).get(name)
        return found if found is None or isinstance(found, bytes) else b", ".join(found)

    def without(self, names: frozenset[bytes] | set[bytes]) -> Fields:
        """These fields less those named."""
        if names.isdisjoint(self._index or self._indexed()):
            return self
        return Fields(tuple([pair for pair in self.items if pair[0] not in names]))

    def replaced(self, name: bytes, value: bytes) -> Fields:
        """One line of *name*, where its first line stood, or at the end."""
        if name not in (self._index or self._indexed()):
            return Fields((*self.items, (name, value)))
        out: list[Pair] = []
        placed = False
        for pair in self.items:
            if pair[0] != name:
                out.append(pair)
            elif not placed:
                out.append((name, value))
                placed = True
        return Fields(tuple(out))

    def plus(self, pairs: Iterable[Pair]) -> Fields:
        """These fields followed by *pairs*."""
        return Fields((*self.items, *pairs))

    def lacks(self, names: frozenset[bytes]) -> bool:
        """True when none of *names* is here: one question in place of several."""
        return names.isdisjoint(self._index or self._indexed())

    def names(self) -> frozenset[bytes]:
        return frozenset(self._index or self._indexed())

    def shape(self) -> tuple[bytes, ...]:
        """Each name once, in the order of first lines: few shapes are common among requests."""
        return tuple(self._index or self._indexed())

    def forget(self) -> None:
        """Hold the items alone: an index is worth its room while a message is on its way."""
        self._index = None

    def _indexed(self) -> dict[bytes, bytes | tuple[bytes, ...]]:
        """The value of each name; of a repeated one its lines."""
        index: dict[bytes, bytes | tuple[bytes, ...]] = dict(self.items)
        if len(index) < len(self.items):
            lines: dict[bytes, list[bytes]] = {}
            for name, value in self.items:
                lines.setdefault(name, []).append(value)
            index = {
                name: values[0] if len(values) == 1 else tuple(values)
                for name, values in lines.items()
            }
        self._index = index
        return index


NO_FIELDS = Fields()


@immutable
class Request:
    """A request head as it reached us, or as it goes to the origin.

    ``target`` is the request target byte for byte: origin-form, or ``*`` for OPTIONS.
    ``authority`` is Host as sent. ``fields`` still hold everything that was received.
    """

    method: bytes
    target: bytes
    fields: Fields = NO_FIELDS
    scheme: bytes = b"http"
    authority: bytes = b""
    version: tuple[int, int] = (1, 1)
    client: str = ""  # address of the peer; empty for a unix socket
    has_body: bool = False
    body_length: int | None = None  # bytes, when Content-Length said so; None: chunked or no body

    def to(self, scheme: bytes, authority: bytes, target: bytes, fields: Fields) -> Request:
        """The same request at another address, with these *fields*."""
        return Request(  # dataclasses.replace takes three times as long
            self.method,
            target,
            fields,
            scheme,
            authority,
            self.version,
            self.client,
            self.has_body,
            self.body_length,
        )


@immutable
class Response:
    """A response head, as the origin sent it."""

    status: int
    fields: Fields = NO_FIELDS
    reason: bytes = b""


@dataclass(slots=True)
class Record:
    """What is remembered of one exchange: for its log line, the metrics and Cache-Status."""

    rule: str = ""
    cache: str = ""  # hit | miss | stale | validated | collapsed | pass | error | edge
    reason: str = ""  # token of Cache-Status (RFC 9211 §2) or of Proxy-Status (RFC 9209 §2.3)
    stored: bool = False
    collapsed: bool = False
    vary_added: tuple[bytes, ...] = ()  # names that the repair added
    vary_said: bytes | None = None  # the origin's, where it was asked
    vary_action: str = ""  # complete | added | repaired | replaced | stripped | star | none
    cors: str = ""  # verdict of the edge policy, or how the origin's answer looks
    cors_reason: str = ""
    preflight: str = ""  # forwarded | cached | synthesized | refused
    origin: str = ""  # the origin asked; empty when none was
    origin_status: int = 0
    origin_seconds: float = 0.0
    tier: str = ""  # where a store of two was looked into last: shared, or empty for memory
    notes: dict[str, str] = field(default_factory=dict)


Buffer = bytes | memoryview


@dataclass(slots=True)
class Reply:
    """A complete answer: the server adds framing for the connection and nothing else.

    ``fields`` include Content-Length exactly when it is to be sent; a body whose length is
    unknown is framed by the server. ``chunks`` come first, then ``stream``. A stream that
    raises has been cut: the connection is ended so that the client can see it.
    ``bodiless`` says that no body follows whatever the fields say (HEAD, 204, 304).
    """

    status: int
    fields: Fields
    reason: bytes = b""
    chunks: Sequence[Buffer] = ()
    stream: AsyncIterator[Buffer] | None = None
    bodiless: bool = False
    close: bool = False
    record: Record = field(default_factory=Record)
