"""A grammar of configuration files: shapes by the annotations of the settings themselves.

A document is drawn as plain values, then one thing in it may be exchanged for another; it is
written in two of the ways that YAML has: block or flow, quotes, anchors, tags, comments.
"""

from __future__ import annotations

import json
import random
import re
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from vary_proxy.configuration.reading import ALIASES, hints, is_struct, plain, required
from vary_proxy.configuration.settings import Rule, Settings

NULL, TRUE = None, True
TEXTS = (
    "a", "x-1", "", "null", "~", "true", "off", "0", "1", "-", "${A}", "${A:-b}", "$${A}", "$$",
    "a b", "a: b", "# a", "a #b", "'", '"', "\\", "é", "*", "&a", "!x", "%", "@", "`", "[", "{",
    "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f600", "a\nb", "\t", " a ", "${", "1e3", "0x10",
    "<<", "=", "???", "---", "...", "- a", "/a/../b", "None", "2026-11-22", "1:30", "\x80", "\0",
)  # fmt: skip
SAMPLES: dict[str, tuple[Any, ...]] = {
    "duration": (
        "0", "1s", "5m", "1h30m", "1.5s", "250ms", "7d", "1w", "3h25m45s678ms", "0.001ms", "0s",
        "1h1ms", "0.5ms", "123456789ms", "1.000001s", "365d", 0,
    ),
    "size": ("64KiB", "1MiB", "5GiB", 100, "0", "7B", "1.5MiB", "0.1KiB", 65537, "2TiB"),
    "positive": (1, 3, 100),
    "share": (0.1, 0, 1, 0.25, 1.0, 0.000001),
    "workers": ("auto", 1, 4),
    "network": ("10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"),
    "address": (":8080", "127.0.0.1:81", "[::1]:82", "unix:/run/a b.sock", "*:83", "a.example:84"),
    "address_or_off": ("off", ":9090", "127.0.0.1:91", "unix:/x"),
    "origin_url": (
        "http://a.example", "https://B.example:444/x/", "http://[::1]:9000", "http://127.0.0.1",
        "https://a.example:443", "http://a_b:80/%41;c", "http://a.example./",
    ),
    "secret_url": ("redis://r:6379/0", "rediss://u:p@r/1", "unix:///run/redis.sock"),
    "secret": ("hunter2", "${A}", ""),
    "cors_origin": (
        "https://a.example", "*", "https://*.a.example", "~https://[a-z]+\\.b\\.example", "null",
        "http://localhost:*", "https://[::1]:8443",
    ),
    "host_rule": ("upstream", "preserve", "c.example:81", "[::1]"),
    "origin_header": ("auto", "forward", "strip", "inject:https://a.example", "inject:http://x:1"),
    "label": ("main", "other", "site"),
    "name": ("Origin", "Accept-Encoding", "X-A", "x_b", "true", "null", "~x", "1"),
    "method": ("GET", "PUT", "M-SEARCH", "NULL", "OFF"),
    "access": ("off", "stdout", "./a.log", "/var/log/$$.log", "a.b", False, "/a #b", "/ü"),
    "path_glob": ("/**", "/a/*.png", "/x", "~/api/v[0-9]+(/.*)?", "/a b/**", "/%41"),
    "host_glob": ("*.a.example", "a.example", "~a|b"),
    "glob": ("*", "", "a*", "~[0-9]+", "true", "null", "a: b"),
    "name_match": ("utm_*", "_ctx", "~v[0-9]", "*"),
}  # fmt: skip
NAMED = {"origin": ("main", "main", "other", "nowhere"), "policy": ("site", "site", "nobody")}


@cache
def value(hint: Any, key: str = "") -> SearchStrategy[Any]:
    """Something of the shape of *hint*, mostly of what belongs there."""
    base, kind = plain(hint)
    if kind == "ttl":
        return TTL
    if kind:
        return st.sampled_from(SAMPLES[kind])
    if is_struct(base):
        return struct(base)
    if get_origin(base) is tuple:
        item = value(get_args(base)[0])
        return st.lists(item, min_size=1, max_size=2) | item | st.lists(item, max_size=1)
    if get_origin(base) is dict:
        return _dict(*get_args(base))
    if base is bool:
        return st.sampled_from(("on", "off", True, False))
    if base is str:
        return st.sampled_from(NAMED.get(key, TEXTS))
    if isinstance(base, type) and issubclass(base, Enum):
        return st.sampled_from([one.value for one in base])
    return st.sampled_from(get_args(base))


TTL = st.sampled_from(("origin", *SAMPLES["duration"])) | st.dictionaries(
    st.sampled_from(("default", "override", "404", "5xx", "200")),
    st.sampled_from(SAMPLES["duration"]),
    max_size=3,
)


def _dict(key: Any, item: Any) -> SearchStrategy[Any]:
    _, kind = plain(key)
    keys = st.sampled_from(SAMPLES[kind] if kind else ("a", "b c", "token", "é", "null"))
    return st.dictionaries(keys, value(item), max_size=2)


