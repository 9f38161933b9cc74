"""What matches a path of an Ingress, and in which order nginx would look at it.

Where one Ingress of a host has ``use-regex`` or ``rewrite-target``, ingress-nginx makes every path
of that host the beginning of an expression that does not mind case, whatever its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from vary_proxy.importing.ingresscors import is_on
from vary_proxy.importing.manifests import Backend, Ingress, Path
from vary_proxy.importing.writing import Writing, quoted

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class Rule:
    """``loose``: its host's paths are expressions."""

    path: Path
    name: str
    match: str
    origin: str
    policy: str
    loose: bool = False

    @property
    def order(self) -> tuple[int, bool, int]:
        """By which nginx looks: hosts before none, whole paths first, then the longest."""
        host = self.path.host
        rank = 2 if not host else 1 if host.startswith("*") else 0
        return rank, self.loose or self.path.kind != "Exact", -len(self.path.path)

    @property
    def is_everything(self) -> bool:
        return self.path.path == "/" and (self.loose or self.path.kind != "Exact")


@dataclass
class Rest:
    """What takes the requests of a host for which no Ingress has a path.

    ``claimed`` holds the rule of each host ("" for any) whose Ingress came first, as in
    ingress-nginx; an empty origin: that Ingress has no default backend.
    """

    claimed: dict[str, Rule] = field(default_factory=dict)

    def claim(self, ingress: Ingress, origin: str, policy: str, out: Writing) -> None:
        for host in dict.fromkeys(ingress.hosts or [""]):
            before = self.claimed.get(host)
            if before is not None:
                if origin not in ("", before.origin):
                    what = f"its default backend for {host or 'any host'}"
                    out.warn(f"Ingress {ingress.name}: {what}: an Ingress before it has that host")
            elif origin or host:
                path = Path(host, "", "what else there is", Backend(""), ingress.where)
                match = f"{{host: {quoted(host)}}}" if host else '{path: "/**"}'
                name = f"rest-of-host-{len(self.claimed)}" if host else "rest"
                self.claimed[host] = Rule(path, name, match, origin, policy if origin else "")

    def rules(self, rules: Sequence[Rule], nothing: str) -> list[Rule]:
        """*rules*, and those for the rest where there is one; *nothing* is nobody's origin."""
        whole = {rule.path.host for rule in rules if rule.is_everything}
        rest = self.claimed.get("")
        made = [*rules, *([rest] if rest and "" not in whole else [])]
        for host, rule in self.claimed.items():
            if host and host not in whole:  # nginx looks at no other host's paths
                other = rest.policy if rest else ""
                default = replace(rule, origin=rest.origin if rest else nothing, policy=other)
                made.append(rule if rule.origin else default)
        return made


def loose_hosts(ingresses: Iterable[Ingress]) -> frozenset[str]:
    """The hosts whose paths are expressions."""
    return frozenset(
        path.host
        for one in ingresses
        if is_on(one.annotations.get("use-regex", "")) or "rewrite-target" in one.annotations
        for path in one.paths
    )


def patterns(path: Path, *, loose: bool) -> list[str]:
    """What matches the paths that *path* means."""
    if loose:
        return [_beginning(path.path.removeprefix("^"))]
    if path.kind == "Exact":
        return [_plain(path.path)]
    if path.kind == "Prefix":
        whole = path.path.rstrip("/")
        return [_plain(whole), _plain(f"{whole}/", "**")] if whole else ["/**"]
    return [_plain(path.path, "**")]


def _plain(path: str, behind: str = "") -> str:
    """*path* as it is sent, for a glob; where it has signs of its own, as an expression."""
    path = quote(path, safe=_PRINTABLE)  # nginx compares what it has decoded
    if not re.search(r"[*?]", path):
        return path + behind
    escaped = re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", path)
    return f"~{escaped}{'.*' if behind else ''}"


def _beginning(text: str) -> str:
    """The expression *text*, held against the beginning of a path and without case."""
    text = re.sub(r"\((?:/\|\$|\$\|/)\)\(?\.\*\)?$", "(/.*)?", text)  # as everybody writes it
    open_ended = not text.endswith(("$", ".*", "(.*)", "(/.*)?"))
    return f"~{_caseless(text)}{'.*' if open_ended else ''}"


def _caseless(text: str) -> str:
    """*text* with either case for each of its letters; what is escaped stays."""
    found = []
    for one in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", text, re.DOTALL):
        if len(one) == 1 and one.isascii() and one.isalpha():
            found.append(f"[{one.lower()}{one.upper()}]")
        elif one.startswith("["):
            opening = re.match(r"\[\^?[\]-]?", one)  # behind it no - becomes a range
            at = opening.end() if opening else 1
            members = re.findall(r"\\.|[^\\]-[^\\]|.", one[at:-1], re.DOTALL)
            letters = [m for m in members if not m.startswith("\\") and re.search("[A-Za-z]", m)]
            found.append(one[:at] + "".join(letters).swapcase() + one[at:])
        else:
            found.append(one)
    return "".join(found)
