"""Five hundred objects: of 0 bytes to 64 MiB, most of them small, under plain and odd keys.

The set is the same in every run. What a server cannot keep is listed in REFUSED with its
reason, and ``fill`` finds out whether that list is still true.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from tests.real.servers import S3Server

COUNT = 500
MIB = 1 << 20
CACHE_CONTROL = "max-age=3600"

LONG_SEGMENT = "long-" + "s" * 250  # 255 bytes, the most that a file's name takes
LONGER_SEGMENT = "longer-" + "s" * 249  # 256 bytes
LONGEST_KEY = "k" * 1024  # the most that S3 takes
DEEP_KEY = "deep/" + "/".join(["d" * 90] * 11)
WIDE_KEY = "ü" * 400  # 800 bytes in one segment

ODD_KEYS = [
    "space in name.txt",
    " leading space",
    "trailing space ",
    "tab\there",
    "line\nbreak",
    "del\x7fete",
    "plus+plus+.png",
    "percent%sign",
    "percent%2Fslash",
    "percent%20space",
    "percent%252Ftwice",
    "%",
    "%zz",
    "%00",
    "ünïcödé/日本語.png",
    "emoji-😀.png",
    "rtl-אבג.txt",
    "zero-width-\u200b-space",
    "composed-\u00e9",
    "composed-e\u0301",
    "double//slash",
    "triple///slash",
    "/leading-slash",
    "//two-leading-slashes",
    "folder/",
    "dot/./segment",
    "dots/../segment",
    "../outside",
    "...",
    "dots/.../three",
    ".hidden",
    "ends-with-dot.",
    "semi;colon;v=1",
    "amper&sand=1&b",
    "equals=1=2",
    "hash#fragment",
    "question?mark=1",
    "quote'single",
    'quote"double',
    "less<than>more",
    "pipe|and\\backslash",
    "\\",
    "caret^tick`braces{}",
    "[brackets]",
    "~tilde",
    "comma,comma",
    "colon:at@dollar$bang!star*parens()",
    "-dash-first",
    "__underscores__",
    "Case",
    "case",
    "index.html",
    "a=b;c/d&e/f?g#h%i+j k",
    LONG_SEGMENT,
    LONGER_SEGMENT,
    LONGEST_KEY,
    DEEP_KEY,
    WIDE_KEY,
]

_DOTS = ["dot/./segment", "dots/../segment", "../outside"]
_DOUBLE = ["double//slash", "triple///slash", "/leading-slash", "//two-leading-slashes"]
_OVER_255 = [LONGER_SEGMENT, LONGEST_KEY, WIDE_KEY]

# s3rver's files are named for keys: over 255 bytes end it, and dots leave its directory.
NEVER_SENT = {"s3rver": [LONG_SEGMENT, *_OVER_255, "../outside"]}

# What a server cannot keep: server -> reason -> keys.
REFUSED: dict[str, dict[str, list[str]]] = {
    "s3rver": {
        "never sent": NEVER_SENT["s3rver"],
        "404: an empty segment matches no route": _DOUBLE,
    },
    "moto": {"404: a line break matches no route": ["line\nbreak"]},
    "seaweedfs": {
        "400 InvalidRequest: dot segments": _DOTS,
        "400 KeyTooLongError: a segment of over 255 bytes": _OVER_255,
        "a key that ends with a slash is a folder, without content": ["folder/"],
        "a backslash is read as a slash, which leaves nothing": ["\\"],
    },
    "minio": {
        "400 XMinioInvalidResourceName: dot segments": _DOTS,
        "a key that ends with a slash is a folder, without content": ["folder/"],
    },
}


@dataclass(frozen=True)
class Object:
    key: str
    body: bytes

    @property
    def path(self) -> str:
        """The request target of this object in its bucket, as every S3 client spells it."""
        return quote(self.key, safe="/~")


def objects(count: int = COUNT) -> list[Object]:
    """The first *count*: odd keys first, then plain ones; sizes are mixed among both."""
    dice = random.Random(9111)
    keys = (ODD_KEYS + [_plain_key(dice, number) for number in range(count)])[:count]
    return [
        Object(key, dice.randbytes(size))
        for key, size in zip(keys, _sizes(dice, count), strict=True)
    ]


def _plain_key(dice: random.Random, number: int) -> str:
    folder = dice.choice(["img", "css", "video/hls", "docs/2026/11", "user uploads"])
    kind = dice.choice(["png", "jpg", "css", "m4s", "pdf", "json"])
    return f"{folder}/{number:04d}-{dice.randrange(1 << 32):08x}.{kind}"


def _sizes(dice: random.Random, count: int) -> list[int]:
    """Bytes: the corners, 64 MiB once, and otherwise more small ones than large."""
    corners = [0, 0, 1, 2, 1023, 1024, 65535, 65536, 65537, MIB, 3 * MIB + 1]
    rest = [int(2 ** dice.uniform(0, 16)) for _ in range(count - len(corners) - count // 50 - 1)]
    large = [int(2 ** dice.uniform(18, 22)) for _ in range(count // 50)]
    sizes = corners + rest + large
    dice.shuffle(sizes)
    return [*sizes, 64 * MIB]


def fill(server: S3Server, wanted: Iterable[Object]) -> tuple[list[Object], list[str]]:
    """Put *wanted* into the bucket; those that it keeps, and the keys of the others.

    What has an odd key is read back: a server may well take it and keep something else.
    """
    writer, reader = server.client(), server.client(signed=False)
    kept: list[Object] = []
    refused: list[str] = []
    for one in wanted:
        sent = one.key not in NEVER_SENT.get(server.name, [])
        if sent and _keeps(server.bucket, writer, reader, one):
            kept.append(one)
        else:
            refused.append(one.key)
    return kept, refused


def _keeps(bucket: str, writer: Any, reader: Any, one: Object) -> bool:
    where = {"Bucket": bucket, "Key": one.key}
    try:
        writer.put_object(**where, Body=one.body, CacheControl=CACHE_CONTROL, ACL="public-read")
        if one.key not in ODD_KEYS:
            return True
        return bool(reader.get_object(**where)["Body"].read() == one.body)
    except (BotoCoreError, ClientError):
        return False
