"""Takes a changed configuration while traffic goes on: whole, or not at all.

A reload reads the file again in a thread, and hands over what it came to in one step of the
event loop. What a running process cannot change (listeners, the store, workers) is named
instead. A file that cannot be used changes nothing: the old rules go on, and the log says why
with file and line. The same watch looks at certificates, and at the files that values come from.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vary_proxy.config import ConfigError, Loaded
from vary_proxy.configuration.expansion import fingerprint_now
from vary_proxy.configuration.settings import Settings
from vary_proxy.origin import Origin
from vary_proxy.origins.layer import Reached
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.workers.peers import Peers

_log = logging.getLogger("vary_proxy")
LOOK_SECONDS = 1.0  # between two looks at the files

# What holds from the start to the end of a process.
_FIXED = (
    "listen",
    "server.workers",
    "store",
    "probes",
    "admin",
    "log.format",
    "log.access",
    "tracing",
)


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What came of a reload. ``problems`` say why nothing was taken.

    ``needs_restart`` are the paths of what was changed and holds only after a restart. So many
    other workers are ``missing``: they did not answer, and reload when they come back.
    """

    ok: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    missing: int = 0


class OriginMap(dict[str, Origin]):
    """The origins of one configuration, by name. As long as it lives, they may be asked.

    ``later`` are those of the next one, which may be the same: who asks through this one keeps
    them open, too.
    """

    __slots__ = ("__weakref__", "later")
    later: OriginMap


class Reloader:
    """Reloads by *reread*, which raises ConfigError, and *take*, which changes over at once."""

    def __init__(
        self, started: Loaded, reread: Callable[[], Loaded], take: Callable[[Loaded], None]
    ) -> None:
        self.last_ok = True
        self._started = started.settings
        self._path = started.path
        self._reread = reread
        self._take = take
        self._turn = asyncio.Lock()
        self._seen = digest(self._path)
        self._files = dict(started.files)

    async def reload(self, others: Peers | None = None) -> ReloadOutcome:
        """Change over to the configuration as it is now, if it can be used; *others* do so, too."""
        outcome = await self._reload()
        return outcome if others is None else await _everywhere(outcome, others)

    async def _reload(self) -> ReloadOutcome:
        async with self._turn:
            self._seen, known = await asyncio.to_thread(self._look)
            try:
                loaded = await asyncio.to_thread(self._reread)
                self._take(loaded)
            except ConfigError as error:
                self._files = {**known, **error.files}
                return self._refused(tuple(map(str, error.problems)))
            except Exception as error:  # whatever it is, the old rules go on
                _log.exception("the configuration could not be taken")
                self._files = known
                return self._refused((f"{type(error).__name__}: {error}",))
            self.last_ok = True
            self._files = dict(loaded.files)
            outcome = ReloadOutcome(
                True, (), loaded.warnings, tuple(fixed(self._started, loaded.settings))
            )
            _tell(outcome)
            return outcome

    async def look(self) -> None:
        """Reload if the content of the file, or of one that it refers to, is not what it was."""
        if self._path is None and not self._files:
            return
        if await asyncio.to_thread(self._has_changed):
            await self.reload()

    def _look(self) -> tuple[bytes, dict[Path, bytes]]:
        """The file as it is now, and those that it was last known to refer to."""
        return digest(self._path), {one: fingerprint_now(one) for one in tuple(self._files)}

    def _has_changed(self) -> bool:
        return self._look() != (self._seen, self._files)

    def _refused(self, problems: tuple[str, ...]) -> ReloadOutcome:
        self.last_ok = False
        outcome = ReloadOutcome(False, problems)
        _tell(outcome)
        return outcome


async def looking(look: Callable[[], Awaitable[None]], every: float) -> None:
    """Call *look* again and again, for ever: that it failed once is no reason to stop."""
    failed = False
    while True:
        await asyncio.sleep(every)
        try:
            await look()
            failed = False
        except Exception:  # no thread or descriptor to be had, most likely
            if not failed:
                _log.exception("could not look at the files of the configuration; going on")
            failed = True


async def _everywhere(outcome: ReloadOutcome, peers: Peers) -> ReloadOutcome:
    """What comes of it when the other workers reload, too: *outcome* is that of ours."""
    answers, missing = await peers.tell("reload", b"", b"")
    told = [msgspec.json.decode(one, type=ReloadOutcome) for one in answers]
    if missing:
        _log.warning("workers that do not answer, and reload on coming back: %d", missing)
    all_ = (outcome, *told)
    return ReloadOutcome(
        all(one.ok for one in all_),
        _distinct(one.problems for one in all_),
        _distinct(one.warnings for one in all_),
        _distinct(one.needs_restart for one in all_),
        missing,
    )


def _distinct(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for lines in lists for line in lines))


def _tell(outcome: ReloadOutcome) -> None:
    if not outcome.ok:
        for problem in outcome.problems:
            _log.error("not reloaded, the old configuration goes on: %s", problem)
        return
    _log.info("the configuration was reloaded")
    for warning in outcome.warnings:
        _log.warning("%s", warning)
    if outcome.needs_restart:
        _log.warning("changed, and waiting for a restart: %s", ", ".join(outcome.needs_restart))


def fixed(old: Settings, new: Settings) -> Iterator[str]:
    """The paths of what differs and cannot be changed in a running process."""
    for path in _FIXED:
        before: msgspec.Struct = old
        after: msgspec.Struct = new
        for key in path.split("."):
            before, after = getattr(before, key), getattr(after, key)
        if before != after:
            yield path


def digest(path: str | os.PathLike[str] | None) -> bytes:
    """What tells one content of a file from another; empty when there is nothing to read.

    By content and not by time: a ConfigMap changes by a symbolic link being swapped, and its
    files keep their times.
    """
    if path is None:
        return b""
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
    except (OSError, ValueError):
        return b""


def retire(
    origins: OriginMap, removed: list[Reached], tasks: Tasks, every: float = LOOK_SECONDS
) -> None:
    """Close *removed* once nobody can ask through *origins* any more and no answer is arriving."""
    if removed:
        tasks.spawn(_close_unused(weakref.ref(origins), removed, every), "retire origins")


async def _close_unused(
    origins: weakref.ref[OriginMap], removed: list[Reached], every: float
) -> None:
    try:
        while origins() is not None or any(one.in_use for one in removed):  # noqa: ASYNC110
            await asyncio.sleep(every)  # neither of them can tell us
    finally:
        for one in removed:
            await one.close()
