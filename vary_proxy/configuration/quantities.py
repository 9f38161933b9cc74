"""How the scalars of the configuration are read: durations, sizes, addresses, URLs, names.

Each reader takes the text and returns the value, or raises Wrong with a remedy. KINDS names
them as the annotations of ``settings.py`` do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from vary_proxy.configuration.matching import (
    host_matcher,
    name_pattern,
    path_matcher,
    value_matcher,
)
from vary_proxy.configuration.problems import Wrong, one_of, shown
from vary_proxy.configuration.settings import Address, HostRule, OriginHeaderRule, OriginUrl
from vary_proxy.core.policy import OriginHeader

DURATION = r"(0|(\d{1,9}(\.\d{1,6})?(ms|s|m|h|d|w))+)"
SIZE = r"(\d{1,18}B?|\d{1,18}(\.\d{1,6})?[KMGT]iB)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LONGEST = 10 * 365 * 86400.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?"
_AUTHORITY = re.compile(rf"(?P<host>{_HOST})(:(?P<port>\d{{1,5}}))?")
_ADDRESS = re.compile(rf"(?P<host>{_HOST}|\*)?:(?P<port>\d{{1,5}})")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.S)


def duration(text: str) -> float:
    """Seconds."""
    if not re.fullmatch(DURATION, text):
        unit = (
            f"{text}s or {text}ms" if re.fullmatch(r"\d+(\.\d+)?", text) else "250ms, 5s, 1h or 7d"
        )
        raise Wrong(
            f"{shown(text)} is not a duration", f"write it with its unit, for example {unit}"
        )
    parts = re.findall(r"([\d.]+)([a-z]+)", text)
    seconds = float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if seconds > _LONGEST:
        raise Wrong(f"{shown(text)} is longer than ten years", "write a shorter duration")
    return seconds


def size(text: str) -> int:
    """Bytes."""
    if not re.fullmatch(SIZE, text):
        near = re.fullmatch(r"(\d+) ?([kmgt])i?b?", text, re.I)
        example = f"{near[1]}{near[2].upper()}iB" if near else "64KiB, 1MiB or 5GiB"
        raise Wrong(f"{shown(text)} is not a size", f"write {example}")
    number, unit = re.findall(r"([\d.]+)([A-Za-z]*)", text)[0]
    bytes_ = int(float(number) * _BYTES[unit]) if "." in number else int(number) * _BYTES[unit]
    if bytes_ >= 1 << 62:
        raise Wrong(f"{shown(text)} is more than any machine holds", "write a smaller size")
    return bytes_


def written_size(size: int) -> str:
    """*size* as it is written in a file: ``256MiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B" if size else "0"


def written_duration(seconds: float) -> str:
    """*seconds* as it is written in a file: ``250ms``, ``5s``, ``1h``."""
    whole, _, rest = f"{seconds:.9f}".partition(".")
    thousandths, finer = rest[:3], rest[3:].rstrip("0")
    if not thousandths.strip("0") and not finer:
        return _whole_seconds(int(whole))
    # A number in a file has nine digits at most.
    first, short = ("", whole) if len(whole) <= 6 else (_whole_seconds(int(whole)), "")
    return f"{first}{int(short + thousandths)}{'.' + finer if finer else ''}ms"


def _whole_seconds(seconds: int) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % int(_SECONDS[unit]) == 0)
    return f"{seconds // int(_SECONDS[unit])}{unit}" if seconds else "0"


