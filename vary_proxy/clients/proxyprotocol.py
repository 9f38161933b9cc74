"""The PROXY protocol, versions 1 and 2: a balancer says for whom it has connected.

Read strictly, and no byte further than its end, for what follows may be a TLS handshake.
Whoever is not a trusted proxy, or says anything else, is not served: a listener of this
kind never guesses. The format is HAProxy's, "The PROXY protocol", sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Awaitable, Callable

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIRST = len(SIGNATURE)  # bytes; no header of either version is shorter
_LONGEST_LINE = 107  # bytes, with CRLF
_MOST = 4096  # bytes after the head of version 2: addresses, and TLVs that we do not read
_VERSION = {b"TCP4": 4, b"TCP6": 6}
_PACKED = {0x11: (4, 12), 0x21: (16, 36)}  # bytes of an address, of both with their ports
_SPEAKS_FOR_ITSELF = (0x00, 0x31)  # unspecified; a unix socket, which has no address

Receive = Callable[[int], Awaitable[bytes]]


class Malformed(Exception):
    """What came is no PROXY header."""


async def read(receive: Receive) -> str | None:
    """The client's address; None when there is none, or the peer speaks for itself.

    ``receive(n)`` gives exactly *n* bytes, or raises. Raises Malformed.
    """
    first = await receive(_FIRST)
    if first == SIGNATURE:
        return await _binary(receive)
    if first.startswith(b"PROXY "):
        return await _line(receive, first)
    raise Malformed("neither version's signature")


async def _line(receive: Receive, line: bytes) -> str | None:
    while not line.endswith(b"\r\n"):
        if len(line) >= _LONGEST_LINE:
            raise Malformed("a line without end")
        line += await receive(1)
    return from_line(line[:-2])


def from_line(line: bytes) -> str | None:
    """As ``read``, of a line of version 1 without its CRLF. Raises Malformed."""
    words = line.split(b" ")
    if words[:2] == [b"PROXY", b"UNKNOWN"] and b"\r" not in line and b"\n" not in line:
        return None
    if len(words) != 6 or words[0] != b"PROXY" or words[1] not in _VERSION:
        raise Malformed("not: PROXY TCP4|TCP6 source destination port port")
    source, destination = (_address(one, _VERSION[words[1]]) for one in words[2:4])
    _port(words[4])
    _port(words[5])
    del destination  # read only to see that it is one
    return source


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise Malformed("no address") from None
    if address.version != version or b"%" in text:
        raise Malformed("an address of another family")
    return str(address)


def _port(text: bytes) -> None:
    plain = text.isdigit() and len(text) <= 5 and (text == b"0" or not text.startswith(b"0"))
    if not plain or int(text) > 65535:
        raise Malformed("no port")


async def _binary(receive: Receive) -> str | None:
    said, family, length = struct.unpack("!BBH", await receive(4))
    if said not in (0x20, 0x21):
        raise Malformed("an unknown version or command")
    if length > _MOST:
        raise Malformed("too long")
    block = await receive(length)
    if said == 0x20:  # LOCAL: the balancer itself, looking whether we live
        return None
    if family in _SPEAKS_FOR_ITSELF:
        return None
    if family not in _PACKED:
        raise Malformed("no stream, or an unknown family")
    size, least = _PACKED[family]
    if length < least:
        raise Malformed("too short for its addresses")
    return str(ipaddress.ip_address(block[:size]))
