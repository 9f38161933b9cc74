"""What the origin of the checker would say: every answer can be computed again from its request.

Content goes by version, by what of the request selects it, and by position, so that a block of
another version, of another variant or from another place is seen. Nothing here knows of a proxy.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from email.utils import formatdate

A, B, EVIL = b"https://a.example", b"https://b.example", b"https://evil.example"
ORIGINS = (None, A, B, EVIL, b"null")
HOSTS = (b"one.example", b"two.example")
LEAKED = b"https://leaked.example"  # what an origin says that is not to speak about CORS
MODIFIED = 1_700_000_000  # Unix seconds; each version is a minute younger
_PAD = random.Random(8).randbytes(8 << 20)
Said = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Keep:
    """What is said of storing; seconds that answers may be old, and stale beyond that."""

    control: bytes | None
    lifetime: float = 0.0
    while_validated: float = 0.0
    on_error: float = 15.0  # the rules' own, unless the origin says
    strict: bool = False  # never stale
    shared: bool = True


KEEPS = {
    "fresh": Keep(b"max-age=60", 60),
    "short": Keep(b"max-age=2", 2),
    "must": Keep(b"max-age=2, must-revalidate", 2, strict=True),
    "for-shared": Keep(b"s-maxage=2, max-age=90", 2, strict=True),
    "asked-always": Keep(b"no-cache", 0, strict=True),
    "meanwhile": Keep(b"max-age=2, stale-while-revalidate=10", 2, 10),
    "on-error": Keep(b"max-age=2, stale-if-error=30", 2, 0, 30),
    "public": Keep(b"public, max-age=60", 60),
    "expires": Keep(None, 5),
    "aged": Keep(b"max-age=20", 20),
    "unsaid": Keep(None, 86400),  # a heuristic, where there is a date
    "personal": Keep(b"max-age=60", 60),
    "private": Keep(b"private, max-age=60", shared=False),
    "no-store": Keep(b"no-store", shared=False),
    "cookie": Keep(b"max-age=60", shared=False),
}
AGED = 7  # seconds that a page that is kept "aged" is old when it comes
_CODING = re.compile(rb"(?:^|[,\s])(br|gzip)(?:\s*(?:,|$))")


@dataclass(frozen=True, slots=True)
class Page:
    """One resource, and how its origin treats it. The first part of its path says the rule."""

    number: int
    host: bytes
    rule: str  # p: the origin's CORS | c: its preflights kept | o: listed origins | v: everybody
    cors: str  # none | star | reflect | listed
    vary: str  # none | silent | origin | language | both
    keep: str
    framing: str  # length | chunked | end | old | old-end
    tag: str  # strong | weak | date | both | none
    size: int
    ranges: str  # honoured | ignored | short

    @property
    def target(self) -> bytes:
        return b"/%b/%d.bin" % (self.rule.encode(), self.number)

    @property
    def kept(self) -> Keep:
        return KEEPS[self.keep]

    @property
    def lifetime(self) -> float:
        dated = self.keep != "unsaid" or self.tag in ("date", "both")
        return self.kept.lifetime if dated else 0.0

    def selected(self, said: Said) -> bytes:
        """What of a request the content depends on."""
        if self.keep == "personal":
            return b"who " + said.get(b"authorization", b"-")
        if self.vary == "origin":
            return b"origin " + said.get(b"origin", b"-")
        if self.vary == "language":
            return b"language " + said.get(b"accept-language", b"-")
        if self.vary == "both":
            return b"origin %b coding %b" % (said.get(b"origin", b"-"), self.coding(said) or b"-")
        return b""

    def coding(self, said: Said) -> bytes | None:
        """The content coding, where the content depends on it."""
        if self.vary != "both" or self.keep == "personal":
            return None
        found = _CODING.findall(said.get(b"accept-encoding", b""))
        return b"br" if b"br" in found else b"gzip" if found else None

    def length(self, version: int) -> int:
        """Every third version is a little longer."""
        return self.size + 1000 * (version % 3 == 2 and self.size > 0)

    def body(self, version: int, said: Said) -> bytes:
        return self.slice(version, said, 0, self.length(version))

    def slice(self, version: int, said: Said, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the whole."""
        place = b"%b%b#%d#%b" % (self.host, self.target, version, self.selected(said))
        seed = int.from_bytes(hashlib.blake2b(place, digest_size=8).digest())
        at = seed % (len(_PAD) - self.size - 1000)
        return _PAD[at + start : at + stop]

    def etag(self, version: int, said: Said) -> bytes | None:
        if self.tag not in ("strong", "weak", "both"):
            return None
        mark = hashlib.blake2b(self.selected(said), digest_size=3).hexdigest().encode()
        return b'%b"%d-%b"' % (b"W/" if self.tag == "weak" else b"", version, mark)

    def modified(self, version: int) -> bytes | None:
        if self.tag not in ("date", "both"):
            return None
        return formatdate(MODIFIED + 60 * version, usegmt=True).encode()

    def allow(self, origin: bytes | None) -> bytes | None:
        """Access-Control-Allow-Origin that a client is to get."""
        if self.rule == "v":
            return b"*"
        if self.rule == "o":
            return origin if origin in (A, B) else None
        return self.allowed_by_origin(origin)

    def allowed_by_origin(self, origin: bytes | None) -> bytes | None:
        if self.rule in "ov":
            return LEAKED
        if origin is None or self.cors == "none":
            return None
        if self.cors == "star":
            return b"*"
        return origin if self.cors == "reflect" or origin in (A, B) else None

    def selecting(self) -> frozenset[bytes]:
        """Names that Vary has to have towards a client."""
        found = {b"origin"} if self.rule != "v" else set()
        if self.vary == "language":
            found.add(b"accept-language")
        if self.vary == "both":
            found.add(b"accept-encoding")
        return frozenset(found)

    def lines(self, version: int, said: Said) -> list[bytes]:
        """The fields of every response to GET and HEAD, a 304 too."""
        found = [b"X-Version: %d" % version, b"X-For: " + mark(self.selected(said))]
        found.append(b"Cache-Tag: n%d, all" % self.number)
        if self.kept.control is not None:
            found.append(b"Cache-Control: " + self.kept.control)
        if (tag := self.etag(version, said)) is not None:
            found.append(b"ETag: " + tag)
        if (date := self.modified(version)) is not None:
            found.append(b"Last-Modified: " + date)
        if (allow := self.allowed_by_origin(said.get(b"origin"))) is not None:
            found.append(b"Access-Control-Allow-Origin: " + allow)
        if (coding := self.coding(said)) is not None:
            found.append(b"Content-Encoding: " + coding)
        vary = {"origin": b"Origin", "language": b"accept-language"}.get(self.vary)
        if self.vary == "both":
            vary = b"Origin, Accept-Encoding"
        return found if vary is None else [*found, b"Vary: " + vary]


