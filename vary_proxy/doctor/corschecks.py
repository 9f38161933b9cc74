"""Findings on who is allowed, and on values that browsers cannot use (CO1xx, SEC4xx)."""

from __future__ import annotations

from collections.abc import Iterator

from vary_proxy.core.corsorigins import parse_origin
from vary_proxy.doctor.sheet import Answer, Exchange, Found, Sheet

_ALL = ("none", "allowed", "second", "stranger", "null", "pre-get", "pre-put")


def check(sheet: Sheet) -> Iterator[Found]:
    """All that the CORS fields have wrong."""
    yield from _unwelcome(sheet)
    yield from _strangers(sheet)
    yield from _alike(sheet)
    yield from _values(sheet)
    yield from _credentials(sheet)
    yield from _tailored(sheet)
    yield from _policies(sheet)


def _unwelcome(sheet: Sheet) -> Iterator[Found]:
    """Those whom the user named, and who get no permission, or that of another."""
    for one in sheet.some("allowed", "second") if sheet.askers.named else ():
        told = one.answer.allowed
        if sheet.accepts(one.probe.label) or not 200 <= one.answer.status < 300:
            continue
        if told is None or (told != "*" and parse_origin(told.encode("latin-1")) is not None):
            said = f"Access-Control-Allow-Origin: {told or '(absent)'}"
            yield Found("CO112", f"{one.probe.origin} gets {said}", (one,))


def _strangers(sheet: Sheet) -> Iterator[Found]:
    stranger, null = sheet.get("stranger"), sheet.get("null")
    anybody = sheet.echoes("stranger")
    if stranger is not None and anybody and stranger.answer.with_credentials:
        detail = f"{stranger.probe.origin}, made up a moment ago, is allowed"
        yield Found("CO101", detail, (stranger,))
    if null is None or not sheet.echoes("null"):
        return
    if null.answer.with_credentials:
        yield Found("CO102", "Origin: null is answered by null and true", (null,))
    elif not anybody:
        yield Found("CO103", "Origin: null is answered by null", (null,))


def _alike(sheet: Sheet) -> Iterator[Found]:
    fooled = [one for one in sheet.some(*(f"like-{kind}" for kind in sheet.likes))
              if sheet.echoes(one.probe.label)]  # fmt: skip
    if fooled:
        listed = ", ".join(
            f"{one.probe.origin} ({one.probe.label.removeprefix('like-')})" for one in fooled
        )
        yield Found("CO104", f"beside {sheet.askers.allowed}: {listed}", tuple(fooled))


def _values(sheet: Sheet) -> Iterator[Found]:
    several, strange = None, None
    for one in sheet.some(*_ALL):
        lines = one.answer.fields.lines(b"access-control-allow-origin")
        if len(lines) > 1 or any(b"," in line for line in lines):
            several = several or one
        elif lines and not _is_usable(lines[0]):
            strange = strange or one
    if several is not None:
        yield Found("CO106", f"Access-Control-Allow-Origin: {several.answer.allowed}", (several,))
    if strange is not None:
        yield Found("CO107", f"Access-Control-Allow-Origin: {strange.answer.allowed}", (strange,))


def _is_usable(value: bytes) -> bool:
    return value in (b"*", b"null") or parse_origin(value) is not None


def _credentials(sheet: Sheet) -> Iterator[Found]:
    asked = sheet.some(*_ALL)
    star = next((o for o in asked if o.answer.allowed == "*" and o.answer.with_credentials), None)
    if star is not None:
        yield Found("CO105", "* and true in one answer", (star,))
    for one in asked:
        names = _starred(one.answer) if one.answer.with_credentials else []
        if names:
            yield Found("CO108", f"* in {', '.join(names)}", (one,))
            break
    wanted = sheet.get("pre-authorization")
    if wanted is not None and _only_star(wanted.answer):
        yield Found("CO109", "Access-Control-Allow-Headers: *", (wanted,))
    for one in sheet.some("stranger", "none", "null"):
        told = one.answer.text("access-control-allow-credentials")
        if told is not None and one.answer.allowed is None:
            yield Found("CO110", f"Access-Control-Allow-Credentials: {told}, alone", (one,))
            return


def _starred(answer: Answer) -> list[str]:
    names = ("expose-headers", "allow-methods", "allow-headers")
    return [
        f"Access-Control-{name.title()}"
        for name in names
        if "*" in _listed(answer.text(f"access-control-{name}"))
    ]


def _only_star(answer: Answer) -> bool:
    names = _listed(answer.text("access-control-allow-headers"))
    return "*" in names and "authorization" not in names


def _listed(value: str | None) -> list[str]:
    return [one.strip().lower() for one in (value or "").split(",")]


def _tailored(sheet: Sheet) -> Iterator[Found]:
    plain, again = sheet.get("none"), sheet.get("again-none")
    if plain is None:
        return
    steady = again is not None and again.answer.body == plain.answer.body
    for one in sheet.some("allowed", "stranger", "null"):
        if one.answer.status != plain.answer.status:
            what = f"{plain.answer.status} without Origin, {one.answer.status} with it"
        elif steady and one.answer.status == 200 and _differs(plain, one):
            what = "the content is another"
        else:
            continue
        yield Found("CO111", f"{what}: {one.probe.origin}", (plain, one))
        return


def _differs(plain: Exchange, one: Exchange) -> bool:
    return one.answer.body != plain.answer.body


def _policies(sheet: Sheet) -> Iterator[Found]:
    allowed, none = sheet.get("allowed"), sheet.get("none")
    if allowed is None or none is None:
        return
    timing = allowed.answer.text("timing-allow-origin")
    if timing == allowed.probe.origin and none.answer.text("timing-allow-origin") != timing:
        yield Found("SEC401", f"Timing-Allow-Origin: {timing}", (none, allowed))
    resource = allowed.answer.text("cross-origin-resource-policy")
    if resource in ("same-origin", "same-site") and sheet.accepts("allowed"):
        yield Found("SEC402", f"Cross-Origin-Resource-Policy: {resource}", (allowed,))
