"""One nginx with a healthy site and one for each thing that can be wrong, each under its path.

A site is what is set in its ``location``: the fields of HEALTHY, with those changed that make
the fault. What a fault brings along is listed with it, so that each site's findings are known
to the last.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_ports
from tests.real.servers import child

A, B = "https://a.example", "https://b.example"

HEALTHY = {
    "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    "Access-Control-Allow-Origin": "$listed",
    "Access-Control-Allow-Methods": "$methods",
    "Access-Control-Allow-Headers": "$headers",
    "Access-Control-Max-Age": "$max_age",
    "Cache-Control": "public, max-age=3600",
}
ALL_STATUSES, SUCCESSES = "always", ""


@dataclass(frozen=True)
class Site:
    """``fields`` over those of HEALTHY; "" leaves one out. ``also``: findings that come along."""

    fields: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    twice: tuple[tuple[str, str], ...] = ()  # further lines of a field
    statuses: str = ALL_STATUSES
    preflight: str = "204"
    more: str = ""  # further directives

    def directives(self) -> str:
        lines = [*(HEALTHY | self.fields).items(), *self.twice]
        added = [f"add_header {name} '{value}' {self.statuses};" for name, value in lines if value]
        answer = f"if ($request_method = OPTIONS) {{ return {self.preflight}; }}"
        return "\n".join([*added, answer if self.preflight else "", self.more])


ACAO, ACAC = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"
SITES = {
    "healthy": Site(),
    "healthy-star": Site({"Vary": "", ACAO: "*"}),
    "healthy-no-store": Site({"Cache-Control": "no-store"}, more="etag off;"),
    "healthy-long": Site({"Access-Control-Max-Age": "86400"}),
    "healthy-private": Site(
        {"Vary": f"{HEALTHY['Vary']}, Cookie", "Cache-Control": "private, max-age=60"}
    ),
    "healthy-credentials": Site({ACAC: "$listed_true"}),
    "CV001": Site({"Vary": "$vary_if_asked"}),
    "CV002": Site({"Vary": "$vary_unless_stranger"}, also=("CV014",)),
    "CV003": Site({"Vary": ""}, also=("CV014",)),
    "CV003-blind": Site({"Vary": ""}, also=("CV014",)),  # its cache keys on the path alone
    "CV003-no-store": Site({"Vary": "", "Cache-Control": "no-store"}, also=("CV014",)),
    "CV004": Site({"Vary": "", ACAO: "$star_if_asked"}),
    "CV005": Site({ACAO: "$listed_but_304"}),
    "CV006": Site({"Vary": "$vary_but_304"}),
    "CV006-another": Site({ACAO: "$listed_or_b_on_304"}),
    "CV007": Site({"Content-Language": "$language_of_304"}),
    "CV008": Site(statuses=SUCCESSES),
    "CV008-head": Site({ACAO: "$listed_but_head"}),
    "CV008-part": Site({"Vary": "$vary_but_206"}),
    "CV009": Site({ACAO: "", "Vary": ""}, preflight="", more="return 302 /healthy/cat.txt;"),
    "CV010": Site({"Vary": "$vary_overwritten"}),
    "CV011": Site({ACAO: "*"}),
    "CV012": Site({"Vary": "*"}),
    "CV012-unreadable": Site({"Vary": "Origin; Accept"}),
    "CV013": Site(twice=(("Vary", "Accept-Encoding"),)),
    "CV014": Site({"Vary": "Origin", "Access-Control-Allow-Headers": "$asked_headers"}),
    "CV015": Site({"Vary": f"{HEALTHY['Vary']}, User-Agent, Cookie"}),
    "CO101": Site({ACAO: "$http_origin", ACAC: "true"}, also=("CO102", "CO110")),
    "CO102": Site({ACAO: "$listed_or_null", ACAC: "$listed_or_null_true"}),
    "CO103": Site({ACAO: "$listed_or_null"}),
    "CO104": Site({ACAO: "$alike"}),
    "CO105": Site({ACAO: "*", ACAC: "true", "Vary": ""}),
    "CO106": Site(twice=((ACAO, "$listed"),)),
    "CO107": Site({ACAO: "https://a.example/", "Vary": ""}),
    "CO108": Site({ACAC: "$listed_true", "Access-Control-Expose-Headers": "*"}),
    "CO109": Site({ACAO: "*", "Vary": "", "Access-Control-Allow-Headers": "*"}),
    "CO110": Site({ACAC: "true"}),
    "CO111": Site(more="if ($stranger) { return 403; }"),
    "CO111-content": Site(more="if ($http_origin) { return 200 tailored; }"),
    "CO112": Site({ACAO: "https://c.example", "Vary": ""}),
    "CO112-one": Site({ACAO: "$listed_but_b"}),
    "PF201": Site(preflight=""),
    "PF201-silent": Site({ACAO: "$listed_but_options"}),
    "PF202": Site({"Access-Control-Max-Age": ""}),
    "PF203": Site({"Access-Control-Max-Age": "an hour"}),
    "PF204": Site(preflight="401", also=("PF201",)),
    "PF205": Site({"Cache-Control": "$cache_but_options"}),
    "PF206": Site({"Access-Control-Allow-Private-Network": "$private_network"}),
    "CA301": Site(more="etag off;"),
    "CA301-weak": Site({"ETag": 'W/"1"'}, more="etag off;"),
    "CA302": Site({"ETag": '"1-$http_origin"'}, more="etag off;"),
    "CA303": Site({name: "" for name in HEALTHY if name != "Cache-Control"}, also=("CO112",)),
    # Copied from page to page: add_header within if drops what stands around it.
    "recipe": Site(
        dict.fromkeys(HEALTHY, "") | {"Vary": "Origin", ACAO: "$http_origin"},
        also=("CV014", "PF202", "PF205"),
        preflight="",
        more="""if ($request_method = OPTIONS) {
            add_header Access-Control-Allow-Origin $http_origin;
            add_header Access-Control-Allow-Methods 'GET, OPTIONS';
            return 204;
        }""",
    ),
    "SEC401": Site({"Timing-Allow-Origin": "$http_origin"}),
    "SEC402": Site({"Cross-Origin-Resource-Policy": "same-site"}),
}

_MAPS = """
map $http_origin $listed { default ''; https://a.example $http_origin; https://b.example
  $http_origin; }
