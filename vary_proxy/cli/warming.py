"""Asks a running proxy for many targets, on a few connections at a time.

Threads with blocking sockets: the work is the proxy's, and a command starts sooner without an
event loop. A body is read to its end only where that end is what stores it, and never held.
"""

from __future__ import annotations

import http.client
import itertools
import queue
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vary_proxy import __version__
from vary_proxy.cli import live
from vary_proxy.cli.listed import BadList, Target

STORED, HIT, NOT_STORED, FAILED = "stored", "hit", "not_stored", "failed"
_CHUNK = 1 << 16
_WORTH_READING = 1 << 18  # bytes of a body read only to keep the connection
_LARGEST_LIST = 64 << 20
_SECONDS = 30.0  # in which something must arrive
_PARAMETER = r'\s*;\s*([a-z*][a-z0-9_\-.*]*)(?:=("(?:[^"\\]|\\.)*"|[^";,\s]*))?'
_OURS = re.compile(rf"(?:^|,)\s*vary-proxy((?:{_PARAMETER})*)\s*$")

Variant = tuple[tuple[str, str], ...]  # the fields of one request


@dataclass(frozen=True, slots=True)
class Job:
    target: Target
    variant: Variant = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request; ``status`` is 0 where there was no answer."""

    job: Job
    kind: str
    status: int = 0
    reason: str = ""
    reached: bool = True  # somebody answered


def variants(headers: Iterable[tuple[str, str]]) -> list[Variant]:
    """Every combination of values: fields given twice are alternatives, an empty one is absent."""
    values: dict[str, list[tuple[str, str]]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append((name, value))
    made = itertools.product(*values.values())
    return list(dict.fromkeys(tuple(pair for pair in one if pair[1]) for one in made))


class Client:
    """One connection, made when it is needed. *through* is None to ask each URL's own host."""

    def __init__(self, through: str | None) -> None:
        self._through = through
        self._server = ""
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, job: Job) -> Outcome:
        """Ask, on a new connection where the one that was idle has just ended."""
        try:
            server = self._where(job.target)
            kept = self._connection is not None and self._server == server
            try:
                return self._once(job, server)
            except ConnectionError:
                if not kept:
                    raise
                self.close()
                return self._once(job, server)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reached = self._connection is not None and self._connection.sock is not None
            self.close()
            told = live.why(error)
            return Outcome(job, FAILED, reason=told, reached=reached)

    def fetch(self, target: Target) -> bytes:
        """What *target* holds: a sitemap. Raises BadList."""
        try:
            response = self._response(Job(target), self._where(target))
            content = response.read(_LARGEST_LIST + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise BadList(f"{target}: cannot be had: {error}") from None
        finally:
            self.close()
        if response.status != 200:
            raise BadList(f"{target}: cannot be had: the answer is {response.status}")
        return content

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _where(self, target: Target) -> str:
        if self._through is None and not target.authority:
            raise ValueError(f"{target} names no host; say --through, or write a whole URL")
        return self._through or f"{target.scheme}://{target.authority}"

    def _once(self, job: Job, server: str) -> Outcome:
        response = self._response(job, server)
        outcome = judged(job, response.status, response.getheader("Cache-Status", ""))
        length = response.length
        if outcome.kind == STORED or (length is not None and length <= _WORTH_READING):
            while response.read(_CHUNK):
                pass
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        if response.will_close or not response.isclosed():
            self.close()
        return outcome

    def _response(self, job: Job, server: str) -> http.client.HTTPResponse:
        if self._connection is None or self._server != server:
            self.close()
            self._connection, self._server = live.connect(server, _SECONDS), server
        connection = self._connection
        connection.putrequest("GET", job.target.target, skip_host=True, skip_accept_encoding=True)
        named = {name.lower() for name, _ in job.variant}
        if "host" not in named:
            connection.putheader("Host", job.target.authority or _host(connection))
        if "user-agent" not in named:
            connection.putheader("User-Agent", f"vary-proxy/{__version__} (warm)")
        for name, value in job.variant:
            connection.putheader(name, value.encode("latin-1", "replace"))
        connection.endheaders()
        return connection.getresponse()


def _host(connection: http.client.HTTPConnection) -> str:
    host = f"[{connection.host}]" if ":" in connection.host else connection.host
    return host if connection.port == connection.default_port else f"{host}:{connection.port}"


def judged(job: Job, status: int, cache_status: str) -> Outcome:
    """What an answer with this status and Cache-Status (RFC 9211) means for the store."""
    found = _OURS.search(cache_status)
    if found is None:
        return Outcome(job, NOT_STORED, status, "no vary-proxy answered; see --through")
    said = {name: value.strip('"') for name, value in re.findall(_PARAMETER, found[1])}
    reason = said.get("detail") or said.get("fwd", "")
    if "hit" in said:
        return Outcome(job, HIT, status)
    if status >= 500:
        return Outcome(job, FAILED, status, reason)
    stored = "stored" in said or "collapsed" in said or said.get("fwd-status") == "304"
    return Outcome(job, STORED) if stored else Outcome(job, NOT_STORED, status, reason)


@dataclass(slots=True)
class Done:
    """All that came of it."""

    outcomes: list[Outcome]
    interrupted: bool

    def of(self, kind: str) -> list[Outcome]:
        return [one for one in self.outcomes if one.kind == kind]


def warm(
    jobs: Sequence[Job], through: str | None, concurrency: int, tell: Callable[[], None]
) -> Done:
    """Do all *jobs*; *tell* is called after each. Ctrl-C ends with what was done by then."""
    work = _Work(jobs)
    interrupted = False
    try:
        for _ in range(min(concurrency, len(jobs))):
            # Daemons: whoever interrupts does not wait for an origin that does not answer.
            threading.Thread(target=work.do, args=(Client(through),), daemon=True).start()
        for _ in jobs:
            work.ready.get()
            tell()
    except KeyboardInterrupt:
        work.stop.set()
        interrupted = True
    return Done(list(work.outcomes), interrupted)


class _Work:
    """What threads share. Outcomes are noted where they are made: an interrupt loses none."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            self.waiting.put(job)
        self.ready: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each outcome
        self.outcomes: list[Outcome] = []
        self.stop = threading.Event()

    def do(self, client: Client) -> None:
        while not self.stop.is_set():
            try:
                job = self.waiting.get_nowait()
            except queue.Empty:
                break
            self.outcomes.append(client.ask(job))
            self.ready.put(None)
        client.close()
