"""The origin, the proxy and its peers: configured alike, on loopback.

The origin is nginx with three files. Each server caches what it may, has one worker (Varnish:
its threads) on one core, and no access log but where one is asked for.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process
from bench.scenarios import ORIGINS
from tests.ports import free_port

SERVER_CORE, LOAD_CORE = 0, 1
FILES = {"1k": 1024, "64k": 64 * 1024, "1m": 1024 * 1024}
SITES = [f"https://site-{number + 1}.sites.example" for number in range(ORIGINS)]

_NGINX = """
worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 75s; default_type image/png;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  {http}
  server {{ listen 127.0.0.1:{port} backlog=1024; {server} }}
}}
"""
_ORIGIN = """
  root {dir}/files; etag on; open_file_cache max=100;
  location /1k/ {{ include {dir}/open; include {dir}/fresh; try_files /1k =404; }}
  location /64k/ {{ include {dir}/open; include {dir}/fresh; try_files /64k =404; }}
  location /1m/ {{ include {dir}/open; include {dir}/fresh; try_files /1m =404; }}
  location /cors/ {{ include {dir}/fresh; try_files /1k =404; }}
  location /many/ {{ include {dir}/fresh; try_files /1k =404; }}
  location /pass/ {{ include {dir}/open; add_header Cache-Control no-store; try_files /1k =404; }}
  location /status {{ stub_status; }}
