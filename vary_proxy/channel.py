"""What a request's handler may do with the connection that the request came on.

The contract between the exchange and the server; tests pass one of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from vary_proxy.core.message import Response


class BodyFailed(Exception):
    """The request body cannot be had: broken, too large, stalled, or its sender left.

    ``status`` is the answer it deserves (400, 408, 413), ``reason`` a sentence for its body,
    ``detail`` a token for Cache-Status.
    """

    def __init__(self, status: int, reason: str, detail: str = "bad-body") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail


class Channel(Protocol):
    @property
    def body(self) -> AsyncIterator[bytes] | None:
        """The request body, one iterator to be run once; None when there is none.

        100 (Continue) is sent when the first chunk is asked for. Raises BodyFailed.
        """

    async def interim(self, response: Response) -> None:
        """Send a 1xx other than 100 and 101; dropped where HTTP/1.0 is spoken."""

    def gone(self) -> bool:
        """True once nobody waits for the reply: the client has closed its end."""
