"""aiohttp's connector (DNS, happy eyeballs, TLS, pooling), with Links for connections."""

from __future__ import annotations

import functools
from typing import Any, cast

import aiohttp

from vary_proxy.origins.httplink import Link
from vary_proxy.origins.resolving import Resolver


class Pool(aiohttp.TCPConnector):
    def __init__(self, *, limit: int, keepalive: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive, resolver=Resolver())
        self._factory = cast(Any, functools.partial(Link, self._loop))

    @property
    def is_full(self) -> bool:
        """True when as many connections as allowed are in use."""
        return 0 < self._limit <= len(self._acquired)

    @property
    def in_use(self) -> int:
        return len(self._acquired)
