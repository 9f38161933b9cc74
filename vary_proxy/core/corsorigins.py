"""Which origins a policy admits: any, exact ones, ``https://*.sub`` wildcards, ``~patterns``.

A value of ``Origin`` is looked up among the exact ones first. Wildcards and patterns are
tried only on a well-formed serialized origin (scheme, host, port; lower case, no default
port, no path), so neither ever meets a value that no browser sends. ``null`` is admitted by
name alone. Patterns are read, and probed for look-alikes, when the policy is compiled.
Fetch, "Origin header"; HTML, "serialization of an origin".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vary_proxy.core import automaton, lookalikes, patterns
from vary_proxy.core.automaton import Automaton

Path = tuple[str | int, ...]

DEFAULT_PORTS = {b"http": b"80", b"https": b"443", b"ws": b"80", b"wss": b"443", b"ftp": b"21"}
MAX_LENGTH = 320  # scheme, a host of 255, a port

_SPECIAL = rb"(?:https?|wss?|ftp)"
_PORT = rb"(?::([1-9][0-9]{0,4}))?"
_ORIGIN = re.compile(
    rb"(" + _SPECIAL + rb")://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:]+\])" + _PORT + rb"|"
    rb"(?!" + _SPECIAL + rb":)([a-z][a-z0-9+.-]*)://([A-Za-z0-9._~%-]+)" + _PORT
)


class PolicyError(ValueError):
    """A policy that is refused: at which key, what is wrong, and what to write instead.

    ``path`` is relative to the policy. The one that is raised has all that were found in ``every``.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{dotted(path)}: {what}; {remedy}")
        self.path = path
        self.what = what
        self.remedy = remedy
        self.every: tuple[PolicyError, ...] = (self,)


def dotted(path: Path) -> str:
    """``origins[2]`` for ``("origins", 2)``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_origin(value: bytes) -> tuple[bytes, bytes, bytes | None] | None:
    """Scheme, host and port (None: the default) of a serialized origin; None for anything else."""
    match = _ORIGIN.fullmatch(value) if len(value) <= MAX_LENGTH else None
    if match is None:
        return None
    scheme, host, port, other, other_host, other_port = match.groups()
    if scheme is None:
        scheme, host, port = other, other_host, other_port
    if port is not None and (int(port) > 65535 or DEFAULT_PORTS.get(scheme) == port):
        return None
    return scheme, host, port


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins that a policy admits. ``exact`` holds ``null`` where it is listed."""

    anyone: bool = False
    exact: frozenset[bytes] = frozenset()
    wildcards: tuple[tuple[bytes, bytes], ...] = ()  # what stands before and after the ``*``
    patterns: tuple[Automaton, ...] = ()

    @property
    def only(self) -> bytes | None:
        """The one fixed origin that is admitted; None where there are more, or ``null``."""
        if self.anyone or self.wildcards or self.patterns or len(self.exact) != 1:
            return None
        (one,) = self.exact
        return None if one == b"null" else one

    def admits(self, origin: bytes) -> bool:
        """True for an admitted origin; *origin* is ``null`` or well-formed."""
        if self.anyone or origin in self.exact:
            return True
        if origin == b"null":
            return False
        return any(
            origin.startswith(before)
            and origin.endswith(after)
            and len(origin) > len(before) + len(after)
            for before, after in self.wildcards
        ) or any(pattern.matches(origin) for pattern in self.patterns)


def compile_origins(given: str | Sequence[str], errors: list[PolicyError]) -> Origins:
    """What *given* admits. What is refused is added to *errors* and left out."""
    listed = [given] if isinstance(given, str) else list(given)
    if not listed:
        errors.append(_error((), "admits nobody", 'list origins, or set the mode to "strip"'))
    if "*" in listed:
        if len(listed) > 1:
            errors.append(_error((), '"*" admits every origin already', 'write origins: "*"'))
        return Origins(anyone=True)
    exact: set[bytes] = set()
    wildcards: list[tuple[bytes, bytes]] = []
    compiled: list[Automaton] = []
    for index, text in enumerate(listed):
        path: Path = () if isinstance(given, str) else (index,)
        try:
            if text == "null":
                exact.add(b"null")
            elif text.startswith("~"):
                compiled.append(_pattern(text, path))
            elif "*" in text:
                wildcards.append(_wildcard(text, path))
            else:
                exact.add(exact_origin(text, ("origins", *path)))
        except PolicyError as error:
            errors.append(error)
    return Origins(False, frozenset(exact), tuple(wildcards), tuple(compiled))


def exact_origin(text: str, path: Path) -> bytes:
    """*text* as the bytes that a browser would send. Raises PolicyError."""
    value = text.encode("ascii", "replace")  # no origin holds the ? that replaces
    if parse_origin(value) is not None:
        return value
    raise _no_origin(text, path)


