"""One origin behind several URLs: who is asked, who is set aside, what is asked again.

The URL with the fewest requests under way is asked, in turn among equals. One that fails
several times in a row, or fails its health checks, is set aside until it answers a check or
has rested; then one request tries it before the others follow. When all are aside, they are
asked all the same. Requests that are safe and have no body are repeated before the first byte
of an answer, at another URL first, and within a budget: an origin in trouble is not helped by
several times its load. What a URL that died leaves to one that stands may be more, since that
is asked by nobody else for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from vary_proxy.core.message import Request, Response
from vary_proxy.origin import Interim, Naming, OriginFailure, OriginResponse
from vary_proxy.origins.budget import Budget
from vary_proxy.origins.layer import AsClientsSay, Reached
from vary_proxy.tasks import Tasks

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
# Failures that say nothing of the origin: repeating helps nobody, and nobody is to blame.
_NOT_ITS_FAULT = frozenset(
    ("http_request_error", "connection_limit_reached")
    + ("proxy_internal_error", "proxy_configuration_error")
)
# Those of an origin that is not there (any more): another may take its place at once.
_GONE = frozenset(
    ("connection_refused", "connection_terminated", "destination_ip_unroutable", "dns_error")
)
# And all that come before the first byte of an answer.
_REPEATABLE = _GONE | {
    "connection_timeout", "http_response_timeout", "tls_certificate_error", "tls_protocol_error",
}  # fmt: skip

_CHECK_WAITS = 2.0  # seconds that a health check waits at least; else as long as between two

_log = logging.getLogger("vary_proxy")


@dataclass(frozen=True, slots=True)
class Care:
    """How an origin is looked after. Times in seconds.

    ``attempts`` is how often a request is sent at most; ``fail_after`` failures in a row set a
    URL aside, for ``rest`` unless a check finds it well before. ``check`` is the path that is
    asked for ``every`` so often; None: no checks.
    """

    attempts: int = 1
    fail_after: int = 3
    rest: float = 10.0
    check: bytes | None = None
    every: float = 5.0


class Upstream:
    """One URL. ``door`` takes requests as clients make them; ``bare`` sends what it is given."""

    def __init__(self, door: Reached, bare: Reached, name: str = "") -> None:
        self.door = door
        self.bare = bare
        self.name = name
        self.outstanding = 0
        self.failures = 0  # in a row
        self.aside_until = 0.0  # 0.0: not set aside
        self.unwell = False  # by its health checks

    def is_available(self, now: float) -> bool:
        """Whether it is to be asked; after its rest by one request at a time."""
        if self.unwell or now < self.aside_until:
            return False
        return self.aside_until == 0.0 or self.outstanding == 0

    def answered(self) -> None:
        if self.aside_until and not self.unwell:
            _log.warning("origin %s is back", self.name)
        self.failures, self.aside_until = 0, 0.0

    def failed(self, now: float, care: Care, why: str) -> None:
        self.failures += 1
        if self.failures >= care.fail_after:
            if not self.aside_until:
                _log.warning("origin %s is set aside: %s", self.name, why)
            self.aside_until = now + care.rest
            # After the rest it is tried again: one more failure is then enough.
            self.failures = care.fail_after - 1

    def checked(self, now: float, missed: int, care: Care, why: str) -> None:
        """A health check has ended, *missed* of them in a row."""
        if not missed:
            if self.unwell:
                self.unwell, self.aside_until = False, self.aside_until or now
            self.answered()
        elif missed >= care.fail_after and not self.unwell:
            self.unwell = True
            if not self.aside_until:
                _log.warning("origin %s is set aside: %s", self.name, why)


class Upstreams:
    """The Origin behind several URLs, or behind one that is cared for."""

    def __init__(
        self,
        members: Sequence[Upstream],
        care: Care,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.members = tuple(members)
        self.retries: Counter[str] = Counter()  # by the failure that made them needed
        self._care = care
        self._clock = clock
        self._sleep = sleep
        self._budget = Budget(clock)
        self._turn = -1
        self._tasks = Tasks()
        self._watched = care.check is None

    @property
    def naming(self) -> Naming:
        return self.members[0].door.naming

    @property
    def in_use(self) -> int:
        return sum(one.bare.in_use for one in self.members)

    @property
    def is_healthy(self) -> bool:
        """True while any of the URLs is not set aside."""
        now = self._clock()
        return any(one.is_available(now) for one in self.members)

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        self.begin()
        self._budget.request()
        told = False

        async def interim(response: Response) -> None:
            nonlocal told
            told = True
            if on_interim is not None:
                await on_interim(response)

        repeatable = body is None and request.method in _SAFE and not request.has_body
        left = self._care.attempts if repeatable else 1
        tried: list[Upstream] = []
        while True:
            member = self._pick(tried)
            tried.append(member)
            left -= 1
            try:
                return await self._ask(member, request, body, interim if on_interim else None)
            except OriginFailure as failure:
                worth = left > 0 and not told and failure.error in _REPEATABLE
                if not (worth and self._budget.retry(elsewhere=self._stands(failure, tried))):
                    raise
                self.retries[failure.error] += 1

    async def _ask(
        self,
        member: Upstream,
        request: Request,
        body: AsyncIterator[bytes] | None,
        on_interim: Interim | None,
    ) -> OriginResponse:
        member.outstanding += 1
        try:
            response = await member.door.fetch(request, body, on_interim)
        except OriginFailure as failure:
            if failure.error not in _NOT_ITS_FAULT:
                member.failed(self._clock(), self._care, str(failure))
            raise
        finally:
            member.outstanding -= 1
        member.answered()
        return response

    def _pick(self, tried: Sequence[Upstream]) -> Upstream:
        """Who is asked next: available and untried, if there is anybody of that kind."""
        now = self._clock()
        if not tried:  # a repetition is no turn: else of two URLs one would always be first
            self._turn = (self._turn + 1) % len(self.members)
        order = self.members[self._turn :] + self.members[: self._turn]
        untried = [one for one in order if one not in tried] or order
        well = [one for one in untried if one.is_available(now)]
        return min(well or untried, key=lambda one: max(one.outstanding, one.bare.in_use))

    def _stands(self, failure: OriginFailure, tried: Sequence[Upstream]) -> bool:
        """Whether one of *tried* has died that another URL can stand in for."""
        now = self._clock()
        others = (one for one in self.members if one not in tried)
        return failure.error in _GONE and any(one.is_available(now) for one in others)

    def begin(self) -> None:
        """Begin the health checks, unless they run."""
        if not self._watched:
            self._watched = True
            for member in self.members:
                self._tasks.spawn(self._check_on(member), "health checks", lasting=True)

    async def _check_on(self, member: Upstream) -> None:
        missed = 0
        while True:
            why = await self._unwell(member)
            missed = missed + 1 if why else 0
            member.checked(self._clock(), missed, self._care, why)
            await self._sleep(self._care.every)

    async def _unwell(self, member: Upstream) -> str:
        """What a health check finds wrong; "" when all is well."""
        naming = member.bare.naming
        request = Request(
            b"GET", self._care.check or b"/", authority=naming.authority, scheme=naming.scheme
        )
        within = max(_CHECK_WAITS, self._care.every)
        try:
            async with asyncio.timeout(within):
                response = await member.bare.fetch(request)
        except TimeoutError:
            return f"health check: no answer within {within:g} s"
        except OriginFailure as failure:
            return f"health check: {failure}"
        await response.close()
        status = response.head.status
        return "" if 200 <= status < 400 else f"health check: status {status}"

    async def close(self) -> None:
        await self._tasks.close()
        for member in self.members:
            await member.door.close()


class Addressed(AsClientsSay):
    """An origin to which requests come as clients make them."""

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        return await super().fetch(addressed(request, self.own), body, on_interim)


def addressed(request: Request, naming: Naming) -> Request:
    """*request* as an origin of this *naming* gets it."""
    host = request.authority if naming.host is None else naming.host
    target = naming.prefix + request.target
    return request.to(naming.scheme, host, target, request.fields)