@cache
def struct(cls: Any) -> SearchStrategy[Any]:
    """A mapping of *cls* with few of its keys, or what may stand for it."""
    known = hints(cls)
    aliases = {held: said for said, held in ALIASES.get(cls, {}).items()}
    needed = {key: value(known[key], key) for key in required(cls) if key not in aliases}
    if aliases:  # ``url`` and ``urls`` exclude one another
        needed["url"] = st.sampled_from(SAMPLES["origin_url"])
    others = [key for key in known if key not in needed and key not in aliases and key != "whole"]

    @st.composite
    def mapping(draw: DrawFn) -> Any:
        short = getattr(cls, "short", None)
        if short is not None and draw(st.integers(0, 3)) == 0:
            return draw(value(known[short], short))
        chosen = draw(st.lists(st.sampled_from(others), unique=True, max_size=3)) if others else []
        made = {key: draw(drawn) for key, drawn in needed.items()}
        return made | {key: draw(value(known[key], key)) for key in chosen}

    return mapping()


@st.composite
def documents(draw: DrawFn) -> Any:
    """A document that mostly loads."""
    url = st.sampled_from(SAMPLES["origin_url"])
    found: dict[str, Any] = {"origins": {"main": draw(url), "other": draw(struct_of("origins"))}}
    if draw(st.booleans()):
        found["cors"] = {"site": draw(struct_of("cors"))}
    known = hints(Settings)
    keys = [key for key in known if key not in ("origins", "cors", "rules", "version")]
    for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=3)):
        found[key] = draw(value(known[key], key))
    if draw(st.booleans()):
        found["rules"] = draw(st.lists(struct(Rule), max_size=2))
    if draw(st.integers(0, 3)) == 0:
        found = exchanged(draw, found)
    return found


@cache
def struct_of(key: str) -> SearchStrategy[Any]:
    return value(get_args(plain(hints(Settings)[key])[0])[1])


def _places(found: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a document."""
    inner = found.items() if isinstance(found, dict) else enumerate(found)
    out = []
    for key, child in inner:
        out.append((*at, key))
        if isinstance(child, dict | list):
            out += _places(child, (*at, key))
    return out


def exchanged(draw: DrawFn, found: Any) -> Any:
    """A document with one value in another's place, of another type, doubled or lost."""
    copy = json.loads(json.dumps(found))
    places = _places(copy)
    *above, key = draw(st.sampled_from(places))
    parent = copy
    for step in above:
        parent = parent[step]
    others = [json.loads(json.dumps(_at(copy, way))) for way in places]
    choice = draw(st.integers(0, 4))
    if choice == 0:
        parent[key] = draw(st.sampled_from([*others, None, True, {}, [], 1, -1, 1.5]))
    elif choice == 1:
        parent[key] = draw(st.sampled_from(TEXTS))
    elif choice == 2:
        parent[key] = [parent[key]]
    elif choice == 3:
        del parent[key]
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(("a", "<<", "null", "1", *map(str, parent))))] = parent.pop(key)
    return json.loads(json.dumps(copy))


def _at(found: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        found = found[step]
    return found


_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./-]*")
_SAID = frozenset(("null", "true", "false"))  # words that are not text when they are plain


class Writer:
    """Writes a document in one of the ways that YAML has for it; *dice* choose which."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.anchors: dict[str, str] = {}

    def document(self, found: Any) -> str:
        start = self.dice.choice(("", "# a comment\n", "---\n", "%YAML 1.2\n---\n", "\n"))
        end = self.dice.choice(("", "\n", "...\n", "\n# the end"))
        return start + self.block(found, "") + "\n" + end

    def block(self, found: Any, indent: str) -> str:
        if not found or not isinstance(found, dict | list) or self.dice.randrange(5) == 0:
            return indent + self.flow(found)
        rows = []
        entries = found.items() if isinstance(found, dict) else [(None, one) for one in found]
        for key, child in entries:
            start = indent + ("-" if key is None else self.scalar(key) + ":")
            if isinstance(child, dict | list) and child and self.dice.randrange(4):
                rows += [start, self.block(child, indent + "  ")]
            else:
                rows.append(f"{start} {self.flow(child)}{self.dice.choice(_COMMENTS)}")
        return "\n".join(rows)

    def flow(self, found: Any) -> str:
        same = json.dumps(found)
        if same in self.anchors and self.dice.random() < 0.5:
            return f"*{self.anchors[same]} "
        mark = ""
        if same not in self.anchors and self.dice.randrange(4) == 0:
            self.anchors[same] = f"a{len(self.anchors)}"
            mark = f"&{self.anchors[same]} "
        if isinstance(found, list):
            return mark + "[" + ", ".join(map(self.flow, found)) + "]"
        if isinstance(found, dict):
            pairs = (f"{self.scalar(key)}: {self.flow(child)}" for key, child in found.items())
            return mark + "{" + ", ".join(pairs) + "}"
        return mark + self.scalar(found)

    def scalar(self, found: Any) -> str:
        if isinstance(found, float):
            return f"{found:f}"
        if not isinstance(found, str):
            return json.dumps(found)
        ways = [json.dumps(found), json.dumps(found)]
        if _PLAIN.fullmatch(found) and found.lower() not in _SAID:
            ways += [found, found]
            if self.dice.randrange(6) == 0:
                ways = [f"!!str {found}", f"! {found}"]
        if found.isprintable() and found.isascii():
            ways.append("'" + found.replace("'", "''") + "'")
        return self.dice.choice(ways)


_COMMENTS = ("", "", "", "  # said", " ")


@st.composite
def files(draw: DrawFn) -> tuple[Any, str, str]:
    """A document, and two ways to write it."""
    found = draw(documents())
    one, other = (Writer(random.Random(draw(st.integers(0, 999)))) for _ in range(2))
    return found, one.document(found), other.document(found)
