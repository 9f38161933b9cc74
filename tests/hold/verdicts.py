"""Whether an answer is one that this origin could have said to that request, at that time.

Nothing here knows how a proxy decides: each claim is about what a client sees, and names what
would be wrong if it did not hold.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tests.hold.pages import AGED, A, B, Page, Said, mark, preflight_mark
from tests.hold.realm import (
    Realm,
    gone,
    has_already,
    if_range_holds,
    refuses,
    resolved,
    unreadable,
)

SLACK = 3.0  # seconds from when an origin said when until the proxy has it
FETCH = 60.0  # seconds, by that clock, that a fetch may take, all of its attempts
_SLICE = re.compile(rb"bytes (\d+)-(\d+)/(\d+)")
_PART = re.compile(rb"(?i)content-range: ([^\r]+)")
_ONE = re.compile(rb"bytes=(\d*)-(\d*)")
UNSAFE = (b"PUT", b"POST", b"DELETE")
FAILURES = (0, 502, 503, 504)


@dataclass
class Call:
    """A request, and how things stood as it began."""

    method: bytes
    page: Page
    said: Said
    body: bytes = b""
    begun: float = 0.0  # seconds of the world
    floor: int = 0  # the oldest version that may be the answer
    soft: int = 0  # and that may, but in place of an error


@dataclass
class Got:
    """What a client was given; ``whole`` when its framing says so."""

    status: int = 0
    head: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    content: bytes = b""
    whole: bool = False
    persists: bool = False
    left: bool = False  # the client went before the end

    def number(self, name: bytes) -> int:
        return int(self.fields.get(name, b"-1"))


class Wrong(AssertionError):
    """An answer that may not be, after ``judged`` that may."""

    judged = 0


def answers_in(seen: Counter[str]) -> int:
    """Those that a client was given: whole, cut or left, with a status."""
    return sum(count for name, count in seen.items() if name.isdigit() or name in ("cut", "left"))


class Verdict:
    """On one answer. Raises Wrong."""

    def __init__(self, realm: Realm, call: Call, got: Got) -> None:
        self.realm = realm
        self.call = call
        self.page = call.page
        self.said = call.said
        self.got = got
        self.version = got.number(b"x-version")

    def claim(self, holds: bool, what: str) -> None:
        if not holds:
            call, got = self.call, self.got
            wrong = Wrong(
                f"{what}: {call.method!r} {self.page} {self.said} begun {call.begun:.2f}, floor "
                f"{call.floor}/{call.soft}, reached {self.realm.reached(self.page)}, now "
                f"{self.realm.time:.2f}, got {got.status} {len(got.content)} bytes, "
                f"whole {got.whole}, {got.head!r}"
            )
            wrong.judged = answers_in(self.realm.seen)
            raise wrong

    def judge(self, *, failing: bool) -> None:
        """*failing*: the origin or the connection may fail."""
        got, method = self.got, self.call.method
        if got.status in FAILURES:
            alone = b"only-if-cached" in self.said.get(b"cache-control", b"")
            self.claim(failing or (alone and got.status == 504), "an error without a cause")
            return
        # Who has the beginning of what is superseded then gets no more of it, and no other.
        superseded = self.version < self.realm.reached(self.page)
        cause = failing or superseded or (self.realm.lossy and not self._can_be_resumed())
        self.claim(got.whole or got.left or cause, "a cut without a cause")
        if method in UNSAFE:
            self._changed()
        elif method == b"OPTIONS":
            self._preflight()
        else:
            self._current()
            self._fields()
            self._content()

    def _can_be_resumed(self) -> bool:
        """True when its origin gives the rest of what a store has lost, and says of what."""
        page = self.page
        known = page.tag in ("strong", "both") and page.framing in ("length", "old")
        return known and page.ranges != "ignored"

    # ── what changes ──────────────────────────────────────────────────────────────────

    def _changed(self) -> None:
        self.claim(self.got.status in (200, 204, 303), "not the answer to a change")
        self.claim(self.got.fields.get(b"x-got") == mark(self.call.body), "another body arrived")
        if self.call.method == b"POST" and self.page.number % 3 == 0:
            self._bytes(self.page.body(self.version, self.said))

    def _preflight(self) -> None:
        got, said = self.got, self.said
        asked = b"access-control-request-method" in said and b"origin" in said
        if asked and got.status == 403:
            self.claim(self.page.rule == "o" and said[b"origin"] not in (A, B), "refused")
            return
        self.claim(got.status in (200, 204), "no answer to OPTIONS")
        self._allowed()
        if b"x-preflight" in got.fields:
            self.claim(got.fields[b"x-preflight"] == preflight_mark(said), "another's preflight")
            floor = self.call.floor if self.page.rule != "c" else 0
            self.claim(floor <= self.version <= self.realm.reached(self.page), "old preflight")
        elif asked:
            self.claim(self.page.rule in "ov", "a preflight that nobody answered")

    # ── of which moment it is ─────────────────────────────────────────────────────────

    def _current(self) -> None:
        got, realm = self.got, self.realm
        if got.status == 416 and self.version < 0:
            return
        self.claim(self.version >= 0, "of no version")
        self.claim(self.version >= self.call.floor, "invalidated")
        instead = b"stale-if-error" in got.fields.get(b"cache-status", b"") and realm.faults > 0
        self.claim(self.version >= self.call.soft or instead, "marked stale")
        self.claim(self.version <= realm.reached(self.page), "of the future")
        if b"x-made" in got.fields:
            made = float(got.fields[b"x-made"])
            self.claim(realm.was(self.page, self.version, made), "freshened by another's version")
            self._not_stale(made, instead=instead)
            self._age(made)

    def _not_stale(self, made: float, *, instead: bool) -> None:
        kept, realm = self.page.kept, self.realm
        aged = AGED if self.page.keep == "aged" else 0
        age = self.call.begun - made + aged - realm.astray - SLACK
        if not kept.shared:
            self.claim(age <= aged, "reused what is not to be")
            return
        limit = self._asked_for(self.page.lifetime)
        if instead and not kept.strict:
            limit = max(limit, self.page.lifetime + kept.on_error)
        elif instead:
            limit = max(limit, self.page.lifetime)
        self.claim(age <= max(limit, aged), f"stale by {age - limit:.1f} s")

    def _asked_for(self, lifetime: float) -> float:
        """Seconds that the answer may be old, by the page and by the request."""
        kept = self.page.kept
        asked = directives(self.said)
        limit = lifetime
        if not kept.strict:
            wants_fresh = "max-age" in asked or "min-fresh" in asked
            meanwhile = 0.0 if wants_fresh or self.call.method != b"GET" else kept.while_validated
            limit += max(meanwhile, asked.get("max-stale", 0.0))
        if "no-cache" in asked:
            return 0.0
        if "max-age" in asked and "max-stale" not in asked:
            limit = min(limit, asked["max-age"])
        if "min-fresh" in asked and "max-stale" not in asked:
            limit = min(limit, max(0.0, lifetime - asked["min-fresh"]))
        return limit

    def _age(self, made: float) -> None:
        if self.realm.astray:
            return
        aged = AGED if self.page.keep == "aged" else 0
        age = int(self.got.fields.get(b"age", b"0"))
        least = self.call.begun - made + aged - 1.1
        # What was passed on as it is bears the Age that its origin gave it, or none.
        self.claim(age >= least or self.call.begun - made < SLACK, f"Age {age}, not {least:.1f}")
        most = self.realm.time - made + aged + FETCH
        self.claim(age <= most, f"Age {age}, over {most:.1f}")

    # ── for whom it is ────────────────────────────────────────────────────────────────

    def _fields(self) -> None:
        got, page = self.got, self.page
        vary = {name.strip().lower() for name in got.fields.get(b"vary", b"").split(b",")}
        self.claim(page.selecting() <= vary, "Vary lacks a name")
        self._allowed()
        if b"x-for" in got.fields:
            right = got.fields[b"x-for"] == mark(page.selected(self.said))
            self.claim(right, "the fields of another variant")
        if b"etag" in got.fields:
            right = got.fields[b"etag"] == page.etag(self.version, self.said)
            self.claim(right, "another entity tag")
        if b"content-encoding" in got.fields or got.status == 200:
            coding = got.fields.get(b"content-encoding")
            self.claim(coding == page.coding(self.said), "another content coding")
        if b"set-cookie" in got.fields or not page.kept.shared:
            serial = got.fields.get(b"x-serial")
            self.claim(serial not in self.realm.serials, "given to another before")
            if serial is not None:
                self.realm.serials.add(serial)

    def _allowed(self) -> None:
        if self.got.status not in (200, 204, 206, 304, 404):
            return
        allow = self.got.fields.get(b"access-control-allow-origin")
        self.claim(allow == self.page.allow(self.said.get(b"origin")), f"allowed {allow!r}")

    # ── what it says ──────────────────────────────────────────────────────────────────

    def _content(self) -> None:
        got, page, status = self.got, self.page, self.got.status
        absent = self.realm.is_gone(page, self.version)
        if status == 404:
            self.claim(absent, "gone that is not")
            if self.call.method == b"GET":
                self._bytes(gone(page, self.version))
            return
        if status == 412:
            refused = refuses(page, self.version, self.said, gone=absent)
            self.claim(refused, "a precondition that holds")
            return
        if status != 416:
            self.claim(not absent, "there that is gone")
            refused = refuses(page, self.version, self.said, gone=False)
            self.claim(not refused, "a precondition that fails")
        if status == 304:
            self.claim(has_already(page, self.version, self.said), "modified all the same")
        elif status == 416:
            self._unsatisfiable()
        elif self.call.method == b"HEAD":
            length = page.length(self.version)
            self.claim(status == 200, "a part for HEAD")
            told = int(got.fields.get(b"content-length", b"%d" % length))
            self.claim(told == length, "another length")
        elif status == 200:
            self._bytes(page.body(self.version, self.said))
        else:
            self.claim(status == 206, "another status")
            self._parts()

    def _bytes(self, body: bytes) -> None:
        got = self.got.content
        right = got == body if self.got.whole else body.startswith(got)
        if not right:
            pairs = zip(got, body, strict=False)
            at = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(got), len(body)))
            self.claim(False, f"other content, from byte {at} of {len(body)}")

    def _unsatisfiable(self) -> None:
        told = self.got.fields.get(b"content-range", b"")
        self.claim(b"range" in self.said and told.startswith(b"bytes */"), "416 to nothing")
        total = int(told[8:])
        lengths = {
            self.page.length(one)
            for one in range(self.call.floor, self.realm.reached(self.page) + 1)
        }
        self.claim(total in lengths, "a length that never was")
        spans = _spans(self.said[b"range"], total)
        self.claim(spans is not None and not any(spans), "a range that is there")

    def _parts(self) -> None:
        got, page = self.got, self.page
        asked = self.said.get(b"range")
        self.claim(asked is not None, "a part of what was asked for whole")
        self.claim(if_range_holds(page, self.version, self.said), "a part of another")
        spans = _spans(asked or b"", page.length(self.version)) or []
        kind = got.fields.get(b"content-type", b"")
        if not kind.startswith(b"multipart/byteranges"):
            first, stop = self._span(got.fields.get(b"content-range", b""))
            exact = (first, stop) in spans
            shorter = page.ranges == "short" and any(
                one and one[0] <= first and stop <= one[1] for one in spans
            )
            self.claim(exact or shorter, "another range")
            self._bytes(page.slice(self.version, self.said, first, stop))
        elif got.whole:
            self._several(kind, spans)

    def _several(self, kind: bytes, spans: list[tuple[int, int] | None]) -> None:
        boundary = b"--" + kind.partition(b"boundary=")[2].strip(b'"')
        parts = self.got.content.split(boundary)[1:-1]
        self.claim(len(parts) > 1, "no parts")
        for part in parts:
            head, _, content = part.partition(b"\r\n\r\n")
            found = _PART.search(head)
            first, stop = self._span(found[1] if found else b"")
            self.claim((first, stop) in spans, "a part that was not asked for")
            piece = self.page.slice(self.version, self.said, first, stop)
            self.claim(content == piece + b"\r\n", "another part")

    def _span(self, told: bytes) -> tuple[int, int]:
        found = _SLICE.fullmatch(told)
        self.claim(found is not None, "no Content-Range")
        assert found is not None
        first, last, total = map(int, found.groups())
        self.claim(total == self.page.length(self.version), "a part of another length")
        self.claim(first <= last < total, "a part that is none")
        return first, last + 1


def _spans(asked: bytes, total: int) -> list[tuple[int, int] | None] | None:
    """What is asked of *total* bytes, None for what is not there; None: nothing to be read."""
    found = [_ONE.fullmatch(b"bytes=" + one.strip()) for one in asked[6:].split(b",")]
    if not asked.startswith(b"bytes=") or not all(found):
        return None
    pairs = [(one[1], one[2]) for one in found if one is not None]
    if any(unreadable(*pair) for pair in pairs):
        return None
    return [resolved(*pair, total) for pair in pairs]


def directives(said: Said) -> dict[str, float]:
    found = {}
    for one in said.get(b"cache-control", b"").decode().split(","):
        name, _, value = one.strip().partition("=")
        if name:
            found[name] = float(value or "inf")
    return found
