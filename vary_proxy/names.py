"""Names are looked up where nobody has to wait: one look-up for each at a time, in its own thread.

A name server that does not answer takes ten seconds and more to be given up, and a look-up cannot
be cancelled. In the event loop's few threads such look-ups queue up in front of everybody else's,
and the process cannot end before the last of them: here those who ask leave at their own
deadline, the others share what is under way, and the end of the process waits for none.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading

Found = list[tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]]


class Names:
    """Look-ups that are under way. To be used within one event loop."""

    def __init__(self) -> None:
        self._underway: dict[tuple[str, int], asyncio.Future[Found | OSError]] = {}

    async def addresses(self, host: str, port: int) -> Found:
        """What ``getaddrinfo`` has for a stream to *host* and *port*. Raises OSError.

        Of the families of addresses, those that this machine has itself.
        """
        found = await asyncio.shield(self._look_up(host, port))
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(self, host: str, port: int) -> asyncio.Future[Found | OSError]:
        """What is under way. Raises OSError where there is no thread for it."""
        key = (host, port)
        future = self._underway.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            asking = threading.Thread(
                target=_ask, args=(loop, future, host, port), name=f"name {host}", daemon=True
            )
            try:
                asking.start()
            except RuntimeError as full:
                raise OSError(errno.EAGAIN, str(full)) from None
            self._underway[key] = future
            future.add_done_callback(lambda _: self._underway.pop(key))
        return future


def is_address(host: str) -> bool:
    """True where there is nothing to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ask(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Found | OSError],
    host: str,
    port: int,
) -> None:
    found: Found | OSError
    try:
        found = socket.getaddrinfo(  # type: ignore[assignment]  # IPv6 is compiled in
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except OSError as error:
        found = error
    except UnicodeError:
        found = socket.gaierror(socket.EAI_NONAME, "the host is no name that can be looked up")
    try:
        loop.call_soon_threadsafe(_tell, future, found)
    except RuntimeError:  # the loop was closed: nobody wants to know any more
        return


def _tell(future: asyncio.Future[Found | OSError], found: Found | OSError) -> None:
    if not future.done():
        future.set_result(found)
