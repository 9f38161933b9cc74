"""What is wrong with settings whose every value could be read: contradictions, and promises
that could not be kept. Each check gives all it finds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address

from vary_proxy.configuration.compiling import is_catch_all, rule_name
from vary_proxy.configuration.idle import idle
from vary_proxy.configuration.layering import effective, layers
from vary_proxy.configuration.problems import Problem, alternatives, one_of, shown
from vary_proxy.configuration.settings import Address, Defaults, Limits, Origin, OriginTls, Settings
from vary_proxy.core.corsorigins import PolicyError, dotted
from vary_proxy.core.corspolicy import CorsPolicy, compile_policy
from vary_proxy.core.policy import CorsMode, OriginKey, PreflightMode

Places = Mapping[str, str]
_MOST_VARIANTS = 1024  # as many as the index of a resource lists (store/codec.py)
_OURS = (CorsMode.FILL, CorsMode.OVERRIDE)


def check(settings: Settings, places: Places, unread: Collection[str]) -> list[Problem]:
    """Every contradiction in *settings*, but for those within CORS policies.

    *unread* are the paths at which something could not be read: what only follows from that
    is left out.
    """
    touched = {outer for one in unread for outer in _around(one)}
    found = (
        *_origins(settings, places),
        *_listeners(settings),
        *_store(settings, places),
        *_sizes(settings),
        *_rules(settings),
    )
    return [
        Problem(place(places, path), path, what, remedy)
        for path, what, remedy in found
        if path not in touched
    ]


def _around(path: str) -> Iterator[str]:
    """*path*, and the path of everything that it lies in."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def place(places: Places, path: str) -> str:
    """Where *path* stood, or the nearest thing around it."""
    return next((places[one] for one in _around(path) if one in places), places.get("", ""))


Finding = tuple[str, str, str]


def cautions(settings: Settings, places: Places) -> tuple[str, ...]:
    """What is allowed, and most likely not meant."""
    found = [*_unused(settings, places), *_all_buckets(settings, places)]
    found += _tls_cautions(settings, places)
    found += [Problem(place(places, path), path, *told) for path, *told in idle(settings, places)]
    for path, layer in layers(settings):
        whole = effective(settings, layer)
        asks_origin = whole.preflight in (PreflightMode.FORWARD, PreflightMode.CACHE)
        if whole.cors and whole.cors.mode is CorsMode.OVERRIDE and asks_origin:
            where = f"{path}.preflight"
            what = "preflights go to the origin, which is not shown what they ask under override"
            remedy = "write preflight: synthesize"
            found.append(Problem(place(places, where), where, what, remedy))
    return tuple(map(str, found))


def _all_buckets(settings: Settings, places: Places) -> Iterator[Problem]:
    for name, origin in settings.origins.items():
        if origin.sign is not None and origin.bucket is None:
            path = f"origins.{name}.sign"
            what = "unless the url names one bucket, all that the credentials may read is public"
            yield Problem(place(places, path), path, what, "add bucket: NAME")


def _tls_cautions(settings: Settings, places: Places) -> Iterator[Problem]:
    for name, origin in settings.origins.items():
        path = f"origins.{name}.tls"
        secure = any(url.scheme == "https" for url in origin.urls)
        if path in places and not secure:
            what, remedy = "has no meaning for http", "write https:// in the url, or leave tls out"
            yield Problem(place(places, path), path, what, remedy)
        elif not origin.tls.verify:
            path += ".verify"
            what = "anybody on the way can pose as the origin"
            yield Problem(place(places, path), path, what, "give its authority as ca: FILE")


def _unused(settings: Settings, places: Places) -> Iterator[Problem]:
    whole = [effective(settings, layer) for _, layer in layers(settings)]
    asked = {one.origin for one in whole}
    spoken = {one.cors.policy for one in whole if one.cors is not None}
    for path, names, used in (
        ("origins", settings.origins, asked),
        ("cors", settings.cors, spoken),
    ):
        for name in names:
            if name not in used:
                here = f"{path}.{name}"
                yield Problem(place(places, here), here, "no rule uses it", "use it, or remove it")


