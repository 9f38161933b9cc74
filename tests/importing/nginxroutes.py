"""Where nginx itself sends a request, by the ``server`` and ``location`` blocks of an Ingress.

They are written as ingress-nginx writes them: a server for each host, ``=`` for an Exact path,
for a Prefix that and the same with a slash, the path alone for what is left to the controller;
all of a host are expressions without case where one Ingress of it asks for such (*loose*).
"""

from __future__ import annotations

import http.client
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.real.servers import child

Route = tuple[str, str, str, str]  # host, path, type, service

_CONFIG = """
daemon off; {user} pid {directory}/nginx.pid; error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {servers}
}}
"""


def _locations(path: str, kind: str) -> list[str]:
    if kind == "Exact":
        return [f"= {path}"]
    if kind == "Prefix" and path != "/":
        return [f"= {path}", f"{path}/"]
    return [path]


def _server(host: str, routes: list[Route], port: int, *, loose: bool) -> str:
    blocks: dict[str, str] = {}
    for _, path, kind, service in sorted(routes, key=lambda one: -len(one[1])):
        for location in _locations(path, kind):
            key = f'~* "^{location.removeprefix("= ")}"' if loose else location
            blocks.setdefault(key, service)
    blocks.setdefault("/", "nobody")
    listed = "\n".join(f'location {key} {{ return 200 "{one}"; }}' for key, one in blocks.items())
    name = f"server_name {host};" if host else ""
    default = "" if host else " default_server"
    return f"server {{ listen 127.0.0.1:{port}{default}; {name}\n{listed}\n}}"


@contextmanager
def routed(
    directory: Path, routes: list[Route], loose: str | None = None
) -> Iterator[Callable[[str, str], str]]:
    """Yields what says the service that a host and a path reach; ``nobody`` for none."""
    port = free_port()
    hosts = dict.fromkeys([*(host for host, *_ in routes), ""])
    servers = [
        _server(host, [one for one in routes if one[0] == host], port, loose=host == loose)
        for host in hosts
    ]
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, user=user, servers="\n".join(servers)))

    def ask(host: str, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    args: list[str | Path] = ["nginx", "-p", directory, "-c", config]
    with child(args, directory / "log", f"http://127.0.0.1:{port}"):
        yield ask
