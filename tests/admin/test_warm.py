"""``vary-proxy warm``: what is stored afterwards, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.admin.conftest import Origin, Proxy
from vary_proxy.app import App
from vary_proxy.cli import listed, status, warming
from vary_proxy.cli.listed import BadList
from vary_proxy.cli.warming import Job
from vary_proxy.config import loads

ROOT = Path(__file__).resolve().parents[2]
SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
  <url><loc> {url}/one </loc><priority>0.8</priority></url>
  <url><loc>{url}/two?a=1&amp;b=2</loc></url>
</urlset>"""
INDEX = """<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
  <sitemap><loc>{url}/map.xml.gz</loc></sitemap></sitemapindex>"""


async def warm(*args: str) -> int:
    return await asyncio.to_thread(status, ["warm", *args])


async def test_every_variant_is_stored_once(
    proxy: Proxy, origin: Origin, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = ("https://a.example", "https://b.example", "")
    headers = [word for site in sites for word in ("-H", f"Origin: {site}")]
    assert await warm(f"{proxy.url}/a", f"{proxy.url}/a", f"{proxy.url}/b", *headers) == 0
    assert capsys.readouterr().out == (
        "6 asked for: 6 stored, 0 were there, 0 not stored, 0 failed\n"
    )
    assert sorted(set(origin.asked)) == ["/a", "/b"]
    for site in sites:
        assert await proxy.is_stored("/b", **({"origin": site} if site else {}))
    assert await warm(f"{proxy.url}/a", "--json", *headers) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["hit"], told["stored"]) == (3, 3, 0)


