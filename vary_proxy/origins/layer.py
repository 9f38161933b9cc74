"""The shape of what stands around an origin: one thing changed, all else the inner origin's.

An origin is built in layers (``reaching.py``): addressing or signing, balancing and retries,
continuing. Each inherits from Layer and says only what it does itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from vary_proxy.core.message import Request
from vary_proxy.origin import Interim, Naming, Origin, OriginResponse


class Reached(Origin, Protocol):
    """An origin that knows how much is under way."""

    @property
    def in_use(self) -> int: ...


class Layer:
    """*reached* as it is. A layer that addresses requests itself gives another ``naming``."""

    def __init__(self, reached: Reached) -> None:
        self.reached = reached

    @property
    def naming(self) -> Naming:
        return self.reached.naming

    @property
    def in_use(self) -> int:
        return self.reached.in_use

    @property
    def retries(self) -> Mapping[str, int]:
        """Requests sent again, by the failure that made them needed."""
        told: Mapping[str, int] = getattr(self.reached, "retries", {})
        return told

    @property
    def is_healthy(self) -> bool:
        """False while every URL of the origin is set aside."""
        return bool(getattr(self.reached, "is_healthy", True))

    def begin(self) -> None:
        """Start what should not wait for the first request."""
        begin = getattr(self.reached, "begin", None)
        if begin is not None:
            begin()

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        return await self.reached.fetch(request, body, on_interim)

    async def close(self) -> None:
        await self.reached.close()


class AsClientsSay(Layer):
    """A layer that is given requests as clients make them, and names them by ``own``."""

    def __init__(self, reached: Reached, own: Naming) -> None:
        super().__init__(reached)
        self.own = own
        self._told = Naming(own.authority, own.scheme)

    @property
    def naming(self) -> Naming:
        """The client's Host, and no prefix: those of the origin are put in here."""
        return self._told
