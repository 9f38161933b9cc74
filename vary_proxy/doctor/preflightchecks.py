"""Findings on preflights: whether they pass, and for how long they are remembered (PF2xx)."""

from __future__ import annotations

from collections.abc import Iterator

from vary_proxy.core import syntax
from vary_proxy.doctor.sheet import Exchange, Found, Sheet

_SHORT = 600


def check(sheet: Sheet) -> Iterator[Found]:
    """All that preflights have wrong, where the asker is allowed at all."""
    simple = sheet.get("pre-get")
    if simple is None or not (sheet.accepts("allowed") or sheet.accepts("pre-get")):
        return
    if not 200 <= simple.answer.status < 300:
        yield Found("PF201", f"the answer is {simple.answer.status}", (simple,))
        if simple.answer.status == 401:
            yield Found("PF204", "the answer is 401", (simple,))
        return
    if not sheet.accepts("pre-get"):
        told = simple.answer.allowed or "nothing"
        yield Found("PF201", f"Access-Control-Allow-Origin says {told}", (simple,))
        return
    yield from _lifetime(simple)
    if simple.answer.text("cache-control") is None:
        yield Found("PF205", "no Cache-Control", (simple,))
    private = sheet.get("pre-private")
    name = "access-control-allow-private-network"
    if private is not None and private.answer.text(name) == "true":
        yield Found("PF206", "Access-Control-Allow-Private-Network: true", (private,))


def _lifetime(simple: Exchange) -> Iterator[Found]:
    value = simple.answer.fields.combined(b"access-control-max-age")
    if value is None:
        yield Found("PF202", "Access-Control-Max-Age is missing", (simple,))
        return
    told = f"Access-Control-Max-Age: {value.decode('latin-1')}"
    seconds = syntax.delta_seconds(value)
    if seconds is None:
        yield Found("PF203", told, (simple,))
    elif seconds < _SHORT:
        yield Found("PF202", told, (simple,))
