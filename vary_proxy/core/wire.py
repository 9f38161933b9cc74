"""Heads on the wire: the strict request-head reader and the response-head writer.

A request head is read in exactly one way or refused with the status that says why. Both
lanes of the server use this reader, so they cannot disagree on where a message ends. The
shape of its lines is checked by regular expressions that never backtrack; what they turn
down is looked at again only to say what was wrong. RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import NamedTuple

from vary_proxy.core.fieldlines import read_lines
from vary_proxy.core.memo import remembered
from vary_proxy.core.message import NO_FIELDS, Fields, Pair, Request
from vary_proxy.core.syntax import TCHAR, members

_SPELLINGS = {
    name.lower(): name
    for name in (
        *(b"ETag", b"TE", b"WWW-Authenticate", b"DNT", b"Content-MD5", b"SourceMap"),
        *(b"X-XSS-Protection", b"X-DNS-Prefetch-Control", b"NEL", b"DPR", b"ECT", b"RTT"),
        *(b"Sec-GPC", b"Sec-CH-UA", b"Sec-CH-UA-Mobile", b"Sec-CH-UA-Platform", b"CDN-Loop"),
        *(b"CDN-Cache-Control", b"HTTP2-Settings", b"MIME-Version", b"X-UA-Compatible"),
        *(b"Sec-WebSocket-Key", b"Sec-WebSocket-Accept", b"Sec-WebSocket-Version"),
        *(b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"SOAPAction", b"P3P"),
    )
}


@lru_cache(maxsize=1024)
def spelled(name: bytes) -> bytes:
    """The customary spelling of the lower-case field name *name*: ``etag`` is ``ETag``."""
    known = _SPELLINGS.get(name)
    return known or b"-".join(part[:1].upper() + part[1:] for part in name.split(b"-"))


@lru_cache(maxsize=1024)
def _label(name: bytes) -> bytes:
    return spelled(name) + b": "


_REASONS = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}


def response_head(
    status: int,
    reason: bytes,
    fields: Iterable[Pair],
    version: tuple[int, int] = (1, 1),
) -> bytes:
    """The bytes of a response head, up to and with the empty line (RFC 9112 §4).

    An empty *reason* becomes the registered phrase. Raises ValueError where a line break or
    NUL would let a value end its line.
    """
    lines = [b"HTTP/%d.%d %03d %s" % (*version, status, reason or _REASONS.get(status, b""))]
    lines += [_label(name) + value for name, value in fields]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a line break or NUL inside a response head")
    return head + b"\r\n\r\n"


class Refused(Exception):
    """A request that is answered with *status* and read no further.

    The message says what was wrong and what to do; *detail* is a token for Cache-Status.
    ``bodiless``: it asked for a head alone, and what followed would be taken for the next one's.
    """

    bodiless = False

    def __init__(self, status: int, message: str, detail: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bytes, but for ``fields``, which counts lines. Beyond: 414 for the target, else 431."""

    head: int = 64 * 1024
    line: int = 16 * 1024
    fields: int = 100
    target: int = 8 * 1024


class Head(NamedTuple):
    """A request head, and what it says about the connection."""

    request: Request
    persistent: bool  # the client would send another request (RFC 9112 §9.3)
    expects: bool  # it waits for 100 (Continue) before the body (RFC 9110 §10.1.1)


DEFAULT_LIMITS = HeadLimits()
AROUND_TARGET = 64  # bytes of a request line for its method, version and spaces
_LINE = re.compile(rb"(" + TCHAR + rb"++) ([\x21\x22\x24-\x7e\x80-\xff]++) HTTP/1\.([01])")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)")
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]++)\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2}){1,255})"
    rb"(?::([0-9]{1,5}))?"
)
_DIGITS = re.compile(rb"[0-9]{1,18}")


def read_head(
    data: bytes, limits: HeadLimits = DEFAULT_LIMITS, scheme: bytes = b"http", client: str = ""
) -> Head:
    """The request head that *data* is: all lines, without the empty line that ends them.

    Raises Refused for whatever could be read in two ways. RFC 9112 §3, §5, §6, §9.3
    """
    line, _, block = data.partition(b"\r\n")
    method, target, minor = read_line(line, limits)
    fields = _fields(block)
    _check_sizes(data, len(fields.items), limits)
    version = (1, 1) if minor == b"1" else (1, 0)
    target, authority = _address(method, target, fields.lines(b"host"), version)
    length, chunked = _framing(fields, version)
    request = Request(
        method,
        target,
        fields,
        scheme,
        authority,
        version,
        client,
        chunked or bool(length),
        length,
    )
    return Head(request, _persists(fields, version), _expects(fields, version))


def read_line(line: bytes, limits: HeadLimits) -> tuple[bytes, bytes, bytes]:
    """Method, target, and the digit after ``HTTP/1.``. Raises Refused. RFC 9112 §3"""
    matched = _LINE.fullmatch(line)
    if matched is None or len(matched[2]) > limits.target:
        raise _bad_line(line, limits)
    return matched[1], matched[2], matched[3]


def _fields(block: bytes) -> Fields:
    if not block:
        return NO_FIELDS
    pairs = read_lines(block.split(b"\r\n"))
    if pairs is None:
        raise _bad_fields(block)
    return Fields(tuple(pairs))