async def test_what_is_not_stored_says_why(
    proxy: Proxy, origin: Origin, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/private":
            return web.Response(text="x", headers={"Cache-Control": "private"})
        if request.path == "/broken":
            return web.Response(status=503)
        return web.Response(text="x", headers={"Cache-Control": "max-age=60"})

    origin.handler = answer
    urls = [f"{proxy.url}/{name}" for name in ("good", "private", "broken")]
    assert await warm(*urls, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [told[kind] for kind in ("stored", "not_stored", "failed")] == [1, 1, 1]
    assert {(one["url"], one["outcome"], one["status"]) for one in told["problems"]} == {
        (urls[1], "not_stored", 200),
        (urls[2], "failed", 503),
    }
    assert "private" in next(one["reason"] for one in told["problems"] if one["status"] == 200)
    assert await warm(urls[1]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"not stored  {urls[1]}: 200 ")
    assert said.out == "1 asked for: 0 stored, 0 were there, 1 not stored, 0 failed\n"


async def test_a_body_that_is_cut_has_failed(
    proxy: Proxy, origin: Origin, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Cache-Control": "max-age=60", "Content-Length": "100000"}
        )
        await response.prepare(request)
        await response.write(b"x" * 1000)
        assert request.transport is not None
        request.transport.close()
        return response

    origin.handler = answer
    assert await warm(f"{proxy.url}/a", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["stored"], told["failed"]) == (0, 1)


async def test_urls_come_from_lines_and_from_sitemaps(
    proxy: Proxy, origin: Origin, tmp_path: Path
) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "max-age=60"}
        if request.path == "/map.xml.gz":
            content = gzip.compress(SITEMAP.format(url=proxy.url).encode())
            return web.Response(body=content, headers=headers)
        return web.Response(text=INDEX.format(url=proxy.url), headers=headers)

    origin.handler = answer
    (tmp_path / "lines").write_text("# pages\n\n  /line \n/l%C3%BC/ö?q\n")
    (tmp_path / "map.xml").write_text(SITEMAP.format(url=proxy.url))
    sources = ("--from", str(tmp_path / "lines"), "--from", str(tmp_path / "map.xml"))
    assert await warm("--through", proxy.url, *sources) == 0
    assert sorted(origin.asked) == ["/l%C3%BC/%C3%B6?q", "/line", "/one", "/two?a=1&b=2"]
    origin.asked.clear()
    await proxy.purge(all=True)
    assert await warm("--from", f"{proxy.url}/index.xml") == 0
    assert origin.asked[:2] == ["/index.xml", "/map.xml.gz"]
    assert sorted(origin.asked[2:]) == ["/one", "/two?a=1&b=2"]


async def test_the_file_says_where_the_proxy_is(
    proxy: Proxy, origin: Origin, tmp_path: Path
) -> None:
    listen = proxy.url.removeprefix("http://")
    file = tmp_path / "p.yaml"
    file.write_text(f'version: 1\nlisten: ["{listen}"]\norigins: {{main: "{origin.url}"}}\n')
    assert await warm("http://media.example/a", "-c", str(file)) == 0
    assert await proxy.is_stored("/a", host="media.example")


async def test_through_a_unix_socket_and_from_stdin(origin: Origin, tmp_path: Path) -> None:
    at = f"unix:{tmp_path}/proxy"
    app = App(loads(f'listen: ["{at}"]\norigins: {{a: "{origin.url}"}}'.encode(), "", {}, {}))
    await app.start()
    reading, writing = os.pipe()
    os.write(writing, b"http://media.example/a\n/b\n")
    os.close(writing)
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert await warm("--through", at, "--from", "-") == 0
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)
        await app.close()
    assert sorted(origin.asked) == ["/a", "/b"]


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("ftp://a.example/x",),
        ("http://a.example/a b",),
        ("/x", "-H", "no field"),
        ("/x", "-H", "a: b\r\nc: d"),
        ("/x", "--concurrency", "0"),
        ("--from", "missing"),
        ("--from", "http://127.0.0.1:9/sitemap.xml"),
    ],
)
def test_wrong_usage_is_status_2(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert status(["warm", *args]) == 2
    assert capsys.readouterr().err


def test_not_reached_is_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["warm", "/a", "--through", "http://127.0.0.1:9"]) == 3
    assert "nothing listens there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        pytest.param(b"<!DOCTYPE html><html/>", "has no DOCTYPE", id="a page"),
        pytest.param(b'<!DOCTYPE u [<!ENTITY a "aa">]><urlset/>', "DOCTYPE", id="entities"),
        pytest.param(b"x" * 99_999, '"xxx', id="a long line"),
        pytest.param(b"<rss/>", "<rss> is no sitemap", id="a feed"),
        pytest.param(b"<urlset><url>", "no sitemap", id="cut"),
        pytest.param(b"/a\nftp://x\n", ':2: "ftp://x" is no URL', id="a line"),
        pytest.param(gzip.compress(b"<urlset/>")[:12] + b"xxxxxxxxx", "cannot be unpacked", id="z"),
    ],
)
def test_a_list_that_is_none_says_where(content: bytes, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(BadList, match=wrong) as error:
        listed.gathered((), (str(tmp_path / "list"),), lambda _: b"")
    assert str(tmp_path / "list") in str(error.value)


def test_an_index_names_no_index() -> None:
    with pytest.raises(BadList, match="an index of indexes"):
        listed.gathered(
            (), ("http://a.example/i",), lambda _: INDEX.format(url="http://a").encode()
        )


@pytest.mark.parametrize(
    ("cache_status", "code", "kind", "reason"),
    [
        ("vary-proxy; hit; ttl=3", 200, "hit", ""),
        ("vary-proxy; fwd=uri-miss; fwd-status=200; stored", 200, "stored", ""),
        ("vary-proxy; fwd=vary-miss; fwd-status=200; collapsed", 200, "stored", ""),
        ("vary-proxy; fwd=stale; fwd-status=304", 200, "stored", ""),
        ("cdn; hit, vary-proxy; fwd=bypass", 200, "not_stored", "bypass"),
        ('cdn; detail=", vary-proxy; hit", vary-proxy; fwd=miss', 200, "not_stored", "miss"),
        ('vary-proxy; fwd=miss; detail="set-cookie; here"', 200, "not_stored", "set-cookie; here"),
        ("vary-proxy; fwd=miss; detail=dns_error", 502, "failed", "dns_error"),
        ("cdn; hit", 200, "not_stored", "no vary-proxy answered; see --through"),
        ("", 200, "not_stored", "no vary-proxy answered; see --through"),
    ],
)
def test_an_answer_is_judged_by_our_member_of_cache_status(
    cache_status: str, code: int, kind: str, reason: str
) -> None:
    found = warming.judged(Job(listed.target("/a")), code, cache_status)
    assert (found.kind, found.reason) == (kind, reason)


def test_fields_of_one_name_are_alternatives() -> None:
    said = [("Origin", "a"), ("Accept", "x"), ("origin", "b"), ("Origin", "")]
    assert warming.variants(said) == [
        (("Origin", "a"), ("Accept", "x")),
        (("origin", "b"), ("Accept", "x")),
        (("Accept", "x"),),
    ]
    assert warming.variants([]) == [()]


class _Hanging(BaseHTTPRequestHandler):
    """Stored at once, but for one target that is never answered."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/hangs":
            self.server.asked.set()  # type: ignore[attr-defined]
            self.server.go.wait(30)  # type: ignore[attr-defined]
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Cache-Status", "vary-proxy; fwd=uri-miss; stored")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_ctrl_c_tells_what_was_done_and_the_bar_is_gone() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hanging) as server:
        asked, go = threading.Event(), threading.Event()
        server.asked, server.go = asked, go  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        through = f"http://127.0.0.1:{server.server_port}"
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "vary_proxy", "warm", "/a", "/hangs", "/b", "--through",
                 through, "--concurrency", "1"],
                stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=ROOT,
                env={**os.environ, "TERM": "xterm"},
            )  # fmt: skip
            assert asked.wait(30)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 130
            assert out == (
                "3 asked for: 1 stored, 0 were there, 0 not stored, 0 failed; interrupted, 2 left\n"
            )
            shown = os.read(ours, 65536).decode()
            assert "warming" in shown
            assert shown.rstrip().endswith(("\x1b[?25h", "\x1b[2K"))  # the cursor is back
            assert "Traceback" not in shown
        finally:
            os.close(theirs)
            os.close(ours)
            go.set()
            server.shutdown()
            thread.join()