def mark(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=4).hexdigest().encode()


def preflight_mark(said: Said) -> bytes:
    """What an origin's answer to a preflight goes by."""
    names = said.get(b"access-control-request-headers", b"").replace(b" ", b"").lower().split(b",")
    method = said.get(b"access-control-request-method", b"-")
    return mark(b"|".join((said.get(b"origin", b"-"), method, *sorted(names))))


SIZES = (0, 1, 40, 1000, 20_000, 100_000)
LARGE = (300 * 1024, 3 * 131_072, 1_000_003, 3 << 20)


def pages(count: int, dice: random.Random, large: float = 0.1) -> list[Page]:
    """*count* pages, about half of which have a namesake on another host."""
    found: list[Page] = []
    for number in range(count // 2):
        rule = dice.choice("pppcov")
        for host in HOSTS:
            big = dice.random() < large
            varies = ("none", "language") if rule in "ov" else VARIES
            found.append(
                Page(
                    number,
                    host,
                    rule,
                    dice.choice(("none", "star", "reflect", "reflect", "listed")),
                    dice.choice(varies),
                    "fresh" if big and dice.random() < 0.5 else dice.choice(_KEPT),
                    "length" if big and dice.random() < 0.7 else dice.choice(FRAMINGS),
                    "strong" if big and dice.random() < 0.7 else dice.choice(TAGS),
                    dice.choice(LARGE if big else SIZES),
                    dice.choice(("honoured", "honoured", "ignored", "short")),
                )
            )
    return found


VARIES = ("none", "silent", "origin", "language", "both")
FRAMINGS = ("length", "length", "chunked", "chunked", "end", "old", "old-end")
TAGS = ("strong", "strong", "weak", "date", "both", "none")
_KEPT = (*KEEPS, "fresh", "fresh", "short", "must")
