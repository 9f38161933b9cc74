"""The suites test what they say: a warmed hit takes its lane, and comes from its store."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from tests.hold.worlds import front, said
from vary_proxy.app import App
from vary_proxy.channel import Channel
from vary_proxy.core.message import Reply, Request

pytestmark = pytest.mark.usefixtures("each_store")


@pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
async def test_a_warmed_hit_takes_its_lane_and_comes_from_its_store(
    fast: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_way: list[Request] = []
    answer = App._answer

    def counted(app: App, asked: Request, channel: Channel) -> Awaitable[Reply]:
        long_way.append(asked)
        return answer(app, asked, channel)

    monkeypatch.setattr(App, "_answer", counted)
    fresh = said(b"ok", b"Cache-Control: max-age=600")
    kind = request.node.callspec.params["each_store"]
    async with front(lambda asked: fresh, fast=fast) as edge:
        await edge.primed()
        long_way.clear()
        assert "; hit;" in (await edge.get())["cache-status"]
        # The lane knows what is at hand, and no more: what is in Redis alone goes the long way.
        assert len(long_way) == (not fast or kind == "redis alone")
        assert len(edge.origin.asked) == 1
