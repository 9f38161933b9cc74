"""Ingress manifests for ingress-nginx, into a configuration of ours.

Every path becomes a rule, in the order in which nginx would choose: a host before none, whole
paths before beginnings, longer before shorter. Every Service becomes an origin, every set of
CORS annotations a policy that writes the fields, as ingress-nginx does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from vary_proxy.configuration.matching import path_matcher
from vary_proxy.configuration.problems import Wrong
from vary_proxy.importing import ingresscors
from vary_proxy.importing.ingresscors import is_on
from vary_proxy.importing.manifests import Backend, Ingress, Manifests, Path, read
from vary_proxy.importing.writing import Unreadable, Writing, label, quoted

_TIMES = {"proxy-connect-timeout": "connect", "proxy-read-timeout": "first_byte"}
_USED = frozenset((*_TIMES, "backend-protocol", "upstream-vhost", "use-regex"))
_NOTHING = "nothing"


@dataclass
class _Origins:
    """The origins so far: name by what makes it."""

    manifests: Manifests
    names: dict[tuple[str, ...], str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def name(self, ingress: Ingress, backend: Backend, out: Writing) -> str:
        """The name of the origin that *backend* is, made when it is new."""
        port = self._port(ingress, backend, out)
        said = {key: ingress.annotations.get(key, "") for key in sorted(_USED)}
        key = (ingress.namespace, backend.service, port, *said.values())
        if key not in self.names:
            name = label(f"{ingress.namespace}-{backend.service}-{port}", "service")
            numbered = (f"{name}-{at}" if at else name for at in count())
            name = next(one for one in numbered if one not in self.names.values())
            self.names[key] = name
            self._write(name, ingress, backend, port, out)
        return self.names[key]

    def _port(self, ingress: Ingress, backend: Backend, out: Writing) -> str:
        if backend.port.isascii() and backend.port.isdigit():
            return backend.port
        found = self.manifests.ports.get((ingress.namespace, backend.service, backend.port))
        if found is None:
            out.warn(f"the port {backend.port or '(none)'} of {backend.service}, which is a name: "
                     "80 is written; correct it, or import the Service too")  # fmt: skip
        return found or "80"

    def _write(
        self, name: str, ingress: Ingress, backend: Backend, port: str, out: Writing
    ) -> None:
        said = ingress.annotations
        protocol = said.get("backend-protocol", "HTTP").upper()
        if protocol not in ("HTTP", "HTTPS", "AUTO_HTTP"):
            out.warn(f"backend-protocol: {protocol}: the proxy speaks HTTP/1.1")
        scheme = "https" if protocol == "HTTPS" else "http"
        url = f"{scheme}://{backend.service}.{ingress.namespace}.svc:{port}"
        lines = [f"  {name}:", f"    url: {quoted(url)}"]
        host = said.get("upstream-vhost")
        if host is not None and ("$" in host or not host):
            out.warn(
                f"upstream-vhost: {host or '(empty)'}: nothing but a host can be; Host is kept"
            )
            host = None
        lines.append(f"    host: {'preserve' if host is None else quoted(host)}")
        if scheme == "https":
            lines.append("    tls: {verify: false}    # as ingress-nginx, unless it is told to")
        times = []
        for key, ours in _TIMES.items():
            if re.fullmatch(r"[1-9]\d{0,5}", said.get(key, ""), re.ASCII):
                times.append(f"{ours}: {said[key]}s")
            elif key in said:
                out.warn(f"{key}: {said[key]}: not a number of seconds")
        if times:
            lines.append(f"    timeouts: {{{', '.join(times)}}}")
        self.lines += lines


@dataclass(frozen=True)
class _Rule:
    path: Path
    name: str
    match: str
    origin: str
    policy: str


def convert(data: bytes, name: str) -> Writing:
    """The configuration that the manifests in *data* come to. Raises Unreadable."""
    manifests = read(data, name)
    out = Writing()
    out.begin(
        f"The Ingresses of {name}, as ingress-nginx serves them. TLS ends before the proxy, or by "
        "listen: {address: …, tls: {cert: …, key: …}}."
    )
    out.add('listen: "0.0.0.0:8080"', 'probes: "0.0.0.0:8081"', "")
    body = Writing()
    origins = _Origins(manifests)
    rules: list[_Rule] = []
    seen: set[str] = set()  # what rules match
    policies = Writing()
    default = ""
    for at, ingress in enumerate(manifests.ingresses):
        if not _is_ours(ingress, body):
            continue
        policy = ingresscors.write(ingress, f"{label(ingress.name, 'ingress')}-{at + 1}", policies)
        rules += _rules(ingress, origins, policy, seen, body)
        if ingress.default is not None and not default:
            default = origins.name(ingress, ingress.default, body)
        _left(ingress, body)
    if not origins.names:
        told = "; ".join(body.left_out) or "no path has a Service"
        raise Unreadable(f"{name}: nothing could be taken over: {told}")
    _assemble(out, body, policies, origins, rules, default)
    return out


def _assemble(
    out: Writing,
    body: Writing,
    policies: Writing,
    origins: _Origins,
    rules: Sequence[_Rule],
    default: str,
) -> None:
    out.left_out += [*body.left_out, *policies.left_out]
    out.lines += body.lines
    out.add("", "origins:", *origins.lines)
    if not default:
        out.comment("No Ingress names what matches no rule below: it gets 502, from nobody.", 2)
        out.add(f"  {_NOTHING}: http://127.0.0.1:1")
    if policies.lines:
        out.add("", "cors:", *policies.lines)
    out.add("", "defaults:", f"  origin: {default or _NOTHING}", "  vary: repair")
    out.comment("ingress-nginx stores nothing: here only what says for how long it is fresh.", 2)
    out.add("  cache: {heuristic: false}")
    if rules:
        out.add("", "rules:")
    for rule in sorted([*rules, *_fallbacks(rules, default or _NOTHING)], key=_order):
        out.comment(f"{rule.path.where}: {rule.path.kind}", 2)
        out.add(f"  - name: {rule.name}", f"    match: {rule.match}", f"    origin: {rule.origin}")
        if rule.policy:
            out.add(f"    cors: {{policy: {rule.policy}, mode: override}}")
            out.add("    preflight: synthesize")


def _is_ours(ingress: Ingress, out: Writing) -> bool:
    if ingress.ingress_class and "nginx" not in ingress.ingress_class:
        out.warn(f"Ingress {ingress.name}: it is for {ingress.ingress_class}")
        return False
    if is_on(ingress.annotations.get("canary", "")):
        out.warn(
            f"Ingress {ingress.name}: canaries; requests are not shared out by weight or field"
        )
        return False
    return True


def _rules(
    ingress: Ingress, origins: _Origins, policy: str, seen: set[str], out: Writing
) -> list[_Rule]:
    made = []
    by_regex = is_on(ingress.annotations.get("use-regex", "")) or (
        "rewrite-target" in ingress.annotations
    )
    for said in ingress.said:
        out.warn(said)
    for path in ingress.paths:
        patterns = _patterns(path, by_regex)
        try:
            for one in patterns:
                path_matcher(one)
        except Wrong as error:
            out.warn(f"{path.where}: the path {path.path}: {error}")
            continue
        told = [f"path: [{', '.join(map(quoted, patterns))}]"] if patterns != ["/**"] else []
        told += [f"host: {quoted(path.host)}"] if path.host else []
        if not told:
            told = ['path: "/**"']
        match = f"{{{', '.join(told)}}}"
        if match in seen:
            out.warn(f"{path.where}: {path.host}{path.path}: another path before it is the same")
            continue
        seen.add(match)
        name = f"{label(ingress.namespace, 'ns')}-{label(ingress.name, 'ingress')}-{len(seen)}"
        made.append(_Rule(path, name, match, origins.name(ingress, path.backend, out), policy))
    return made


def _fallbacks(rules: Sequence[_Rule], default: str) -> list[_Rule]:
    """Rules for what a host has no path for: nginx then looks at no other host's."""
    hosts = {rule.path.host: rule.path for rule in rules if rule.path.host}
    whole = {rule.path.host for rule in rules if _is_everything(rule.path)}
    wider = any(not rule.path.host or rule.path.host.startswith("*") for rule in rules)
    return [
        _Rule(
            replace(path, path="", kind="nothing else of this host"),
            f"rest-of-host-{at}",
            f"{{host: {quoted(host)}}}",
            default,
            "",
        )
        for at, (host, path) in enumerate(hosts.items(), 1)
        if wider and host not in whole
    ]


