"""Servers that mean no good, or do none: on a free loopback port, in a thread."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(
    answer: Answer, context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server whose every request *answer* answers; yields its URL, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # flushed once the answer is whole

        def handle_any(self) -> None:
            fields = "".join(f"\n{name}: {value}" for name, value in self.headers.items())
            asked.append(f"{self.command} {self.path}{fields}")
            answer(self)

        do_GET = do_HEAD = do_OPTIONS = do_PUT = do_DELETE = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False  # some of the answers here never end
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def replying(status: int = 200, body: bytes = b"x", **fields: str) -> Answer:
    """The same answer to everything; ``cache_control="…"`` is a field of that name."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in fields.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer
