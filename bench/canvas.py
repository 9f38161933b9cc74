"""The story of the README, told to the proxy and its peers: a picture, then the same with CORS.

An origin answers as Amazon S3 does: CORS fields and Vary to a site that it allows, neither to
anybody else. Each cache stands before it in the plainest configuration that caches; nginx and
Varnish a second time, with the lines that their users are told to write. Then it is asked on
real sockets, and what it answers is the table.

    python -m bench.canvas

nginx and Varnish have to be there; Apache httpd and Squid are asked where they are.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.processes import Process
from bench.servers import LOAD_CORE, Place, as_us, program
from tests.ports import free_port

A, STRANGER = "https://app.example", "https://stranger.example"
ETAG = '"picture"'
ALLOWED = "access-control-allow-origin"


class _Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fresh = self.headers.get("If-None-Match") == ETAG
        self.send_response(304 if fresh else 200)
        self.send_header("ETag", ETAG)
        self.send_header("Cache-Control", "public, max-age=3600")
        if self.headers.get("Origin") == A:
            self.send_header("Access-Control-Allow-Origin", A)
            for name in ("Origin", "Headers", "Method"):
                asked = name if name == "Origin" else f"Access-Control-Request-{name}"
                self.send_header("Vary", asked)
        if not fresh:
            self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"" if fresh else b"picture")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def bucket() -> Iterator[int]:
    """The port of an origin that answers as S3 does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


_NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ }}
http {{
  access_log off; proxy_cache_path {dir}/cache keys_zone=cache:1m;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://127.0.0.1:{origin}; proxy_cache cache; {more}
  }} }}
}}
"""
_VCL = 'vcl 4.1; backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }} {more}'
_TOLD_VARNISH = """
sub vcl_backend_response { if (beresp.http.Vary !~ "(?i)origin") {
  if (beresp.http.Vary) { set beresp.http.Vary = beresp.http.Vary + ", Origin"; }
  else { set beresp.http.Vary = "Origin"; } } }
"""
_TOLD_NGINX = "proxy_cache_key $uri$is_args$args$http_origin; add_header Vary Origin always;"
_HTTPD = """
ServerRoot {dir}
PidFile {dir}/pid
ErrorLog {dir}/error.log
Listen 127.0.0.1:{port}
ServerName localhost
{modules}
ProxyPass / http://127.0.0.1:{origin}/
CacheRoot {dir}
CacheEnable disk /
"""
_SQUID = """
http_port 127.0.0.1:{port} accel defaultsite=bucket no-vhost
cache_peer 127.0.0.1 parent {origin} 0 no-query originserver
http_access allow all
memory_cache_shared off
pid_filename {dir}/pid
access_log none
cache_log {dir}/cache.log
coredump_dir {dir}
pinger_enable off
shutdown_lifetime 0 seconds
"""


def nginx(place: Place, more: str = "") -> list[str]:
    text = _NGINX.format(dir=place.dir, port=place.port, origin=place.origin, more=more)
    return [program("nginx", "nginx-light"), "-c", _written(place, text), "-g", as_us()]


def varnish(place: Place, more: str = "") -> list[str]:
    path = _written(place, _VCL.format(origin=place.origin, more=more))
    command = [program("varnishd", "varnish"), "-F", "-a", f"127.0.0.1:{place.port}"]
    return [*command, "-f", path, "-n", str(place.dir), "-T", "none"]


def httpd(place: Place) -> list[str]:
    names = ("mpm_event", "authz_core", "proxy", "proxy_http", "cache", "cache_disk")
    home = "/usr/lib/apache2/modules"
    modules = "\n".join(f"LoadModule {one}_module {home}/mod_{one}.so" for one in names)
    text = _HTTPD.format(dir=place.dir, port=place.port, origin=place.origin, modules=modules)
    return [program("apache2", "apache2-bin"), "-X", "-f", _written(place, text)]


def squid(place: Place) -> list[str]:
    text = _SQUID.format(dir=place.dir, port=place.port, origin=place.origin)
    return [
        program("squid", "squid"),
        "-N",
        "-n",
        f"canvas{place.port}",
        "-f",
        _written(place, text),
    ]


def proxy(place: Place) -> list[str]:
    command = [sys.executable, "-m", "vary_proxy", "run", "--set", "log.access=off"]
    command += ["--origin", f"http://127.0.0.1:{place.origin}"]
    return [*command, "--listen", f"127.0.0.1:{place.port}"]


def _written(place: Place, text: str) -> str:
    path = place.dir / "configuration"
    path.write_text(text)
    return str(path)


CACHES: dict[str, Callable[[Place], list[str]]] = {
    "**vary-proxy**, `run --origin`": proxy,
    "nginx, `proxy_cache`": nginx,
    "Varnish, its own VCL": varnish,
    "Apache httpd, `CacheEnable`": httpd,
    "Squid, accelerator": squid,
    "nginx with `Origin` in key and Vary": lambda place: nginx(place, _TOLD_NGINX),
    "Varnish with Vary in VCL": lambda place: varnish(place, _TOLD_VARNISH),
}
_OPTIONAL = {"Apache httpd, `CacheEnable`": "apache2", "Squid, accelerator": "squid"}


@dataclass(frozen=True)
class Story:
    """What a cache made of it: True is right."""

    told: bool  # the plain picture says Vary: Origin, to the browser's cache
    drawn: bool  # the canvas that follows is allowed
    unharmed: bool  # so it is when a stranger asked first
    still: bool  # and by a 304


def story(port: int) -> Story:
    plain = _ask(port, "/one")
    drawn = _ask(port, "/one", Origin=A)
    _ask(port, "/two", Origin=STRANGER)
    unharmed = _ask(port, "/two", Origin=A)
    still = _ask(port, "/two", Origin=A, **{"If-None-Match": ETAG})
    names = {one.strip().lower() for one in plain.get("vary", "").split(",")}
    return Story("origin" in names, *(one.get(ALLOWED) == A for one in (drawn, unharmed, still)))


def _ask(port: int, path: str, **fields: str) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        answer.read()
        said: dict[str, str] = {}
        for name, value in answer.getheaders():
            key = name.lower()
            said[key] = f"{said[key]}, {value}" if key in said else value
        return said
    finally:
        connection.close()


def told(name: str, origin: int) -> Story:
    """The story of the cache *name* before the origin at that port."""
    with tempfile.TemporaryDirectory() as home:
        place = Place(Path(home), free_port(), origin)
        place.dir.chmod(0o777)
        command = CACHES[name](place)
        with Process(name, command, place.port, LOAD_CORE, place.dir / "out.log"):
            return story(place.port)


def main() -> None:
    print("| cache | `<img>` says Vary | then canvas | after a stranger | 304 |")
    print("|---|---|---|---|---|")
    with bucket() as origin:
        for name in CACHES:
            needed = _OPTIONAL.get(name)
            if needed is not None and shutil.which(needed, path="/usr/sbin:/usr/bin") is None:
                continue
            found = told(name, origin)
            cells = (found.told, found.drawn, found.unharmed, found.still)
            print(f"| {name} | {' | '.join('yes' if one else '**no**' for one in cells)} |")


if __name__ == "__main__":
    main()
