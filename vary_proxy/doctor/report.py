"""What was found, as one record: the JSON that users get, and what the other forms dress.

Secrets are masked here, once. The form is versioned and described by ``report.schema.json``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vary_proxy.doctor.catalogue import CATALOGUE
from vary_proxy.doctor.entry import EXAMPLE, RULES
from vary_proxy.doctor.examining import Examined, Opinion, is_bad, severity
from vary_proxy.doctor.masking import Masks
from vary_proxy.doctor.sheet import Exchange, Found

Record = dict[str, Any]
VERSION = 1
_TOLD = re.compile(
    r"access-control-.*|timing-allow-origin|cross-origin-.*|vary|age|etag|last-modified|location"
    r"|cache-control|cdn-cache-control|surrogate-control|expires|content-(?:type|encoding|language"
    r"|disposition|range)|cache-status|x-cache|x-cache-status|cf-cache-status|via|allow"
)
_MOST_TEXT = 500  # characters of one value


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wanted to know, and what counts as bad."""

    threshold: str = "error"
    masks: Masks = field(default_factory=Masks)
    blocked: tuple[Record, ...] = ()  # what the proxy's admin listener told, for LOG501


def report(examined: Sequence[Examined], asked: Asked) -> Record:
    """The record of all that was *examined*."""
    targets = [_target(one, asked) for one in examined]
    counted: dict[str, int] = dict.fromkeys(("critical", "error", "warning", "info"), 0)
    for one in examined:
        for found in one.judged.found:
            counted[severity(found)] += 1
    return {
        "version": VERSION,
        "tool": "vary-proxy doctor",
        "fail_on": asked.threshold,
        "failed": any(one["failed"] for one in targets),
        "unreached": sum(one["unreached"] is not None for one in targets),
        "summary": counted,
        "targets": targets,
        "log": [_blocked(asked)] if asked.blocked else [],
    }


def _target(one: Examined, asked: Asked) -> Record:
    judged = one.judged
    unreached = one.direct.unreached or (one.via.unreached if one.via is not None else "")
    record = {
        "url": asked.masks.text(one.asked.url),
        "unreached": asked.masks.text(unreached) if unreached else None,
        "failed": any(is_bad(found, asked.threshold) for found in judged.found),
        "direct": _opinion(one.direct, asked),
        "via": None,
    }
    if one.via is not None:
        record["via"] = _opinion(one.via, asked) | _changes(one.direct, one.via)
    return record


def _changes(direct: Opinion, via: Opinion) -> Record:
    """What the proxy in front makes of the findings, by id."""
    if via.unreached:
        return {"cured": [], "remaining": [], "new": []}
    before = list(dict.fromkeys(one.id for one in direct.found))
    after = list(dict.fromkeys(one.id for one in via.found))
    return {
        "cured": [one for one in before if one not in after],
        "remaining": [one for one in before if one in after],
        "new": [one for one in after if one not in before],
    }


def _opinion(opinion: Opinion, asked: Asked) -> Record:
    sheet = opinion.sheet
    return {
        "server": opinion.server,
        "requests": opinion.requests,
        "origins": [] if sheet is None else _origins(opinion),
        "notes": [asked.masks.text(one) for one in _notes(opinion)],
        "findings": [_finding(one, opinion, asked) for one in opinion.found],
    }


def _origins(opinion: Opinion) -> list[Record]:
    """As whose page was asked, and whether it may read the answer."""
    assert opinion.sheet is not None
    return [
        {"origin": one.probe.origin, "allowed": opinion.sheet.accepts(one.probe.label)}
        for one in opinion.sheet.some("allowed", "second", "stranger", "null")
    ]


def _notes(opinion: Opinion) -> list[str]:
    sheet = opinion.sheet
    if sheet is None:
        return []
    notes = []
    if not sheet.accepts("allowed") and not any(one.id == "CO112" for one in opinion.found):
        who = sheet.askers.allowed
        guess = "is not allowed" if sheet.askers.named else "was a guess, and is not allowed"
        remedy = "name one that is, with --origin-header, to see what its pages get"
        notes.append(f"{who} {guess}; {remedy}")
    first = sheet.answer("none")
    if first is not None and first.status >= 400:
        notes.append(f"the URL itself answers {first.status}; is it the right one?")
    if first is not None and 300 <= first.status < 400 and "target-none" not in sheet.exchanges:
        where = first.text("location") or "nowhere"
        notes.append(f"it redirects to {where}, which was not asked; ask about that as well")
    notes += [f"no answer to {label}: {why}" for label, why in sheet.silent.items()]
    return notes


def _finding(found: Found, opinion: Opinion, asked: Asked) -> Record:
    entry = CATALOGUE[found.id]
    cure = entry.cure if found.cure is None else found.cure
    return {
        "id": found.id,
        "severity": severity(found),
        "title": entry.title,
        "detail": _shown(found.detail, asked),
        "why": entry.why,
        "remedy": entry.remedy,
        "cure": cure,
        "rule": _rule(cure, opinion),
        "evidence": [_exchange(one, opinion, asked) for one in found.evidence],
    }


def _rule(cure: str, opinion: Opinion) -> str:
    """The rule that cures, for the origins that the user named."""
    askers = None if opinion.sheet is None else opinion.sheet.askers
    if askers is None or not askers.named:
        return RULES[cure]
    named = [one for one in (askers.allowed, askers.second) if one is not None]
    return RULES[cure].replace(EXAMPLE, ", ".join(f'"{one}"' for one in named))


def _exchange(one: Exchange, opinion: Opinion, asked: Asked) -> Record:
    fields = [
        [name.decode(), _shown(value.decode("latin-1"), asked)]
        for name, value in one.answer.fields.items
        if _TOLD.fullmatch(name.decode("latin-1"))
    ]
    return {
        "request": {
            "method": one.method,
            "url": _shown(opinion.server + one.target, asked),
            "fields": [[name, _shown(value, asked)] for name, value in one.sent],
        },
        "response": {"status": one.answer.status, "fields": fields},
    }


def _shown(text: str, asked: Asked) -> str:
    text = asked.masks.text(text)
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _blocked(asked: Asked) -> Record:
    entry = CATALOGUE["LOG501"]
    top = [
        {"origin": _shown(str(one.get("origin") or "(none)"), asked), "reason": one.get("reason"),
         "rule": one.get("rule"), "count": one.get("count")}
        for one in asked.blocked[:10]
    ]  # fmt: skip
    return {
        "id": "LOG501",
        "severity": entry.severity,
        "title": entry.title,
        "why": entry.why,
        "remedy": entry.remedy,
        "blocked": top,
    }