def _no_origin(text: str, path: Path, label: str = "") -> PolicyError:
    """Why *text* is no origin; in what was written and is to be, *label* stands before its host."""
    if text.lower() == "null":
        return PolicyError(
            path, f'"{text}" is not in lower case, as browsers send it', "write null"
        )
    meant = _meant(text)
    remedy = "write scheme://host[:port], for example https://example.com"
    if meant is not None:
        remedy = f"write {meant.replace('://', f'://{label}', 1)}"
    shown = text.replace("://", f"://{label}", 1)
    return PolicyError(path, f'"{shown}" {_fault(text, meant)}', remedy)


def _error(path: Path, what: str, remedy: str) -> PolicyError:
    return PolicyError(("origins", *path), what, remedy)


def _fault(text: str, meant: str | None) -> str:
    """Why *text*, which meant *meant*, is no origin."""
    authority = text.partition("://")[2]
    if meant is not None and authority:
        if not text.isascii():
            return "is not in ASCII, as browsers send it"
        if "@" in authority:
            return "names a user, which is not part of an origin"
        if "/" in authority or "?" in authority or "#" in authority:
            slash = authority.endswith("/") and authority.count("/") == 1
            return "ends with a slash" if slash else "has a path, which is not part of an origin"
        if text != text.lower():
            return "is not in lower case, as browsers send it"
        if text.startswith(f"{meant}:"):
            return "names the default port, which browsers leave out"
    return "is not an origin"


_AUTHORITY = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:[^/?#@]*@)?([^/?#@]+)(?:[/?#].*)?")


def _meant(text: str) -> str | None:
    """The origin that was most likely meant; None when that cannot be told."""
    match = _AUTHORITY.fullmatch(text.strip())
    if match is None:
        return None
    scheme, authority = (match[1] or "https").lower(), match[2].lower()
    try:
        authority = authority if authority.isascii() else authority.encode("idna").decode()
    except UnicodeError:
        return None
    default = DEFAULT_PORTS.get(scheme.encode(), b"").decode()
    if default:
        authority = authority.removesuffix(f":{default}")
    meant = f"{scheme}://{authority}"
    return meant if parse_origin(meant.encode()) is not None else None


def _wildcard(text: str, path: Path) -> tuple[bytes, bytes]:
    before, _, after = text.partition("*")
    if not text.strip("*"):
        raise _error(path, f'"{text}" is no origin', 'write origins: "*" for every origin')
    if not before.endswith("://") or not after.startswith(".") or "*" in after:
        raise _error(
            path,
            f'"{text}" has a * that is not the whole leftmost label',
            "write https://*.example.com, or a ~pattern",
        )
    base = before + after[1:]
    if parse_origin(base.encode("ascii", "replace")) is None:
        raise _no_origin(base, ("origins", *path), "*.")
    host = base.partition("://")[2].partition(":")[0]
    labels = host.rstrip(".").split(".")
    if labels[-1].isdigit() or host.startswith("["):
        raise _error(path, f'"{text}" puts a * before an address', f"write {base}")
    if len(labels) < 2 and labels[0] not in lookalikes.PRIVATE:
        raise _error(
            path,
            f'"{text}" admits everybody who has a name under .{labels[0]}',
            f"name the domain: {before}*.example.{labels[0]}",
        )
    return before.encode(), after.encode()


_MADE_OF = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%:/[]"
_UNIVERSE = sum(1 << one for one in _MADE_OF)
_STRANGERS = (b"https://evil.example", b"https://a.b.stranger.test", b"https://stranger.test")


def _pattern(text: str, path: Path) -> Automaton:
    try:
        node = patterns.parse(text[1:], _UNIVERSE)
        compiled = automaton.build(node)
    except patterns.PatternError as error:
        raise _error(path, f'the pattern "{text}" {error}', error.remedy) from None
    if all(map(compiled.matches, _STRANGERS)):
        remedy = 'write origins: "*", without credentials, or name the domains'
        raise _error(path, f'the pattern "{text}" admits everybody', remedy)
    known = [one for one in patterns.samples(node) if parse_origin(one) is not None]
    if not known:
        raise _error(
            path,
            f'the pattern "{text}" matches no origin that could be made up',
            "begin it with scheme://, as in ~https://pr-[0-9]+\\.example\\.com",
        )
    found = lookalikes.found(known, lambda probe: _admits(compiled, probe))
    if found is not None:
        what = f'the pattern "{text}" also matches {found.probe.decode()} ({found.kind})'
        raise _error(path, what, found.remedy)
    return compiled


def _admits(compiled: Automaton, probe: bytes) -> bool:
    return parse_origin(probe) is not None and compiled.matches(probe)
