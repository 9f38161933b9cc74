"""Values that stand above the file: ``VARY_PROXY_…`` variables, and above them flags.

Each becomes a scalar at its path in the tree that was read from the file, labelled with where
it came from, so that the reader treats and reports it like any other. A variable's name is the
path in capitals joined by ``_``; which one is meant is decided by the schema, since keys hold
``_`` themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

from vary_proxy.configuration import yaml12
from vary_proxy.configuration.problems import ConfigError, Problem, alternatives, one_of, shown
from vary_proxy.configuration.reading import ALIASES, hints, is_struct, plain
from vary_proxy.configuration.settings import Settings
from vary_proxy.configuration.yaml12 import Node, Scalar, Sequence

PREFIX = "VARY_PROXY_"
# Variables that mean something else: ours, and those that Kubernetes and Docker make for a
# service that is called vary-proxy.
_NOT_SETTINGS = re.compile(
    r"CONFIG|LOOP|WATCH|VIA|(\w+_)?SERVICE_(HOST|PORT\w*)|(\w+_)?PORT(_\d+_(TCP|UDP)\w*)?|NAME"
)
_STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[(\d{1,4})\]")

Step = str | int
ONLY = "*"  # as a step: the one name there is, or else "default"


@dataclass(frozen=True, slots=True)
class Override:
    path: tuple[Step, ...]
    text: str
    source: str  # as a message names it


ORIGIN: tuple[Step, ...] = ("origins", ONLY)  # of VARY_PROXY_ORIGIN, and --origin


def from_flag(assignment: str) -> Override | Problem:
    """``path.to.key=value`` of ``--set``."""
    path, equals, text = assignment.partition("=")
    steps = steps_of(path) if equals else None
    if not steps:
        remedy = "write --set path.to.key=value, for example --set store.memory.max=1GiB"
        return Problem("--set", "", f"{shown(assignment)} sets nothing", remedy)
    return Override(steps, text, f"--set {path}")


def steps_of(path: str) -> tuple[Step, ...] | None:
    """``("rules", 0, "cache")`` for ``rules[0].cache``; None when it is no path."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            return None
        steps.append(found[1] if found[1] is not None else int(found[2]))
        at = found.end()
    return tuple(steps)


def from_environ(
    environ: Mapping[str, str], root: Node | None
) -> tuple[list[Override], tuple[str, ...]]:
    """The settings among *environ*, and a warning for each variable that only looks like one.

    Empty variables count as unset.
    """
    found: list[Override] = []
    warnings: list[str] = []
    known: list[str] | None = None
    for name in sorted(environ):
        rest = name.removeprefix(PREFIX)
        if rest == name or not environ[name] or _NOT_SETTINGS.fullmatch(rest):
            continue
        if rest == "ADMIN" and "://" in environ[name]:
            continue  # where to ask, for the commands that look on
        path = (*ORIGIN, "url") if rest == "ORIGIN" else next(_paths(rest, Settings, root), None)
        if path is not None:
            found.append(Override(path, environ[name], name))
            continue
        known = known or [f"{PREFIX}{one}" for one in _names(Settings)]
        warnings.append(f"{name} is not a setting and was ignored; {_nearest(name, known)}")
    return found, tuple(warnings)


def _nearest(name: str, known: list[str]) -> str:
    remedy = one_of(name, known)
    return remedy if remedy.startswith("did you") else "see vary-proxy config show for the names"


def _paths(rest: str, hint: Any, node: Node | None) -> Iterator[tuple[Step, ...]]:
    """Every path to a scalar that *rest* may mean, best first."""
    base, kind = plain(hint)
    if kind == "ttl" or (not (is_struct(base) and not kind) and get_origin(base) is not dict):
        if not rest:
            yield ()
        elif get_origin(base) is tuple and (index := re.match(r"(\d{1,4})(?:_|$)", rest)):
            item = _child(node, int(index[1]))
            for path in _paths(rest[index.end() :], get_args(base)[0], item):
                yield (int(index[1]), *path)
        return
    if not rest and getattr(base, "short", None):
        yield ()
    for key, below in _keys(base, node, rest):
        spelled = key.upper().replace("-", "_")
        if rest == spelled or rest.startswith(f"{spelled}_"):
            for path in _paths(rest[len(spelled) + 1 :], below, _child(node, key)):
                yield (key, *path)


