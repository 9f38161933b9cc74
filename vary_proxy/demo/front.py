"""The proxy of the demo: the product itself, with the shortest configuration there is."""

from __future__ import annotations

from vary_proxy.app import App
from vary_proxy.config import loads
from vary_proxy.demo.traffic import Observer
from vary_proxy.server import ListenError

_CONFIGURATION = """\
version: 1
listen: [{{address: "{host}:{port}"}}]
origins: {{bucket: {{url: "{origin}"}}}}
defaults: {{origin: bucket}}
log: {{access: off}}
"""


class Front:
    def __init__(self) -> None:
        self._app: App | None = None

    async def start(self, host: str, port: int, origin: str, observer: Observer) -> int:
        """Stand before *origin* and return the port. Raises OSError when it cannot be had."""
        host = f"[{host}]" if ":" in host else host
        text = _CONFIGURATION.format(host=host, port=port, origin=origin)
        # Settings of the shell, meant for another proxy, stay out of the demo.
        # Every field of every request is shown; only the long way tells observers all of them.
        app = App(loads(text.encode(), "demo.yaml", environ={}), fast=False)
        app.observers.append(observer)
        try:
            addresses = await app.start()
        except ListenError as error:
            await app.close()
            raise OSError(str(error)) from None
        self._app = app
        return int(addresses[0].rpartition(":")[2])

    async def close(self) -> None:
        if self._app is not None:
            await self._app.close()
