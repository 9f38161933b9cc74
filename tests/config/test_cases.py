"""Every YAML file under cases/ stands beside the errors, or the compiled rules, it must give.

``python -m tests.config.test_cases`` writes what is there now, to be read before it is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from re import Pattern
from typing import Any

import pytest

from vary_proxy.config import ConfigError, loads
from vary_proxy.configuration.conditions import Conditions
from vary_proxy.configuration.matching import Matcher
from vary_proxy.core.corspolicy import CorsPolicy
from vary_proxy.core.policy import Policy
from vary_proxy.rules import RuleBook

CASES = Path(__file__).parent / "cases"
ENVIRON = {"HOST": "minio", "NAME": "from-env", "TTL": "", "EMPTY": "", "HOST_": "x"}


def outcome(path: Path) -> tuple[str, str]:
    """``errors`` or ``rules``, and their text."""
    try:
        loaded = loads(path.read_bytes(), str(path), (), ENVIRON)
    except ConfigError as error:
        return "errors", f"{error}\n".replace(f"{path.parent}/", "")
    return "rules", "".join(f"{line}\n" for line in written(loaded.rules, path))


def written(rules: RuleBook, path: Path) -> Iterator[str]:
    for rule in rules.rules:
        yield f"{rule.policy.rule} ({rule.policy.where.replace(f'{path.parent}/', '')})"
        yield from (f"  if {line}" for line in differences(rule.conditions, Conditions(), ""))
        yield from (f"  {line}" for line in differences(rule.policy, Policy(), ""))
    yield "otherwise"
    yield from (f"  {line}" for line in differences(rules.fallback, Policy(), ""))


def differences(value: Any, usual: Any, path: str) -> Iterator[str]:
    for field in dataclasses.fields(value):
        mine, theirs = getattr(value, field.name), getattr(usual, field.name)
        here = f"{path}{field.name}"
        if mine == theirs or not field.init or here in ("rule", "where", "mark", "lot"):
            continue
        if dataclasses.is_dataclass(mine) and not isinstance(mine, CorsPolicy | Matcher):
            yield from differences(mine, type(mine)() if theirs is None else theirs, f"{here}.")
        else:
            yield f"{here}: {plain(mine)}"


def plain(value: Any) -> str:
    match value:
        case Matcher():
            return value.text
        case Pattern():
            return value.pattern.decode()
        case CorsPolicy():
            return value.name
        case tuple() | frozenset():
            parts = map(plain, sorted(value) if isinstance(value, frozenset) else value)
            return f"({', '.join(parts)})"
        case bytes():
            return value.decode()
    return str(getattr(value, "value", value))


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.yaml")))
def test_a_file_gives_what_stands_beside_it(name: str) -> None:
    kind, text = outcome(CASES / name)
    assert text == (CASES / name).with_suffix(f".{kind}").read_text()


if __name__ == "__main__":
    for case in sorted(CASES.glob("*.yaml")):
        kind, text = outcome(case)
        for other in ("errors", "rules"):
            case.with_suffix(f".{other}").unlink(missing_ok=True)
        case.with_suffix(f".{kind}").write_text(text)
