"""The requests that every framework gets, and what may differ between two answers to one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.frameworks.apps.site import SITE
from tests.frameworks.origins import Program
from tests.real.asking import Asker, Got

A, B = SITE["policies"]["list"]["origins"]
STRANGER = "https://stranger.example"
REQUESTERS = (None, A, B, STRANGER, "null")
THREE = ("Origin", "Access-Control-Request-Headers", "Access-Control-Request-Method")

Pairs = tuple[tuple[str, str], ...]

_ASKS_METHOD, _ASKS_HEADERS = "Access-Control-Request-Method", "Access-Control-Request-Headers"
_PRIVATE = "Access-Control-Request-Private-Network"
PREFLIGHTS: dict[str, Pairs] = {
    "good": ((_ASKS_METHOD, "PUT"), (_ASKS_HEADERS, "x-token")),
    "good-without-headers": ((_ASKS_METHOD, "PUT"),),
    "bad-method": ((_ASKS_METHOD, "DELETE"),),
    "bad-header": ((_ASKS_METHOD, "PUT"), (_ASKS_HEADERS, "x-nope")),
    "private-network": ((_ASKS_METHOD, "PUT"), (_PRIVATE, "true")),
    "none-at-all": (),
}


@dataclass(frozen=True)
class Question:
    """A request; ``origin`` is the value of its Origin, None for none."""

    label: str
    method: str
    name: str  # the path without its slash
    origin: str | None
    fields: Pairs = ()

    @property
    def is_conditional(self) -> bool:
        return bool(self.fields) and self.fields[0][0].startswith("If-")

    async def put_to(self, ask: Asker, query: str = "") -> Got:
        """The answer of whoever *ask* asks; *query* makes the target one of its own."""
        fields = dict(self.fields)
        if self.origin is not None:
            fields["Origin"] = self.origin
        return await ask(f"/{self.name}{query}", self.method, **fields)


def questions(program: Program, tag: str) -> list[Question]:
    """All that *program* is asked; *tag* is the ETag of its ``/plain``."""
    asked = []
    for origin in REQUESTERS:
        asked += [Question("get", "GET", name, origin) for name in program.offers]
        asked += [Question(*one) for one in _of_one_page(origin, tag)]
        asked += [
            Question(f"preflight-{label}", "OPTIONS", "plain", origin, fields)
            for label, fields in PREFLIGHTS.items()
        ]
    return [one for one in asked if one.label not in program.unasked]


def _of_one_page(origin: str | None, tag: str) -> list[tuple[str, str, str, str | None, Pairs]]:
    held, other = (("If-None-Match", tag),), (("If-None-Match", '"another"'),)
    since = (("If-Modified-Since", SITE["last_modified"]),)
    return [
        ("head", "HEAD", "plain", origin, ()),
        ("get-if-none-match", "GET", "plain", origin, held),
        ("get-if-none-match-else", "GET", "plain", origin, other),
        ("get-if-modified-since", "GET", "plain", origin, since),
        ("head-if-none-match", "HEAD", "plain", origin, held),
        ("put", "PUT", "plain", origin, ()),
        ("post", "POST", "plain", origin, ()),
    ]


# What an intermediary sets, and the framing of each hop (RFC 9110 §7.6, §8.6).
_OURS = frozenset(
    ("vary", "via", "age", "cache-status", "date", "connection", "keep-alive")
    + ("transfer-encoding", "content-length")
)
# What describes a body has no place in a 304 that a store answers (RFC 9110 §15.4.5).
_OF_A_BODY = frozenset(("content-type", "accept-ranges"))
_SERVERS_OWN = frozenset(("x-amzn-requestid",))  # another one with every answer


def family(got: Got) -> list[tuple[str, str]]:
    """The CORS fields of an answer, every line of them."""
    return sorted(pair for pair in _lowered(got) if _is_cors(pair[0]))


def others(got: Got) -> list[tuple[str, str]]:
    """The fields of an answer that a proxy leaves alone."""
    left_out = _OURS | _SERVERS_OWN | (_OF_A_BODY if got.status == 304 else frozenset())
    return sorted(
        pair for pair in _lowered(got) if pair[0] not in left_out and not _is_cors(pair[0])
    )


def content(got: Got) -> bytes:
    """The body, less what S3 servers make up for each answer."""
    return re.sub(rb"<(RequestId|HostId)>[^<]*", b"", got.body)


def said_vary(got: Got) -> list[str]:
    """The names in an answer's Vary lines, each once, in its first spelling."""
    names: dict[str, str] = {}
    for line in got.fields.getall("vary", []):
        for name in filter(None, (one.strip() for one in line.split(","))):
            names.setdefault(name.lower(), name)
    return list(names.values())


def repaired(names: list[str], known: Iterable[str] = ()) -> list[str]:
    """*names*, those that are *known* of the page, and those of the three that are missing."""
    three = {name.lower() for name in THREE}
    learned = [name for name in known if name.lower() not in three]
    found: dict[str, str] = {}
    for name in (*names, *learned, *THREE):
        found.setdefault(name.lower(), name)
    return list(found.values())


def _lowered(got: Got) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in got.fields.items()]


def _is_cors(name: str) -> bool:
    return name.startswith("access-control-") or name == "timing-allow-origin"
