"""What the metrics ask of an origin reaches through all its layers."""

from __future__ import annotations

import socket

from vary_proxy import config
from vary_proxy.app import App
from vary_proxy.core.message import Request
from vary_proxy.origin import OriginFailure


async def test_retries_and_health_are_told_by_what_the_app_builds() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        text = f"""\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{o: {{urls: ["{url}", "{url}/b"], retry: {{attempts: 2}}}}}}
log: {{access: off}}
"""
        app = App(config.loads(text.encode(), "told.yaml", (), {}))
        origin = app.origins["o"]
        assert origin.is_healthy
        for _ in range(4):
            try:
                await origin.fetch(Request(b"GET", b"/a", authority=b"a"))
            except OriginFailure:
                continue
        assert sum(origin.retries.values()) > 0
        assert not origin.is_healthy
        await app.close()
