"""What each real server does about CORS and Vary by itself, and which keys it refuses.

These are measurements, not wishes: they say what the proxy has to make good, and they fail
when a new release of a server behaves otherwise. The bucket's rules name one origin, A;
C is another. Where a server has no such rules (MinIO's front end), everybody is allowed.

s3rver     as AWS: nothing without Origin or for C, the three names for A. A preflight that
           no rule allows is a 403, without Vary. A preflight of A is answered with ``*``.
moto       never any Vary. It ignores Access-Control-Request-Method on GET. Its 403s and 416s
           have no CORS fields at all, and its 304s have them.
seaweedfs  ``Vary: Origin`` on everything. OPTIONS without Origin says it twice.
minio      ``Vary: Origin`` on everything; any Origin is echoed, with credentials. Preflights
           have the three names, in three lines.
"""

from __future__ import annotations

import pytest

from tests.real.asking import asking
from tests.real.conftest import Filled
from tests.real.objects import REFUSED
from tests.real.servers import ALLOWED, S3Server

OTHER = "https://evil.example"
THREE = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
SPREAD = "Origin | Access-Control-Request-Method | Access-Control-Request-Headers"

# status, Vary lines, Access-Control-Allow-Origin
Seen = tuple[int, str | None, str | None]
BEHAVIOUR: dict[str, dict[str, Seen]] = {
    "s3rver": {
        "no Origin": (200, None, None),
        "A": (200, THREE, ALLOWED),
        "C": (200, None, None),
        "A, range": (206, THREE, ALLOWED),
        "A, 304": (304, THREE, ALLOWED),
        "A, 404": (404, THREE, ALLOWED),
        "A, 416": (416, THREE, ALLOWED),
        "A, asks for DELETE": (200, None, None),
        "preflight A": (200, THREE, "*"),
        "preflight C": (403, None, None),
    },
    "moto": {
        "no Origin": (200, None, None),
        "A": (200, None, ALLOWED),
        "C": (200, None, None),
        "A, range": (206, None, ALLOWED),
        "A, 304": (304, None, ALLOWED),
        "A, 404": (404, None, None),
        "A, 416": (416, None, None),
        "A, asks for DELETE": (200, None, ALLOWED),
        "preflight A": (200, None, ALLOWED),
        "preflight C": (403, None, None),
    },
    "seaweedfs": {
        "no Origin": (200, "Origin", None),
        "A": (200, "Origin", ALLOWED),
        "C": (200, "Origin", None),
        "A, range": (206, "Origin", ALLOWED),
        "A, 304": (304, "Origin", ALLOWED),
        "A, 404": (404, "Origin", ALLOWED),
        "A, 416": (416, "Origin", ALLOWED),
        "A, asks for DELETE": (200, "Origin", ALLOWED),
        "preflight A": (200, "Origin", ALLOWED),
        "preflight C": (403, "Origin", None),
    },
    "minio": {
        "no Origin": (200, "Origin", None),
        "A": (200, "Origin", ALLOWED),
        "C": (200, "Origin", OTHER),
        "A, range": (206, "Origin", ALLOWED),
        "A, 304": (304, "Origin", ALLOWED),
        "A, 404": (404, "Origin", ALLOWED),
        "A, 416": (416, "Origin", ALLOWED),
        "A, asks for DELETE": (200, "Origin", ALLOWED),
        "preflight A": (200, SPREAD, ALLOWED),
        "preflight C": (200, SPREAD, OTHER),
    },
}

ASKED: dict[str, dict[str, str]] = {
    "no Origin": {},
    "A": {"origin": ALLOWED},
    "C": {"origin": OTHER},
    "A, range": {"origin": ALLOWED, "range": "bytes=0-3"},
    "A, 304": {"origin": ALLOWED, "if_none_match": '"5eb63bbbe01eeed093cb22bb8f5acdc3"'},
    "A, 404": {"origin": ALLOWED},
    "A, 416": {"origin": ALLOWED, "range": "bytes=100-"},
    "A, asks for DELETE": {"origin": ALLOWED, "access_control_request_method": "DELETE"},
    "preflight A": {"origin": ALLOWED, "access_control_request_method": "PUT"},
    "preflight C": {"origin": OTHER, "access_control_request_method": "PUT"},
}


async def test_cors_and_vary_of_the_server_itself(s3: S3Server) -> None:
    s3.client().put_object(
        Bucket=s3.bucket, Key="hello.txt", Body=b"hello world", ACL="public-read"
    )
    seen: dict[str, Seen] = {}
    async with asking(s3.url) as ask:
        for case, fields in ASKED.items():
            target = f"/{s3.bucket}/{'none' if '404' in case else 'hello.txt'}"
            method = "OPTIONS" if case.startswith("preflight") else "GET"
            got = await ask(target, method, **fields)
            vary = " | ".join(got.fields.getall("vary", [])) or None
            seen[case] = (got.status, vary, got["access-control-allow-origin"])
    assert seen == BEHAVIOUR[s3.name]


def test_keys_that_the_server_refuses(filled: Filled) -> None:
    reasons = REFUSED[filled.server.name]
    assert sorted(filled.refused) == sorted(key for keys in reasons.values() for key in keys)
    assert max(len(one.body) for one in filled.kept) == 64 << 20
    assert min(len(one.body) for one in filled.kept) == 0


@pytest.mark.parametrize("server", REFUSED)
def test_every_key_is_kept_by_some_server(server: str) -> None:
    others = [_keys(name) for name in REFUSED if name != server]
    mine = _keys(server)
    assert not mine & set.intersection(*others)


def _keys(server: str) -> set[str]:
    return {key for keys in REFUSED[server].values() for key in keys}
