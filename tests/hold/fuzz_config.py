"""What must hold of any configuration file that grammars_config makes."""

from __future__ import annotations

from typing import Any

import jsonschema

from vary_proxy import config
from vary_proxy.configuration import showing
from vary_proxy.configuration.problems import ConfigError
from vary_proxy.configuration.schema import schema

ENVIRON = {"A": "1s"}
_SCHEMA = jsonschema.Draft202012Validator(schema())
Outcome = config.Loaded | frozenset[tuple[str, str]]


def loaded(text: str) -> Outcome:
    """What a file comes to: settings, or its problems by path."""
    try:
        return config.loads(text.encode(), "fuzz.yaml", (), ENVIRON)
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.where.startswith("fuzz.yaml"), problem
        assert problem.what, problem
        assert problem.remedy, problem
        assert "\n" not in str(problem)
    return frozenset((problem.path, problem.what) for problem in problems)


def a_file(drawn: tuple[Any, str, str]) -> None:
    """It says one thing however it is written; what is shown of it loads to the same."""
    document, one, other = drawn
    found, again = loaded(one), loaded(other)
    if not isinstance(found, config.Loaded):
        assert found == again, (found, again)
        return
    assert isinstance(again, config.Loaded), again
    assert found.settings == again.settings
    _SCHEMA.validate(document)
    _is_shown(found)


def _is_shown(found: config.Loaded) -> None:
    tree = showing.tree(found.settings, found.private)
    shown = showing.text(tree, found.provenance)
    twice = loaded(shown)
    assert isinstance(twice, config.Loaded), (twice, shown)
    assert showing.tree(twice.settings, twice.private) == tree, shown
    if showing.MASK not in shown:
        assert _policies(twice) == _policies(found), shown


def _policies(found: config.Loaded) -> list[Any]:
    """What each rule came to, but for the line that it stood on."""
    return [
        {name: getattr(policy, name) for name in policy.__slots__ if name != "where"}
        for policy in found.rules.policies
    ]
