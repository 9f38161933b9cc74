"""The configuration as frozen, typed values: what the YAML file came to.

One Struct per mapping of the file, field names as its keys. Every value is parsed: durations
are seconds, sizes are bytes, addresses and URLs are records. This module is the schema:
``config.py`` reads files by these annotations, ``schema.py`` prints them. The second member of
an ``Annotated`` names how a scalar is read (``quantities.py``); ``short`` names the key that is
meant when a scalar stands where a mapping could. In what a rule may say, None means unset:
the value below it holds (``defaults``, then the product's own).
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, ClassVar, Literal

import msgspec

from vary_proxy.configuration.addresses import Address as Address
from vary_proxy.configuration.addresses import OriginUrl as OriginUrl
from vary_proxy.configuration.tracingsettings import Tracing
from vary_proxy.core.policy import CorsMode, OriginHeader, OriginKey, PreflightMode, VaryMode

Duration = Annotated[float, "duration"]
Size = Annotated[int, "size"]
Network = Annotated[IPv4Network | IPv6Network, "network"]
Label = Annotated[str, "label"]
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Tls(_Frozen, frozen=True, kw_only=True):
    cert: str
    key: str


class Listen(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "address"
    address: Annotated[Address, "address"]
    tls: Tls | None = None
    proxy_protocol: bool = False  # every connection begins with a header of it


class Limits(_Frozen, frozen=True, kw_only=True):
    head: Size = 32 * KIB
    line: Size = 16 * KIB  # of a field
    fields: Annotated[int, "positive"] = 100
    target: Size = 8 * KIB
    connections: Annotated[int, "positive"] = 4096
    body: Size = 5 * GIB


class ServerTimeouts(_Frozen, frozen=True, kw_only=True):
    head: Duration = 10.0  # a whole request head
    idle: Duration = 75.0  # between requests
    write: Duration = 60.0  # without progress


class Drain(_Frozen, frozen=True, kw_only=True):
    delay: Duration = 5.0
    timeout: Duration = 20.0


class Server(_Frozen, frozen=True, kw_only=True):
    workers: Annotated[int, "workers"] = 1  # 0: one per CPU ("auto")
    trusted_proxies: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)
    limits: Limits = Limits()
    timeouts: ServerTimeouts = ServerTimeouts()
    drain: Drain = Drain()


class Sign(_Frozen, frozen=True, kw_only=True):
    type: Literal["sigv4"] = "sigv4"
    region: str = "us-east-1"
    credentials: str = "auto"


class OriginTimeouts(_Frozen, frozen=True, kw_only=True):
    connect: Duration = 2.0
    first_byte: Duration = 10.0
    idle: Duration = 30.0


class OriginTls(_Frozen, frozen=True, kw_only=True):
    ca: str | None = None  # None: the system's
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None  # None: the host of the URL
    verify: bool = True


class Retry(_Frozen, frozen=True, kw_only=True):
    attempts: Annotated[int, "positive"] = 2


class Health(_Frozen, frozen=True, kw_only=True):
    path: str
    every: Duration = 5.0
    fail_after: Annotated[int, "positive"] = 3


class HostRule(_Frozen, frozen=True, kw_only=True):
    """What Host says to the origin: ``upstream``, ``preserve``, or ``literal`` with ``value``."""

    mode: Literal["upstream", "preserve", "literal"] = "upstream"
    value: str = ""


class OriginHeaderRule(_Frozen, frozen=True, kw_only=True):
    """What becomes of ``Origin``; ``value`` is what INJECT sends."""

    mode: OriginHeader = OriginHeader.AUTO
    value: str = ""


class Origin(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "urls"
    urls: tuple[Annotated[OriginUrl, "origin_url"], ...]  # ``url`` in the file: the only one
    host: Annotated[HostRule, "host_rule"] = HostRule()
    bucket: str | None = None
    addressing: Literal["path", "virtual"] = "path"
    sign: Sign | None = None
    origin_header: Annotated[OriginHeaderRule, "origin_header"] = OriginHeaderRule()
    timeouts: OriginTimeouts = OriginTimeouts()
    tls: OriginTls = OriginTls()
    retry: Retry | None = None
    health: Health | None = None

    @property
    def url(self) -> OriginUrl:
        return self.urls[0]


class MemoryStore(_Frozen, frozen=True, kw_only=True):
    max: Size = 256 * MIB
    max_object: Size | None = None  # None: a quarter of max in front of nothing, else 1 MiB


class Store(_Frozen, frozen=True, kw_only=True):
    type: Literal["memory", "redis", "aiocache"] = "memory"
    url: Annotated[str, "secret_url"] | None = None
    backend: str | None = None  # dotted path, for aiocache
    options: dict[str, str] = {}
    namespace: str = "vp"
    memory: MemoryStore = MemoryStore()
    max_object: Size = 256 * MIB
    timeout: Duration = 0.25
    on_error: Literal["bypass", "fail"] = "bypass"


class Cors(_Frozen, frozen=True, kw_only=True):
    """One named policy, as written: core.corspolicy judges and compiles it."""

    origins: tuple[Annotated[str, "cors_origin"], ...]
    methods: tuple[str, ...] = ("GET", "HEAD")
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: Duration | None = None
    on_reject: Literal[403, 204] = 403
    timing_allow_origin: tuple[str, ...] | None = None
    resource_policy: Literal["same-origin", "same-site", "cross-origin"] | None = None
    allow_private_network: bool = False
    preflight_cache_control: bool = False


class Match(_Frozen, frozen=True, kw_only=True):
    """All that is given must hold; of a list, one. Values are globs, or ``~`` and a regex."""

    path: tuple[Annotated[str, "path_glob"], ...] = ()
    host: tuple[Annotated[str, "host_glob"], ...] = ()
    methods: tuple[Annotated[str, "method"], ...] = ()
    query: dict[Annotated[str, "glob"], Annotated[str, "glob"]] = {}
    headers: dict[Annotated[str, "name"], Annotated[str, "glob"]] = {}


class VaryRule(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "mode"
    mode: VaryMode | None = None
    headers: tuple[Annotated[str, "name"], ...] | None = None


class CorsRule(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "mode"
    policy: str | None = None
    mode: CorsMode | None = None


class QueryRule(_Frozen, frozen=True, kw_only=True):
    ignore: tuple[Annotated[str, "name_match"], ...] | None = None
    only: tuple[Annotated[str, "name_match"], ...] | None = None
    sort: bool | None = None


class KeyRule(_Frozen, frozen=True, kw_only=True):
    origin: OriginKey | None = None
    query: QueryRule | None = None


class TtlRule(_Frozen, frozen=True, kw_only=True):
    """``whole``: a scalar was written, nothing of the layer below shows through."""

    override: Duration | None = None
    default: Duration | None = None
    statuses: dict[int, Duration] = {}  # 404, or 5 for 5xx
    whole: bool = False


class CacheRule(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "enabled"
    enabled: bool = True  # ``cache: off``; a mapping means on
    ttl: Annotated[TtlRule, "ttl"] | None = None
    stale_while_revalidate: Duration | None = None
    stale_if_error: Duration | None = None
    collapse: bool | None = None
    set_cookie: Literal["store", "default"] | None = None
    request_directives: Literal["honour", "ignore"] | None = None
    heuristic: bool | None = None
    variants: Annotated[int, "positive"] | None = None
    key: KeyRule | None = None


class Defaults(_Frozen, frozen=True, kw_only=True):
    """What lies under every rule."""

    origin: str | None = None
    vary: VaryRule | None = None
    cors: CorsRule | None = None
    preflight: PreflightMode | None = None
    cache: CacheRule | None = None


class Rule(Defaults, frozen=True, kw_only=True):
    name: str | None = None
    match: Match = Match()


class Probes(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "address"
    address: Annotated[Address | None, "address_or_off"] = None  # None: no such listener


class Admin(_Frozen, frozen=True, kw_only=True):
    short: ClassVar[str] = "address"
    address: Annotated[Address | None, "address_or_off"] = None  # None: no such listener
    token: Annotated[str, "secret"] = ""
    dashboard: bool = True
    purge_from: tuple[Network, ...] = ()  # whose PURGE on the traffic port is obeyed


class Log(_Frozen, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "logfmt", "combined", "pretty"] = "json"
    access: Annotated[str, "access"] = "stdout"  # off | stdout | a path


class Settings(_Frozen, frozen=True, kw_only=True):
    version: Literal[1] = 1
    listen: tuple[Listen, ...] = (Listen(address=Address(host="0.0.0.0", port=8080)),)  # noqa: S104  meant
    server: Server = Server()
    origins: dict[Label, Origin] = {}
    store: Store = Store()
    cors: dict[Label, Cors] = {}
    defaults: Defaults = Defaults()
    rules: tuple[Rule, ...] = ()
    probes: Probes = Probes()
    admin: Admin = Admin()
    log: Log = Log()
    tracing: Tracing = Tracing()
