"""Findings on Vary: who is told on what a response depends, on which statuses (CV0xx)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vary_proxy.core import directives
from vary_proxy.core.policy import CORS_VARY
from vary_proxy.doctor.sheet import Answer, Exchange, Found, Sheet

_ASKERS = ("none", "allowed", "second", "stranger", "null")
_USUAL = frozenset((b"origin", b"accept-encoding", *(name.lower() for name in CORS_VARY)))
_PRIVATE_NAMES = frozenset(("user-agent", "cookie", "referer", "authorization"))


# What is only wrong with what somebody stores.
_OF_CACHES = frozenset(("CV001", "CV002", "CV003", "CV004", "CV008", "CV009", "CV010", "CV012",
                        "CV013", "CV014"))  # fmt: skip


def check(sheet: Sheet) -> Iterator[Found]:
    """All that Vary has wrong, redirects and statuses included."""
    for found in _all(sheet):
        harmless = found.id in _OF_CACHES and "Allow-Origin" not in found.detail
        if harmless and all(_never_stored(one.answer) for one in found.evidence):
            detail = f"{found.detail}; without effect as long as no-store is said"
            yield replace(found, severity="info", detail=detail)
        else:
            yield found


def _never_stored(answer: Answer) -> bool:
    return bool(directives.of_response(answer.fields).no_store)


def _all(sheet: Sheet) -> Iterator[Found]:
    yield from _conditional(sheet)
    yield from _of_304(sheet)
    yield from _of_other_statuses(sheet)
    yield from _of_redirect(sheet)
    yield from _lost_names(sheet)
    yield from _constant(sheet)
    yield from _form(sheet)
    yield from _preflights(sheet)


def _grant(answer: Answer) -> tuple[str | None, str | None]:
    return answer.allowed, answer.text("access-control-allow-credentials")


def depends_on_origin(sheet: Sheet) -> bool:
    """Whether the CORS fields differ between askers."""
    return len({one.answer.allowed for one in sheet.some(*_ASKERS)}) > 1


def _conditional(sheet: Sheet) -> Iterator[Found]:
    none, asked = sheet.get("none"), sheet.some(*_ASKERS)
    if none is None or not depends_on_origin(sheet):
        return
    given = [one for one in asked if one.answer.allowed is not None]
    says = [one for one in asked if one.answer.varies_on("origin")]
    if not says:
        only_star = {one.answer.allowed for one in given} == {"*"}
        what = "* is sent to some askers only" if only_star else "each asker gets another answer"
        yield Found("CV004" if only_star else "CV003", f"{what}, and none has Vary", _pair(asked))
        return
    if none not in says:
        detail = f"a request without Origin gets {_vary_of(none)}; others get {_vary_of(says[0])}"
        yield Found("CV001", detail, (none, says[0]))
    for stranger in sheet.some("stranger", "null"):
        told = sheet.accepts(stranger.probe.label)
        if stranger not in says and not told and says != [none]:
            detail = f"{stranger.probe.origin} gets {_vary_of(stranger)}"
            yield Found("CV002", detail, (stranger, next(o for o in says if o is not none)))
            return


def _pair(asked: list[Exchange]) -> tuple[Exchange, ...]:
    """Two exchanges whose answers differ."""
    first = asked[0]
    other = next(one for one in asked if one.answer.allowed != first.answer.allowed)
    return first, other


def _vary_of(exchange: Exchange) -> str:
    value = exchange.answer.text("vary")
    return "no Vary" if value is None else f"Vary: {value}"


def _of_304(sheet: Sheet) -> Iterator[Found]:
    for name in ("allowed", "second", "none"):
        whole, brief = sheet.get(name), sheet.get(f"304-{name}")
        if whole is None or brief is None or brief.answer.status != 304:
            continue
        proof = (whole, brief)
        had, has = whole.answer.allowed, brief.answer.allowed
        if had is not None and has is None:
            yield Found("CV005", f"the 200 has {had}, the 304 nothing", proof)
        if has is not None and has != had:
            yield Found("CV006", f"the 304 has Access-Control-Allow-Origin: {has}", proof)
        lost = whole.answer.vary - brief.answer.vary - {"*"}
        if lost and "*" not in brief.answer.vary:
            yield Found("CV006", f"the 304 lacks {', '.join(sorted(lost))} in Vary", proof)
        yield from _overwriting(proof)


_REPRESENTATION = ("content-type", "content-encoding", "content-language", "content-disposition")


def _overwriting(proof: tuple[Exchange, Exchange]) -> Iterator[Found]:
    whole, brief = proof[0].answer, proof[1].answer
    for name in _REPRESENTATION:
        value = brief.text(name)
        if value is not None and value != whole.text(name):
            yield Found("CV007", f"the 304 has {name}: {value}", proof)
            return


def _of_other_statuses(sheet: Sheet) -> Iterator[Found]:
    for name in ("allowed", "none"):
        whole = sheet.get(name)
        if whole is None or not 200 <= whole.answer.status < 300:
            continue
        labels = [f"missing-{name}", f"past-{name}"]
        labels += ["head", "part-allowed"] if name == "allowed" else []
        for other in sheet.some(*labels):
            if lost := lacks(whole.answer, other.answer):
                what = other.method if other.method == "HEAD" else other.answer.status
                yield _lacking("CV008", f"{what} lacks {lost}", whole, other)


def lacks(whole: Answer, other: Answer) -> str:
    """What *other* should have said like *whole*, to the same asker; empty when nothing."""
    lost = []
    if whole.allowed is not None and other.allowed is None:
        lost.append("Access-Control-Allow-Origin")
    if whole.varies_on("origin") and not other.varies_on("origin"):
        lost.append("Vary: Origin")
    return " and ".join(lost)


def compared(sheet: Sheet, reference: Sheet) -> Iterator[Found]:
    """An error at one URL, beside what the same server says at another that it serves."""
    for name in ("allowed", "none"):
        whole, other = reference.get(name), sheet.get(name)
        if whole is None or other is None or other.answer.status < 400:
            continue
        if whole.answer.status == 200 and (lost := lacks(whole.answer, other.answer)):
            detail = f"{other.answer.status} lacks {lost}, which {reference.url} has"
            yield _lacking("CV008", detail, other, whole)


def _of_redirect(sheet: Sheet) -> Iterator[Found]:
    for name in ("allowed", "none"):
        redirect, target = sheet.get(name), sheet.get(f"target-{name}")
        if redirect is None or target is None or not 300 <= redirect.answer.status < 400:
            continue
        if lost := lacks(target.answer, redirect.answer):
            detail = f"{redirect.answer.status} lacks {lost}"
            yield _lacking("CV009", detail, redirect, target)


def _lacking(id_: str, detail: str, *proof: Exchange) -> Found:
    # Repair adds names to Vary everywhere; permissions it never makes up.
    return Found(id_, detail, proof, cure="override" if "Allow-Origin" in detail else None)


def _lost_names(sheet: Sheet) -> Iterator[Found]:
    for before, after in (
        ("none", "allowed"), ("none", "stranger"), ("gzip-none", "gzip-allowed"),
    ):  # fmt: skip
        plain, asked = sheet.get(before), sheet.get(after)
        if plain is None or asked is None or plain.answer.status != asked.answer.status:
            continue
        lost = plain.answer.vary - asked.answer.vary - {"*"}
        if lost and "*" not in asked.answer.vary and (after != "stranger" or "origin" not in lost):
            names = ", ".join(sorted(lost))
            yield Found("CV010", f"{names} is there without Origin, and lost with it",
                        (plain, asked))  # fmt: skip
            return


def _constant(sheet: Sheet) -> Iterator[Found]:
    asked = sheet.some("none", "allowed", "stranger")
    if len(asked) < 3 or asked[0].answer.allowed is None or depends_on_origin(sheet):
        return
    if len({_grant(one.answer) for one in asked}) == 1 and "origin" in asked[0].answer.vary:
        detail = f"everybody gets Access-Control-Allow-Origin: {asked[0].answer.allowed}"
        yield Found("CV011", detail, tuple(asked))


def _form(sheet: Sheet) -> Iterator[Found]:
    gets = [one for one in sheet.some(*_ASKERS) if one.answer.fields.lines(b"vary")]
    star = next((one for one in gets if "*" in one.answer.vary), None)
    if star is not None:
        yield Found("CV012", _vary_of(star), (star,))
    odd = next((one for one in gets if _oddity(one.answer)), None)
    if odd is not None:
        yield Found("CV013", _oddity(odd.answer), (odd,))
    for one in gets:
        names = one.answer.vary
        private = sorted((names & _PRIVATE_NAMES) | {n for n in names if n.startswith("sec-")})
        shared = not _never_stored(one.answer) and not _is_private(one.answer)
        if private and shared:
            yield Found("CV015", f"Vary names {', '.join(private)}", (one,))
            return


def _is_private(answer: Answer) -> bool:
    return bool(directives.of_response(answer.fields).private)


def _oddity(answer: Answer) -> str:
    """What is unusual about how Vary is written; empty when nothing is."""
    lines = answer.fields.lines(b"vary")
    names = [one.strip(b" \t") for line in lines for one in line.split(b",") if one.strip(b" \t")]
    if len(lines) > 1:
        return f"{len(lines)} lines of Vary"
    if len({one.lower() for one in names}) < len(names):
        return "a name stands in Vary twice"
    strange = [one for one in names if one.lower() in _USUAL and one.lower() != one != one.title()]
    return f"{strange[0].decode('latin-1')} is written oddly" if strange else ""


def _preflights(sheet: Sheet) -> Iterator[Found]:
    for name, first, second in (
        ("access-control-request-headers", "pre-put", "pre-other-header"),
        ("access-control-request-method", "pre-put-plain", "pre-get"),
        ("access-control-request-method", "pre-put", "pre-other-method"),
        ("origin", "pre-get", "pre-stranger"),
    ):
        pair = sheet.some(first, second)
        if len(pair) < 2 or _granted(pair[0].answer) == _granted(pair[1].answer):
            continue
        silent = next((one for one in pair if not one.answer.varies_on(name)), None)
        if silent is not None:
            detail = f"the answer depends on {name.title()}, and gives {_vary_of(silent)}"
            yield Found("CV014", detail, tuple(pair))
            return


def _granted(answer: Answer) -> tuple[object, ...]:
    names = ("origin", "methods", "headers", "credentials")
    return (answer.status, *(answer.text(f"access-control-allow-{name}") for name in names))
