"""URLs to be asked for: from arguments, from lines of a file, from sitemaps.

A sitemap index names further sitemaps; they are fetched as anything else is, and by the caller,
since only that knows the way. https://www.sitemaps.org/protocol.html
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from vary_proxy.configuration.problems import shown

_LARGEST = 64 << 20  # bytes of a list; the protocol allows a sitemap 50 MiB
_MOST_SITEMAPS = 1000  # of one index
_URL = re.compile(r"(?:(https?)://([^/?#\s@]+))?([/?][^#\s]*)?(?:#\S*)?", re.I)
_DOCTYPE = re.compile(rb"<!\s*(doctype|entity)", re.I)

Fetch = Callable[["Target"], bytes]


class BadList(Exception):
    """What was to be read is no list of URLs; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to ask for. ``scheme`` and ``authority`` are empty for a path alone."""

    scheme: str
    authority: str
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}" if self.authority else self.target


def target(text: str) -> Target:
    """The target that *text*, a URL or a path, names; beyond ASCII as UTF-8. Raises BadList."""
    found = _URL.fullmatch(text)
    if not text or found is None or any(ord(one) < 33 or ord(one) == 127 for one in text):
        raise BadList(f"{shown(text)} is no URL; write http://host/path, or /path")
    path = found[3] or "/"
    path = f"/{path}" if path.startswith("?") else path
    try:
        authority = (found[2] or "").encode("idna" if not text.isascii() else "ascii").decode()
    except UnicodeError:
        raise BadList(f"{shown(text)} has a host that cannot be written") from None
    encoded = "".join(one if one.isascii() else quote(one) for one in path)
    return Target((found[1] or "").lower(), authority, encoded)


def gathered(said: Iterable[str], sources: Iterable[str], fetch: Fetch) -> list[Target]:
    """Every target once, in order. Raises BadList, and what *fetch* raises."""
    found = dict.fromkeys(map(target, said))
    for source in sources:
        content = _content(source, fetch)
        found.update(dict.fromkeys(_targets(content, source, fetch, deeper=True)))
    return list(found)


def _content(source: str, fetch: Fetch) -> bytes:
    if re.match(r"(?i)https?://", source):
        return fetch(target(source))
    try:
        if source == "-":
            with open(0, "rb", closefd=False) as stdin:
                return _bounded(stdin.read(_LARGEST + 1), source)
        with Path(source).open("rb") as file:
            return _bounded(file.read(_LARGEST + 1), source)
    except OSError as error:
        raise BadList(f"{source}: cannot read it: {error.strerror or error}") from None


def _bounded(content: bytes, source: str) -> bytes:
    if len(content) > _LARGEST:
        raise BadList(f"{source}: more than {_LARGEST >> 20} MiB; split it")
    return content


def _targets(content: bytes, source: str, fetch: Fetch, *, deeper: bool) -> Iterator[Target]:
    content = _bounded(_unzipped(content, source), source)
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield from _lines(content, source)
        return
    is_index, locations = _sitemap(content, source)
    if not is_index:
        yield from map(target, locations)
    elif not deeper:
        raise BadList(f"{source}: an index of indexes; a sitemap index names sitemaps only")
    else:
        for location in locations[:_MOST_SITEMAPS]:
            inner = fetch(target(location))
            yield from _targets(inner, location, fetch, deeper=False)


def _lines(content: bytes, source: str) -> Iterator[Target]:
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        said = line.strip()
        if said and not said.startswith("#"):
            try:
                yield target(said)
            except BadList as error:
                raise BadList(f"{source}:{number}: {error}") from None


def _sitemap(content: bytes, source: str) -> tuple[bool, list[str]]:
    """Whether it is an index, and what it names."""
    if _DOCTYPE.search(content):  # entities could grow without end, and no sitemap has any
        raise BadList(f"{source}: a sitemap has no DOCTYPE; is this a page?")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  without a DOCTYPE, nothing expands
    except ElementTree.ParseError as error:
        raise BadList(f"{source}: no sitemap: {error}") from None
    kind = _local(root)
    if kind not in ("urlset", "sitemapindex"):
        raise BadList(f"{source}: <{kind}> is no sitemap; that is <urlset> or <sitemapindex>")
    found = [
        (one.text or "").strip()
        for entry in root
        for one in entry
        if _local(entry) in ("url", "sitemap") and _local(one) == "loc"
    ]
    return kind == "sitemapindex", [one for one in found if one]


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _unzipped(content: bytes, source: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return zlib.decompressobj(wbits=31).decompress(content, _LARGEST + 1)
    except zlib.error as error:
        raise BadList(f"{source}: cannot be unpacked: {error}") from None
