"""Findings on validators and on caches in between, and on two servers side by side (CA3xx)."""

from __future__ import annotations

from collections.abc import Iterator

from vary_proxy.core import directives
from vary_proxy.doctor.sheet import Answer, Exchange, Found, Sheet

_LONG = 3600  # seconds


def check(sheet: Sheet) -> Iterator[Found]:
    """What validators and caches have wrong."""
    yield from _validators(sheet)
    yield from _without_cors(sheet)
    yield from list(_stale_rules(sheet)) or _mixed_up(sheet)


def _validators(sheet: Sheet) -> Iterator[Found]:
    none = sheet.get("none")
    if none is None or none.answer.status != 200:
        return
    tag = none.answer.text("etag")
    kept = not directives.of_response(none.answer.fields).no_store
    if kept and (tag is None or not tag.startswith('"')):
        yield Found("CA301", "no ETag" if tag is None else f"ETag: {tag}", (none,))
    for other in sheet.some("allowed", "second", "stranger"):
        same = other.answer.status == 200 and other.answer.body == none.answer.body
        if same and other.answer.text("etag") != tag and _is_steady(sheet, none):
            detail = f"{tag} without Origin, {other.answer.text('etag')} with it"
            yield Found("CA302", detail, (none, other))
            return


def _is_steady(sheet: Sheet, none: Exchange) -> bool:
    """False where the ETag changes by itself."""
    again = sheet.answer("again-none")
    return again is None or again.text("etag") == none.answer.text("etag")


def _without_cors(sheet: Sheet) -> Iterator[Found]:
    allowed = sheet.get("allowed")
    if not sheet.askers.named or allowed is None or allowed.answer.status != 200:
        return
    lifetime = _lifetime(allowed.answer)
    if lifetime >= _LONG and allowed.answer.allowed is None:
        yield Found("CA303", f"max-age={lifetime}, and no Access-Control-Allow-Origin", (allowed,))


def _lifetime(answer: Answer) -> int:
    said = directives.of_response(answer.fields)
    if said.no_store or said.private:
        return 0
    return said.max_age or said.s_maxage or 0


def _stale_rules(sheet: Sheet) -> Iterator[Found]:
    fresh = sheet.get("fresh-allowed")
    if fresh is None or fresh.answer.is_from_cache:
        return
    for one in sheet.some("again-allowed", "allowed"):
        comparable = one.answer.is_from_cache and one.answer.status == fresh.answer.status
        if comparable and one.answer.allowed != fresh.answer.allowed:
            detail = f"from the cache {_told(one.answer)}, past it {_told(fresh.answer)}"
            yield Found("CA304", detail, (one, fresh))
            return


def _mixed_up(sheet: Sheet) -> Iterator[Found]:
    """A hit for an Origin that was made up a moment ago: the cache does not look at it."""
    stranger = sheet.get("stranger")
    if stranger is None or not stranger.answer.is_from_cache or not sheet.askers.named:
        return
    for one in sheet.some("allowed", "second"):
        if one.answer.is_from_cache and not sheet.accepts(one.probe.label):
            told = _told(one.answer)
            detail = f"{one.probe.origin} and {stranger.probe.origin} get {told} from the cache"
            yield Found("CA306", detail, (one, stranger))
            return


def _told(answer: Answer) -> str:
    return f"{answer.allowed or 'no Access-Control-Allow-Origin'}"


_FAMILY = tuple(
    f"access-control-{name}"
    for name in ("allow-origin", "allow-credentials", "expose-headers", "allow-methods")
)


def compared(direct: Sheet, via: Sheet) -> Iterator[Found]:
    """Whether both of two servers, one in front of the other, write CORS fields."""
    for label in ("allowed", "pre-get"):
        behind, before = direct.get(label), via.get(label)
        if behind is None or before is None:
            continue
        both = behind.answer.allowed is not None and before.answer.allowed is not None
        if both and _family(behind.answer) != _family(before.answer):
            detail = "the CORS fields in front are neither absent nor those of the server"
            yield Found("CA305", detail, (behind, before))
            return


def _family(answer: Answer) -> tuple[tuple[bytes, ...], ...]:
    return tuple(answer.fields.lines(name.encode()) for name in _FAMILY)
