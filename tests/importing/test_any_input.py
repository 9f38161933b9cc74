"""Whatever is imported, the outcome is a configuration that loads, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vary_proxy.importing import ingress, nginxgateway, s3cors
from vary_proxy.importing.manifests import PREFIX
from vary_proxy.importing.writing import Unreadable, Writing

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
_PARTS = (
    *("https://", "http://", "a.example", "*", ".", ":8443", "null", "${HOME}", "$", '"', "\n"),
    *("\\", "#", ": ", "{", "~", "(", ")", "[", "|", "\x1b", "é", "\ud800", "x-amz-*", "GET"),
    *("/", "true", "1h", "80", "\u2028", "?", "'", "\t", ",", " "),
)
texts = st.lists(st.sampled_from(_PARTS), max_size=6).map("".join)
usual = st.sampled_from(("https://a.example", "*", "https://*.a.example", "GET", "PUT", "X-A", "*"))
lists = st.lists(texts | usual, max_size=4)


def _told(convert: Callable[[], Writing]) -> None:
    try:
        text = convert().text()
    except Unreadable:
        return
    assert "\x1b" not in text


rules = st.fixed_dictionaries(
    {"AllowedOrigins": lists, "AllowedMethods": st.lists(st.sampled_from(("GET", "PUT", "x")))},
    optional={
        "AllowedHeaders": lists,
        "ExposeHeaders": lists,
        "MaxAgeSeconds": st.integers(-1, 10**10) | texts,
        "ID": texts,
        "Else": texts,
    },
)


@QUICK
@given(st.lists(rules, max_size=5))
def test_any_rules_of_a_bucket(said: list[dict[str, Any]]) -> None:
    _told(lambda: s3cors.convert(json.dumps({"CORSRules": said}).encode(), "cors.json"))


@QUICK
@given(st.binary(max_size=200) | texts.map(lambda one: f"<a>{one}".encode("utf-8", "replace")))
@pytest.mark.parametrize(
    "convert",
    [
        s3cors.convert,
        ingress.convert,
        lambda data, name: nginxgateway.convert(nginxgateway.read(data, name), name, whole=True),
    ],
)
def test_any_bytes(convert: Callable[[bytes, str], Writing], data: bytes) -> None:
    _told(lambda: convert(data, "file"))


_VARIABLES = (
    *("S3_SERVER_PORT", "S3_SERVER_PROTO", "S3_REGION", "S3_STYLE", "AWS_SIGS_VERSION"),
    *("CORS_ENABLED", "CORS_ALLOWED_ORIGIN", "PROXY_CACHE_VALID_OK", "PROXY_CACHE_MAX_SIZE"),
    *("PROXY_CACHE_USE_STALE", "PREFIX_LEADING_DIRECTORY_PATH", "HEADER_PREFIXES_TO_STRIP", "ELSE"),
)


@QUICK
@given(
    st.dictionaries(st.sampled_from(_VARIABLES), texts | usual | st.just("1"), max_size=5),
    texts | st.just("s3.example"),
    texts | st.just("media"),
)
def test_any_variables(said: dict[str, str], server: str, bucket: str) -> None:
    needed = {"S3_SERVER": server, "S3_BUCKET_NAME": bucket}
    _told(lambda: nginxgateway.convert({**needed, **said}, "settings", whole=True))


names = texts | st.sampled_from(("a", "b", "web"))
backends = st.builds(
    lambda name, port: {"service": {"name": name, "port": port}},
    names,
    st.builds(lambda number: {"number": number}, st.integers(0, 99999))
    | st.builds(lambda name: {"name": name}, names),
)
paths = st.builds(
    lambda path, kind, backend: {"path": path, "pathType": kind, "backend": backend},
    texts.map(lambda one: f"/{one}") | texts | st.sampled_from(("/", "/a", "/a(/|$)(.*)")),
    st.sampled_from(("Exact", "Prefix", "ImplementationSpecific", "Else")),
    backends,
)
annotations = st.dictionaries(
    st.sampled_from(
        ("cors-allow-origin", "cors-allow-methods", "cors-allow-headers", "cors-expose-headers")
        + ("cors-allow-credentials", "cors-max-age", "upstream-vhost", "use-regex")
        + ("backend-protocol", "proxy-read-timeout", "else")
    ),
    texts | usual | st.just("true"),
)


@QUICK
@given(
    st.lists(
        st.tuples(
            names, annotations, st.lists(paths, max_size=3), texts | st.just("a.example"), names
        ),
        max_size=3,
    )
)
def test_any_ingresses(said: list[tuple[str, dict[str, str], list[Any], str, str]]) -> None:
    documents = [
        {
            "kind": "Ingress",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "annotations": {PREFIX + "enable-cors": "true"}
                | {PREFIX + key: value for key, value in notes.items()},
            },
            "spec": {"rules": [{"host": host, "http": {"paths": listed}}]},
        }
        for name, notes, listed, host, namespace in said
    ]
    data = yaml.safe_dump_all(documents).encode("utf-8", "replace")
    _told(lambda: ingress.convert(data, "web.yaml"))
