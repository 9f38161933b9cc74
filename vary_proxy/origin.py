"""The contract between the exchange and whatever speaks to an origin.

An Origin takes a Request that is final (core.forwarding made it: target with prefix, Host,
nothing connection-specific) and sends it byte for byte. It returns as soon as the response
head is whole; the body follows as chunks. What cannot be read in exactly one way, or ends
before it is whole, is an OriginFailure, never a guess. vary_proxy.origins.httpclient is the
implementation on aiohttp; tests script their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from vary_proxy.core.message import Request, Response

Interim = Callable[[Response], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Naming:
    """How requests are addressed to an origin.

    ``authority`` is host[:port] of its URL, ``prefix`` the path before every target (no
    trailing slash). ``host`` is what Host says: None for the client's own (``preserve``).
    """

    authority: bytes
    scheme: bytes = b"http"
    prefix: bytes = b""
    host: bytes | None = None


class OriginFailure(Exception):
    """The origin could not be asked, or gave no usable answer.

    ``error`` is the token of Proxy-Status (RFC 9209 §2.3), ``status`` what we answer: 502, 503
    or 504. ``sent`` is True once the origin may have seen the request.
    """

    def __init__(self, error: str, detail: str = "", *, status: int = 502, sent: bool = False):
        super().__init__(f"{error}: {detail}" if detail else error)
        self.error = error
        self.detail = detail
        self.status = status
        self.sent = sent


class OriginResponse(Protocol):
    """A response whose head has arrived."""

    @property
    def head(self) -> Response:
        """Status and fields as received, names in lower case, framing fields included."""

    @property
    def length(self) -> int | None:
        """Bytes of body to come, when the framing says so; 0 when there is none."""

    @property
    def close_delimited(self) -> bool:
        """True when only the end of the connection ends the body: it cannot be proved whole."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, decoded from its framing and nothing else. To be iterated once.

        Raises OriginFailure when it ends early, stalls, or its framing is broken.
        """

    async def close(self) -> None:
        """Give the connection back when the body was read to its end; else end it."""


def at_hand(response: OriginResponse) -> bytes | None:
    """The body of *response* where all of it came with the head, and nothing is left to close.

    None: it is to be read in chunks. A small body is so spared a task and a write of its own.
    """
    body: bytes | None = getattr(response, "at_hand", None)
    return body


class Origin(Protocol):
    @property
    def naming(self) -> Naming: ...

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        """Send *request* and return when the final response head has arrived.

        *on_interim* is called for each 1xx other than 100 and 101, in order.
        Raises OriginFailure.
        """

    async def close(self) -> None: ...
