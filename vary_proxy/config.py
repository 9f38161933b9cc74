"""Loads the configuration: file, environment and flags to frozen Settings and rules.

Flag stands above environment, above file, above default. Everything that is wrong is told at
once, each with its place and a remedy: values that cannot be read first of all, then what
contradicts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vary_proxy.configuration import yaml12
from vary_proxy.configuration.checks import cautions, check, cors_policies
from vary_proxy.configuration.compiling import compile_rules
from vary_proxy.configuration.expansion import Expansion
from vary_proxy.configuration.overrides import Override, apply, from_environ, steps_of
from vary_proxy.configuration.problems import ConfigError, Problem
from vary_proxy.configuration.reading import FAILED, Reader
from vary_proxy.configuration.settings import Settings
from vary_proxy.configuration.yaml12 import Node
from vary_proxy.rules import RuleBook

__all__ = ("ConfigError", "Loaded", "load", "loads")


@dataclass(frozen=True, slots=True)
class Loaded:
    """``provenance`` says for each path where its value came from; other paths: the default."""

    settings: Settings
    rules: RuleBook
    provenance: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: Path | None = None
    private: frozenset[str] = frozenset()  # paths whose values came from files: not to be shown
    files: Mapping[Path, bytes] = field(default_factory=dict)  # that, and their fingerprints
    text: bytes = field(default=b"", repr=False)  # of the file


Overrides = Mapping[str, str] | Sequence[Override]


def load(
    path: str | os.PathLike[str] | None = None,
    overrides: Overrides = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The configuration in the file *path* (None: no file) under environment and *overrides*.

    *overrides* map a path such as ``store.memory.max`` to its text. *environ* defaults to the
    process's. Raises ConfigError.
    """
    if path is None:
        return loads(b"", "", overrides, environ)
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(yaml12.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        remedy = "name a file that exists and can be read"
        raise ConfigError([Problem(name, "", f"cannot read it: {reason}", remedy)]) from None
    return loads(data, name, overrides, environ)


def loads(
    data: bytes,
    name: str,
    overrides: Overrides = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """As ``load``, of a file *name* that holds *data*; files it refers to stand beside it."""
    environ = os.environ if environ is None else environ
    root = yaml12.compose(data, name)
    given, warnings = from_environ(environ, root)
    root = apply(root, [*given, *_as_overrides(overrides)])
    expansion = Expansion(environ, Path(name).parent)
    reader = Reader(expansion)
    empty = yaml12.Mapping(name or "no configuration file")
    read = reader.struct(Settings, _document(root, empty), "")
    problems = list(reader.problems)
    if read is FAILED:
        raise ConfigError(problems, expansion.files)
    settings: Settings = read
    unread = {problem.path for problem in problems}
    policies, refused = cors_policies(settings, reader.places)
    problems += [*refused, *check(settings, reader.places, unread)]
    if problems:
        raise ConfigError(sorted(problems, key=_order), expansion.files)
    warnings += cautions(settings, reader.places)
    rules = compile_rules(settings, policies, reader.places)
    return Loaded(
        settings,
        rules,
        reader.places,
        warnings,
        Path(name) if name else None,
        frozenset(reader.private),
        expansion.files,
        data,
    )


def _document(root: Node | None, empty: Node) -> Node:
    return empty if root is None or (isinstance(root, yaml12.Scalar) and root.is_null) else root


def _as_overrides(overrides: Overrides) -> list[Override]:
    if not isinstance(overrides, Mapping):
        return list(overrides)
    return [
        Override(steps_of(path) or (path,), text, path or "flag")
        for path, text in overrides.items()
    ]


def _order(problem: Problem) -> tuple[str, int, int]:
    source, _, rest = problem.where.partition(":")
    numbers = [int(part) for part in rest.split(":") if part.isdigit()]
    line, column = (*numbers, 0, 0)[:2]
    return source, line, column
