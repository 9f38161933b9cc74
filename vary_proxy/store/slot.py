"""Where a store at hand keeps a resource, for those who must know at once that it has changed."""

from __future__ import annotations

from dataclasses import dataclass

from vary_proxy.core.stored import Resource


@dataclass(slots=True, eq=False)
class Slot:
    """``resource`` is what the store would answer: another object as soon as anything changed.

    None: it has gone, and this slot will not be filled again.
    """

    resource: Resource | None
