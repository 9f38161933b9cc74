"""Every example that ships is a configuration that this version takes, and fits its schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from vary_proxy import config

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path.name for path in CONFIG.glob("*.yaml"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_without_an_environment(name: str) -> None:
    loaded = config.load(CONFIG / name, (), {})
    assert loaded.settings.origins or loaded.settings.rules


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_the_published_schema(name: str) -> None:
    published = json.loads((CONFIG / "vary-proxy.schema.json").read_text())
    jsonschema.validate(yaml.safe_load((CONFIG / name).read_text()), published)
