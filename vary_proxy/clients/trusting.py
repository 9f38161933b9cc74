"""Who is believed when it says for whom it asks."""

from __future__ import annotations

import ipaddress

from vary_proxy.configuration.settings import Network

_MOST_REMEMBERED = 4096  # addresses whose trust has been settled


class Trust:
    """Says whether a peer's forwarding fields are believed."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        self._known: dict[str, bool] = {}

    def __call__(self, client: str) -> bool:
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[client] = self._is_trusted(client)
        return known

    def _is_trusted(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:  # a unix socket has no address: whoever may open it is local
            return client == ""
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
