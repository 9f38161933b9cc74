"""TLS listeners: what is spoken, what is renewed, and what is said of pairs that do not fit."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.lifecycle.parts import Client, origin, running
from vary_proxy.app import App
from vary_proxy.clients.listening import ListenError
from vary_proxy.config import load

AUTHORITY = trustme.CA()


def issued(folder: Path, *names: str, key: Path | None = None) -> None:
    """A new pair for *names* as tls.crt and tls.key in *folder*."""
    pair = AUTHORITY.issue_cert(*names)
    (folder / "tls.crt").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    (key or folder / "tls.key").write_bytes(pair.private_key_pem.bytes())


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    issued(tmp_path, "localhost")
    return path


def written(path: Path, url: str) -> None:
    path.write_text(
        'listen: [{address: "127.0.0.1:0", tls: {cert: tls.crt, key: tls.key}}]\n'
        f"origins: {{main: '{url}'}}\nlog: {{access: off}}\n"
    )


def names(client: Client) -> set[str]:
    shown = client.writer.get_extra_info("peercert")
    return {name for kind, name in shown["subjectAltName"] if kind == "DNS"}


async def test_tls_speaks_http_by_alpn_and_nothing_older_than_1_2(path: Path) -> None:
    async with origin("A") as a:
        written(path, a.url)
        async with running(path) as (_, port):
            context = trusting()
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = await Client.at(port, context)
            tls = client.writer.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert tls.version() == "TLSv1.3"
            assert (await client.get("/x")).body == b"AA"
            client.close()
            older = trusting()
            older.maximum_version = ssl.TLSVersion.TLSv1_2
            client = await Client.at(port, older)
            assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
            client.close()
            oldest = trusting()
            oldest.set_ciphers("DEFAULT:@SECLEVEL=0")
            with pytest.deprecated_call():
                oldest.minimum_version = oldest.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await Client.at(port, oldest)


async def test_a_renewed_pair_is_shown_to_new_connections(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vary_proxy.app.LOOK_SECONDS", 0.01)
    async with origin("A") as a:
        written(path, a.url)
        async with running(path) as (app, port):
            first = await Client.at(port, trusting())
            assert names(first) == {"localhost"}
            watch = asyncio.ensure_future(app.watch())
            issued(path.parent, "localhost", "renewed.example")
            async with asyncio.timeout(30):
                while True:
                    client = await Client.at(port, trusting())
                    shown = names(client)
                    client.close()
                    if "renewed.example" in shown:
                        break
            assert (await first.get("/x")).body == b"AA"  # what stood goes on
            watch.cancel()
            first.close()


async def test_a_pair_that_does_not_fit_leaves_the_old_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with origin("A") as a:
        written(path, a.url)
        async with running(path) as (app, port):
            right = (path.parent / "tls.key").read_bytes()
            issued(path.parent, "localhost", "other.example", key=path.parent / "away.key")
            for broken in (right, b"no key", b""):
                (path.parent / "tls.key").write_bytes(broken)
                assert (await app.reload()).ok
                client = await Client.at(port, trusting())
                assert names(client) == {"localhost"}
                client.close()
                assert "the old certificate goes on" in caplog.text
                assert "tls.key" in caplog.text
                caplog.clear()
            (path.parent / "tls.key").write_bytes((path.parent / "away.key").read_bytes())
            await app.reload()
            client = await Client.at(port, trusting())
            assert names(client) == {"localhost", "other.example"}
            client.close()


def encrypted(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "tls.key").read_bytes(), None)
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "tls.crt").unlink(), "tls.crt: No such file"),
        (lambda folder: (folder / "tls.key").unlink(), "tls.key: No such file"),
        (lambda folder: (folder / "tls.crt").write_text("x"), "cannot be read as PEM"),
        (lambda folder: (folder / "tls.key").write_text(""), "cannot be read as PEM"),
        (lambda folder: issued(folder, "localhost", key=folder / "x"), "not the key of"),
        (encrypted, "the key is encrypted"),
    ],
)
async def test_a_pair_that_cannot_be_used_is_told_at_the_start(path: Path, spoil, said) -> None:  # type: ignore[no-untyped-def]
    written(path, "http://127.0.0.1:1")
    spoil(path.parent)
    app = App(load(path, {}, {}))
    with pytest.raises(ListenError, match=said) as told:
        await app.start()
    assert str(path.parent) in str(told.value)
