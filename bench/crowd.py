"""Many browsers that ask for a few pictures each and leave: what wrk, a few clients, is not.

    python -m bench.crowd PORT SECONDS SEED [all]

Browsers of four makes and many versions, each with its languages, its cookie and its order of
fields, ask for popular and for rare things (Zipf's law), now and then for what they have. With
``all`` each thing is asked for twice by each make instead. Prints figures as heads.lua does.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

BROWSERS = 200
OBJECTS = 10_000
EACH = 10  # requests on one connection
AT_ONCE = 64
_CONDITIONAL = 0.1  # of requests ask for what the browser has
_HEADS = 20_000  # targets drawn before the clock starts
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n")
_TAG = re.compile(rb"(?i)\r\netag: *([^\r]+)\r\n")
_LANGUAGES = ("en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.7", "fr", "pt-BR,pt;q=0.8", "ja", "es-ES")
_CHROME = (
    "Connection: keep-alive",
    'sec-ch-ua-platform: "{system}"',
    "User-Agent: Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{version}.0.0.0 Safari/537.36",
    'sec-ch-ua: "Chromium";v="{version}", "Google Chrome";v="{version}", "Not_A Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: image",
    "Referer: {page}",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: {language}",
)
_FIREFOX = (
    "User-Agent: Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0",
    "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Accept-Language: {language}",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Connection: keep-alive",
    "Referer: {page}",
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: same-site",
)
_SAFARI = (
    "Accept: image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/*;q=0.8,*/*;q=0.5",
    "Sec-Fetch-Site: same-site",
    "Connection: keep-alive",
    "Sec-Fetch-Dest: image",
    "Accept-Language: {language}",
    "Sec-Fetch-Mode: no-cors",
    "User-Agent: Mozilla/5.0 ({system}) AppleWebKit/605.1.15 Version/{version} Safari/605.1.15",
    "Referer: {page}",
    "Accept-Encoding: gzip, deflate, br",
)
_FONT = (  # what a page may read: a request with Origin
    "Origin: https://www.example",
    *(line.replace("no-cors", "cors").replace("image", "font") for line in _CHROME),
)
MAKES = (_CHROME, _FIREFOX, _SAFARI, _FONT)


@dataclass
class Browser:
    """``lines`` are all of its field lines but Host, Referer's page left open, and Cookie."""

    lines: str
    cookie: str

    def head(self, host: str, number: int, page: str, more: str = "") -> bytes:
        lines = self.lines.replace("{page}", page)
        return (
            f"GET /1k/{number} HTTP/1.1\r\nHost: {host}\r\n{lines}{self.cookie}{more}\r\n"
        ).encode()


def browsers(draw: random.Random) -> list[Browser]:
    systems = (
        "Windows NT 10.0; Win64; x64",
        "X11; Linux x86_64",
        "Macintosh; Intel Mac OS X 10_15_7",
    )
    made = []
    for number in range(BROWSERS):
        said = {
            "system": draw.choice(systems),
            "version": draw.randint(100, 150),
            "language": draw.choice(_LANGUAGES),
            "page": "{page}",
        }
        lines = "".join(f"{line.format(**said)}\r\n" for line in MAKES[number % len(MAKES)])
        cookie = f"Cookie: session={draw.getrandbits(128):032x}; theme=dark\r\n"
        # What a page reads from another origin comes without cookies unless it asks for them.
        made.append(Browser(lines, cookie if number % 3 and "Origin" not in lines else ""))
    return made