def _origins(settings: Settings, places: Places) -> Iterator[Finding]:
    if not settings.origins:
        remedy = "add origins: {main: {url: http://host:port}}, or --origin URL"
        yield "origins", "nothing to stand in front of", remedy
    for name, origin in settings.origins.items():
        path = f"origins.{name}.addressing"
        if path in places and origin.bucket is None:
            yield path, "there is no bucket to address", "add bucket: NAME, or leave it out"
        if not origin.urls:
            yield f"origins.{name}", "no URL to ask", "add url: http://host:port"
        yield from _bucket(f"origins.{name}", origin)
        yield from _tls(f"origins.{name}.tls", origin.tls)


def _bucket(path: str, origin: Origin) -> Iterator[Finding]:
    bucket, health, sign = origin.bucket, origin.health, origin.sign
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        yield f"{path}.bucket", f"{shown(bucket)} is not a bucket's name", "write it as S3 has it"
    if bucket is not None and origin.addressing == "virtual" and origin.host.mode == "preserve":
        remedy = "write host: upstream, or addressing: path"
        yield f"{path}.host", "the client's Host would not name the bucket", remedy
    if health is not None and not _PATH.fullmatch(health.path):
        remedy = "write it like /minio/health/ready"
        yield f"{path}.health.path", f"{shown(health.path)} is not a path", remedy
    if sign is not None and not _CREDENTIALS.fullmatch(sign.credentials):
        what = f"{shown(sign.credentials)} is no source of credentials"
        yield f"{path}.sign.credentials", what, "write auto, or profile:NAME"
    if sign is not None and not _REGION.fullmatch(sign.region):
        remedy = "write for example us-east-1"
        yield f"{path}.sign.region", f"{shown(sign.region)} is not a region", remedy


def _tls(path: str, tls: OriginTls) -> Iterator[Finding]:
    if (tls.cert is None) is not (tls.key is None):
        there, missing = ("cert", "key") if tls.key is None else ("key", "cert")
        yield f"{path}.{there}", f"{there} without {missing}", f"add {missing}: FILE"
    if tls.ca is not None and not tls.verify:
        yield f"{path}.ca", "nothing is verified by it", "leave verify out, or ca"
    if tls.server_name is not None and not _SERVER_NAME.fullmatch(tls.server_name):
        what = f"{shown(tls.server_name)} is not the name of a host"
        yield f"{path}.server_name", what, "write for example s3.example.com, without a port"


_SERVER_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_PATH = re.compile(r"/[!-~]*")
_CREDENTIALS = re.compile(r"auto|profile:.+")


def _store(settings: Settings, places: Places) -> Iterator[Finding]:
    store = settings.store
    for key, type_ in (("url", "redis"), ("backend", "aiocache"), ("options", "aiocache")):
        if f"store.{key}" in places and getattr(store, key) and store.type != type_:
            remedy = f"write type: {type_}, or leave {key} out"
            yield f"store.{key}", f"has no meaning for a store of type {store.type}", remedy
    if store.type == "redis" and store.url is None:
        yield "store.type", "redis needs a url", "add url: redis://host:6379/0"
    if store.type == "aiocache" and store.backend is None:
        yield "store.type", "aiocache needs a backend", "add backend: aiocache.SimpleMemoryCache"


def _listeners(settings: Settings) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    named = [(f"listen[{at}].address", one.address) for at, one in enumerate(settings.listen)]
    for path, address in (
        *named,
        ("probes.address", settings.probes.address),
        ("admin.address", settings.admin.address),
    ):
        if address is None or (address.path is None and address.port == 0):
            continue
        first = seen.setdefault(str(address), path)
        if first != path:
            yield path, f"{address} is taken by {first} already", "choose another port"
    if not settings.listen:
        yield "listen", "no address to listen on", 'write for example "0.0.0.0:8080"'
    admin = settings.admin
    if admin.address is not None and not admin.token and not _is_private(admin.address):
        remedy = "set admin.token, or listen on 127.0.0.1"
        yield "admin.address", f"{admin.address} is reachable by others and has no token", remedy


