"""aiohttp's connector asks here for the addresses of an origin; ``names.py`` looks them up."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from vary_proxy.names import Names


class Resolver(AbstractResolver):
    """To be used within one event loop. There is nothing to close."""

    def __init__(self) -> None:
        self._names = Names()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of *family*; AF_UNSPEC stands for all. Raises OSError."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in await self._names.addresses(host, port)
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        return None
