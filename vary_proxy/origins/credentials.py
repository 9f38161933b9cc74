"""Where the credentials for a private bucket come from: botocore's chain, never blocking us.

Environment, shared files, web identity, container and instance are asked in botocore's order,
in a thread of their own, from the start on. What expires is fetched again while it still
holds, and used to its last second if nothing else can be had; what a file gave is looked up
again in case it was rotated. Requests wait only when there is nothing valid to sign with, and
not for long. Without valid keys nothing is sent: an unsigned request would be another request.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from vary_proxy.origin import OriginFailure
from vary_proxy.tasks import Tasks

EXTRA = "signing needs botocore: pip install 'vary-proxy[aws]'"
PATIENCE = 5.0  # seconds that requests wait for keys
_HURRY = 60  # seconds of life below which new keys are worth waiting for
_AGAIN_AFTER = 5.0  # seconds between two attempts to get what could not be had
_CALMLY = 30.0  # the same while there is something to sign with
_LOOK_AGAIN = 60.0  # seconds between two looks at keys that a file gave
_FILES = ("shared-credentials-file", "config-file")

_log = logging.getLogger("vary_proxy")


class Keys(NamedTuple):
    """What requests are signed with; named as botocore's signer expects."""

    access_key: str
    secret_key: str
    token: str | None


class Held(Protocol):
    """Credentials of botocore; those that expire also have ``refresh_needed``."""

    def get_frozen_credentials(self) -> Keys: ...


def chain(profile: str | None = None, region: str | None = None) -> Callable[[], Held | None]:
    """What looks through the usual places, or those of *profile*; it blocks.

    *region* is where the token service is asked, unless the environment names another.
    Raises MissingExtra without botocore.
    """
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError:
        raise MissingExtra(EXTRA) from None
    _quieten()

    def look() -> Held | None:
        session = Session(profile=profile)
        if region is not None and session.get_config_variable("region") is None:
            session.set_config_variable("region", region)
        # For the token service: its own deadlines are a minute, several times over.
        brief = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
        session.set_default_client_config(brief)
        found: Held | None = session.get_credentials()
        return found

    return look


def _quieten() -> None:
    """Keep botocore's words short, and free of what it was given (it prints keys at debug)."""
    logging.getLogger("botocore").setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    teller = logging.getLogger("botocore.credentials")
    if _briefly not in teller.filters:
        teller.addFilter(_briefly)


def _briefly(record: logging.LogRecord) -> bool:
    """One line, where botocore tells of a failure by its traceback."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = f"{record.getMessage()} {_told(record.exc_info[1])}", ()
        record.exc_info = record.exc_text = None
    return True


def preload() -> None:
    """Import what signing needs, if it is there: workers forked after that share its pages."""
    for name in ("botocore.session", "botocore.auth", "botocore.awsrequest"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class MissingExtra(ValueError):
    """An optional dependency is asked for and not installed."""


class Credentials:
    """The keys that *look* finds, kept valid. To be used within one event loop, and closed.

    *whom* they are for is said in the log.
    """

    def __init__(
        self,
        look: Callable[[], Held | None],
        clock: Callable[[], float] = time.monotonic,
        whom: str = "an origin",
        patience: float = PATIENCE,
    ) -> None:
        self._look = look
        self._clock = clock
        self._whom = whom
        self._patience = patience
        self._tasks = Tasks()
        self._held: Any = None
        self._keys: Keys | None = None
        self._getting: asyncio.Task[None] | None = None
        self._began = self._not_before = self._look_at = 0.0
        self._why = "no credentials were found"
        self._missed = ""

    def begin(self) -> None:
        """Look for them now, so that the first request need not wait."""
        self._get()

    async def keys(self) -> Keys:
        """Raises OriginFailure when there are none that are valid."""
        if not self._lasts(None) or self._is_from_a_file():
            self._get()
            if not self._lasts(_HURRY) and self._getting is not None:
                left = self._began + self._patience - self._clock()
                await asyncio.wait({self._getting}, timeout=max(0.0, left))
        if self._keys is None or not self._lasts(0):
            waits = self._getting is not None and not self._getting.done()
            why = "whoever gives them has not answered yet" if waits else self._why
            raise OriginFailure("proxy_configuration_error", why, status=503)
        return self._keys

    def _lasts(self, seconds: int | None) -> bool:
        """Whether there are keys with so much life in them; None: enough to be at ease."""
        needed = getattr(self._held, "refresh_needed", None)
        return self._keys is not None and (needed is None or not needed(seconds))

    def _is_from_a_file(self) -> bool:
        """True when the keys came from a file, and so long ago that it may be another by now."""
        static = getattr(self._held, "refresh_needed", None) is None
        from_file = getattr(self._held, "method", None) in _FILES
        return static and from_file and self._clock() >= self._look_at

    def _get(self) -> None:
        """Begin to get keys, unless that is under way or has failed just now."""
        running = self._getting is not None and not self._getting.done()
        if not running and self._clock() >= self._not_before:
            self._began = self._clock()
            self._getting = self._tasks.spawn(self._got(), "credentials")

    async def _got(self) -> None:
        held = None if self._is_from_a_file() else self._held
        try:
            held, keys = await _apart(lambda: self._found(held))
            if keys is not None:
                self._held, self._keys = held, keys
        except Exception as error:  # botocore's, of many kinds; what we hold may still do
            self._why = _told(error)
        now = self._clock()
        self._look_at = now + _LOOK_AGAIN
        if not self._lasts(None):
            self._not_before = now + (_CALMLY if self._lasts(_HURRY) else _AGAIN_AFTER)
        self._tell()

    def _tell(self) -> None:
        """Once, that there is nothing to sign with; once, that there is again."""
        if self._lasts(0):
            if self._missed:
                _log.info("requests to %s are signed again", self._whom)
            self._missed = ""
        elif self._missed != self._why:
            self._missed = self._why
            _log.error("requests to %s cannot be signed: %s", self._whom, self._why)

    def _found(self, held: Any) -> tuple[Any, Keys | None]:
        held = held if held is not None else self._look()
        if held is None:
            return None, None
        frozen = held.get_frozen_credentials()
        return held, Keys(frozen.access_key, frozen.secret_key, frozen.token)

    async def close(self) -> None:
        await self._tasks.close()


def _told(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _apart(work: Callable[[], tuple[Any, Keys | None]]) -> asyncio.Future[tuple[Any, Keys | None]]:
    """What *work* gives, in a thread that nobody waits for at the end.

    The event loop's own threads would hold up the process's exit for as long as a metadata
    service that does not answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, Keys | None]] = loop.create_future()

    def tell(result: tuple[Any, Keys | None] | None, error: Exception | None) -> None:
        if future.done():  # nobody wants it any more
            return
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)

    def run() -> None:
        result: tuple[Any, Keys | None] | None = None
        failed: Exception | None = None
        try:
            result = work()
        except Exception as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return future
