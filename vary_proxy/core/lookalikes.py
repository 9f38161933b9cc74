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
    "domain": f"{_KEEP_DOMAIN}, or name the alternatives: (com|org)",
    "dot": "an unescaped . matches anything: write \\. for a dot",
    "port": "end it with the host, or with the very port, as in :8443",
    "scheme": "begin it with the scheme, as in ~https://",
}
# Under these pairs names are sold as under a top-level domain: co.uk, com.au, or.jp …
_SECOND_LEVEL = frozenset(
    (b"ac", b"co", b"com", b"edu", b"gob", b"gov", b"go", b"ne", b"net", b"or", b"org")
)

# Nobody can register a name under these, so what stands before them is the operator's.
PRIVATE = frozenset(("localhost", "test", "internal", "local", "lan", "home", "corp"))


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


def examples(known: bytes) -> dict[str, bytes]:
    """One look-alike of the origin *known* for each trick, by its kind."""
    scheme, host, port = _split(known)
    probes = _probes(scheme, host, port, frozenset((scheme,)), bool(port))
    first: dict[str, bytes] = {}
    for kind, probe in probes:
        first.setdefault(kind, probe)
    return first


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
    before = scheme + b"://"
    for behind in (b".evil.example", b"evil", b"-evil.example"):
        yield "suffix", before + host + behind + port
    yield from _of_domain(before, host, port)
    for at, byte in enumerate(host):
        for other in b"x-1" if byte == 0x2E else b"":
            yield "dot", before + _swapped(host, at, other) + port
    if not ported:
        for other_port in (b":8443", b":1"):
            yield "port", before + host + other_port
    for other_scheme in (b"http", b"https", b"evil"):
        if other_scheme not in schemes:
            yield "scheme", other_scheme + b"://" + host + port


def _of_domain(before: bytes, host: bytes, port: bytes) -> Iterator[tuple[str, bytes]]:
    """Other domains than the one that *host* lies in."""
    domain = _domain(host)
    below = host[: len(host) - len(domain)]
    for strange in (b"evil", b"evil-", domain[:1]):
        yield "prefix", before + strange + domain + port
        if not _is_address(host):
            yield "prefix", before + below + strange + domain + port
    if b"." in domain and not _is_address(host):
        for at in range(len(below), len(host)):
            for other in b"" if host[at] == 0x2E else b"az09":
                yield "domain", before + _swapped(host, at, other) + port


def _swapped(host: bytes, at: int, other: int) -> bytes:
    return host[:at] + bytes((other,)) + host[at + 1 :]


def _is_address(host: bytes) -> bool:
    return host.startswith(b"[") or host.rpartition(b".")[2].isdigit()


def _domain(host: bytes) -> bytes:
    """The part of *host* that is somebody's to register: two labels, or three below co.uk."""
    labels = host.split(b".")
    if _is_address(host) or labels[-1].decode() in PRIVATE:
        return host if _is_address(host) else labels[-1]
    three = len(labels[-1]) == 2 and len(labels) > 2 and labels[-2] in _SECOND_LEVEL
    return b".".join(labels[-3:] if three else labels[-2:])
