"""Whatever a server answers, there is a report, in every form, that says no more than it may."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doctor.sites import A, B
from vary_proxy.core.message import Fields
from vary_proxy.doctor import html, junit, text
from vary_proxy.doctor.asking import place
from vary_proxy.doctor.examining import CHECKS, Examined, Opinion, in_order
from vary_proxy.doctor.masking import Masks
from vary_proxy.doctor.report import Asked, report
from vary_proxy.doctor.sheet import Answer, Askers, Exchange, Probe, Sheet

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((files("vary_proxy") / "doctor" / "report.schema.json").read_text())
)
SECRET = "hush-hush-hush"
STRANGER = "https://stranger.invalid"
LABELS = {
    "none": None, "allowed": A, "second": B, "stranger": STRANGER, "null": "null",
    "like-suffix": f"{A}.evil.example", "head": A, "gzip-none": None, "gzip-allowed": A,
    "304-none": None, "304-allowed": A, "missing-none": None, "missing-allowed": A,
    "part-allowed": A, "past-none": None, "past-allowed": A, "target-none": None,
    "target-allowed": A, "pre-get": A, "pre-put": A, "pre-other-header": A, "pre-put-plain": A,
    "pre-other-method": A, "pre-authorization": A, "pre-private": A, "pre-stranger": STRANGER,
    "again-none": None, "again-allowed": A, "fresh-allowed": A,
}  # fmt: skip
NAMES = (
    b"vary", b"access-control-allow-origin", b"access-control-allow-credentials", b"etag", b"age",
    b"access-control-allow-headers", b"access-control-allow-methods", b"access-control-max-age",
    b"access-control-expose-headers", b"timing-allow-origin", b"cross-origin-resource-policy",
    b"cache-control", b"content-type", b"cache-status", b"x-cache", b"location",
    b"access-control-allow-private-network",
)  # fmt: skip
VALUES = (
    b"", b"*", b"null", A.encode(), B.encode(), STRANGER.encode(), b"Origin", b"true", b"600",
    b"origin , ,Accept-Encoding", b'"a"', b'W/"a"', b"-1", b"max-age=86400, public", b"x; hit",
    b"<script>&\"'", b"\x1b[31m\x00\xff\xed\xa0\x80", b"]]>", SECRET.encode(), b"same-site",
    b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method", b"1" * 600,
)  # fmt: skip
answers = st.builds(
    lambda status, pairs, body: Answer(status, Fields(tuple(pairs)), body),
    st.sampled_from((200, 204, 206, 301, 304, 401, 403, 404, 416, 500)),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6),
    st.sampled_from((b"a", b"b")),
)
sheets = st.dictionaries(st.sampled_from(sorted(LABELS)), answers)


def _opinion(said: dict[str, Answer], *, named: bool) -> Opinion:
    sheet = Sheet("http://x.example/", Askers(A, B, STRANGER, named))
    sheet.likes["suffix"] = LABELS["like-suffix"] or ""
    for label, answer in said.items():
        probe = Probe(label, origin=LABELS[label])
        sheet.exchanges[label] = Exchange(probe, "GET", f"/?token={SECRET}", (), answer)
    found = [one for check in CHECKS for one in check(sheet)]
    return Opinion(sheet.url, "http://x.example", len(said), sheet, in_order(found))


class _Tags(HTMLParser):
    tags: frozenset[str] = frozenset()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags |= {tag}


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(sheets, sheets | st.none(), st.booleans())
def test_any_answers(direct: dict[str, Answer], via: dict[str, Answer] | None, named: bool) -> None:
    through = None if via is None else _opinion(via, named=named)
    one = Examined(place("http://x.example/"), _opinion(direct, named=named), through)
    told = report([one], Asked(masks=Masks((SECRET,))))
    SCHEMA.validate(told)
    shown = "\n".join(text.lines(told, verbose=True))
    page, document = html.document(told), junit.document(told)
    ElementTree.fromstring(document)
    parser = _Tags()
    parser.feed(page)
    assert not parser.tags & {"script", "img", "a", "iframe"}
    for form in (json.dumps(told), shown, page, document):
        assert SECRET not in form
    assert "\x1b" not in shown + page + document