class Visits:
    """What is asked: lists of heads, one for each connection."""

    def __init__(self, port: int, seed: int, tag: str) -> None:
        self._draw = random.Random(seed)
        self._host = f"127.0.0.1:{port}"
        self._browsers = browsers(self._draw)
        self._tag = tag  # of every object: all are one file of the origin's
        weights = list(accumulate(1 / rank for rank in range(1, OBJECTS + 1)))
        drawn = self._draw.choices(range(OBJECTS), cum_weights=weights, k=_HEADS)
        self._visits = [self._visit(drawn[at : at + EACH]) for at in range(0, _HEADS, EACH)]

    def _visit(self, numbers: list[int]) -> list[bytes]:
        browser = self._draw.choice(self._browsers)
        page = f"https://www.example/articles/{self._draw.randrange(500)}"
        had = [self._draw.random() < _CONDITIONAL for _ in numbers]
        more = [f"If-None-Match: {self._tag}\r\n" if one else "" for one in had]
        return [
            browser.head(self._host, number, page, condition)
            for number, condition in zip(numbers, more, strict=True)
        ]

    def endless(self) -> Iterator[list[bytes]]:
        while True:
            yield from self._visits

    def everything(self) -> Iterator[list[bytes]]:
        for browser in self._browsers[: len(MAKES)]:
            heads = [
                browser.head(self._host, one, "https://www.example/") for one in range(OBJECTS)
            ]
            for at in (*range(0, OBJECTS, 100), *range(0, OBJECTS, 100)):
                yield heads[at : at + 100]


class Client:
    """One connection at a time, and the next visit when that has ended."""

    def __init__(self, port: int, visits: Iterator[list[bytes]], chosen: selectors.BaseSelector):
        self._port, self._visits, self._chosen = port, visits, chosen
        self.times: list[float] = []
        self.wrong = self.bytes = 0
        self.tag = ""
        self._begin()

    def _begin(self) -> bool:
        self._heads = next(self._visits, [])
        if not self._heads:
            return False
        self._at = 0
        self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._chosen.register(self._sock, selectors.EVENT_READ, self)
        self._ask()
        return True

    def _ask(self) -> None:
        self._read = b""
        self._asked = time.perf_counter()
        self._sock.sendall(self._heads[self._at])

    def readable(self) -> bool:
        """Take what is there; False when all visits have been made."""
        data = self._sock.recv(65536)
        self._read += data
        end = self._read.find(b"\r\n\r\n") + 4
        if not data or end < 4 or len(self._read) < end + self._length(end):
            if data:
                return True
            self.wrong += 1
            return self._leave()
        self.times.append(time.perf_counter() - self._asked)
        self.bytes += len(self._read)
        self.wrong += self._read[9:12] not in (b"200", b"304")
        if not self.tag and (tag := _TAG.search(self._read)):
            self.tag = tag[1].decode()
        self._at += 1
        if self._at == len(self._heads):
            return self._leave()
        self._ask()
        return True

    def _length(self, end: int) -> int:
        if self._read[9:12] == b"304":
            return 0
        length = _LENGTH.search(self._read, 0, end)
        return int(length[1]) if length else 0

    def _leave(self) -> bool:
        self._chosen.unregister(self._sock)
        self._sock.close()
        return self._begin()


def run(port: int, visits: Iterator[list[bytes]], goes_on: Callable[[], bool]) -> list[Client]:
    """Let AT_ONCE clients make *visits* for as long as *goes_on*, or all of them."""
    with selectors.DefaultSelector() as chosen:
        clients = [Client(port, visits, chosen) for _ in range(AT_ONCE)]
        busy = len(clients)
        while busy and goes_on():
            for key, _ in chosen.select(1.0):
                busy -= not key.data.readable()
        for key in list(chosen.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # a socket
    return clients


def main(port: int, seconds: float, seed: int, everything: bool) -> dict[str, int]:
    visits = Visits(port, seed, _tag(port))
    began = time.perf_counter()
    if everything:
        clients = run(port, visits.everything(), lambda: True)
    else:
        clients = run(port, visits.endless(), lambda: time.perf_counter() - began < seconds)
    passed = time.perf_counter() - began
    times = sorted(one for client in clients for one in client.times)
    return {
        "requests": len(times),
        "microseconds": int(passed * 1e6),
        "bytes": sum(client.bytes for client in clients),
        "bad_status": sum(client.wrong for client in clients),
        "broken": 0,
        "median_us": int(times[len(times) // 2] * 1e6),
        "p99_us": int(times[len(times) * 99 // 100] * 1e6),
    }


def _tag(port: int) -> str:
    visit = [f"GET /1k/1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()]
    (client, *_) = run(port, iter([visit] * AT_ONCE), lambda: True)
    return client.tag


if __name__ == "__main__":
    _, at, long, drawn, *rest = sys.argv
    print("RESULT", json.dumps(main(int(at), float(long), int(drawn), bool(rest))))
