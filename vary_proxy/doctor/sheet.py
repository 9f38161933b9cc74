"""Questions and answers as values, and the sheet that holds all of one server about one URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vary_proxy.core import syntax
from vary_proxy.core.message import Fields

Pairs = tuple[tuple[str, str], ...]
_HIT_WORDS = (b"x-cache", b"cf-cache-status", b"x-cache-status", b"x-proxy-cache", b"cdn-cache",
              b"x-vercel-cache")  # fmt: skip
_HIT = re.compile(rb"hit|\b(?:stale|updating|revalidated)\b", re.I)


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. ``origin`` is its Origin, None for none; ``target`` None: that of the URL."""

    label: str
    method: str = "GET"
    origin: str | None = None
    fields: Pairs = ()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is a digest of the content, of its first bytes where that was long."""

    status: int
    fields: Fields
    body: bytes = b""

    def text(self, name: str) -> str | None:
        """All lines of *name*, joined (RFC 9110 §5.2); None when absent."""
        value = self.fields.combined(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def allowed(self) -> str | None:
        """Access-Control-Allow-Origin."""
        return self.text("access-control-allow-origin")

    @property
    def with_credentials(self) -> bool:
        return self.text("access-control-allow-credentials") == "true"

    @property
    def vary(self) -> frozenset[str]:
        """The names in Vary, in lower case; ``*`` for itself and for what cannot be read."""
        names = [
            member.strip(b" \t").lower()
            for line in self.fields.lines(b"vary")
            for member in line.split(b",")
        ]
        readable = [one for one in names if one]
        if not all(map(syntax.is_token, readable)):
            return frozenset("*")
        return frozenset(one.decode() for one in readable)

    def varies_on(self, name: str) -> bool:
        return name in self.vary or "*" in self.vary

    @property
    def is_from_cache(self) -> bool:
        """True when some cache says that it answered from what it had stored."""
        status = self.fields.lines(b"cache-status")
        if any(b"hit" in map(bytes.strip, re.split(rb"[;,]", one)) for one in status):
            return True
        if status:
            return False
        said = b" ".join(self.fields.combined(name) or b"" for name in _HIT_WORDS)
        if _HIT.search(said):
            return True
        # Some say Age: 0 of what they have just fetched.
        return (syntax.delta_seconds(self.fields.combined(b"age") or b"") or 0) > 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A probe as it was sent, and its answer."""

    probe: Probe
    method: str
    target: str
    sent: Pairs
    answer: Answer


@dataclass(frozen=True, slots=True)
class Askers:
    """Whose pages we pretend to be. ``named``: the user said who is to be allowed."""

    allowed: str
    second: str | None
    stranger: str
    named: bool = False


@dataclass(slots=True)
class Sheet:
    """What one server said about one URL, by the probe's label. ``silent``: no answer, and why."""

    url: str
    askers: Askers
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    likes: dict[str, str] = field(default_factory=dict)  # trick -> look-alike origin

    def get(self, label: str) -> Exchange | None:
        return self.exchanges.get(label)

    def answer(self, label: str) -> Answer | None:
        found = self.exchanges.get(label)
        return None if found is None else found.answer

    def some(self, *labels: str) -> list[Exchange]:
        """The exchanges that there are among *labels*, in that order."""
        return [self.exchanges[one] for one in labels if one in self.exchanges]

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.exchanges.values())

    def accepts(self, label: str) -> bool:
        """Whether a browser would let the asker of *label* read the answer, without cookies."""
        found = self.exchanges.get(label)
        if found is None or found.probe.origin is None:
            return False
        return found.answer.allowed in ("*", found.probe.origin)

    def echoes(self, label: str) -> bool:
        """Whether the asker of *label* is allowed by name."""
        found = self.exchanges.get(label)
        return found is not None and found.probe.origin == found.answer.allowed is not None


@dataclass(frozen=True, slots=True)
class Found:
    """A finding on a sheet: its id in the catalogue, what was seen, and the proof.

    ``severity`` and ``cure`` None are the catalogue's.
    """

    id: str
    detail: str
    evidence: tuple[Exchange, ...]
    severity: str | None = None
    cure: str | None = None
