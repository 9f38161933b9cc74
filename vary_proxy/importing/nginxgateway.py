"""The environment of nginx-s3-gateway, into a configuration of ours.

Credentials are never written: the proxy takes them from where the AWS tools do. Variables that
say nothing to us are told; those that only run nginx are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vary_proxy.importing.origins import take
from vary_proxy.importing.writing import Unreadable, Writing, bounded, listed, quoted

_TRUE = frozenset(("TRUE", "true", "True", "YES", "Yes", "1"))  # as its entrypoint reads them
_LARGEST = 1 << 30  # bytes: more than this is a disk's size, not memory's
_NEEDED = ("S3_BUCKET_NAME", "S3_SERVER")
_OURS = re.compile(r"(?:S3|PROXY_CACHE|CORS|AWS_SIGS|ALLOW_DIRECTORY|HEADER_PREFIXES)_.*|"
                   r"(?:PROVIDE|APPEND|STRIP|PREFIX|DIRECTORY_LISTING)_[A-Z_]+")  # fmt: skip
_READ = frozenset(
    ("S3_BUCKET_NAME", "S3_SERVER", "S3_SERVER_PORT", "S3_SERVER_PROTO", "S3_REGION", "S3_STYLE",
     "AWS_SIGS_VERSION", "CORS_ENABLED", "CORS_ALLOW_ALL", "CORS_ALLOWED_ORIGIN",
     "CORS_ALLOW_PRIVATE_NETWORK_ACCESS", "PROXY_CACHE_VALID_OK", "PROXY_CACHE_VALID_NOTFOUND",
     "PROXY_CACHE_VALID_FORBIDDEN", "PROXY_CACHE_MAX_SIZE", "PROXY_CACHE_USE_STALE",
     "PREFIX_LEADING_DIRECTORY_PATH", "S3_SERVICE")
)  # fmt: skip
# What has no meaning here, or is found where it always is.
_NEEDLESS = frozenset(
    ("S3_DEBUG", "DEBUG", "DNS_RESOLVERS", "JS_TRUSTED_CERT_PATH", "HOSTNAME", "STS_ENDPOINT",
     "AWS_STS_REGIONAL_ENDPOINTS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
     "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
     "AWS_ROLE_SESSION_NAME", "AWS_DEFAULT_REGION", "NGINX_ENTRYPOINT_QUIET_LOGS",
     "LIMIT_METHODS_TO", "LIMIT_METHODS_TO_CSV")
)  # fmt: skip
_RENAMED = {
    "S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "S3_SECRET_KEY": "AWS_SECRET_ACCESS_KEY",
    "S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
}
_FLAGS = {
    "ALLOW_DIRECTORY_LIST": "directories are not listed; the bucket answers for them",
    "PROVIDE_INDEX_PAGE": "index.html is not put behind a slash; link to it by name",
    "APPEND_SLASH_FOR_POSSIBLE_DIRECTORY": "nothing is redirected to a name with a slash",
}
_VALUES = {
    "PROXY_CACHE_INACTIVE": "what is not asked for goes when room is needed, not by the clock",
    "PROXY_CACHE_SLICE_SIZE": "parts are stored as they were asked for, and joined",
    "STRIP_LEADING_DIRECTORY_PATH": "paths go to the bucket as they come",
    "HEADER_PREFIXES_TO_STRIP": "the bucket's fields are passed on, x-amz-* among them",
    "HEADER_PREFIXES_ALLOWED": "the bucket's fields are all passed on",
    "DIRECTORY_LISTING_PATH_PREFIX": "directories are not listed",
}
_HEADERS = ("DNT", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control",
            "Content-Type", "Range")  # fmt: skip
_TIME = re.compile(r"(?:\d{1,9}(?:ms|[smhdwMy])?\s*)+", re.ASCII)
_UNITS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800,
          "M": 2592000, "y": 31536000}  # fmt: skip
_STALE = re.compile(r"error|timeout|updating|off|http_5\d\d")
_SIZE = re.compile(r"(\d{1,12})([kKmMgG]?)", re.ASCII)


def read(data: bytes, name: str) -> dict[str, str]:
    """The variables of an env file: ``NAME=value`` lines, as docker and systemd take them.

    Raises Unreadable.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(bounded(data, name).splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith(("#", ";")):
            continue
        key, equals, value = text.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.strip(), re.ASCII):
            raise Unreadable(f"{name}:{number}: not NAME=value")
        if not equals and key not in _NEEDLESS | _RENAMED.keys():
            # Docker takes its value from an environment, which is not here.
            raise Unreadable(f"{name}:{number}: {key} has no value; write {key}=…, or remove it")
        found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    closed = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if closed else value


