"""Grammars of field values, and of what a balancer says first: each with what it means."""

from __future__ import annotations

import calendar
import ipaddress
import struct
import time
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.hold.grammars import HOSTS, OWS, TOKEN, VCHAR, of, one

NOW = float(calendar.timegm((2026, 11, 22, 12, 0, 0)))


@dataclass
class Value:
    """Lines of a field, and what they mean; None: nothing that can be used."""

    lines: list[bytes]
    meaning: Any


@st.composite
def listed(draw: DrawFn, members: list[bytes]) -> list[bytes]:
    """*members* on some lines, with white space and empty members among them."""
    lines: list[list[bytes]] = [[]]
    for member in members:
        if draw(st.integers(0, 3)) == 0:
            lines.append([])
        if draw(st.integers(0, 4)) == 0:
            lines[-1].append(draw(OWS))
        lines[-1].append(draw(OWS) + member + draw(OWS))
    return [b",".join(line) for line in lines if line] or [b""]


SECONDS = (b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error")
FLAGS = (
    b"no-store", b"no-transform", b"must-revalidate", b"proxy-revalidate", b"must-understand",
    b"public", b"immutable",
)  # fmt: skip
OTHERS = one(b"x", b'x="no-store, max-age=1"', b"x=1", b'y="\\""', b"max-age5", b"no-stor", b"a=b")
NUMBERS = one(b"0", b"60", b"0007", b"2147483648", b"9" * 30, b"1")
NO_NUMBERS = one(b"", b"-1", b"+1", b"1.5", b"1e3", b"x", b" 1", b"1 ", b"0x1", b"\xb2", b"1_0")
ARGUMENT = NUMBERS | NUMBERS.map(lambda digits: b'"' + digits + b'"') | NO_NUMBERS


@st.composite
def controls(draw: DrawFn) -> Value:
    """Cache-Control of a response: its directives with their arguments, in order."""
    said: list[tuple[bytes, bytes | None]] = []
    members: list[bytes] = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from((*SECONDS, *SECONDS, *FLAGS, b"no-cache", b"private", b"")))
        if not name:
            members.append(draw(OTHERS))
            continue
        argument: bytes | None = None
        if name in SECONDS:
            argument = draw(ARGUMENT)
        elif name in (b"no-cache", b"private") and draw(st.booleans()):
            names = draw(st.lists(TOKEN, min_size=1, max_size=3))
            space = draw(one(b"", b" "))
            argument = b'"' + (b"," + space).join(names) + b'"'
            argument = draw(st.sampled_from((argument, argument, b'""', b'"a b"', names[0])))
        said.append((name, argument))
        cased = draw(st.sampled_from((name, name.upper(), name.title())))
        members.append(cased if argument is None else cased + b"=" + argument)
    return Value(draw(listed(members)), said)


@st.composite
def varies(draw: DrawFn) -> Value:
    """Vary: the names, or None where it selects nothing that can be stored."""
    known = one(b"Origin", b"ORIGIN", b"accept-encoding", b"Accept-Encoding", b"X")
    names = draw(st.lists(known | TOKEN.filter(lambda name: name != b"*"), max_size=4))
    odd = draw(st.sampled_from((None, None, None, b"*", b"a b", b'"x"', b"a;b", b"\xc3\xa4")))
    members = [*names, *([] if odd is None else [odd])]
    meaning = None if odd is not None else {name.lower() for name in names}
    return Value(draw(listed(draw(st.permutations(members)))), meaning)


@st.composite
def ranges(draw: DrawFn) -> Value:
    """Range, with the total it is asked of, and the bytes that each range has there."""
    total = draw(st.integers(0, 40))
    members, spans = [], []
    for _ in range(draw(st.integers(1, 4))):
        first, length = draw(st.integers(0, 50)), draw(st.integers(1, 50))
        form = draw(st.sampled_from((b"%d-%d", b"0%d-%d", b"%d-", b"-%d")))
        members.append(form % {2: (first, first + length - 1), 1: (first,)}[form.count(b"%d")])
        if form == b"-%d":
            spans.append(set(range(max(0, total - first), total)))
        else:
            last = total if form == b"%d-" else first + length
            spans.append(set(range(first, min(last, total))))
    odd = draw(st.sampled_from((None, None, b"-", b"5-1", b"+1-2", b"a", b"1", b"--1", b"\xb2-")))
    if odd is not None:
        members.insert(draw(st.integers(0, len(members))), odd)
    wire = b",".join(draw(listed(members)))
    unit = draw(one(b"bytes=", b"bytes=", b"BYTES=", b"items=", b"bytes", b"bytes:"))
    usable = odd is None and unit.lower() == b"bytes="
    return Value([unit + wire], (total, [one for one in spans if one] if usable else None))


DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@st.composite
def dates(draw: DrawFn) -> Value:
    """An HTTP-date in one of its three forms, or nearly."""
    instant = draw(st.integers(0, calendar.timegm((2076, 1, 1, 0, 0, 0))))
    year, month, day, hour, minute, second, weekday = time.gmtime(instant)[:7]
    form = draw(st.integers(0, 2))
    clock, name = f"{hour:02}:{minute:02}:{second:02}", DAYS[weekday]
    if form == 0:
        text = f"{name[:3]}, {day:02} {MONTHS[month - 1]} {year} {clock} GMT"
    elif form == 1:
        # Two digits name the latest such year that is not over fifty years ahead.
        if not 1977 <= year <= 2075:
            instant, clock, text = 784111777, "08:49:37", "Sunday, 06-Nov-94 08:49:37 GMT"
        else:
            text = f"{name}, {day:02}-{MONTHS[month - 1]}-{year % 100:02} {clock} GMT"
    else:
        text = f"{name[:3]} {MONTHS[month - 1]} {day:2} {clock} {year}"
    odd = draw(st.integers(0, 3)) == 0
    if odd:
        at = draw(st.integers(0, len(text)))
        ways = [text.lower(), text + " ", " " + text, text[:at] + " " + text[at:]]
        ways += [text.replace(clock, "24:00:00"), text.replace(clock, "1:2:3"), text + "\n"]
        ways += [text.replace("GMT", "UTC") + "?", text.replace(clock, "00:60:00"), text[:-1]]
        text = draw(st.sampled_from(ways))
    return Value([text.encode()], None if odd else float(instant))


@st.composite
def tags(draw: DrawFn) -> Value:
    """Entity tags, as If-None-Match lists them: weak or not, with what the quotes hold."""
    etagc = VCHAR.replace(b'"', b"")
    found = draw(st.lists(st.tuples(st.booleans(), of(etagc, 0, 8)), min_size=1, max_size=4))
    members = [(b"W/" if weak else b"") + b'"' + opaque + b'"' for weak, opaque in found]
    return Value([b", ".join(draw(listed(members)))], found)


@st.composite
def content_ranges(draw: DrawFn) -> Value:
    """Content-Range of a 206: first, length and total (None: ``*``)."""
    first, length, beyond = (draw(st.integers(0, 100)) for _ in range(3))
    last, total = first + length, draw(st.sampled_from((None, first + length + 1 + beyond)))
    said = b"*" if total is None else b"%d" % total
    wire = draw(one(b"bytes", b"Bytes")) + b" %d-%d/%b" % (first, last, said)
    meaning: Any = (first, length + 1, total)
    if draw(st.integers(0, 2)) == 0:
        meaning = None
        ways = [b"bytes %d-%d/%d" % (first, last, last), b"bytes */%d" % (last + 1)]
        ways += [wire + b" ", wire.replace(b" ", b"="), wire.replace(b"-", b" - "), wire + b"0x"]
        ways += [b"bytes %d-%d/*" % (last + 1, last), wire.replace(b"/", b""), b"items 0-1/2"]
        wire = draw(st.sampled_from(ways))
    return Value([wire], meaning)


@st.composite
def hops(draw: DrawFn) -> Value:
    """What Forwarded says of a hop: for, host, proto; its lines are the parts."""
    client = draw(st.ip_addresses()).compressed.encode()
    return Value([client, draw(HOSTS), draw(one(b"http", b"https"))], None)


@st.composite
def proxies(draw: DrawFn) -> Value:
    """A PROXY header; the meaning is its address, "" for none; None where it is malformed."""
    version = draw(st.sampled_from((4, 6)))
    source, to = (draw(st.ip_addresses(v=version)) for _ in range(2))
    ports = draw(st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
    words = [b"PROXY", b"TCP%d" % version, str(source).encode(), str(to).encode()]
    words += [b"%d" % port for port in ports]
    wire = b" ".join(words) + b"\r\n"
    size, family = (4, 0x11) if version == 4 else (16, 0x21)
    tail = draw(st.binary(max_size=20))
    block = source.packed + to.packed + struct.pack("!HH", *ports) + tail
    binary = _binary(0x21, family, block)
    address, local = str(ipaddress.ip_address(source.packed)), _binary(0x20, family, block)
    ways: list[tuple[bytes, str | None]] = [
        (wire, address), (binary, address), (wire, address), (binary, address), (local, ""),
        (b"PROXY UNKNOWN\r\n", ""), (b"PROXY UNKNOWN " + b"x" * 20 + b"\r\n", ""),
        (_binary(0x21, 0, block), ""), (_binary(0x21, 0x31, block), ""),
        (wire.replace(b" ", b"  ", 1), None), (wire.replace(b"TCP", b"tcp"), None),
        (wire.replace(b"\r\n", b" \r\n"), None), (wire.replace(b"PROXY", b"proxy"), None),
        (b" ".join(words[:-1]) + b"\r\n", None), (b" ".join((*words, b"1")) + b"\r\n", None),
        (b" ".join((*words[:-1], b"65536")) + b"\r\n", None),
        (b" ".join((*words[:-1], b"007")) + b"\r\n", None),
        (b" ".join((words[0], b"TCP%d" % (10 - version), *words[2:])) + b"\r\n", None),
        (_binary(0x22, family, block), None), (_binary(0x11, family, block), None),
        (_binary(0x21, family | 2, block), None), (_binary(0x21, family, block[:size]), None),
        (_binary(0x21, 0x51, block), None), (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"\r\n\r\n\0\r\nQUIT\r" + binary[12:], None), (wire[:-2] + b"\n" + b"x" * 120, None),
    ]  # fmt: skip
    data, meaning = draw(st.sampled_from(ways))
    return Value([data], meaning)


def _binary(command: int, family: int, block: bytes) -> bytes:
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, family, len(block)) + block


VALUES = {
    "controls": controls(), "varies": varies(), "ranges": ranges(), "dates": dates(),
    "tags": tags(), "content ranges": content_ranges(), "hops": hops(), "proxies": proxies(),
}  # fmt: skip
ANY = st.one_of(
    *(drawn.map(lambda value, name=name: (name, value)) for name, drawn in VALUES.items())
)
