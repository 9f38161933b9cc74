"""Reads Ingress manifests out of Kubernetes YAML: what an Ingress says, and what Services name.

The text is composed by our own bounded reader: no tags, no merge keys, no recursion. What else
says where requests go is named; nothing else in the file is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vary_proxy.configuration import yaml12
from vary_proxy.configuration.problems import ConfigError
from vary_proxy.configuration.yaml12 import Mapping, Node, Scalar, Sequence
from vary_proxy.importing.writing import Unreadable

PREFIX = "nginx.ingress.kubernetes.io/"
_CLASS = "kubernetes.io/ingress.class"
_MOST_PATHS = 1000
# Kinds of the Gateway API, and of other programs that do an Ingress's work.
_ROUTES = re.compile(
    r"Route(?:TCP|UDP)?$|^(?:Gateway|Virtual(?:Service|Server)|HTTPProxy|Mapping)$"
)


@dataclass(frozen=True)
class Backend:
    """A port of a Service: ``port`` is a number or a name; "" when none is said."""

    service: str
    port: str = ""


@dataclass(frozen=True)
class Path:
    """``kind`` is Exact, Prefix or ImplementationSpecific."""

    host: str
    path: str
    kind: str
    backend: Backend
    where: str


@dataclass
class Ingress:
    """``annotations`` are those of ingress-nginx, without their prefix."""

    name: str
    namespace: str
    where: str
    annotations: dict[str, str] = field(default_factory=dict)
    ingress_class: str = ""
    has_tls: bool = False
    default: Backend | None = None
    hosts: list[str] = field(default_factory=list)  # of its rules; "" for any
    paths: list[Path] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # what could not be used


@dataclass
class Manifests:
    """``ports`` are those of the Services that are in the file too, by (namespace, name, port)."""

    ingresses: list[Ingress] = field(default_factory=list)
    ports: dict[tuple[str, str, str], str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # what else says where requests go


def read(data: bytes, name: str) -> Manifests:
    """What the manifests in *data* say. Raises Unreadable."""
    try:
        documents = yaml12.compose_all(data, name)
    except ConfigError as error:
        raise Unreadable(str(error.problems[0])) from None
    found = Manifests()
    for node in _objects(documents):
        kind = _text(node, "kind")
        if kind in ("Ingress", "Service"):
            _check_keys(node)
        if kind == "Ingress":
            found.ingresses.append(_ingress(node))
        elif kind == "Service":
            _service(node, found)
        elif _ROUTES.search(kind) or _is_of_the_controller(node):
            called = _text(_mapping(node, "metadata"), "name")
            found.others.append(f"{node.where}: {kind} {called}".rstrip())
    if not found.ingresses:
        other = f", but {found.others[0]}" if found.others else ""
        raise Unreadable(f"{name}: there is no Ingress in it{other}; write kind: Ingress")
    if sum(len(one.paths) for one in found.ingresses) > _MOST_PATHS:
        raise Unreadable(f"{name}: more than {_MOST_PATHS} paths; split it")
    return found


def _check_keys(node: Node) -> None:
    """Raises Unreadable for a key that stands twice: readers differ about which one counts."""
    if isinstance(node, Sequence):
        for item in node.items:
            _check_keys(item)
    elif isinstance(node, Mapping):
        seen: dict[str, int] = {}
        for key, value in node.pairs:
            if key.text in seen:
                what = f"duplicate key {key.text}, first on line {seen[key.text]}"
                raise Unreadable(f"{key.where}: {what}; keep one")
            seen[key.text] = key.line
            _check_keys(value)


def _is_of_the_controller(node: Mapping) -> bool:
    """Whether it is the ConfigMap from which ingress-nginx has its defaults."""
    meta = _mapping(node, "metadata")
    part_of = _text(_mapping(meta, "labels"), "app.kubernetes.io/name")
    told = f"{part_of} {_text(meta, 'name')}"
    return _text(node, "kind") == "ConfigMap" and bool(
        re.search("nginx-?(ingress|conf)|ingress-nginx", told)
    )


def _objects(documents: list[Node | None]) -> Iterator[Mapping]:
    """Every object, those within lists as well."""
    for node in documents:
        if not isinstance(node, Mapping):
            continue
        if _text(node, "kind").endswith("List"):
            yield from (one for one in _items(node, "items") if isinstance(one, Mapping))
        else:
            yield node


def _ingress(node: Mapping) -> Ingress:
    meta, spec = _mapping(node, "metadata"), _mapping(node, "spec")
    found = Ingress(
        _text(meta, "name") or "ingress", _text(meta, "namespace") or "default", node.where
    )
    for key, value in _mapping(meta, "annotations").pairs:
        if not key.text.startswith(PREFIX):
            continue
        if not isinstance(value, Scalar):
            raise Unreadable(f"{value.where}: {key.text} is no text; put it into quotes")
        if not value.is_null:
            found.annotations[key.text.removeprefix(PREFIX)] = value.text
    found.ingress_class = _text(spec, "ingressClassName")
    found.ingress_class = found.ingress_class or _text(_mapping(meta, "annotations"), _CLASS)
    found.has_tls = bool(_items(spec, "tls"))
    default = spec.get("defaultBackend") or spec.get("backend")
    if isinstance(default, Mapping):
        found.default = _backend(default)
        if found.default is None:
            found.said.append(f"{default.where}: the default backend is no Service")
    for rule in _items(spec, "rules"):
        if isinstance(rule, Mapping):
            _rule(rule, found)
        if len(found.paths) > _MOST_PATHS:
            break
    return found


def _rule(rule: Mapping, found: Ingress) -> None:
    host = _text(rule, "host")
    found.hosts.append(host)
    for node in _items(_mapping(rule, "http"), "paths"):
        if not isinstance(node, Mapping):
            continue
        backend = _backend(_mapping(node, "backend"))
        if backend is None:
            found.said.append(
                f"{node.where}: the path {_text(node, 'path')} has no Service behind it"
            )
            continue
        kind = _text(node, "pathType") or "ImplementationSpecific"
        path = _text(node, "path") or "/"
        found.paths.append(Path(host, path, kind, backend, node.where))


def _backend(node: Mapping) -> Backend | None:
    service = _mapping(node, "service")
    if name := _text(service, "name"):
        port = _mapping(service, "port")
        return Backend(name, _text(port, "number") or _text(port, "name"))
    if name := _text(node, "serviceName"):  # before networking.k8s.io/v1
        return Backend(name, _text(node, "servicePort"))
    return None


def _service(node: Mapping, found: Manifests) -> None:
    meta = _mapping(node, "metadata")
    owner = _text(meta, "namespace") or "default", _text(meta, "name")
    for port in _items(_mapping(node, "spec"), "ports"):
        if isinstance(port, Mapping) and _text(port, "port"):
            found.ports[*owner, _text(port, "name")] = _text(port, "port")


def _mapping(node: Mapping, key: str) -> Mapping:
    value = node.get(key)
    return value if isinstance(value, Mapping) else Mapping(node.source)


def _items(node: Mapping, key: str) -> list[Node]:
    value = node.get(key)
    return value.items if isinstance(value, Sequence) else []


def _text(node: Mapping, key: str) -> str:
    value = node.get(key)
    return value.text if isinstance(value, Scalar) and not value.is_null else ""
