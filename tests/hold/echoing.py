"""An application that says what it saw, behind each server that Python programs are run by.

    python -m tests.hold.echoing uvicorn-h11|uvicorn-httptools|gunicorn|…  PORT

The answer to every request has a field that numbers it and holds its method, target and body, so
that a request nobody sent leaves a gap, and one that swallowed another shows it.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterable
from typing import Any

from aiohttp import web

FIELD = "X-Saw"
_numbers = itertools.count()


def saw(method: str, target: bytes, body: bytes) -> str:
    words = (method.encode("latin-1").hex(), target.hex(), body.hex())
    return " ".join((str(next(_numbers)), *(word or "-" for word in words)))


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":  # the rest never came: nothing whole was seen
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    shown = saw(scope["method"], target, body)
    fields = [(FIELD.lower().encode(), shown.encode()), (b"cache-control", b"no-store")]
    fields.append((b"content-length", b"2"))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    target = environ["RAW_URI"]
    chunked = environ.get("HTTP_TRANSFER_ENCODING")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(*(() if chunked else (length,)))
    shown = saw(environ["REQUEST_METHOD"], target.encode("latin-1"), body)
    fields = [(FIELD, shown), ("Cache-Control", "no-store"), ("Content-Length", "2")]
    start_response("200 OK", fields)
    return [b"ok"]


async def _on_aiohttp(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    target = request.raw_path.encode("utf-8", "surrogateescape")
    fields = {FIELD: saw(request.method, target, body), "Cache-Control": "no-store"}
    return web.Response(text="ok", headers=fields)


async def aiohttp(port: int) -> None:
    runner = web.ServerRunner(web.Server(_on_aiohttp))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main(name: str, port: int) -> None:
    if name.startswith("uvicorn-"):
        import uvicorn

        http: Any = name.removeprefix("uvicorn-")
        uvicorn.run(asgi, port=port, http=http, log_level="critical", lifespan="off", ws="none")
    elif name == "werkzeug":
        from werkzeug.serving import WSGIRequestHandler, run_simple

        WSGIRequestHandler.protocol_version = "HTTP/1.1"  # keeps connections
        run_simple("127.0.0.1", port, wsgi, threaded=True)
    elif name == "aiohttp":
        asyncio.run(aiohttp(port))
    else:
        from gunicorn.app.wsgiapp import run

        kind = name.partition("-")[2] or "sync"
        options = ["-k", kind, "-w", "1", "-b", f"127.0.0.1:{port}", "--log-level", "critical"]
        sys.argv = ["gunicorn", *options, "--no-control-socket", f"{__spec__.name}:wsgi"]
        run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
