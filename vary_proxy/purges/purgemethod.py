"""The ``PURGE`` method on the traffic port, for those who may: by address.

The address is the peer's own. What came through another proxy is refused, because there
everybody has that proxy's address. All variants of the target URL go; the method is no
standard, and is as Varnish, Squid and others have it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import msgspec

from vary_proxy.configuration.settings import Network
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.core.syntax import format_date
from vary_proxy.purges.purging import Purge, Purger

_FORWARDED = (b"forwarded", b"x-forwarded-for", b"via")


class PurgeMethod:
    """Answers PURGE to those whose address is in *networks*."""

    def __init__(
        self,
        purger: Purger,
        networks: tuple[Network, ...],
        clock: Callable[[], float],
        purged: Callable[[str], None],
    ) -> None:
        self._purger = purger
        self._networks = networks
        self._clock = clock
        self._purged = purged  # told of each, and its kind

    async def answer(self, request: Request) -> Reply:
        if not self._may(request):
            return self._reply(request, 403, {"error": "this address may not purge"})
        url = b"http://%b%b" % (request.authority, request.target)
        purged = await self._purger.run(Purge("url", url.decode("latin-1")))
        self._purged("url")
        told = {
            "resources": purged.resources,
            "stored_responses": purged.stored_responses,
            "done": purged.done,
            "missing": purged.missing,
        }
        return self._reply(request, 200 if purged.done else 202, told)

    def _may(self, request: Request) -> bool:
        if any(name in request.fields for name in _FORWARDED):
            return False
        try:
            address = ipaddress.ip_address(request.client)
        except ValueError:  # a unix socket has no address
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def _reply(self, request: Request, status: int, told: Mapping[str, object]) -> Reply:
        body = msgspec.json.encode(told) + b"\n"
        fields = Fields(
            (
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"date", format_date(self._clock())),
            )
        )
        record = Record(rule="purge", cache="edge", reason="purge")
        return Reply(status, fields, chunks=(body,), close=request.has_body, record=record)
