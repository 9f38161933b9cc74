"""The JSON Schema that is published beside the examples is the one that the program prints."""

from __future__ import annotations

import json
from pathlib import Path

from vary_proxy.configuration.schema import schema


def test_the_published_schema_is_current() -> None:
    published = json.loads(Path("config/vary-proxy.schema.json").read_text())
    assert published == schema(), "run: vary-proxy schema > config/vary-proxy.schema.json"
