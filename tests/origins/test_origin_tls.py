"""An origin over TLS: whom we believe, by which name we ask, who we say we are, all renewable."""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.lifecycle.command import Letters
from tests.lifecycle.parts import Answer, Client, running
from vary_proxy.config import load
from vary_proxy.origins.reaching import OriginError, reached

OURS, OTHER = trustme.CA(), trustme.CA()


class Secure(Letters):
    """``seen`` are the names that SNI gave and the client certificates shown."""

    seen: list[tuple[str | None, str | None]]

    def setup(self) -> None:
        super().setup()
        shown = self.connection.getpeercert()  # type: ignore[attr-defined]  # it is TLS
        names = [value for _, value in shown["subjectAltName"]] if shown else [None]
        asked = getattr(self.connection, "asked_for", None)
        self.seen.append((asked, names[0]))


@contextlib.contextmanager
def secure(*names: str, clients: trustme.CA | None = None) -> Iterator[tuple[int, list]]:  # type: ignore[type-arg]
    """An origin whose certificate is for *names*; its port, and what it has seen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    OURS.issue_cert(*names).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    def named(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        sock.asked_for = name  # type: ignore[attr-defined]  # noted for who handles it

    context.sni_callback = named

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request, address) -> None:  # type: ignore[no-untyped-def]
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, address)

        def handle_error(self, request: object, client_address: object) -> None:
            """A handshake was refused: that is what these tests do."""

    kind = type("One", (Secure,), {"seen": []})
    with Server(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port, kind.seen  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def written(folder: Path, port: int, host: str = "127.0.0.1", **tls: object) -> Path:
    said = ", ".join(f"{key}: {value}" for key, value in tls.items())
    path = folder / "p.yaml"
    path.write_text(
        f'listen: "127.0.0.1:0"\norigins: {{main: {{url: "https://{host}:{port}", '
        f"tls: {{{said}}}}}}}\nlog: {{access: off}}\n"
    )
    return path


def trusted(folder: Path, authority: trustme.CA = OURS) -> str:
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return "ca.pem"


def client_pair(folder: Path, name: str, authority: trustme.CA = OURS) -> dict[str, str]:
    pair = authority.issue_cert(name)
    (folder / "client.pem").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    pair.private_key_pem.write_to_path(folder / "client.key")
    return {"cert": "client.pem", "key": "client.key"}


async def asked(path: Path) -> Answer:
    async with running(path) as (_, port):
        client = await Client.at(port)
        answer = await client.get("/live")
        client.close()
        return answer


async def test_an_authority_of_ones_own_is_believed(tmp_path: Path) -> None:
    with secure("127.0.0.1") as (port, _):
        answer = await asked(written(tmp_path, port, ca=trusted(tmp_path)))
    assert (answer.status, answer.body) == (200, b"AA")


@pytest.mark.parametrize(
    ("names", "authority", "why"),
    [
        pytest.param(("127.0.0.1",), OTHER, "unable to get local issuer", id="another authority"),
        pytest.param(("other.example",), OURS, "IP address mismatch", id="another name"),
    ],
)
async def test_who_cannot_be_verified_gets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
    names: tuple[str], authority: trustme.CA, why: str,
) -> None:  # fmt: skip
    with secure(*names) as (port, seen):
        answer = await asked(written(tmp_path, port, ca=trusted(tmp_path, authority)))
    assert answer.status == 502
    assert "tls_certificate_error" in answer.fields["proxy-status"]
    assert b"could not be verified" in answer.body
    assert f"origin https://127.0.0.1:{port}: tls_certificate_error" in caplog.text
    assert why in caplog.text
    assert seen == []


async def test_without_a_word_the_systems_authorities_decide(tmp_path: Path) -> None:
    with secure("127.0.0.1") as (port, _):
        path = written(tmp_path, port)
        path.write_text(path.read_text().replace(", tls: {}", ""))
        assert (await asked(path)).status == 502


async def test_the_hosts_name_is_sent_and_verified(tmp_path: Path) -> None:
    with secure("localhost") as (port, seen):
        path = written(tmp_path, port, "localhost", ca=trusted(tmp_path))
        assert (await asked(path)).status == 200
    assert seen == [("localhost", None)]


async def test_another_name_can_be_asked_for_and_is_the_one_verified(tmp_path: Path) -> None:
    named = {"ca": trusted(tmp_path), "server_name": "s3.internal"}
    with secure("s3.internal") as (port, seen):
        assert (await asked(written(tmp_path, port, **named))).status == 200
    assert seen == [("s3.internal", None)]
    with secure("127.0.0.1") as (port, seen):
        assert (await asked(written(tmp_path, port, **named))).status == 502
    assert seen == []


async def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    ca = trusted(tmp_path)
    with secure("127.0.0.1", clients=OURS) as (port, seen):
        assert (await asked(written(tmp_path, port, ca=ca))).status == 502
        pair = client_pair(tmp_path, "stranger.example", OTHER)
        assert (await asked(written(tmp_path, port, ca=ca, **pair))).status == 502
        assert seen == []
        pair = client_pair(tmp_path, "proxy.example")
        assert (await asked(written(tmp_path, port, ca=ca, **pair))).status == 200
    assert seen == [(None, "proxy.example")]


async def test_nothing_is_verified_when_that_is_asked_for_and_a_warning_says_so(
    tmp_path: Path,
) -> None:
    with secure("other.example") as (port, _):
        path = written(tmp_path, port, verify="false")
        assert (await asked(path)).status == 200
    (warning,) = load(path, {}, {}).warnings
    assert "origins.main.tls.verify: anybody on the way can pose as the origin" in warning


async def test_changed_files_hold_for_new_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = client_pair(tmp_path, "old.example")
    with secure("127.0.0.1", clients=OURS) as (port, seen):
        path = written(tmp_path, port, ca=trusted(tmp_path), **pair)
        async with running(path) as (app, ours):
            client = await Client.at(ours)
            assert (await client.get("/live")).status == 200
            client_pair(tmp_path, "new.example")
            await app.reload()
            assert (await client.get("/live")).status == 200
            assert [shown for _, shown in seen] == ["old.example", "new.example"]
            trusted(tmp_path, OTHER)
            await app.reload()
            assert (await client.get("/live")).status == 502
            (tmp_path / "ca.pem").write_text("nothing of the kind")
            with caplog.at_level(logging.ERROR):
                await app.reload()
            assert "the old certificates for an origin go on" in caplog.text
            assert "ca.pem: holds no certificate in PEM" in caplog.text
            trusted(tmp_path)
            await app.reload()
            assert (await client.get("/live")).status == 200
            client.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: (at / "ca.pem").unlink(), "ca.pem: No such file or directory; name a file"),
        (lambda at: (at / "ca.pem").write_text("x"), "ca.pem: holds no certificate in PEM"),
        (lambda at: (at / "client.key").write_text("x"), "client.key: cannot be read as PEM"),
        (
            lambda at: OURS.issue_cert("x").private_key_pem.write_to_path(at / "client.key"),
            "client.key: not the key of",
        ),
    ],
)
def test_files_that_cannot_be_used_are_told_at_the_start(tmp_path: Path, spoil, said) -> None:  # type: ignore[no-untyped-def]
    pair = client_pair(tmp_path, "proxy.example")
    path = written(tmp_path, 1, ca=trusted(tmp_path), **pair)
    spoil(tmp_path)
    with pytest.raises(OriginError, match=said):
        reached(load(path, {}, {}).settings.origins["main"], tmp_path)