map $http_origin $listed_but_b { default $listed; https://b.example ''; }
map $listed $listed_true { default true; '' ''; }
map $http_origin $stranger { default 1; '' ''; https://a.example ''; https://b.example ''; }
map $http_origin $vary_if_asked { default 'VARY'; '' ''; }
map $stranger $vary_unless_stranger { default ''; '' 'VARY'; }
map $http_origin $star_if_asked { default '*'; '' ''; }
map $status $listed_but_304 { default $listed; 304 ''; }
map $status $listed_or_b_on_304 { default $listed; 304 https://b.example; }
map $request_method $listed_but_head { default $listed; HEAD ''; }
map $request_method $listed_but_options { default $listed; OPTIONS ''; }
map $http_range $vary_but_206 { default 'VARY'; bytes=0-0 ''; }
map $status $vary_but_304 { default 'VARY'; 304 ''; }
map $status $language_of_304 { default ''; 304 'de'; }
map $http_origin $vary_overwritten { default 'VARY'; '' 'VARY, Accept-Encoding'; }
map $http_origin $listed_or_null { default $listed; 'null' 'null'; }
map $listed_or_null $listed_or_null_true { default true; '' ''; }
map $http_origin $alike { default ''; '~^https?://.*a.example' $http_origin;
  https://b.example $http_origin; }
map $http_access_control_request_private_network $private_network { default ''; true true; }
map $uri $cached_by { default $request_method$uri$is_args$args;
  ~^/CV003-blind $request_method$uri; }
map $request_method $methods { default ''; OPTIONS 'GET, HEAD, PUT'; }
map $request_method $headers { default ''; OPTIONS 'Authorization, Content-Type'; }
map $request_method $max_age { default ''; OPTIONS '7200'; }
map $request_method $asked_headers { default ''; OPTIONS $http_access_control_request_headers; }
map $request_method $cache_but_options { default 'public, max-age=3600'; OPTIONS ''; }
""".replace("VARY", HEALTHY["Vary"])

_CONFIG = """
daemon off; {user} pid {directory}/nginx.pid; error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off; default_type text/plain;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  proxy_cache_path {directory}/cache keys_zone=all:1m;
  {maps}
  server {{ listen 127.0.0.1:{port}; root {directory}/site; {locations} }}
  server {{
    listen 127.0.0.1:{cached};
    location / {{
      proxy_pass http://127.0.0.1:{port}; proxy_cache all; proxy_cache_valid 200 1h;
      proxy_cache_key $cached_by;
      add_header X-Cache-Status $upstream_cache_status;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """``url`` of the sites; ``cached`` of the same behind a cache without care."""

    url: str
    cached: str

    def site(self, name: str) -> str:
        return f"{self.url}/{name}/cat.txt"


@contextmanager
def running(directory: Path) -> Iterator[Nginx]:
    """nginx with all SITES, until the block ends."""
    port, cached = free_ports(2)
    for name in SITES:
        (directory / "site" / name).mkdir(parents=True)
        (directory / "site" / name / "cat.txt").write_text("the same for everybody\n")
    locations = "\n".join(
        f"location /{name}/ {{\n{site.directives()}\n}}" for name, site in SITES.items()
    )
    # As root it would read the files as nobody, who may not enter our directory.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            directory=directory,
            user=user,
            maps=_MAPS,
            port=port,
            cached=cached,
            locations=locations,
        )
    )
    url = f"http://127.0.0.1:{port}"
    with child(["nginx", "-p", directory, "-c", config], directory / "log", url) as _:
        yield Nginx(url, f"http://127.0.0.1:{cached}")
