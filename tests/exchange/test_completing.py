"""A beginning is held and its rest asked for: who may not share the whole gets all of it."""

from __future__ import annotations

import pytest

from tests.exchange.conftest import Edge
from tests.exchange.large import Large


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"authorization": b"Basic YTph"}, b"max-age=60", id="with Authorization"),
        pytest.param({}, b"private", id="private by now"),
    ],
)
async def test_the_rest_alone_is_nobodys_answer(
    edge: Edge, asked: dict[str, bytes], said: bytes
) -> None:
    large = Large(edge, total=900, most=500)
    await edge.get("/v", range=b"bytes=0-499")
    large.most, large.cache_control = None, said
    answer = await edge.get("/v", **asked)  # type: ignore[arg-type]
    assert (answer.status, answer.body) == (200, large.whole)