def positive(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise Wrong(f"{shown(text)} is not a whole number from 1", "write for example 4")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not re.fullmatch(r"0(\.\d{1,6})?|1(\.0{1,6})?", text):
        raise Wrong(f"{shown(text)} is not a number from 0 to 1", "write for example 0.1")
    return float(text)


def workers(text: str) -> int:
    """A number of processes; 0 for ``auto``."""
    if text == "auto":
        return 0
    if not re.fullmatch(r"\d{1,4}", text) or int(text) < 1:
        raise Wrong(f"{shown(text)} is not a number of processes", "write a number from 1, or auto")
    return int(text)


def network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        example = "write for example 10.0.0.0/8 or ::1"
        raise Wrong(f"{shown(text)} is not a network", example) from None
    raise Wrong(f"{shown(text)} has bits set behind its prefix", f"write {loose}")


def address(text: str) -> Address:
    if text.startswith("unix:"):
        if not text.removeprefix("unix:") or "\0" in text:
            raise Wrong(
                f"{shown(text)} names no socket", "write for example unix:/run/vary-proxy.sock"
            )
        return Address(path=text.removeprefix("unix:"))
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        example = f"0.0.0.0:{text}" if re.fullmatch(r"\d{1,5}", text) else "0.0.0.0:8080"
        raise Wrong(f"{shown(text)} is not an address", f"write host:port, for example {example}")
    host = (found["host"] or "").strip("[]")
    return Address(host="" if host == "*" else _checked_host(host, text), port=int(found["port"]))


def address_or_off(text: str) -> Address | None:
    return None if text in ("off", "false") else address(text)


def _checked_host(host: str, text: str) -> str:
    # Digits and dots alone must be an address: 127.0.0.256 would else be asked of DNS.
    if ":" in host or re.fullmatch(r"[\d.]+", host):
        try:
            ip_address(host)
        except ValueError:
            raise Wrong(
                f"{shown(host)} in {shown(text)} is not an IP address", "correct it"
            ) from None
    return host


def origin_url(text: str) -> OriginUrl:
    example = "write scheme://host[:port], for example http://minio:9000"
    found = _URL.fullmatch(text)
    if found is None:
        is_near = _AUTHORITY.fullmatch(text.split("/")[0]) and "@" not in text
        near = f"write http://{text}" if is_near else example
        raise Wrong(f"{shown(text)} is not a URL", near)
    scheme = found["scheme"].lower()
    if scheme not in ("http", "https"):
        raise Wrong(f"{shown(text)} has the scheme {scheme}", "write http:// or https://")
    if "@" in found["authority"]:
        raise Wrong("a URL with user information", "leave out what stands before @")
    place = _AUTHORITY.fullmatch(found["authority"])
    if place is None or not 0 < int(place["port"] or 80) < 65536:
        raise Wrong(f"{shown(found['authority'])} in {shown(text)} is not host[:port]", example)
    if not re.fullmatch(r"(/[!$-;=@-Z\\^_a-z~]*)?", found["rest"]):
        raise Wrong(
            f"{shown(found['rest'])} in {shown(text)} is not a path", "a prefix is /like/this"
        )
    host = _checked_host(place["host"].strip("[]"), text).lower()
    port = int(place["port"] or (443 if scheme == "https" else 80))
    prefix = found["rest"].rstrip("/")
    return OriginUrl(
        scheme="https" if scheme == "https" else "http", host=host, port=port, prefix=prefix
    )


def secret_url(text: str) -> str:
    """A store's URL; it may hold a password, so it is never repeated."""
    found = _URL.fullmatch(text)
    known = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
    if found is None:
        raise Wrong("not a URL", "write for example redis://redis:6379/0")
    if found["scheme"].lower() not in known:
        raise Wrong(
            f"{shown(found['scheme'])} is no scheme of a store", one_of(found["scheme"], known)
        )
    return text


def host_rule(text: str) -> HostRule:
    if text == "upstream":
        return HostRule(mode="upstream")
    if text == "preserve":
        return HostRule(mode="preserve")
    if not _AUTHORITY.fullmatch(text):
        raise Wrong(
            f"{shown(text)} is not a host", "write upstream, preserve, or a host such as a.example"
        )
    if "." not in text and (near := one_of(text, ("upstream", "preserve"))).startswith("did"):
        raise Wrong(f"{shown(text)} is taken for neither a word nor a host", near)
    return HostRule(mode="literal", value=text)


def origin_header(text: str) -> OriginHeaderRule:
    word, colon, value = text.partition(":")
    if word == "inject" and colon:
        if not re.fullmatch(r"https?://[^/\s\x00-\x20?#@,\x7f-\U0010ffff]+", value):
            raise Wrong(f"{shown(value)} is not an origin", "write inject:https://example.com")
        return OriginHeaderRule(mode=OriginHeader.INJECT, value=value)
    if colon or word not in ("auto", "forward", "strip"):
        known = ("auto", "forward", "strip", "inject:https://example.com")
        raise Wrong(f"{shown(text)} is not known", one_of(text, known))
    return OriginHeaderRule(mode=OriginHeader(word))


def name(text: str) -> str:
    """A field name, as it is to be sent."""
    if not _TOKEN.fullmatch(text) or text == "*":
        raise Wrong(f"{shown(text)} is not a field name", "write a name such as Origin")
    return text


def label(text: str) -> str:
    """What the configuration calls something of its own."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", text):
        raise Wrong(f"{shown(text)} is not a name", "use letters, digits, - and _, 64 at most")
    return text


def method(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise Wrong(f"{shown(text)} is not a method", "write for example GET")
    if text != text.upper():  # methods are case-sensitive (RFC 9110 §9.1)
        raise Wrong(f"{shown(text)} is written small", f"write {text.upper()}")
    return text


def access(text: str) -> str:
    """``off``, ``stdout``, or the path of a file."""
    if text == "false":
        return "off"
    if text in ("off", "stdout") or "/" in text or "." in text:
        return text
    raise Wrong(
        f"{shown(text)} is no place for a log", "write off, stdout, or a path such as ./access.log"
    )


def path_glob(text: str) -> str:
    path_matcher(text)
    return text


def host_glob(text: str) -> str:
    host_matcher(text)
    return text


def glob(text: str) -> str:
    value_matcher(text)
    return text


def name_match(text: str) -> str:
    name_pattern(text)
    return text


KINDS: dict[str, Callable[[str], Any]] = {
    "duration": duration,
    "size": size,
    "positive": positive,
    "workers": workers,
    "share": share,
    "network": network,
    "address": address,
    "address_or_off": address_or_off,
    "origin_url": origin_url,
    "secret_url": secret_url,
    "secret": str,
    "cors_origin": str,  # judged by core.corspolicy
    "host_rule": host_rule,
    "origin_header": origin_header,
    "label": label,
    "name": name,
    "method": method,
    "access": access,
    "path_glob": path_glob,
    "host_glob": host_glob,
    "glob": glob,
    "name_match": name_match,
}
SECRET = frozenset(("secret", "secret_url"))
