"""Remembers what was made of short values, for the same few come with request after request.

A client chooses what it sends: so what is long is made anew, and what is kept is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

SHORT = 128  # bytes of a value that is worth remembering
MOST = 512  # values remembered


def remembered(make: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """*make*, a function of its argument alone whose result nobody changes, without repetition."""
    known = lru_cache(maxsize=MOST)(make)

    @wraps(make)
    def remembering(value: bytes) -> T:
        return known(value) if len(value) <= SHORT else make(value)

    return remembering