def convert(variables: Mapping[str, str], name: str, *, whole: bool) -> Writing:
    """The configuration that *variables* come to. Raises Unreadable.

    *whole*: they are the gateway's own, so that an unknown one is told; else its environment's.
    """
    missing = [one for one in _NEEDED if not variables.get(one)]
    if missing:
        raise Unreadable(f"{name}: {' and '.join(missing)} must be set, as for nginx-s3-gateway")
    out = Writing()
    out.begin(
        f"What {name} says for nginx-s3-gateway. Its /health is /livez of probes here; its port "
        "80 is 8080. Install vary-proxy[aws], which signs.",
    )
    out.add('listen: "0.0.0.0:8080"', 'probes: "0.0.0.0:8081"', "")
    cors = _enabled(variables.get("CORS_ENABLED", variables.get("CORS_ALLOW_ALL", "")))
    _bucket(variables, out, cors=cors)
    _store(variables, out)
    policy = cors and _policy(variables, out)
    _defaults(variables, out, policy=bool(policy))
    _left(variables, out, whole=whole)
    return out


def _enabled(text: str) -> bool:
    return text in _TRUE


def _bucket(said: Mapping[str, str], out: Writing, *, cors: bool) -> None:
    proto = said.get("S3_SERVER_PROTO") or "https"
    port = said.get("S3_SERVER_PORT") or ("443" if proto == "https" else "80")
    style = said.get("S3_STYLE") or "default"
    prefix = said.get("PREFIX_LEADING_DIRECTORY_PATH", "").strip("/")
    url = f"{proto}://{said['S3_SERVER']}:{port}"
    by_path = style == "path"
    out.add("origins:", "  bucket:")
    if prefix and by_path:  # the bucket comes before the prefix
        url = f"{url}/{said['S3_BUCKET_NAME']}/{prefix}"
        out.add(f"    url: {quoted(url)}")
    else:
        out.add(f"    url: {quoted(url + (f'/{prefix}' if prefix else ''))}")
        out.add(f"    bucket: {quoted(said['S3_BUCKET_NAME'])}")
        out.add(f"    addressing: {'path' if by_path else 'virtual'}")
    if style not in ("path", "virtual", "virtual-v2", "default"):
        out.warn(f"S3_STYLE={style}: the bucket is put before the host", 4)
    if said.get("AWS_SIGS_VERSION") == "2":
        out.warn("AWS_SIGS_VERSION=2: requests are signed by version 4", 4)
    if said.get("S3_SERVICE") not in (None, "", "s3"):
        out.warn(f"S3_SERVICE={said['S3_SERVICE']}: requests are signed for s3", 4)
    region = quoted(said.get("S3_REGION") or "us-east-1")
    out.comment("Credentials: from where the AWS tools take them; never from this file.", 4)
    for old, new in _RENAMED.items():
        if old in said:
            out.comment(f"What {old} holds is to be named {new}.", 4)
    out.add(f"    sign: {{type: sigv4, region: {region}, credentials: auto}}")
    if not cors:
        out.add("    origin_header: strip    # as the gateway: the bucket is not asked for CORS")
    out.add("")


