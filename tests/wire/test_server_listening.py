"""Where the server listens: addresses, unix sockets, shared ports, TLS, and plain errors."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.wire.rawclient import GET, edge, head, ok
from tests.wire.raworigin import on_both_loops
from vary_proxy.channel import Channel
from vary_proxy.core.message import Reply, Request
from vary_proxy.server import Listener, ListenError, Server


async def told(request: Request, channel: Channel) -> Reply:
    return ok(request.target)


@on_both_loops
async def test_a_taken_port_is_told_plainly() -> None:
    async with edge() as e:
        server = Server(told)
        with pytest.raises(ListenError) as failure:
            await server.start(["127.0.0.1:0", e.bound[0]])
        assert failure.value.address == e.bound[0]
        assert "another program listens there" in failure.value.remedy


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("8080", "write host:port"),
        ("a.example:http", "write host:port"),
        ("127.0.0.1:99999", "write host:port"),
        ("::1:80", "in brackets"),
        ("192.0.2.1:0", "no such address"),
        ("nowhere.invalid:0", "cannot be resolved"),
        ("unix:/nowhere/at/all.sock", "directory does not exist"),
    ],
)
async def test_bad_addresses_are_told_plainly(address: str, remedy: str) -> None:
    with pytest.raises(ListenError, match=remedy):
        await Server(told).start([address])


@on_both_loops
async def test_several_addresses() -> None:
    async with edge(told, ["127.0.0.1:0", Listener("[::1]:0"), "localhost:0"]) as e:
        assert e.bound[0].startswith("127.0.0.1:")
        assert e.bound[1].startswith("[::1]:")
        assert not any(address.endswith(":0") for address in e.bound)
        for at in range(len(e.bound)):
            client = await e.client(at)
            assert (await client.ask()).status == 200
        assert [request.client for request in e.asked][:2] == ["127.0.0.1", "::1"]


@on_both_loops
async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with edge(told, [f"unix:{path}"]) as e:
        client = await e.client()
        assert (await client.ask()).status == 200
        assert e.asked[0].client == ""
        with pytest.raises(ListenError, match="another program listens"):
            await Server(told).start([f"unix:{path}"])
        assert await e.server.drain(5) in (True, False)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        await Server(told).start([f"unix:{path}"])
    assert path.read_text() == "precious"


@on_both_loops
async def test_shared_ports() -> None:
    async with edge(told, [Listener("127.0.0.1:0", reuse_port=True)]) as e:
        other = Server(told)
        assert await other.start([Listener(e.bound[0], reuse_port=True)]) == e.bound
        await other.close()


@on_both_loops
async def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vary_proxy.clients.connection.LINGER", 0.1)
    authority = trustme.CA()
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(secure)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with edge(told, [Listener("127.0.0.1:0", secure)]) as e:
        client = await e.client(ssl=trusting, server_hostname="localhost")
        client.send(head(b"GET /1 HTTP/1.1"), head(b"GET /2 HTTP/1.1"))
        assert [(await client.answer()).body for _ in range(2)] == [b"/1", b"/2"]
        assert e.asked[0].scheme == b"https"
        client.send(b"\0")
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        plain = await e.client()
        plain.send(GET)
        assert await plain.is_closed()
        await client.leave()
