"""What this version does not do is refused with its place and a remedy, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vary_proxy.config import ConfigError, loads
from vary_proxy.configuration import features
from vary_proxy.configuration.settings import Settings

ORIGIN = "origins: {main: http://a.example}\n"
POLICY = f'{ORIGIN}cors: {{p: {{origins: "*"}}}}\n'
ASKED = {
    "cors mode fill": f"{POLICY}defaults: {{cors: {{policy: p, mode: fill}}}}",
    "cors mode override": f"{POLICY}defaults: {{cors: {{policy: p}}}}",
    "cors mode strip": f"{ORIGIN}defaults: {{cors: strip}}",
    "preflight cache": f"{ORIGIN}defaults: {{preflight: cache}}",
    "preflight synthesize": f"{POLICY}defaults: {{preflight: synthesize, cors: {{policy: p}}}}",
    "preflight deny": f"{ORIGIN}rules: [{{match: {{path: /}}, preflight: deny}}]",
    "store redis": f"{ORIGIN}store: {{type: redis, url: 'redis://a'}}",
    "store aiocache": f"{ORIGIN}store: {{type: aiocache, backend: a.B}}",
    "more than one worker": f"{ORIGIN}server: {{workers: auto}}",
    "listening with TLS": f"{ORIGIN}listen: [{{address: ':1', tls: {{cert: a, key: b}}}}]",
    "balancing several urls": "origins: {main: {urls: ['http://a', 'http://b']}}",
    "a bucket": "origins: {main: {url: 'http://a', bucket: media}}",
    "signing": "origins: {main: {url: 'http://a', sign: {}}}",
    "retrying": "origins: {main: {url: 'http://a', retry: {attempts: 2}}}",
    "checking health": "origins: {main: {url: 'http://a', health: {path: /}}}",
    "the probes listener": f"{ORIGIN}probes: {{address: ':1'}}",
    "the admin listener": f"{ORIGIN}admin: {{address: '127.0.0.1:1'}}",
    "this log format": f"{ORIGIN}log: {{format: pretty}}",
}


def _asked(settings: Settings) -> Iterator[str]:
    for name, origin in settings.origins.items():
        if origin.bucket is not None:
            yield f"origins.{name}.bucket"


def test_what_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = features.Missing("a bucket", _asked, "put it into the url")
    monkeypatch.setattr(features, "MISSING", (missing,))
    with pytest.raises(ConfigError) as caught:
        loads(ASKED["a bucket"].encode(), "f.yaml", (), {})
    assert [one.what for one in caught.value.problems] == ["a bucket is not in this version"]
    assert caught.value.problems[0].where.startswith("f.yaml:")
    assert caught.value.problems[0].remedy == "put it into the url"


@pytest.mark.parametrize("text", ASKED.values(), ids=ASKED)
def test_it_is_taken_as_soon_as_it_is_built(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MISSING", ())
    assert loads(text.encode(), "f.yaml", (), {}).rules.policies
