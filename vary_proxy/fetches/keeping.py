"""Keeps in the store what somebody still reads of a body that may never be published.

Blocks of such a body have a short life, so that a dead writer leaves nothing behind. Whoever is
slower than that would be cut where the store has what comes next for him, and nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vary_proxy.fetches.spool import Spool

EVERY = 30.0  # seconds: a quarter of the life of a block


async def keeping(spool: Spool, keep: Callable[[], Awaitable[None]]) -> None:
    """Call *keep* now and then until nobody needs, nor will need, what *spool* has forgotten."""
    while not await spool.rested(EVERY):
        await keep()
