"""The PROXY protocol: what is read as which client, and what is not read at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path

import pytest
import trustme

from tests.lifecycle.parts import Client, origin, running
from tests.wire.raworigin import on_both_loops
from vary_proxy.clients import proxyprotocol
from vary_proxy.clients.proxyprotocol import SIGNATURE, Malformed
from vary_proxy.core.message import Reply, Request


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    head = struct.pack("!BBH", command, family, len(block) if length is None else length)
    return SIGNATURE + head + block


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + b"\x11\x11\x01\xbb"
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + b"\x11\x11\x01\xbb"
TLV = b"\x04\x00\x03abc"

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", "192.0.2.7"),
    "v1 TCP4, port 0": (b"PROXY TCP4 192.0.2.7 10.0.0.1 0 65535\r\n", "192.0.2.7"),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n", "2001:db8::7"),
    "v1 TCP6, longest": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN, with addresses": (b"PROXY UNKNOWN ffff::1 ::2 65535 65535\r\n", None),
    "v2 TCP4": (v2(0x21, 0x11, FOUR), "192.0.2.7"),
    "v2 TCP4, TLV": (v2(0x21, 0x11, FOUR + TLV), "192.0.2.7"),
    "v2 TCP6": (v2(0x21, 0x21, SIX), "2001:db8::7"),
    "v2 LOCAL": (v2(0x20, 0x00, b""), None),
    "v2 LOCAL, with addresses": (v2(0x20, 0x11, FOUR), None),
    "v2 unspecified": (v2(0x21, 0x00, TLV), None),
    "v2 unix": (v2(0x21, 0x31, bytes(216)), None),
}
BAD = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "v1 lower case": b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1 other family": b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1 families mixed": b"PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
    "v1 TCP6 of four": b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1 scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1 leading zero": b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
    "v1 port with zero": b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
    "v1 port too big": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
    "v1 port signed": b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
    "v1 one port": b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1 tab": b"PROXY TCP4\t192.0.2.7 10.0.0.1 1 2\r\n",
    "v1 more": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
    "v1 space at the end": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
    "v1 bare LF": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\nGET / HTTP/1.1\r\n",
    "v1 CR within": b"PROXY UNKNOWN \r \r\n",
    "v1 not ASCII": b"PROXY TCP4 192.0.2.\xb2 10.0.0.1 1 2\r\n",
    "v1 UNKNOWN run on": b"PROXY UNKNOWNED\r\n",
    "v1 endless": b"PROXY UNKNOWN " + b"x" * 200,
    "v2 signature": SIGNATURE[:-1] + b"\r" + v2(0x21, 0x11, FOUR)[12:],
    "v2 version": v2(0x11, 0x11, FOUR),
    "v2 command": v2(0x22, 0x11, FOUR),
    "v2 datagrams": v2(0x21, 0x12, FOUR),
    "v2 family": v2(0x21, 0x41, FOUR),
    "v2 short": v2(0x21, 0x11, FOUR[:-1]),
    "v2 short for six": v2(0x21, 0x21, FOUR),
    "v2 too long": v2(0x21, 0x11, FOUR, 4097) + bytes(4097),
}


class Source:
    """Gives exactly what is asked for, and remembers how much that was."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.taken = 0

    async def receive(self, size: int) -> bytes:
        assert size >= 0
        if self.taken + size > len(self.data):
            raise EOFError
        self.taken += size
        return self.data[self.taken - size : self.taken]


@pytest.mark.parametrize(("header", "client"), GOOD.values(), ids=GOOD)
async def test_a_header_is_read_to_its_end_and_no_further(header: bytes, client: str) -> None:
    source = Source(header + b"\x16\x03\x01")
    assert await proxyprotocol.read(source.receive) == client
    assert source.taken == len(header)


@pytest.mark.parametrize(("header", "client"), GOOD.values(), ids=GOOD)
async def test_a_part_of_a_header_is_none(header: bytes, client: str) -> None:
    for end in range(len(header)):
        with pytest.raises(EOFError):
            await proxyprotocol.read(Source(header[:end]).receive)


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_whatever_else_comes_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        await proxyprotocol.read(Source(data + bytes(128)).receive)


def written(path: Path, url: str, more: str = "") -> None:
    path.write_text(
        f'listen: [{{address: "127.0.0.1:0", proxy_protocol: true{more}}}]\n'
        f"origins: {{main: '{url}'}}\nlog: {{access: off}}\nserver: {{timeouts: {{head: 1s}}}}\n"
    )


@on_both_loops
async def test_the_client_is_whom_the_balancer_names(tmp_path: Path) -> None:
    seen: list[str] = []

    def observe(request: Request, reply: Reply, sent: int, seconds: float) -> None:
        seen.append(request.client)

    async with origin("A") as a:
        written(tmp_path / "p.yaml", a.url)
        async with running(tmp_path / "p.yaml") as (app, port):
            app.observers.append(observe)
            for header, client in GOOD.values():
                asked = await Client.at(port, first=header)
                assert (await asked.get("/x")).body == b"AA"
                assert (await asked.get("/y")).body == b"AA"
                assert seen == [client or "127.0.0.1"] * 2
                seen.clear()
                asked.close()
            slow = await Client.at(port)
            for byte in GOOD["v2 TCP4"][0]:
                slow.writer.write(bytes((byte,)))
                await slow.writer.drain()
                await asyncio.sleep(0)
            assert (await slow.get("/x")).body == b"AA"
            assert seen == ["192.0.2.7"]
            slow.close()


@on_both_loops
async def test_malformed_late_and_untrusted_connections_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a.url)
        async with running(path) as (app, port):
            late = await Client.at(port, first=b"PROXY TCP4 192.0.2.7")
            for data in BAD.values():
                client = await Client.at(port, first=data)
                assert await client.is_closed()
                client.close()
            assert await late.is_closed()
            late.close()
            path.write_text(path.read_text() + "  trusted_proxies: [10.0.0.0/8]\n")
            text = path.read_text().replace("server: {", "server:\n  {").split("server:")[0]
            path.write_text(text + "server: {trusted_proxies: [10.0.0.0/8]}\n")
            assert (await app.reload()).ok
            client = await Client.at(port, first=GOOD["v1 TCP4"][0])
            assert await client.is_closed()
            client.close()
            assert a.asked == []


@on_both_loops
async def test_a_header_stands_before_the_handshake(tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    pair.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with origin("A") as a:
        written(tmp_path / "p.yaml", a.url, ", tls: {cert: both.pem, key: both.pem}")
        async with running(tmp_path / "p.yaml") as (_, port):
            loop = asyncio.get_running_loop()
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            await loop.sock_sendall(sock, GOOD["v2 TCP6"][0])
            client = Client(
                *await asyncio.open_connection(sock=sock, ssl=trusting, server_hostname="localhost")
            )
            assert (await client.get("/x")).body == b"AA"
            client.close()


@on_both_loops
async def test_a_drain_ends_the_listening(tmp_path: Path) -> None:
    async with origin("A") as a:
        written(tmp_path / "p.yaml", a.url)
        async with running(tmp_path / "p.yaml") as (app, port):
            half = await Client.at(port, first=b"PROXY")
            assert await app.drain(patient=False)
            with pytest.raises(OSError, match="Conne"):
                await Client.at(port)
            await app.close()
            assert await half.is_closed()
            half.close()
