"""The engine and the image, made once for all tests that run it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.engine import ROOT, Engine, engine

IMAGE = "vary-proxy"


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    with engine() as found:
        found.build(IMAGE, ROOT)
        yield found
