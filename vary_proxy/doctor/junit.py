"""The report as JUnit XML: a suite for each URL, a case for each finding that there could be.

A case fails when what was found counts as bad; lesser findings are told in its output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from vary_proxy.doctor.catalogue import CATALOGUE
from vary_proxy.doctor.entry import SEVERITIES
from vary_proxy.doctor.text import finding_lines

Record = dict[str, Any]
_FORBIDDEN = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(report: Record) -> str:
    """The XML document for *report*, as made by ``report.report``."""
    suites = [_suite(target, report["fail_on"]) for target in report["targets"]]
    cases = sum(one.count("<testcase ") for one in suites)
    failures = sum(one.count("<failure ") for one in suites)
    head = f'<testsuites name="vary-proxy doctor" tests="{cases}" failures="{failures}"'
    body = "\n".join(suites)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head} errors="{report["unreached"]}">\n'
        f"{body}\n</testsuites>\n"
    )


def _suite(target: Record, threshold: str) -> str:
    name = quoteattr(_clean(target["url"]))
    if target["unreached"]:
        told = quoteattr(_clean(target["unreached"]))
        case = f'<testcase classname={name} name="reached"><error message={told}/></testcase>'
        return f'<testsuite name={name} tests="1" failures="0" errors="1">\n{case}\n</testsuite>'
    opinion = target["via"] or target["direct"]
    cases = list(_cases(name, opinion["findings"], threshold))
    failures = sum("<failure " in one for one in cases)
    body = "\n".join(cases)
    return (
        f'<testsuite name={name} tests="{len(cases)}" failures="{failures}" errors="0">\n'
        f"{body}\n</testsuite>"
    )


def _cases(classname: str, findings: list[Record], threshold: str) -> Iterator[str]:
    for id_, entry in CATALOGUE.items():
        title = quoteattr(f"{id_} {entry.title}")
        found = [one for one in findings if one["id"] == id_]
        inner = "".join(_outcome(one, threshold) for one in found)
        yield f"<testcase classname={classname} name={title}>{inner}</testcase>"


def _outcome(finding: Record, threshold: str) -> str:
    told = escape(_clean("\n".join(finding_lines(finding, verbose=True))))
    ranks = SEVERITIES.index
    if threshold == "never" or ranks(finding["severity"]) < ranks(threshold):
        return f"<system-out>{told}</system-out>"
    message = quoteattr(_clean(finding["detail"]))
    return f'<failure type="{finding["severity"]}" message={message}>{told}</failure>'


def _clean(text: str) -> str:
    """*text* without what XML 1.0 cannot carry."""
    return _FORBIDDEN.sub("?", text)