def _store(said: Mapping[str, str], out: Writing) -> None:
    text = said.get("PROXY_CACHE_MAX_SIZE")
    if not text:
        return
    match = _SIZE.fullmatch(text)
    shifts = {"": 0, "k": 10, "m": 20, "g": 30}
    size = 0 if match is None else int(match[1]) << shifts[match[2].lower()]
    if 0 < size <= _LARGEST:
        out.add("store:", f"  memory: {{max: {size}}}    # bytes, per worker", "")
    else:
        instead = "here it is memory, 256 MiB unless store.memory.max says more, or Redis"
        out.warn(f"PROXY_CACHE_MAX_SIZE={text}: that was on disk; {instead}")
        out.add("")


def _policy(said: Mapping[str, str], out: Writing) -> bool:
    """Write the policy; False, and a warning, when nobody would be allowed."""
    origin = said.get("CORS_ALLOWED_ORIGIN", "*")
    taken = take([origin], credentials=False)
    if taken.empty or (origin != "*" and "*" in origin):
        out.warn(f"CORS_ALLOWED_ORIGIN={origin}: it was sent as it stands, which no browser takes")
        return False
    out.add(
        "cors:",
        "  gateway:",
        f"    origins: {quoted('*') if taken.anyone else listed(taken.listed)}",
        "    methods: [GET, HEAD]    # POST was listed as well, and refused",
        f"    headers: [{', '.join(_HEADERS)}]",
        "    expose: [Content-Length, Content-Range]",
        "    max_age: 20d            # browsers cap it: Chromium at 2h",
    )
    if said.get("CORS_ALLOW_PRIVATE_NETWORK_ACCESS") == "true":
        out.add("    allow_private_network: true")
    out.add("")
    return True


def _defaults(said: Mapping[str, str], out: Writing, *, policy: bool) -> None:
    lifetimes = {
        "default": ("PROXY_CACHE_VALID_OK", "1h"),
        '"404"': ("PROXY_CACHE_VALID_NOTFOUND", "1m"),
        '"403"': ("PROXY_CACHE_VALID_FORBIDDEN", "30s"),
    }
    stated = [
        f"{key}: {_duration(variable, said.get(variable) or usual, out)}"
        for key, (variable, usual) in lifetimes.items()
    ]
    out.add("defaults:", "  origin: bucket", "  vary: repair")
    if policy:
        out.add("  cors: {policy: gateway, mode: override}", "  preflight: synthesize")
    else:
        out.add("  cors: strip", "  preflight: deny")
    stale = said.get("PROXY_CACHE_USE_STALE", "error timeout")
    if lost := [one for one in stale.split() if not _STALE.fullmatch(one)]:
        what = "stale is what errors, and what is on its way, are answered by"
        out.warn(f"PROXY_CACHE_USE_STALE: {' '.join(lost)}: {what}")
    on_error = "24h" if re.search(r"\b(error|timeout|http_5\d\d)\b", stale) else "0s"
    out.add(
        "  cache:",
        f'    ttl: {{{", ".join(stated)}, "5xx": 0s}}    # default: without Cache-Control',
        "    stale_while_revalidate: 30s",
        f"    stale_if_error: {on_error}",
    )


def _duration(variable: str, text: str, out: Writing) -> str:
    """nginx's *text* as ours."""
    if not _TIME.fullmatch(text.strip()):
        raise Unreadable(f"{variable}={text}: not a time; write for example 1h")
    parts = re.findall(r"(\d+)(ms|[smhdwMy])?", text)
    seconds = sum(int(many) * _UNITS[unit] for many, unit in parts)
    return f"{seconds:g}s" if seconds < 1 else f"{int(seconds)}s"


def _left(said: Mapping[str, str], out: Writing, *, whole: bool) -> None:
    out.add("")
    for name, value in said.items():
        if name in _FLAGS:
            if _enabled(value):
                out.warn(f"{name}: {_FLAGS[name]}")
        elif name in _VALUES:
            if value:
                out.warn(f"{name}={value}: {_VALUES[name]}")
        elif name in _READ | _NEEDLESS | _RENAMED.keys():
            continue
        elif whole or _OURS.fullmatch(name):
            out.warn(f"{name}: nothing is known of it")
