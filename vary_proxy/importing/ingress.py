"""Ingress manifests for ingress-nginx, into a configuration of ours.

Every path becomes a rule, in the order in which nginx would choose: a host before none, whole
paths before beginnings, longer before shorter. Every Service becomes an origin, every set of
CORS annotations a policy that writes the fields, as ingress-nginx does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from vary_proxy.configuration.matching import path_matcher
from vary_proxy.configuration.problems import Wrong
from vary_proxy.importing import ingresscors
from vary_proxy.importing.ingresscors import is_on
from vary_proxy.importing.ingressroutes import Rest, Rule, loose_hosts, patterns
from vary_proxy.importing.manifests import Backend, Ingress, Manifests, read
from vary_proxy.importing.writing import Unreadable, Writing, label, quoted

_TIMES = {  # seconds where nothing is said, and what they are here
    "proxy-connect-timeout": ("5", "connect"),
    "proxy-read-timeout": ("60", "first_byte", "idle"),
}
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
        for key, (usual, *ours) in _TIMES.items():
            seconds = said.get(key, usual)
            if not re.fullmatch(r"[1-9]\d{0,5}", seconds, re.ASCII):
                out.warn(f"{key}: {seconds}: not a number of seconds")
                seconds = usual
            times += [f"{one}: {seconds}s" for one in ours]
        self.lines += [*lines, f"    timeouts: {{{', '.join(times)}}}"]


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
    rules: list[Rule] = []
    seen: set[str] = set()  # what rules match
    policies = Writing()
    rest = Rest()
    ours = [one for one in manifests.ingresses if _is_ours(one, body)]
    loose = loose_hosts(ours)
    for at, ingress in enumerate(ours):
        policy = ingresscors.write(ingress, f"{label(ingress.name, 'ingress')}-{at + 1}", policies)
        rules += _rules(ingress, origins, policy, seen, loose, body)
        backend = ingress.default and origins.name(ingress, ingress.default, body)
        rest.claim(ingress, backend or "", policy, body)
        _left(ingress, body)
    for other in manifests.others:
        body.warn(f"{other}: only Ingresses are")
    if not origins.names:
        told = "; ".join(body.left_out) or "no path has a Service"
        raise Unreadable(f"{name}: nothing could be taken over: {told}")
    _assemble(out, body, policies, origins, rest.rules(rules, _NOTHING))
    return out


def _assemble(
    out: Writing, body: Writing, policies: Writing, origins: _Origins, rules: Sequence[Rule]
) -> None:
    out.left_out += [*body.left_out, *policies.left_out]
    out.lines += body.lines
    out.add("", "origins:", *origins.lines)
    out.comment("Whoever asks for what no Ingress names gets 502, from nobody.", 2)
    out.add(f"  {_NOTHING}: http://127.0.0.1:1")
    if policies.lines:
        out.add("", "cors:", *policies.lines)
    out.add("", "defaults:", f"  origin: {_NOTHING}", "  vary: repair")
    out.comment("ingress-nginx stores nothing: here only what says for how long it is fresh.", 2)
    out.add("  cache: {heuristic: false}", "", "rules:")
    for rule in sorted(rules, key=lambda one: one.order):
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
    ingress: Ingress,
    origins: _Origins,
    policy: str,
    seen: set[str],
    loose: frozenset[str],
    out: Writing,
) -> list[Rule]:
    made = []
    for said in ingress.said:
        out.warn(said)
    for path in ingress.paths:
        wanted = patterns(path, loose=path.host in loose)
        try:
            for one in wanted:
                path_matcher(one)
        except Wrong as error:
            out.warn(f"{path.where}: the path {path.path}: {error}")
            continue
        told = [f"path: [{', '.join(map(quoted, wanted))}]"] if wanted != ["/**"] else []
        told += [f"host: {quoted(path.host)}"] if path.host else []
        if not told:
            told = ['path: "/**"']
        match = f"{{{', '.join(told)}}}"
        if match in seen:
            out.warn(f"{path.where}: {path.host}{path.path}: another path before it is the same")
            continue
        seen.add(match)
        name = f"{label(ingress.namespace, 'ns')}-{label(ingress.name, 'ingress')}-{len(seen)}"
        origin = origins.name(ingress, path.backend, out)
        made.append(Rule(path, name, match, origin, policy, path.host in loose))
    return made


def _left(ingress: Ingress, out: Writing) -> None:
    if ingress.has_tls:
        what = "its tls, and the redirect of http to https that comes with it"
        out.warn(f"Ingress {ingress.name}: {what}; name the files of the secret at listen")
    for key, value in ingress.annotations.items():
        if key not in _USED and key not in ingresscors.USED:
            out.warn(f"Ingress {ingress.name}: {key}: {value}")
