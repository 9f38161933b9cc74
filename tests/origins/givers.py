"""What gives credentials, on loopback: instance metadata, a pod's agent, a token service."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


def until(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Giver:
    """``given`` counts what was handed out; the keys are AK1, AK2 …, good for ``life`` seconds."""

    url: str = ""
    life: float = 3600
    given: int = 0
    works: bool = True
    go: threading.Event = field(default_factory=threading.Event)  # until then, none is answered
    begun: threading.Event = field(default_factory=threading.Event)
    proofs: list[str] = field(default_factory=list)  # what callers showed: tokens

    def next(self, proof: str) -> dict[str, str]:
        self.proofs.append(proof)
        self.given += 1
        return {
            "AccessKeyId": f"AK{self.given}", "SecretAccessKey": "s", "Token": f"T{self.given}",
            "Expiration": until(self.life), "Code": "Success",
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    giver: Giver

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def given(self) -> bool:
        """Whether an answer is due; waits for ``go``."""
        self.giver.begun.set()
        self.giver.go.wait(30)
        if not self.giver.works:
            self.answer(500, b"out of order")
        return self.giver.works

    def log_message(self, format: str, *args: object) -> None:
        pass


class Instance(_Handler):
    """Instance metadata, version 2: nothing without a session token."""

    def do_PUT(self) -> None:
        if self.given():
            known = self.path == "/latest/api/token"
            ttl = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
            self.answer(200 if known and ttl else 400, b"SESSION")

    def do_GET(self) -> None:
        if not self.given():
            return
        where = "/latest/meta-data/iam/security-credentials/"
        proof = self.headers.get("x-aws-ec2-metadata-token", "")
        if proof != "SESSION":
            self.answer(401, b"")
        elif self.path == where:
            self.answer(200, b"the-role")
        elif self.path == where + "the-role":
            self.answer(200, json.dumps(self.giver.next(proof)).encode())
        else:
            self.answer(404, b"")


class Pod(_Handler):
    """The agent of a pod's identity: whoever shows an Authorization gets keys."""

    def do_GET(self) -> None:
        if self.given():
            proof = self.headers.get("Authorization", "")
            if proof:
                self.answer(200, json.dumps(self.giver.next(proof)).encode())
            else:
                self.answer(401, b"{}")


_ROLE = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{AccessKeyId}</AccessKeyId><SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
<SessionToken>{Token}</SessionToken><Expiration>{Expiration}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class TokenService(_Handler):
    """AssumeRoleWithWebIdentity, and no more."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        if self.given():
            known = asked.get("Action") == "AssumeRoleWithWebIdentity"
            if known and asked["RoleArn"] == "arn:aws:iam::1:role/media":
                keys = self.giver.next(asked["WebIdentityToken"])
                self.answer(200, _ROLE.format(**keys).encode())
            else:
                self.answer(403, b"")


@contextlib.contextmanager
def giving(kind: type[_Handler]) -> Iterator[Giver]:
    giver = Giver()
    giver.go.set()
    handler: Any = type("Of", (kind,), {"giver": giver})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        giver.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield giver
        finally:
            giver.go.set()
            server.shutdown()
            thread.join()
