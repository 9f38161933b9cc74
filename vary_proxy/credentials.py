"""Where the credentials for a private bucket come from: botocore's chain, never blocking us.

Environment, shared files, web identity, container and instance are asked in botocore's order,
in a thread. What expires is fetched again while it still holds; requests wait only when there
is nothing valid to sign with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from vary_proxy.origin import OriginFailure
from vary_proxy.tasks import Tasks

EXTRA = "signing needs botocore: pip install 'vary-proxy[aws]'"
_MANDATORY = 600  # seconds of life that what we sign with should have, as botocore sees it
_AGAIN_AFTER = 5.0  # seconds between two attempts to get what could not be had


class Keys(NamedTuple):
    """What requests are signed with; named as botocore's signer expects."""

    access_key: str
    secret_key: str
    token: str | None


class Held(Protocol):
    """Credentials of botocore; those that expire also have ``refresh_needed``."""

    def get_frozen_credentials(self) -> Keys: ...


def chain(profile: str | None = None) -> Callable[[], Held | None]:
    """What looks through the usual places, or those of *profile*; it blocks.

    Raises MissingExtra without botocore.
    """
    try:
        from botocore.session import Session
    except ImportError:
        raise MissingExtra(EXTRA) from None

    def look() -> Held | None:
        found: Held | None = Session(profile=profile).get_credentials()
        return found

    return look


class MissingExtra(ValueError):
    """An optional dependency is asked for and not installed."""


class Credentials:
    """The keys that *look* finds, kept valid. To be used within one event loop, and closed."""

    def __init__(
        self, look: Callable[[], Held | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._tasks = Tasks()
        self._held: Any = None
        self._keys: Keys | None = None
        self._getting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._why = "no credentials were found"

    async def keys(self) -> Keys:
        """Raises OriginFailure when there are none."""
        keys, due = self._keys, self._is_due(None)
        if keys is not None and not due:
            return keys
        self._get()
        if keys is not None and not self._is_due(_MANDATORY):
            return keys
        if self._getting is not None:
            await asyncio.shield(self._getting)
        if self._keys is None:
            raise OriginFailure("proxy_internal_error", self._why)
        return self._keys

    def _is_due(self, within: int | None) -> bool:
        needed = getattr(self._held, "refresh_needed", None)
        return needed is not None and bool(needed(within))

    def _get(self) -> None:
        """Begin to get keys, unless that is under way or has failed just now."""
        running = self._getting is not None and not self._getting.done()
        if not running and self._clock() >= self._not_before:
            self._getting = self._tasks.spawn(self._got(), "credentials")

    async def _got(self) -> None:
        try:
            self._held, self._keys = await asyncio.to_thread(self._found, self._held)
        except Exception as error:  # botocore's, of many kinds; what we hold may still do
            self._why = f"{type(error).__name__}: {error}"
            if self._is_due(0):
                self._keys = None
        if self._keys is None or self._is_due(None):
            self._not_before = self._clock() + _AGAIN_AFTER

    def _found(self, held: Any) -> tuple[Any, Keys | None]:
        held = held if held is not None else self._look()
        if held is None:
            return None, None
        frozen = held.get_frozen_credentials()
        return held, Keys(frozen.access_key, frozen.secret_key, frozen.token)

    async def close(self) -> None:
        await self._tasks.close()
