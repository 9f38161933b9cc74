"""The fuzzers themselves, for a moment each; `make fuzz` runs them for as long as you like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hold.fuzz_parsers import TARGETS, run


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_any_bytes_are_answered_or_refused(target: Callable[[bytes], None]) -> None:
    assert run(target, 0.8, number=1) > 50
