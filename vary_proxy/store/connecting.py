"""redis-py's connections, which look their server's name up without holding up anybody.

``names.py`` says why. Only when the name is known to have addresses, redis-py goes on in its own
way: it looks again, and that is quick, and it tries one address after the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection, SSLConnection

from vary_proxy.names import Names, is_address

if TYPE_CHECKING:
    Base = Connection
else:
    Base = object


class _LookedUp(Base):
    names: Names

    async def _connect(self) -> None:
        if not is_address(self.host):
            async with asyncio.timeout(self.socket_connect_timeout):
                await self.names.addresses(self.host, self.port)
        await super()._connect()  # type: ignore[no-untyped-call]


class _Plain(_LookedUp, Connection):
    pass


class _Secure(_LookedUp, SSLConnection):
    pass


_OURS = {Connection: _Plain, SSLConnection: _Secure}


def look_up_apart(pool: Any) -> None:
    """Have the connections that *pool* makes from now on ask for names by ``names.py``."""
    ours = _OURS.get(pool.connection_class)
    if ours is not None:  # a unix socket has no name
        pool.connection_class = type(ours.__name__, (ours,), {"names": Names()})