def _address(
    method: bytes, target: bytes, hosts: tuple[bytes, ...], version: tuple[int, int]
) -> tuple[bytes, bytes]:
    """Target in origin-form (or ``*``), and the authority (RFC 9112 §3.2)."""
    host = hosts[0] if hosts else b""
    if not hosts and version == (1, 1):
        raise Refused(400, "The request has no Host field; HTTP/1.1 asks for one.", "no-host")
    if hosts and (len(hosts) > 1 or not _is_host(host)):
        raise Refused(400, "Send exactly one Host field, as host or host:port.", "bad-host")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT is not offered: this is no forward proxy.", "connect")
    if target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"):
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "The request target must begin with a slash.", "bad-target")
    authority, rest = absolute.groups()
    if not _is_host(authority) or (hosts and authority.lower() != host.lower()):
        raise Refused(400, "The target names another host than the Host field.", "host-mismatch")
    if not rest and method == b"OPTIONS":
        return b"*", host or authority
    return (rest if rest[:1] == b"/" else b"/" + rest), host or authority


@lru_cache(maxsize=1024)
def _is_host(value: bytes) -> bool:
    matched = _HOST.fullmatch(value)
    if matched is None:
        return False
    literal, port = matched.groups()
    return (port is None or int(port) <= 65535) and (literal is None or _is_ipv6(literal))


def _is_ipv6(literal: bytes) -> bool:
    try:
        IPv6Address(literal.decode("ascii"))
    except ValueError:
        return False
    return True


def _framing(fields: Fields, version: tuple[int, int]) -> tuple[int | None, bool]:
    """Length of the body when Content-Length says it, and whether it is chunked (§6.3)."""
    lengths = fields.lines(b"content-length")
    codings = fields.lines(b"transfer-encoding")
    if codings:
        if lengths:
            raise Refused(400, "Content-Length and Transfer-Encoding: send one.", "two-framings")
        if version == (1, 0):
            raise Refused(400, "Transfer-Encoding is not part of HTTP/1.0.", "coding-in-1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise Refused(400, "The only Transfer-Encoding read here is chunked.", "bad-coding")
        return None, True
    if not lengths:
        return None, False
    if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        raise Refused(400, "Send one Content-Length, in digits alone.", "bad-length")
    return int(lengths[0]), False


def _persists(fields: Fields, version: tuple[int, int]) -> bool:
    said = fields.combined(b"connection")
    if said is None:
        return version == (1, 1)
    options = _options(said)
    return b"close" not in options and (version == (1, 1) or b"keep-alive" in options)


@remembered
def _options(said: bytes) -> frozenset[bytes]:
    return frozenset(members(said.lower()))


def _expects(fields: Fields, version: tuple[int, int]) -> bool:
    lines = fields.lines(b"expect")
    if not lines or version == (1, 0):
        return False
    if len(lines) > 1 or lines[0].lower() != b"100-continue":
        raise Refused(417, "The only expectation met here is 100-continue.", "bad-expect")
    return True


def _check_sizes(data: bytes, count: int, limits: HeadLimits) -> None:
    if len(data) > limits.head:
        raise Refused(431, f"The head is over {limits.head} bytes.", "head-too-large")
    if count > limits.fields:
        raise Refused(431, f"The head has over {limits.fields} fields.", "too-many-fields")
    if len(data) > limits.line < max(map(len, data.split(b"\r\n"))):
        raise Refused(431, f"A field line is over {limits.line} bytes.", "line-too-long")


def _bad_line(line: bytes, limits: HeadLimits) -> Refused:
    if len(line) > limits.target + AROUND_TARGET or _LINE.fullmatch(line):
        return target_too_long(limits)
    if re.fullmatch(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]", line) and line[-3:] not in (b"1.0", b"1.1"):
        return Refused(505, "HTTP/1.1 and HTTP/1.0 are spoken here.", "bad-version")
    if b"#" in line:
        return Refused(400, "A request target has no fragment.", "fragment")
    return Refused(400, "The first line is not: METHOD target HTTP/1.1.", "bad-request-line")


def _bad_fields(block: bytes) -> Refused:
    if is_stray(block):
        return Refused(400, "Lines end in CR LF, and hold neither alone.", "bad-line-end")
    if re.search(rb"(?:\A|\r\n)[ \t]", block):
        return Refused(400, "A field line is continued on the next; put it on one.", "folded")
    if re.search(rb"(?:\A|\r\n)[^:\r]*[ \t]:", block):
        return Refused(400, "There is white space before a colon.", "space-before-colon")
    if re.search(rb"[^\t\r\n\x20-\x7e\x80-\xff]", block):
        return Refused(400, "A field holds control characters.", "control-character")
    return Refused(400, "A field line is not: name, colon, value.", "bad-field")


def is_stray(data: bytes | bytearray) -> bool:
    """True when *data* has a CR or LF that is not part of CR LF."""
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") != pairs


def target_too_long(limits: HeadLimits) -> Refused:
    return Refused(414, f"The request target is over {limits.target} bytes.", "target-too-long")