def _is_everything(path: Path) -> bool:
    return path.kind != "Exact" and path.path == "/"


def _patterns(path: Path, by_regex: bool) -> list[str]:
    """What matches the paths that *path* means."""
    if by_regex and path.kind == "ImplementationSpecific":
        return [f"~{path.path.removeprefix('^')}{'' if path.path.endswith('$') else '.*'}"]
    if path.kind == "Exact":
        return [_plain(path.path)]
    if path.kind == "Prefix":
        whole = path.path.rstrip("/")
        return [_plain(whole), _plain(f"{whole}/", "**")] if whole else ["/**"]
    return [_plain(path.path, "**")]


def _plain(path: str, behind: str = "") -> str:
    """*path* as it stands, for a glob; where it has signs of its own, as an expression."""
    if not re.search(r"[*?]", path):
        return path + behind
    escaped = re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", path)
    return f"~{escaped}{'.*' if behind else ''}"


def _order(rule: _Rule) -> tuple[int, int, int]:
    path = rule.path
    host = 2 if not path.host else 1 if path.host.startswith("*") else 0
    return host, path.kind != "Exact", -len(path.path)


def _left(ingress: Ingress, out: Writing) -> None:
    if ingress.has_tls:
        out.warn(f"Ingress {ingress.name}: its tls; name the files of the secret at listen")
    for key, value in ingress.annotations.items():
        if key not in _USED and key not in ingresscors.USED:
            out.warn(f"Ingress {ingress.name}: {key}: {value}")
