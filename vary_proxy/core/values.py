"""How the values of which every request makes several are declared: ``@immutable``.

To the type checker they are frozen dataclasses. At run time nothing guards them, for the guard
sets each field by a call: a Request takes 2 µs to make with it, and 0.12 µs without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(kind: type[T]) -> type[T]:
    """*kind* as a slotted dataclass, compared and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
