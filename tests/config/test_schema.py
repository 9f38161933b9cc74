"""The JSON Schema and the loader agree; every key is described; every example validates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vary_proxy.config import ConfigError, load, loads
from vary_proxy.configuration import yaml12
from vary_proxy.configuration.descriptions import DESCRIPTIONS
from vary_proxy.configuration.reading import ALIASES, hints, is_struct
from vary_proxy.configuration.reading import plain as bare
from vary_proxy.configuration.schema import schema
from vary_proxy.configuration.settings import Settings
from vary_proxy.configuration.yaml12 import Mapping, Node, Scalar, Sequence

CASES = Path(__file__).parent / "cases"
EXAMPLES = sorted(Path("config").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(schema())


def document(data: bytes) -> Any:
    """A file as an editor that knows YAML 1.2 sees it."""
    root = yaml12.compose(data, "f.yaml")
    return None if root is None else plain(root)


def plain(node: Node) -> Any:
    match node:
        case Mapping():
            return {key.text: plain(value) for key, value in node.pairs}
        case Sequence():
            return [plain(one) for one in node.items]
        case Scalar() if node.is_null:
            return None
        case Scalar(text=text, plain=True) if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case Scalar(text=text, plain=True) if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        case Scalar(text=text, plain=True) if re.fullmatch(r"[-+]?[0-9]*\.[0-9]+", text):
            return float(text)
        case Scalar(text=text):
            return text
    raise AssertionError(node)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_and_validates(path: Path) -> None:
    assert load(path, (), {}).rules.policies
    VALIDATOR.validate(document(path.read_bytes()))


@pytest.mark.parametrize("path", sorted(CASES.glob("*.rules")), ids=lambda path: path.stem)
def test_what_the_loader_takes_the_schema_takes(path: Path) -> None:
    VALIDATOR.validate(document(path.with_suffix(".yaml").read_bytes()))


AGREED = [
    ("listen: ':8080'", True),
    ("listen: [':1', 'unix:/x', '[::1]:2', {address: 'a:1'}]", True),
    ("listen: 8080", False),
    ("listen: [{adress: ':1'}]", False),
    ("version: 2", False),
    ("nothing: 1", False),
    ("server: {workers: auto}", True),
    ("server: {workers: many}", False),
    ("server: {workers: 0}", False),
    ("server: {limits: {head: 64KiB, target: 100, connections: 1}}", True),
    ("server: {limits: {head: 64KB}}", False),
    ("server: {limits: {connections: -1}}", False),
    ("server: {timeouts: {head: 1h30m, idle: 0, write: 1.5s}}", True),
    ("server: {timeouts: {head: 10}}", False),
    ("server: {timeouts: {head: 22:22}}", False),
    ("server: {timeouts: {head: '${T:-1s}'}}", True),
    ("origins: {a: {urls: ['http://a', 'https://b']}}", True),
    ("origins: {a: {url: 'ftp://a'}}", False),
    ("origins: {a: {host: upstream}}", False),
    ("origins: {a: {url: 'http://a', urls: ['http://a']}}", False),
    ("origins: {a b: 'http://a'}", False),
    ("origins: {a: {url: 'http://a', origin_header: 'inject:https://x'}}", True),
    ("origins: {a: {url: 'http://a', origin_header: inject}}", False),
    ("store: {type: memory, timeout: 250ms, namespace: 7}", True),
    ("store: {type: disk}", False),
    ("store: {on_error: off}", False),
    ("cors: {p: {origins: [null, 'https://a'], max_age: 1h, on_reject: 204}}", True),
    ("cors: {p: {origins: 'https://a', on_reject: 200}}", False),
    ("cors: {p: {credentials: true}}", False),
    ("defaults: {vary: minimal}", True),
    ("defaults: {vary: {mode: replace, headers: [Origin]}}", True),
    ("defaults: {vary: repare}", False),
    ("defaults: {vary: {headers: [a b]}}", False),
    ("defaults: {cors: passthrough, preflight: forward}", True),
    ("defaults: {preflight: [forward]}", False),
    ("defaults: {cache: off}", True),
    ("defaults: {cache: yes}", False),
    ("defaults: {cache: {collapse: on, heuristic: false}}", True),
    ("defaults: {cache: {ttl: origin}}", True),
    ("defaults: {cache: {ttl: {default: 1s, 404: 1m, 5xx: 0}}}", True),
    ("defaults: {cache: {ttl: {40x: 1s}}}", False),
    ("defaults: {cache: {ttl: never}}", False),
    ("defaults: {cache: {key: {origin: presence, query: {ignore: [a], sort: true}}}}", True),
    ("defaults: {cache: {key: {origin: none}}}", False),
    ("rules: [{match: {path: /a, host: [b], methods: GET, query: {q: '*'}}}]", True),
    ("rules: [{match: {path: a}}]", False),
    ("rules: [{match: {methods: [get]}}]", False),
    ("rules: [{mach: {}}]", False),
    ("probes: {address: off}", True),
    ("probes: {address: 80}", False),
    ("admin: {token: x, dashboard: off}", True),
    ("log: {level: debug, access: off}", True),
    ("log: {access: stderr}", False),
    ("log: json", False),
]


@pytest.mark.parametrize(("text", "taken"), AGREED, ids=lambda value: str(value))
def test_the_schema_takes_what_the_loader_takes(text: str, taken: bool) -> None:
    origin = "" if text.startswith("origins") else "origins: {main: http://a.example}\n"
    data = f"{origin}{text}\n".encode()
    assert is_taken(data) == taken
    assert VALIDATOR.is_valid(document(data)) == taken


def is_taken(data: bytes) -> bool:
    try:
        loads(data, "f.yaml", (), {})
    except ConfigError:
        return False
    return True


def structs() -> dict[str, set[str]]:
    """Every Struct of the schema with its keys, by walking from the top."""
    found: dict[str, set[str]] = {}

    def walk(hint: Any) -> None:
        base, kind = bare(hint)
        for inner in () if kind else getattr(base, "__args__", ()):
            walk(inner)
        if not is_struct(base) or base.__name__ in found or (kind and kind != "ttl"):
            return  # what has a kind is written as a scalar
        found[base.__name__] = set(hints(base)) | set(ALIASES.get(base, {}))
        for inner in hints(base).values():
            walk(inner)

    walk(Settings)
    return found


def test_every_key_is_described_and_nothing_else() -> None:
    expected = structs()
    expected["TtlRule"] = {"default", "override"}  # its other keys are statuses
    assert {name: set(keys) for name, keys in DESCRIPTIONS.items()} == expected
