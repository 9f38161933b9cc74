"""The order of the tests: what is quick and pure first, what needs servers and a browser last.

Properties are tried on the same inputs in every run, however long a busy machine takes to make
them: what is new is looked for by `make fuzz`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("steady")

FIRST = ["core", "config", "store", "exchange", "wire"]
LAST = ["conformance", "real", "browser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within one, the order of files and of tests stays."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Files that lie directly in ``tests`` come first, folders not named here in the middle."""
    inner = item.path.relative_to(item.config.rootpath / "tests")
    if len(inner.parts) == 1:
        return -1
    folder = inner.parts[0]
    if folder in LAST:
        return len(FIRST) + 1 + LAST.index(folder)
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
