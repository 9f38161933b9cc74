"""Look-alikes: what a stranger would register to get past a careless origin pattern.

From origins that a pattern is meant to match, those are made that it must not: another
domain behind or in front, a dot that was left unescaped, another port, another scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """A look-alike that a pattern matches; ``kind`` names the trick, ``remedy`` the way out."""

    probe: bytes
    kind: str
    remedy: str


_KEEP_DOMAIN = "spell the domain out and let only labels below it vary"
_KINDS = {
    "suffix": f"end it with the domain; {_KEEP_DOMAIN}: ~https://[a-z0-9-]+\\.example\\.com",
    "prefix": f"put \\. before the domain; {_KEEP_DOMAIN}: ~https://[a-z0-9-]+\\.example\\.com",
    "dot": "an unescaped . matches anything: write \\. for a dot",
    "port": "end it with the host, or with the very port, as in :8443",
    "scheme": "begin it with the scheme, as in ~https://",
}
# Under these pairs names are sold as under a top-level domain: co.uk, com.au, or.jp …
_SECOND_LEVEL = frozenset(
    (b"ac", b"co", b"com", b"edu", b"gob", b"gov", b"go", b"ne", b"net", b"or", b"org")
)

# Nobody can register a name under these, so what stands before them is the operator's.
PRIVATE = frozenset(("localhost", "test", "internal", "local", "lan", "home"))


def found(known: Sequence[bytes], matches: Callable[[bytes], bool]) -> Found | None:
    """The first look-alike of the *known* origins that *matches*; None when there is none.

    *known* are well-formed and matched by the pattern.
    """
    meant = frozenset(known)
    split = [_split(one) for one in known]
    schemes = frozenset(scheme for scheme, _, _ in split)
    ported = any(port for _, _, port in split)
    for scheme, host, port in split:
        for kind, probe in _probes(scheme, host, port, schemes, ported):
            if probe not in meant and matches(probe):
                return Found(probe, kind, _KINDS[kind])
    return None


def _split(origin: bytes) -> tuple[bytes, bytes, bytes]:
    """``https``, ``a.example``, ``:8443``."""
    scheme, _, authority = origin.partition(b"://")
    if authority.startswith(b"["):
        host, bracket, port = authority.partition(b"]")
        return scheme, host + bracket, port
    host, colon, port = authority.partition(b":")
    return scheme, host, colon + port


def _probes(
    scheme: bytes, host: bytes, port: bytes, schemes: frozenset[bytes], ported: bool
) -> Iterator[tuple[str, bytes]]:
    for behind in (b".evil.example", b"evil", b"-evil.example"):
        yield "suffix", scheme + b"://" + host + behind + port
    domain = _domain(host)
    for before in (b"evil", b"evil-", domain[:1]):
        yield "prefix", scheme + b"://" + before + domain + port
    for at, byte in enumerate(host):
        if byte == 0x2E:
            for other in (b"x", b"-", b"1"):
                yield "dot", scheme + b"://" + host[:at] + other + host[at + 1 :] + port
    if not ported:
        for other in (b":8443", b":1"):
            yield "port", scheme + b"://" + host + other
    for other in (b"http", b"https", b"evil"):
        if other not in schemes:
            yield "scheme", other + b"://" + host + port


def _domain(host: bytes) -> bytes:
    """The part of *host* that is somebody's to register: two labels, or three below co.uk."""
    labels = host.split(b".")
    if labels[-1].decode() in PRIVATE:
        return labels[-1]
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        return b".".join(labels[-3:])
    return b".".join(labels[-2:])
