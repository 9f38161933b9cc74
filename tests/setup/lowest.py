"""The lowest versions that pyproject.toml declares, as constraints for pip: `make lowest`.

    python -m tests.setup.lowest >constraints.txt

What runs counts, and what the extras for users add; what only tests need may be as new as it likes.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRAS = ("aws", "otel")
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9.]+)")


def constraints(project: dict[str, Any]) -> list[str]:
    """One line for each requirement. Raises ValueError for one without a lower bound."""
    extras = project.get("optional-dependencies", {})
    said = [*project["dependencies"], *(one for name in EXTRAS for one in extras.get(name, ()))]
    lines = []
    for requirement in said:
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound; write NAME>=X.Y")
        lines.append(f"{found[1]}=={found[2]}")
    return lines


if __name__ == "__main__":
    print("\n".join(constraints(tomllib.loads(PROJECT.read_text())["project"])))
