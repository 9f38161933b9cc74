"""What the Python programs serve, read from ``site.json``, and how they serve it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

SITE: dict[str, Any] = json.loads((Path(__file__).parent / "site.json").read_text())
NAMES: list[str] = [*SITE["answers"], "crash"]
WRITTEN = 204  # the status of PUT and POST


@dataclass(frozen=True)
class Policy:
    """``origins`` is a list, or ``*``; the rest is the same for both."""

    origins: list[str] | str
    credentials: bool
    methods: tuple[str, ...] = tuple(SITE["methods"])
    headers: tuple[str, ...] = tuple(SITE["headers"])
    expose: tuple[str, ...] = tuple(SITE["expose"])
    max_age: int = SITE["max_age"]

    @property
    def listed(self) -> list[str]:
        """The origins as a list also when that is ``*``."""
        return [self.origins] if isinstance(self.origins, str) else self.origins


POLICIES = {name: Policy(**said) for name, said in SITE["policies"].items()}


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


def representation(name: str) -> Answer:
    """What GET of *name* gives when no condition is asked. Raises for ``crash``."""
    if name == "crash":
        raise RuntimeError("this handler always fails")
    said = SITE["answers"][name]
    fields = {"Content-Type": "text/plain", **said["fields"]}
    if said["status"] == 200:
        fields |= {"ETag": SITE["etag"], "Last-Modified": SITE["last_modified"]}
    return Answer(said["status"], fields, SITE["body"].encode())


def answer(name: str, method: str, asked: Mapping[str, str]) -> Answer:
    """The answer for frameworks that leave PUT, POST and conditions to the application.

    *asked* are the request's fields, found by lower-case names. RFC 9110 §13.2.2
    """
    if method not in ("GET", "HEAD"):
        return Answer(WRITTEN, {}, b"")
    whole = representation(name)
    if whole.status != 200 or not _matches(asked):
        return whole
    fields = {key: value for key, value in whole.fields.items() if key != "Content-Type"}
    return Answer(304, fields, b"")


def _matches(asked: Mapping[str, str]) -> bool:
    tags = asked.get("if-none-match")
    if tags is not None:
        return tags == "*" or SITE["etag"] in [tag.strip() for tag in tags.split(",")]
    return asked.get("if-modified-since") == str(SITE["last_modified"])


def serve_asgi(make: Callable[[Policy], Any]) -> None:
    """Serve the ASGI applications that *make* gives for the policies asked for."""
    sockets = {name: _listening() for name in sys.argv[1:]}

    async def serve() -> None:
        servers = []
        for name, listening in sockets.items():
            config = uvicorn.Config(make(POLICIES[name]), log_level="critical", lifespan="off")
            servers.append(uvicorn.Server(config).serve(sockets=[listening]))
        announce({name: one.getsockname()[1] for name, one in sockets.items()})
        await asyncio.gather(*servers)

    asyncio.run(serve())


def _listening() -> socket.socket:
    # Of the TCP protocol by name: else asyncio leaves Nagle's algorithm on, and answers late.
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    one.bind(("127.0.0.1", 0))
    one.listen(128)
    return one


def serve_wsgi(make: Callable[[Policy], Any]) -> None:
    """Serve the WSGI applications that *make* gives for the policies asked for."""
    servers = {
        name: make_server(
            "127.0.0.1", 0, make(POLICIES[name]), threaded=True, request_handler=_Quiet
        )
        for name in sys.argv[1:]
    }
    announce({name: server.port for name, server in servers.items()})
    threads = [threading.Thread(target=one.serve_forever) for one in servers.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections, as a server in production does

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def announce(ports: dict[str, int]) -> None:
    """Say where the program listens, and end it when nobody holds its input open any more."""
    print(json.dumps(ports), flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