def _keys(base: Any, node: Node | None, rest: str) -> Iterator[tuple[str, Any]]:
    if is_struct(base):
        aliases = {alias: hints(base)[held] for alias, held in ALIASES.get(base, {}).items()}
        both = hints(base) | aliases
        yield from sorted(both.items(), key=lambda pair: -len(pair[0]))
        return
    below = get_args(base)[1]
    written = [key.text for key, _ in node.pairs] if isinstance(node, yaml12.Mapping) else []
    yield from ((key, below) for key in sorted(written, key=len, reverse=True))
    parts = rest.split("_")
    yield from (("_".join(parts[:end]).lower(), below) for end in range(1, len(parts)))


def _names(hint: Any) -> Iterator[str]:
    """The variables that need no name of the user's, for suggestions."""
    base, kind = plain(hint)
    if is_struct(base) and not kind:
        for key, below in hints(base).items():
            for rest in _names(below):
                yield f"{key}_{rest}".upper().rstrip("_")
    elif get_origin(base) is not dict:
        yield ""


def _child(node: Node | None, step: Step) -> Node | None:
    if isinstance(step, str):
        return node.get(step) if isinstance(node, yaml12.Mapping) else None
    if isinstance(node, Sequence) and step < len(node.items):
        return node.items[step]
    return None


def apply(root: Node | None, overrides: Iterable[Override]) -> Node | None:
    """*root* with every override in place; what aliases share is left as it is elsewhere."""
    for one in overrides:
        root = _placed(root, Settings, one.path, one)
    return root


def _placed(node: Node | None, hint: Any, path: tuple[Step, ...], override: Override) -> Node:
    """*node*, which *hint* describes, with the override at *path* below it."""
    if not path:
        return Scalar(override.source, text=override.text, plain=False)
    step, below = path[0], path[1:]
    base, _ = plain(hint)
    if step == ONLY:
        step = _only(node, override)
    if isinstance(step, int) or (isinstance(node, Sequence) and step.isdigit()):
        return _placed_item(node, base, int(step), below, override)
    old = node if isinstance(node, yaml12.Mapping) else _widened(node, base, override)
    aliases = ALIASES.get(base, {})
    held = aliases.get(step, step)
    kept = [pair for pair in old.pairs if aliases.get(pair[0].text, pair[0].text) != held]
    child = _placed(old.get(step), _below(base, held), below, override)
    return replace(old, pairs=[*kept, (Scalar(override.source, text=step), child)])


def _only(node: Node | None, override: Override) -> str:
    names = (
        list(dict.fromkeys(key.text for key, _ in node.pairs))
        if isinstance(node, yaml12.Mapping)
        else []
    )
    if len(names) > 1:
        remedy = f"write --set origins.NAME.url=URL for {alternatives(names)}"
        raise ConfigError([Problem(override.source, "origins", "several are named", remedy)])
    return names[0] if names else "default"


def _placed_item(
    node: Node | None, base: Any, step: int, below: tuple[Step, ...], override: Override
) -> Sequence:
    old = node if isinstance(node, Sequence) else Sequence(override.source)
    item = get_args(base)[0] if get_origin(base) is tuple else None
    at = min(step, len(old.items))
    items = list(old.items)
    items[at : at + 1] = [_placed(_child(old, at), item, below, override)]
    return replace(old, items=items)


def _widened(node: Node | None, base: Any, override: Override) -> yaml12.Mapping:
    """A mapping in place of what is not one, keeping what a short form said."""
    short = getattr(base, "short", None)
    if short is None or node is None or (isinstance(node, Scalar) and node.is_null):
        return yaml12.Mapping(override.source)
    return yaml12.Mapping(node.source, node.line, node.column, pairs=[(_key(node, short), node)])


def _key(node: Node, text: str) -> Scalar:
    return Scalar(node.source, node.line, node.column, text=text)


def _below(base: Any, step: str) -> Any:
    if is_struct(base):
        return hints(base).get(step)
    return get_args(base)[1] if get_origin(base) is dict else None
