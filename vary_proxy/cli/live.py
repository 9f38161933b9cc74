"""One request through a running proxy, byte for byte, for the commands that ask one."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Mapping
from typing import Any

from vary_proxy.core.message import Request

TIMEOUT = 10.0
_TOLD = re.compile(
    r"(access-control-|timing-allow|cross-origin-)|^(vary|cache-status|proxy-status|age|date|via"
    r"|cache-control|cdn-cache-control|expires|etag|last-modified|content-type|location)$"
)


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def exchange(
    server: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[int, str]:
    """Status and text of the answer. Raises OSError, or ValueError."""
    connection = connect(server)
    try:
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


def ask(proxy: str, request: Request) -> dict[str, Any]:
    """Status and telling fields of the proxy's answer. Raises OSError, or ValueError."""
    connection = connect(proxy)
    try:
        connection.putrequest(request.method.decode(), request.target.decode(), True, True)
        connection.putheader("Host", request.authority.decode() or connection.host)
        for name, value in request.fields.items:
            connection.putheader(name.decode(), value)
        connection.putheader("Connection", "close")
        connection.endheaders()
        response = connection.getresponse()
        fields = [pair for pair in response.getheaders() if _TOLD.search(pair[0].lower())]
        return {"via": proxy, "status": response.status, "fields": fields}
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


def why(error: Exception) -> str:
    """What kept a server from being reached, in words."""
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens there"
    told = error.strerror if isinstance(error, OSError) else None
    return told or str(error) or type(error).__name__


def connect(proxy: str, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
    """A connection, to be made when it is used; *timeout* in seconds. Raises ValueError."""
    if proxy.startswith("unix:"):
        return _Unix(proxy.removeprefix("unix:"), timeout)
    host_and_port = r"(\[[0-9A-Fa-f:.]+\]|[^/:\[\]]+)(?::(\d{1,5}))?/?"
    bare = re.fullmatch(r"[^/:\[\]]*:\d+|\[[0-9A-Fa-f:.]+\]:\d+", proxy)  # as a listener is written
    here = "127.0.0.1" if proxy.startswith(":") else ""
    found = re.fullmatch(rf"(https?)://{host_and_port}", f"http://{here}{proxy}" if bare else proxy)
    if found is None:
        raise ValueError("write http://host:port, or unix:/path")
    kind = http.client.HTTPSConnection if found[1] == "https" else http.client.HTTPConnection
    return kind(found[2].strip("[]"), int(found[3]) if found[3] else None, timeout=timeout)
