"""What the commands that look on share: answers that raise instead of printing, and streams."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from typing import Any

from vary_proxy.cli import control, live


class Refused(Exception):
    """No answer, or none for us; ``status`` is the exit status that it calls for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def told(admin: str, path: str) -> Any:
    """What the admin listener says at *path*. Raises Refused."""
    with stream(admin, path, live.TIMEOUT) as response:
        try:
            return control.read(response.read())
        except ValueError as error:
            raise Refused(control.unreachable(admin, error), control.UNREACHABLE) from None


@contextlib.contextmanager
def stream(admin: str, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """An answer that may go on; *timeout* in seconds without anything. Raises Refused."""
    try:
        with contextlib.closing(live.connect(admin, timeout)) as connection:
            connection.request("GET", path, headers=control.fields(admin))
            response = connection.getresponse()
            if response.status == 200:
                yield response
                return
            said = control.said(control.read(response.read(1 << 16)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Refused(control.unreachable(admin, error), control.UNREACHABLE) from None
    remedy = f"; set {control.TOKEN}" if response.status in (401, 403) else ""
    raise Refused(f"refused by {admin}: {said}{remedy}", 2 if response.status == 400 else 1)


def harmless(text: str) -> str:
    """*text*, which a client chose, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)
