"""What RFC 9111 forbids, written a second time: an observer beside a scripted world.

The origin draws its answers; everything it says is remembered under a serial number that
the answer carries. Of every reply the observer finds the answer it came from, and checks
that it was allowed to be used for this request at this moment. It knows nothing of how the
proxy decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.exchange.conftest import Answer, Edge, Said
from vary_proxy.core.message import Request
from vary_proxy.core.syntax import format_date
from vary_proxy.origin import OriginFailure

LISTED = (b"origin", b"accept-language", b"x-select")


@dataclass
class Behaviour:
    """How the origin answers, until it changes."""

    max_age: int | None = 10
    s_maxage: int | None = None
    flags: frozenset[str] = frozenset()  # no-store private no-cache must-revalidate public
    window: tuple[str, int] | None = None  # stale-while-revalidate or stale-if-error
    vary: tuple[bytes, ...] = ()
    etag: bool = True
    modified: bool = False
    cors: str = "none"  # none | echo | star | listed
    status: int = 200
    down: bool = False
    broken: bool = False  # bodies are cut
    age: int = 0
    bare_304: bool = False

    def cache_control(self) -> bytes:
        parts = sorted(self.flags)
        if self.max_age is not None:
            parts.append(f"max-age={self.max_age}")
        if self.s_maxage is not None:
            parts.append(f"s-maxage={self.s_maxage}")
        if self.window is not None:
            parts.append(f"{self.window[0]}={self.window[1]}")
        return ", ".join(parts).encode()

    def lifetime(self) -> float | None:
        stated = self.s_maxage if self.s_maxage is not None else self.max_age
        return None if stated is None else float(stated)

    def allow(self, origin: bytes | None) -> bytes | None:
        if self.cors == "star":
            return b"*" if origin is not None else None
        if self.cors == "listed" and origin == b"https://evil.example":
            return None
        return origin if self.cors in ("echo", "listed") else None


@dataclass
class Given:
    """One answer of the origin, or what a 304 made of it."""

    serial: int
    target: bytes
    request: Request
    behaviour: Behaviour
    version: int
    body: bytes
    at: float  # when it was given, or last validated
    invalidated: bool = False
    whole: bool = True
    allow: bytes | None = None
    # What was said in 304s of this version, and to whom.
    updates: list[tuple[float, Behaviour, Request]] = field(default_factory=list)


@dataclass
class World:
    edge: Edge
    behaviour: dict[bytes, Behaviour] = field(default_factory=dict)
    versions: dict[bytes, int] = field(default_factory=dict)
    given: dict[int, Given] = field(default_factory=dict)
    serial: int = 0
    validated: set[tuple[bytes, int]] = field(default_factory=set)  # in this step
    answered: list[Given] = field(default_factory=list)  # in this step

    def __post_init__(self) -> None:
        self.edge.origin.handler = self.answer

    def etag(self, target: bytes) -> bytes:
        return b'"v%d"' % self.versions.get(target, 0)

    def answer(self, request: Request) -> Said:
        target = request.target
        now = self.edge.clock()
        behaviour = self.behaviour.setdefault(target, Behaviour())
        if behaviour.down:
            return Said(failure=OriginFailure("connection_refused"))
        if request.method not in (b"GET", b"HEAD"):
            self.versions[target] = self.versions.get(target, 0) + 1
            for one in self.given.values():
                one.invalidated = one.invalidated or one.target == target
            return Said(204, ((b"date", format_date(now)),))
        origin = request.fields.get(b"origin")
        tag = self.etag(target)
        pairs = [(b"date", format_date(now)), (b"cache-control", behaviour.cache_control())]
        if behaviour.etag:
            pairs.append((b"etag", tag))
        if behaviour.modified:
            pairs.append((b"last-modified", format_date(now - 1000)))
        if behaviour.vary:
            pairs.append((b"vary", b", ".join(behaviour.vary)))
        allow = behaviour.allow(origin)
        condition = request.fields.get(b"if-none-match")
        matched = condition is not None and behaviour.etag and tag in condition.split(b", ")
        if matched and behaviour.status == 200:
            if allow is not None and not behaviour.bare_304:
                pairs.append((b"access-control-allow-origin", allow))
            self.validated.add((target, self.versions.get(target, 0)))
            for one in self.given.values():
                if one.target == target and one.version == self.versions.get(target, 0):
                    one.updates.append((now, behaviour, request))
            return Said(304, tuple(pairs))
        return self._fresh(request, behaviour, pairs, allow)

    def _fresh(
        self,
        request: Request,
        behaviour: Behaviour,
        pairs: list[tuple[bytes, bytes]],
        allow: bytes | None,
    ) -> Said:
        now = self.edge.clock()
        target = request.target
        self.serial += 1
        version = self.versions.get(target, 0)
        body = b"%s#%d|" % (target, version) * 5
        if allow is not None:
            pairs.append((b"access-control-allow-origin", allow))
        if behaviour.age:
            pairs.append((b"age", b"%d" % behaviour.age))
        if request.method == b"HEAD":
            for known in self.given.values():
                if known.target == target and known.version == version:
                    known.updates.append((now - behaviour.age, behaviour, request))
            return Said(behaviour.status, tuple(pairs), body)
        pairs.append((b"x-serial", b"%d" % self.serial))
        one = Given(
            self.serial, target, request, behaviour, version, body, now - behaviour.age, allow=allow
        )
        one.whole = not behaviour.broken
        self.given[self.serial] = one
        self.answered.append(one)
        if behaviour.broken:
            cut = OriginFailure("http_response_incomplete")
            return Said(behaviour.status, tuple(pairs), body[:7], length=len(body), cut=cut)
        return Said(behaviour.status, tuple(pairs), body)

    async def ask(self, target: bytes, method: bytes, fields: dict[str, bytes]) -> None:
        """One request; raises AssertionError when the reply is one that §3 or §4 forbids."""
        self.validated.clear()
        self.answered.clear()
        asked_before = self.edge.origin.asked
        body = b"x" if method not in (b"GET", b"HEAD") else None
        reply = await self.edge.send(target, method, body=body, **fields)
        now = self.edge.clock()
        contacted = self.edge.origin.asked > asked_before
        fresh_from_origin = {one.serial for one in self.answered}
        serial = reply["x-serial"]
        if serial is not None:
            self.judge(reply, self.given[int(serial)], fields, now, fresh_from_origin, contacted)
        await self.edge.settle()  # what revalidates in the background

    def is_own_304(self, reply: Answer, source: Given) -> bool:
        """True when the origin has just told this very requester that *source* still holds.

        A hit waited for nobody: what was validated while it went out was in the background.
        """
        is_hit = "vary-proxy; hit" in reply.cache_status
        return not is_hit and (source.target, source.version) in self.validated

    def judge(
        self,
        reply: Answer,
        source: Given,
        fields: dict[str, bytes],
        now: float,
        fresh_from_origin: set[int],
        contacted: bool,
    ) -> None:
        where = f"{source.target!r} #{source.serial} {reply.cache_status} {fields}"
        self.check_vary_line(reply, source, fields, where)
        if reply.status == 304:
            asked = fields.get("if_none_match", b"")
            assert reply["etag"] in asked.split(b", "), where
        if reply.status == 200 and reply.cut is None and reply.body:
            assert reply.body == source.body, f"4: another body: {where}"
        if source.serial in fresh_from_origin and reply.cut is None:
            return  # given to this very request, or to one that it was collapsed with
        if reply.cut is not None:
            return
        self.check_reusable(reply, source, fields, now, contacted, where)

    def check_vary_line(
        self, reply: Answer, source: Given, fields: dict[str, bytes], where: str
    ) -> None:
        said = {name.strip().lower() for name in (reply["vary"] or b"").split(b",")}
        _, behaviour = last_said(source, fields)
        needed = {b"origin", *(name.lower() for name in behaviour.vary)} - {b"*"}
        if any(True for _ in may_be_said(source, fields)):
            needed = {b"origin"}  # a response to HEAD may have said another Vary
        assert needed <= said or b"*" in said, f"Vary is incomplete: {where}"

    def check_reusable(
        self,
        reply: Answer,
        source: Given,
        fields: dict[str, bytes],
        now: float,
        contacted: bool,
        where: str,
    ) -> None:
        _, said = last_said(source, fields)
        taken_up = [behaviour for _, behaviour in may_be_said(source, fields)]
        validated = self.is_own_304(reply, source)
        if not validated:  # else it is the answer to this request, which need not be stored
            assert "no-store" not in said.flags, f"3: no-store: {where}"
            assert "private" not in said.flags, f"3: private: {where}"
        assert b"*" not in said.vary, f"4.1: Vary *: {where}"
        assert not source.invalidated, f"4.4: invalidated: {where}"
        assert source.whole or reply.status == 206, f"3.3: incomplete: {where}"
        authorized = b"authorization" in source.request.fields or "authorization" in fields
        if authorized and not validated:
            shared = any(
                {"public", "must-revalidate"} & one.flags or one.s_maxage is not None
                for one in (said, *taken_up)
            )
            assert shared, f"3.5: Authorization: {where}"
        if source.request.fields.get(b"cache-control") == b"no-store":
            raise AssertionError(f"5.2.1.5: stored against the request's no-store: {where}")
        self.check_selected(reply, source, fields, where)
        sayings = [last_said(source, fields), *may_be_said(source, fields)]
        for number, (at, said) in enumerate(sayings, 1):
            try:
                self.check_fresh(reply, source, fields, (at, said), now, contacted, where)
            except AssertionError:
                if number == len(sayings):
                    raise
            else:
                return

    def check_selected(
        self, reply: Answer, source: Given, fields: dict[str, bytes], where: str
    ) -> None:
        validated = self.is_own_304(reply, source)
        for name in (b"origin", *said_names(source)):
            asked = fields.get(name.decode().replace("-", "_"))
            askers = [asker for _, _, asker in source.updates]
            then = {one.fields.get(name) for one in (source.request, *askers)}
            if asked not in then:
                assert validated, f"4.1: another variant by {name!r}: {where}"
        allow = reply["access-control-allow-origin"]
        if allow is not None:
            assert allow in grants(source, fields), f"another requester's CORS: {where}"

    def check_fresh(
        self,
        reply: Answer,
        source: Given,
        fields: dict[str, bytes],
        saying: tuple[float, Behaviour],
        now: float,
        contacted: bool,
        where: str,
    ) -> None:
        if self.is_own_304(reply, source):
            return
        at, said = saying
        age = now - at
        lifetime = said.lifetime()
        asked = fields.get("cache_control", b"")
        assert "no-cache" not in said.flags, f"5.2.2.4: no-cache unvalidated: {where}"
        down = self.behaviour[source.target].down or self.behaviour[source.target].status >= 500
        if asked == b"no-cache":
            assert down, f"5.2.1.4: request no-cache unvalidated: {where}"
        if lifetime is None:
            lifetime = heuristic(source, at)
        stale_by = age - lifetime
        told = int(reply["age"] or 0)
        assert told >= int(age) - 1, f"5.1: Age {told} but {age} s old: {where}"
        if asked.startswith(b"max-age=") and not down:
            assert age <= int(asked[8:]) + 1, f"5.2.1.1: older than asked for: {where}"
        if stale_by < 1:
            return
        forbidden = "must-revalidate" in said.flags or said.s_maxage is not None
        assert not forbidden, f"4.2.4: stale though forbidden: {where}"
        kind, window = said.window or ("", 0)
        if kind == "stale-while-revalidate" and stale_by <= window + 1:
            return
        if asked.startswith(b"max-stale") and stale_by <= float(asked[10:] or 1e9) + 1:
            return
        assert down, f"4.2.4: stale by {stale_by}: {where}"
        assert contacted, f"4.2.4: stale by {stale_by}, and nobody was asked: {where}"
        limit = window if kind == "stale-if-error" else 86400.0
        assert stale_by <= limit + 1, f"5861 4: stale beyond its window: {where}"


def last_said(source: Given, fields: dict[str, bytes]) -> tuple[float, Behaviour]:
    """When and what the origin last said of the variant that a request with *fields* has."""
    at, said = source.at, source.behaviour
    for when, behaviour, asker in source.updates:
        # A 304 is for its own variant (§4.3.4).
        if not is_optional(asker) and is_same_variant(source, asker, fields):
            at, said = when, behaviour
    return at, said


def heuristic(source: Given, at: float) -> float:
    """The most that may be guessed: a tenth of the time since Last-Modified (§4.2.2).

    Last-Modified stays when a later 304 leaves it out.
    """
    said = [(source.at, source.behaviour), *((when, one) for when, one, _ in source.updates)]
    modified = [when - 1000 for when, behaviour in said if behaviour.modified]
    return min(86400.0, 0.1 * (at - min(modified)) + 1) if modified else 0.0


def is_optional(asker: Request) -> bool:
    """True where a cache may take up what the response says, or leave it (§3.5, §4.3.5)."""
    return asker.method == b"HEAD" or b"authorization" in asker.fields


def may_be_said(source: Given, fields: dict[str, bytes]) -> list[tuple[float, Behaviour]]:
    """What else was said of it, which a cache may take up or leave."""
    return [
        (when, behaviour)
        for when, behaviour, asker in source.updates
        if is_optional(asker) and is_same_variant(source, asker, fields)
    ]


def grants(source: Given, fields: dict[str, bytes]) -> set[bytes | None]:
    """What the origin said in Access-Control-Allow-Origin to requesters with this Origin."""
    origin = fields.get("origin")
    told = [(source.behaviour, source.request)]
    told += [(behaviour, asker) for _, behaviour, asker in source.updates]
    return {
        behaviour.allow(origin)
        for behaviour, asker in told
        if asker.fields.get(b"origin") == origin
    }


def is_same_variant(source: Given, asker: Request, fields: dict[str, bytes]) -> bool:
    return all(
        asker.fields.get(name) == fields.get(name.decode().replace("-", "_"))
        for name in (b"origin", *said_names(source))
    )


def said_names(source: Given) -> tuple[bytes, ...]:
    return tuple(name.lower() for name in source.behaviour.vary if name != b"*")
