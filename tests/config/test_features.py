"""Every feature that the schema knows is one that a configuration can ask for."""

from __future__ import annotations

import pytest

from vary_proxy.config import loads

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


@pytest.mark.parametrize("text", ASKED.values(), ids=ASKED)
def test_it_is_taken(text: str) -> None:
    assert loads(text.encode(), "f.yaml", (), {}).rules.policies
