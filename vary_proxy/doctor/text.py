"""The report for people at a terminal. Whoever prints it may paint: (text, style) -> text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Paint = Callable[[str, str], str]
Record = dict[str, Any]
_INDENT = "    "


def plain(text: str, style: str) -> str:
    return text


def lines(report: Record, paint: Paint = plain, *, verbose: bool = False) -> Iterator[str]:
    """The report, line by line; with *verbose*, all that was sent and seen."""
    for target in report["targets"]:
        yield from _target(target, paint, verbose)
    for entry in report["log"]:
        yield paint(f"{entry['id']} {entry['title']}", entry["severity"])
        for one in entry["blocked"]:
            yield _INDENT + safe(f"{one['count']:>6}  {one['origin']}  {one['reason']}"
                                 f"  [{one['rule']}]")  # fmt: skip
        yield ""
    yield _sum(report)


def _target(target: Record, paint: Paint, verbose: bool) -> Iterator[str]:
    yield paint(safe(target["url"]), "head")
    if target["unreached"]:
        yield _INDENT + paint(f"cannot reach it: {safe(target['unreached'])}", "error")
        yield ""
        return
    via = target["via"]
    if via is not None:
        yield from _changes(target, paint)
    opinion = via or target["direct"]
    yield from _asked(opinion, paint)
    for finding in opinion["findings"]:
        yield ""
        yield from finding_lines(finding, paint, verbose=verbose)
    if not opinion["findings"]:
        yield _INDENT + paint("nothing to find fault with", "good")
    yield from _rules(opinion["findings"], paint)
    yield ""


def _rules(findings: list[Record], paint: Paint) -> Iterator[str]:
    """What of vary-proxy cures which of *findings*, each rule once."""
    rules: dict[str, list[str]] = {}
    for one in findings:
        if one["rule"]:
            rules.setdefault(one["rule"], []).append(one["id"])
    for rule, ids in rules.items():
        yield ""
        yield f"  vary-proxy in front cures {' '.join(ids)} by"
        yield from (_INDENT + paint(line, "code") for line in rule.splitlines())


def _changes(target: Record, paint: Paint) -> Iterator[str]:
    via = target["via"]
    yield f"  through {safe(via['server'])}"
    for key, style in (("cured", "good"), ("remaining", "warning"), ("new", "error")):
        if via[key]:
            yield f"  {paint(f'{key:<10}', style)} {' '.join(via[key])}"


def _asked(opinion: Record, paint: Paint) -> Iterator[str]:
    told = ", ".join(
        f"{one['origin']} {'allowed' if one['allowed'] else 'not allowed'}"
        for one in opinion["origins"]
    )
    counted = f"{opinion['requests']} requests, as {safe(told)}"
    yield f"  {paint(counted, 'dim')}"
    for note in opinion["notes"]:
        yield f"  note: {safe(note)}"


def finding_lines(finding: Record, paint: Paint = plain, *, verbose: bool = False) -> Iterator[str]:
    """One finding with its proof."""
    label = f"{finding['severity']:<8} {finding['id']}"
    yield f"  {paint(label, finding['severity'])}  {finding['title']}"
    yield f"{_INDENT}seen    {safe(finding['detail'])}"
    yield f"{_INDENT}why     {finding['why']}"
    yield f"{_INDENT}cure    {finding['remedy']}"
    said = f"{finding['title']} {finding['detail']}".lower()
    for one in finding["evidence"] if verbose else finding["evidence"][:2]:
        yield from _evidence(one, paint, None if verbose else said)


def _evidence(one: Record, paint: Paint, said: str | None) -> Iterator[str]:
    """A request and its answer; of their fields those that *said* is about, None: all."""
    request, response = one["request"], one["response"]
    usual = () if said is None else ("accept", "user-agent")
    asked = "".join(
        f"  {name}: {value}" for name, value in request["fields"] if name.lower() not in usual
    )
    yield _INDENT + paint(safe(f"> {request['method']} {request['url']}{asked}"), "dim")
    wanted = "".join(
        f"  {name}: {value}"
        for name, value in response["fields"]
        if said is None or name in _TELLING or name in said
    )
    yield _INDENT + paint(safe(f"< {response['status']}{wanted}"), "dim")


_TELLING = ("vary", "access-control-allow-origin", "access-control-allow-credentials",
            "location", "cache-status", "x-cache", "x-cache-status", "cf-cache-status")  # fmt: skip


def _sum(report: Record) -> str:
    counted = [f"{many} {name}" for name, many in report["summary"].items() if many]
    told = ", ".join(counted) or "nothing found"
    if report["unreached"]:
        return f"{told}; {report['unreached']} not reached"
    return f"{told}; {'failed' if report['failed'] else 'passed'} (--fail-on {report['fail_on']})"


def safe(text: str) -> str:
    """*text*, which a server may have chosen, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)
