"""The answers of AWS S3 (see ``tests.real.awsanswers``), for buckets with the rules of the site.

Those answers know one allowed origin. A rule for two, or for all, is that rule under the name
of whoever asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.frameworks.apps import site
from tests.real.awsanswers import ALLOWED, Answer, Asked, Pairs, answer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TARGETS = {
    "plain": "/object/plain?cc=public,+max-age%3D3600",
    "encoded": "/object/encoded?cc=public,+max-age%3D3600&vary=Accept-Encoding",
    "missing": "/missing/it?cc=public,+max-age%3D60",
    "moved": "/status/301/it?cc=public,+max-age%3D60",
    "forbidden": "/status/403/it",
    "broken": "/status/500/it",
    "nowhere": "/missing/it",
}


class Bucket:
    """An ASGI application."""

    def __init__(self, policy: site.Policy) -> None:
        self._policy = policy

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        sent = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        said = self._answer(scope["method"], _TARGETS[scope["path"][1:]], sent)
        fields = said.fields
        if said.status not in (204, 304):
            fields = [*fields, ("Content-Length", str(len(said.body)))]
        head = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
        await send({"type": "http.response.start", "status": said.status, "headers": head})
        body = b"" if scope["method"] == "HEAD" or said.status == 304 else said.body
        await send({"type": "http.response.body", "body": body})

    def _answer(self, method: str, target: str, sent: Pairs) -> Answer:
        everybody = self._policy.origins == "*"
        asking = dict(sent).get("origin")
        allowed = asking is not None and (everybody or asking in self._policy.listed)
        fields = [(name, ALLOWED if name == "origin" and allowed else v) for name, v in sent]
        said = answer(Asked(method, target, fields))
        told: dict[str, str] = {"Access-Control-Allow-Origin": "*" if everybody else asking or ""}
        kept = [(name, told.get(name, value)) for name, value in said.fields]
        if not self._policy.credentials:
            kept = [pair for pair in kept if pair[0] != "Access-Control-Allow-Credentials"]
        return Answer(said.status, kept, said.body)


if __name__ == "__main__":
    site.serve_asgi(Bucket)
