"""The report as one HTML page that loads nothing and runs nothing: dark and light.

Every text that a server or a user chose is escaped, and a policy in the page forbids whatever
could get past that.
"""

from __future__ import annotations

from html import escape
from typing import Any

from vary_proxy.doctor.text import safe

Record = dict[str, Any]

_STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --fg: #1c1e21; --dim: #5b6168; --line: #d9dbde;
  --card: #fff; --code: #f1f2f4; --critical: #a3123a; --error: #b3261e; --warning: #875200;
  --info: #1f5fa8; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bg: #14161a; --fg: #e4e6e9; --dim: #9aa1a9;
  --line: #343840; --card: #1c1f24; --code: #262a31; --critical: #ff7d9c; --error: #ff8a80;
  --warning: #f2b866; --info: #8ab8f5; --good: #7dd3a0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1rem 4rem; background: var(--bg);
  color: var(--fg); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem;
  overflow-wrap: anywhere; } h3 { font-size: 1rem; margin: 0; }
p { margin: .35rem 0; } .dim { color: var(--dim); }
article { background: var(--card); border: 1px solid var(--line); border-left-width: 5px;
  border-radius: 6px; margin: .8rem 0; padding: .8rem 1rem; }
.critical { border-left-color: var(--critical); } .error { border-left-color: var(--error); }
.warning { border-left-color: var(--warning); } .info { border-left-color: var(--info); }
.good { color: var(--good); } b.critical { color: var(--critical); } b.error, .bad {
  color: var(--error); } b.warning { color: var(--warning); } b.info { color: var(--info); }
pre { background: var(--code); border-radius: 4px; margin: .5rem 0; padding: .6rem .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
summary { cursor: pointer; color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .4rem 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def document(report: Record) -> str:
    """The page for *report*, as made by ``report.report``."""
    counted = ", ".join(f"{many} {name}" for name, many in report["summary"].items() if many)
    verdict = "failed" if report["failed"] or report["unreached"] else "passed"
    sections = "".join(map(_target, report["targets"])) + "".join(map(_log, report["log"]))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>vary-proxy doctor: {verdict}</title>
<style>{_STYLE}</style>
<h1>CORS, Vary and caching</h1>
<p>{_text(counted or "nothing found")} · <b class="{"good" if verdict == "passed" else "bad"}"
>{verdict}</b> <span class="dim">(fails on {_text(report["fail_on"])})</span></p>
{sections}</html>
"""


def _target(target: Record) -> str:
    title = f"<h2>{_text(target['url'])}</h2>"
    if target["unreached"]:
        return f'{title}<p class="bad">cannot reach it: {_text(target["unreached"])}</p>'
    opinion = target["via"] or target["direct"]
    findings = "".join(map(_finding, opinion["findings"]))
    return "".join(
        (
            f"<section>{title}",
            _changes(target["via"]),
            _asked(opinion),
            findings or '<p class="good">Nothing to find fault with.</p>',
            "</section>",
        )
    )


def _changes(via: Record | None) -> str:
    if via is None:
        return ""
    rows = "".join(
        f"<dt>{key}</dt><dd>{_text(' '.join(via[key]))}</dd>"
        for key in ("cured", "remaining", "new")
        if via[key]
    )
    return f"<p>through {_text(via['server'])}</p><dl>{rows}</dl>"


def _asked(opinion: Record) -> str:
    origins = ", ".join(
        f"{one['origin']} ({'allowed' if one['allowed'] else 'not allowed'})"
        for one in opinion["origins"]
    )
    told = f"{opinion['requests']} requests, as {origins}"
    notes = "".join(f'<p class="dim">note: {_text(note)}</p>' for note in opinion["notes"])
    return f'<p class="dim">{_text(told)}</p>{notes}'


def _finding(finding: Record) -> str:
    severity = _text(finding["severity"])
    rule = f"<pre>{_text(finding['rule'], keep_lines=True)}</pre>" if finding["rule"] else ""
    proof = "".join(map(_evidence, finding["evidence"]))
    return (
        f'<article class="{severity}"><h3><b class="{severity}">{severity} {_text(finding["id"])}'
        f"</b> {_text(finding['title'])}</h3><dl><dt>seen</dt><dd>{_text(finding['detail'])}</dd>"
        f"<dt>why</dt><dd>{_text(finding['why'])}</dd>"
        f"<dt>cure</dt><dd>{_text(finding['remedy'])}</dd></dl>{rule}"
        f"<details><summary>requests and responses</summary>{proof}</details></article>\n"
    )


def _evidence(one: Record) -> str:
    request, response = one["request"], one["response"]
    lines = [f"> {request['method']} {request['url']}"]
    lines += [f"> {name}: {value}" for name, value in request["fields"]]
    lines += [f"< {response['status']}"]
    lines += [f"< {name}: {value}" for name, value in response["fields"]]
    return f"<pre>{chr(10).join(map(_text, lines))}</pre>"


def _log(entry: Record) -> str:
    rows = "\n".join(
        _text(f"{one['count']:>6}  {one['origin']}  {one['reason']}  [{one['rule']}]")
        for one in entry["blocked"]
    )
    return (
        f'<article class="{_text(entry["severity"])}"><h3>{_text(entry["id"])} '
        f"{_text(entry['title'])}</h3><pre>{rows}</pre></article>"
    )


def _text(text: str, *, keep_lines: bool = False) -> str:
    """*text* as it may stand in the page."""
    lines = text.split("\n") if keep_lines else [text]
    return escape("\n".join(map(safe, lines)), quote=True)