"""
_CACHE = """
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}
  proxy_cache_path {dir}/cache levels=1:2 keys_zone=cache:64m max_size=2g inactive=1h;
  map $http_origin $allowed {{ default ""; ~^https://site-[0-9]+\\.sites\\.example$ $http_origin; }}
  log_format json escape=json '{{"time":"$time_iso8601","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","path":"$request_uri","status":$status,'
    '"bytes":$body_bytes_sent,"seconds":$request_time,"cache":"$upstream_cache_status",'
    '"id":"$request_id"}}';
"""
_PROXY_PASS = """
  access_log {access};
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_cache cache; proxy_cache_key $host$request_uri;
  location / {{ proxy_pass http://origin; }}
  location /cors/ {{
    if ($request_method = OPTIONS) {{
      add_header Access-Control-Allow-Origin $allowed;
      add_header Access-Control-Allow-Credentials true;
      add_header Access-Control-Allow-Methods "GET, HEAD, PUT";
      add_header Access-Control-Allow-Headers "content-type,x-amz-date";
      add_header Access-Control-Max-Age 7200;
      add_header Vary "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
      return 204;
    }}
    add_header Access-Control-Allow-Origin $allowed;
    add_header Access-Control-Allow-Credentials true;
    add_header Vary Origin;
    proxy_pass http://origin;
  }}
  location /many/ {{
    add_header Access-Control-Allow-Origin $allowed;
    add_header Access-Control-Allow-Credentials true;
    add_header Vary Origin;
    proxy_pass http://origin;
  }}
"""
_VCL = """vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "%d"; }
sub vcl_recv {
  unset req.http.Cookie;
  if (req.method == "OPTIONS" && req.url ~ "^/cors/") { return (synth(204)); }
}
sub allow {
  if (req.http.Origin ~ "^https://site-[0-9]+\\.sites\\.example$") {
    set resp.http.Access-Control-Allow-Origin = req.http.Origin;
    set resp.http.Access-Control-Allow-Credentials = "true";
  }
}
sub vcl_synth {
  if (resp.status == 204) {
    call allow;
    set resp.http.Access-Control-Allow-Methods = "GET, HEAD, PUT";
    set resp.http.Access-Control-Allow-Headers = "content-type,x-amz-date";
    set resp.http.Access-Control-Max-Age = "7200";
    set resp.http.Vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    return (deliver);
  }
}
sub vcl_deliver {
  if (req.url ~ "^/(cors|many)/") { call allow; set resp.http.Vary = "Origin"; }
}
"""
_RULES = """version: 1
listen: [{{address: "127.0.0.1:{port}"}}]
origins: {{site: {{url: "http://127.0.0.1:{origin}"}}}}
store: {{memory: {{max: 2GiB, max_object: 4MiB}}}}
cors:
  sites:
    origins: [{sites}]
    methods: [GET, HEAD, PUT]
    headers: [Content-Type, X-Amz-Date]
    credentials: true
    max_age: 2h
  many:
    origins: ['~https://site-[0-9]+\\.sites\\.example']
    credentials: true
rules:
  - {{name: many, match: {{path: "/many/**"}}, cors: {{policy: many, mode: override}}}}
  - {{name: edge, match: {{path: "/cors/**"}}, cors: {{policy: sites, mode: override}},
     preflight: synthesize}}
log: {{format: json, access: {access}}}
"""


@dataclass(frozen=True)
class Place:
    """Where a server lives: its directory, its port, and its origin's (0: it is the origin)."""

    dir: Path
    port: int
    origin: int = 0


def origin(place: Place) -> Process:
    files = place.dir / "files"
    files.mkdir()
    (place.dir / "fresh").write_text("add_header Cache-Control max-age=86400;")
    (place.dir / "open").write_text('add_header Access-Control-Allow-Origin "*";')
    for name, size in FILES.items():
        (files / name).write_bytes(bytes(range(256)) * (size // 256))
    return _nginx("origin", place, "", _ORIGIN.format(dir=place.dir), LOAD_CORE)


def nginx(place: Place, *, logged: bool = False) -> Process:
    access = f"{place.dir}/access.log json buffer=64k flush=1s" if logged else "off"
    http = _CACHE.format(dir=place.dir, origin=place.origin)
    return _nginx("nginx", place, http, _PROXY_PASS.format(access=access), SERVER_CORE)


def _nginx(name: str, place: Place, http: str, server: str, core: int) -> Process:
    path = place.dir / "nginx.conf"
    path.write_text(_NGINX.format(dir=place.dir, port=place.port, http=http, server=server))
    # Workers keep our user, so that they may read and write what belongs to us.
    command = [program("nginx", "nginx-light"), "-c", str(path), "-g", as_us()]
    return Process(name, command, place.port, core, place.dir / "out.log")


def as_us() -> str:
    import getpass
    import os

    return f"user {getpass.getuser()};" if os.geteuid() == 0 else ""


def varnish(place: Place) -> Process:
    path = place.dir / "bench.vcl"
    path.write_text(_VCL % place.origin)
    command = [program("varnishd", "varnish"), "-F", "-a", f"127.0.0.1:{place.port}"]
    command += ["-f", str(path), "-n", str(place.dir), "-s", "malloc,2g", "-T", "none"]
    command += ["-p", "nuke_limit=10000"]  # small objects to be evicted for a large one
    return Process("varnish", command, place.port, SERVER_CORE, place.dir / "out.log")


def proxy(place: Place, *, logged: bool = False) -> Process:
    path = place.dir / "rules.yaml"
    access = f'"{place.dir}/access.log"' if logged else "off"
    sites = ", ".join(f'"{site}"' for site in SITES)
    path.write_text(_RULES.format(port=place.port, origin=place.origin, sites=sites, access=access))
    command = [sys.executable, "-m", "vary_proxy", "run", "-c", str(path)]
    return Process("vary-proxy", command, place.port, SERVER_CORE, place.dir / "out.log")


STARTERS: dict[str, Callable[..., Process]] = {
    "vary-proxy": proxy,
    "nginx": nginx,
    "varnish": varnish,
}


def start(name: str, base: Path, origin_port: int, *, logged: bool = False) -> Process:
    """The server *name*, in a directory of its own under *base*."""
    home = base / (name + ("-logged" if logged else ""))
    home.mkdir()
    home.chmod(0o755)
    place = Place(home, free_port(), origin_port)
    return STARTERS[name](place, logged=True) if logged else STARTERS[name](place)


def program(name: str, package: str) -> str:
    """The path of a program. Raises SystemExit with the way to get it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{name} is not here; on Debian: apt-get install {package}")
    return found
