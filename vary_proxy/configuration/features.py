"""What the schema knows and this version does not do yet: refused, never ignored.

One line per feature: its name, the paths at which a configuration asks for it, and what can
be written instead. Whoever builds a feature removes its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vary_proxy.configuration.problems import Problem
from vary_proxy.configuration.settings import Defaults, Settings


@dataclass(frozen=True, slots=True)
class Missing:
    name: str
    asked: Callable[[Settings], Iterator[str]]  # paths of the keys that ask for it
    remedy: str


def missing(settings: Settings, places: dict[str, str]) -> list[Problem]:
    """A problem for every place at which *settings* ask for what is not there."""
    return [
        Problem(places.get(path, ""), path, f"{one.name} is not in this version", one.remedy)
        for one in MISSING
        for path in one.asked(settings)
    ]


def layers(settings: Settings) -> Iterator[tuple[str, Defaults]]:
    """``defaults`` and every rule, each with its path."""
    yield "defaults", settings.defaults
    for at, rule in enumerate(settings.rules):
        yield f"rules[{at}]", rule


MISSING: tuple[Missing, ...] = ()
