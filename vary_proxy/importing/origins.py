"""Origins as others write them, with a ``*`` anywhere, into those that our policies take.

Elsewhere a ``*`` often stands for any characters at all, dots, ports and domains of strangers
included. What is meant by it is taken over; what it admits beside that is not, and is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from vary_proxy.core.corsorigins import PolicyError, compile_origins

_SCHEMES = ("https", "http")


@dataclass
class Taken:
    """What came of a list of origins.

    ``wide`` are patterns that admit everybody under a scheme: no policy may name those, so a
    rule has to look at Origin itself. ``said`` is what was left out or narrowed, in words.
    """

    anyone: bool = False
    listed: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.anyone or self.listed or self.wide)


def take(given: Iterable[str], *, credentials: bool) -> Taken:
    """*given*, one by one: what each comes to as an origin of ours."""
    taken = Taken()
    for text in given:
        if text == "*":
            taken.anyone = True
        elif text == "null" and credentials:
            taken.said.append(
                'the origin "null": with credentials it admits everybody: any page can be null'
            )
        elif text.count("*") > 1:
            taken.said.append(f'the origin "{text}": it has more than one *')
        else:
            _one(text, taken)
    taken.listed = list(dict.fromkeys(taken.listed))
    taken.wide = list(dict.fromkeys(taken.wide))
    return taken


def _one(text: str, taken: Taken) -> None:
    candidates = _with_scheme(text)
    if not candidates:
        taken.said.append(f'the origin "{text}": no browser sends such a value')
    for one in candidates:
        if one.partition("://")[2] == "*":
            taken.wide.append(one)
            continue
        fault = _fault(one)
        if fault is None:
            taken.listed.append(one)
        elif "*" not in one:
            taken.said.append(f'the origin "{text}": {fault.what}; {fault.remedy}')
        else:
            _pattern(one, text, taken)


def _with_scheme(text: str) -> list[str]:
    """*text* with its scheme spelled out: a ``*`` there stands for http and https."""
    if text == "null":
        return [text]
    scheme, separator, rest = text.partition("://")
    if separator and "*" not in scheme:
        return [text]
    if separator:
        pattern = re.compile(re.escape(scheme).replace(r"\*", ".*"))
        return [f"{one}://{rest}" for one in _SCHEMES if pattern.fullmatch(one)]
    if text.startswith("*"):  # as *.example.com: whatever stands before the rest
        return [f"{one}://{text}" for one in _SCHEMES]
    return []


def _fault(text: str) -> PolicyError | None:
    errors: list[PolicyError] = []
    compile_origins([text], errors)
    return errors[0] if errors else None


def _pattern(one: str, text: str, taken: Taken) -> None:
    """*one*, whose ``*`` is not a whole leftmost label."""
    scheme, _, authority = one.partition("://")
    host, colon, port = authority.partition(":")
    stem = host.removesuffix("*")
    every_port = not colon and host.endswith("*") and stem[-1:].isalnum()
    if port == "*":
        found = f"~{scheme}://{_literal(host)}:[0-9]+"
    elif every_port:
        found = f"~{scheme}://{_literal(stem)}(:[0-9]+)?"
    else:
        found = _any_host(scheme, host, colon + port)
    if _fault(found) is None:
        taken.listed.append(found)
        if every_port:
            taken.said.append(f'of the origin "{text}": all but that host, with any port')
        return
    meant = _narrowed(scheme, host, colon + port)
    if meant:
        taken.listed += meant
        kept = " and ".join(meant)
        taken.said.append(
            f'of the origin "{text}": what only looks alike, as {_alike(scheme, host)}; '
            f"kept are {kept}"
        )
    else:
        taken.said.append(f'the origin "{text}": strangers can have a name that it admits')


def _any_host(scheme: str, host: str, port: str) -> str:
    before, _, after = host.partition("*")
    return f"~{scheme}://{_literal(before)}[a-z0-9._-]*{_literal(after)}{_literal(port)}"


def _literal(text: str) -> str:
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text)


def _narrowed(scheme: str, host: str, port: str) -> list[str]:
    """``*example.com`` as that domain and what is below it; empty for anything else."""
    if not host.startswith("*") or host.startswith("*."):
        return []
    domain = host[1:].lstrip(".-")
    meant = [f"{scheme}://{domain}{port}", f"{scheme}://*.{domain}{port}"]
    return meant if all(_fault(one) is None for one in meant) else []


def _alike(scheme: str, host: str) -> str:
    return f"{scheme}://evil{host[1:]}"