def _is_private(address: Address) -> bool:
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def _sizes(settings: Settings) -> Iterator[Finding]:
    limits, memory = settings.server.limits, settings.store.memory
    if limits.target > limits.head:
        path = "server.limits.target"
        yield path, "a target larger than the whole head", "make it smaller than limits.head"
    if limits.line > limits.head and limits.line != Limits().line:
        path = "server.limits.line"
        yield path, "a line larger than the whole head", "make it smaller than limits.head"
    if memory.max_object is not None and memory.max_object > memory.max:
        path = "store.memory.max_object"
        yield path, "one object larger than the whole store", "make it smaller than memory.max"


def _rules(settings: Settings) -> Iterator[Finding]:
    names: dict[str, str] = {"defaults": "the defaults"}
    for at, rule in enumerate(settings.rules):
        path = f"rules[{at}]"
        if at + 1 < len(settings.rules) and is_catch_all(rule):
            remedy = "put it last, or say under match: what it is for"
            yield path, "matches everything, so no later rule is ever reached", remedy
        first = names.setdefault(rule_name(rule, at), path)
        if first != path:
            yield f"{path}.name", f"{shown(rule.name or '')} names {first}", "choose another name"
    for path, layer in layers(settings):
        yield from _layer(settings, layer, path)
    silent = [rule for rule in settings.rules if rule.origin is None]
    covered = settings.rules and is_catch_all(settings.rules[-1])
    if (silent or not covered) and not settings.defaults.origin and len(settings.origins) > 1:
        remedy = f"add defaults: {{origin: NAME}} with {alternatives(settings.origins)}"
        yield "defaults.origin", "several origins and none chosen", remedy


def _layer(settings: Settings, layer: Defaults, path: str) -> Iterator[Finding]:
    whole = effective(settings, layer)
    assert whole.cors is not None
    mode = whole.cors.mode
    if layer.origin is not None and layer.origin not in settings.origins:
        remedy = one_of(layer.origin, settings.origins)
        yield f"{path}.origin", f"no origin is named {shown(layer.origin)}", remedy
    if layer.cors is not None and layer.cors.policy not in (None, *settings.cors):
        known = settings.cors
        remedy = one_of(layer.cors.policy or "", known) if known else "write it under cors"
        what = f"no cors policy is named {shown(layer.cors.policy or '')}"
        yield f"{path}.cors.policy", what, remedy
    if whole.cors.policy is None:
        remedy = "add policy: with a name from cors"
        if mode in _OURS and mode is not None:
            yield f"{path}.cors", f"mode {mode.value} needs a policy", remedy
        if whole.preflight is PreflightMode.SYNTHESIZE:
            yield f"{path}.preflight", "synthesize needs a cors policy", remedy
    if layer.cache is not None and (layer.cache.variants or 0) > _MOST_VARIANTS:
        what = f"{layer.cache.variants} variants of one URL are more than a store keeps"
        yield f"{path}.cache.variants", what, f"write {_MOST_VARIANTS} at most"
    key = whole.cache.key.origin if whole.cache is not None and whole.cache.key else None
    yield from _key(f"{path}.cache.key.origin", key, mode)


def _key(path: str, key: OriginKey | None, mode: CorsMode | None) -> Iterator[Finding]:
    if key is OriginKey.VERDICT and mode is not CorsMode.OVERRIDE:
        yield (
            path,
            "verdict would give one site's answer to another",
            ("write cors: {policy: NAME, mode: override}, or key.origin: exact"),
        )
    if key is OriginKey.IGNORE and mode not in (CorsMode.OVERRIDE, CorsMode.STRIP):
        yield (
            path,
            "ignore would give one site's answer to another",
            ("write cors mode override or strip, or key.origin: exact"),
        )


def cors_policies(
    settings: Settings, places: Places
) -> tuple[dict[str, CorsPolicy], list[Problem]]:
    """The named policies, compiled, and what is wrong with the others."""
    compiled: dict[str, CorsPolicy] = {}
    problems: list[Problem] = []
    for name, said in settings.cors.items():
        keys = {key: getattr(said, key) for key in said.__struct_fields__}
        try:
            compiled[name] = compile_policy(name, **keys)
        except PolicyError as error:
            for one in error.every:
                path = f"cors.{name}.{dotted(one.path)}"
                problems.append(Problem(place(places, path), path, one.what, one.remedy))
    return compiled, problems
