"""Ingress manifests: which Service a request reaches, and what its page may read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_commands import run
from tests.importing.nginxroutes import Route, routed
from vary_proxy import config
from vary_proxy.config import Loaded
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.preflight import preflight_reply
from vary_proxy.importing import ingress
from vary_proxy.importing.writing import Unreadable

PREFIX = "nginx.ingress.kubernetes.io/"


def manifest(
    *paths: tuple[str, str, str], name: str = "web", host: str = "", **annotations: str
) -> dict[str, Any]:
    """An Ingress; a path is (path, type, service). ``a_b`` becomes the annotation a-b."""
    members = [
        {"path": p, "pathType": kind, "backend": {"service": {"name": s, "port": {"number": 80}}}}
        for p, kind, s in paths
    ]
    rule: dict[str, Any] = {"http": {"paths": members}}
    if host:
        rule["host"] = host
    notes = {PREFIX + key.replace("_", "-"): value for key, value in annotations.items()}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": notes},
        "spec": {"ingressClassName": "nginx", "rules": [rule]},
    }


def imported(*manifests: dict[str, Any]) -> tuple[Loaded, list[str]]:
    made = ingress.convert(yaml.safe_dump_all(manifests).encode(), "web.yaml")
    return config.loads(made.text().encode(), "made.yaml", environ={}), made.left_out


def reached(loaded: Loaded, path: str, host: str = "any.example") -> str:
    """The URL of the origin that a request is sent to."""
    request = Request(b"GET", path.encode(), authority=host.encode())
    origin = loaded.settings.origins[loaded.rules.match(request).origin]
    return str(origin.url)


def svc(name: str) -> str:
    return f"http://{name}.default.svc"


NOBODY = "http://127.0.0.1:1"


def test_nginxs_choice_among_paths() -> None:
    loaded, left = imported(
        manifest(
            ("/", "Prefix", "site"),
            ("/img", "Prefix", "images"),
            ("/img/big", "Prefix", "big"),
            ("/img/big/one.png", "Exact", "one"),
            ("/api", "ImplementationSpecific", "api"),
        )
    )
    assert left == []
    for path, service in {
        "/": "site",
        "/other": "site",
        "/img": "images",
        "/img/": "images",
        "/img/a.png?x=1": "images",
        "/imgs": "site",  # a Prefix ends at a slash
        "/img/big/x": "big",
        "/img/big/one.png": "one",
        "/img/big/one.png/x": "big",
        "/apis": "api",  # nginx's own prefixes do not
    }.items():
        assert reached(loaded, path) == svc(service), path


def test_hosts_before_wildcards_before_none_and_no_further() -> None:
    """A host that has no path for a request gets nothing of another host's."""
    loaded, _ = imported(
        manifest(("/", "Prefix", "all"), name="all"),
        manifest(("/a", "Prefix", "a"), name="a", host="a.example"),
        manifest(("/", "Prefix", "below"), name="below", host="*.a.example"),
    )
    assert reached(loaded, "/a", "a.example") == svc("a")
    assert reached(loaded, "/b", "a.example") == NOBODY
    assert reached(loaded, "/a", "x.a.example:8080") == svc("below")
    assert reached(loaded, "/a", "x.y.a.example") == svc("all")
    assert reached(loaded, "/a", "b.example") == svc("all")


ROUTES: list[Route] = [
    ("", "/", "Prefix", "site"),
    ("", "/img", "Prefix", "images"),
    ("", "/img/big", "Prefix", "big"),
    ("", "/img/big/one.png", "Exact", "one"),
    ("", "/api", "ImplementationSpecific", "api"),
    ("", "/api/v2", "ImplementationSpecific", "api2"),
    ("a.example", "/only", "Exact", "only"),
    ("a.example", "/img", "Prefix", "own-images"),
    ("b.example", "/", "ImplementationSpecific", "b"),
    ("*.a.example", "/x", "Prefix", "wild"),
]


def test_requests_reach_what_they_reach_through_nginx(tmp_path: Path) -> None:
    manifests = [
        manifest((path, kind, service), name=f"web-{at}", host=host)
        for at, (host, path, kind, service) in enumerate(ROUTES)
    ]
    loaded, _ = imported(*manifests)
    paths = ("/", "/img", "/img/", "/imgs", "/img/a?b=1", "/img/big", "/img/big/x", "/api", "/apis",
             "/img/big/one.png", "/img/big/one.png/x", "/api/v2", "/api/v3", "/only", "/only/x",
             "/x", "/x/y", "/xy", "/other")  # fmt: skip
    hosts = ("a.example", "b.example", "z.a.example", "c.example")
    with routed(tmp_path, ROUTES) as theirs:
        asked = {(host, path): theirs(host, path) for host in hosts for path in paths}
    assert len(set(asked.values())) == len(ROUTES) + 1  # each is reached, and nobody
    wrong = [
        (host, path, service, ours)
        for (host, path), service in asked.items()
        if (ours := reached(loaded, path, host))
        != (NOBODY if service == "nobody" else svc(service))
    ]
    assert wrong == []


def test_expressions_of_one_ingress_make_all_paths_of_its_host_expressions(tmp_path: Path) -> None:
    host = "loose.example"
    routes: list[Route] = [
        (host, "/v[0-9]+/x", "ImplementationSpecific", "versions"),
        (host, "/img", "Prefix", "images"),
        (host, "/one.png", "Exact", "one"),
        (host, "/one.png/but", "Prefix", "longer"),
        ("", "/img", "Prefix", "strict"),
    ]
    manifests = [
        manifest((path, kind, service), name=service, host=host,
                 **({"use_regex": "true"} if service == "versions" else {}))
        for host, path, kind, service in routes
    ]  # fmt: skip
    loaded, left = imported(*manifests)
    assert left == []
    paths = ("/v1/x", "/V1/X", "/v/x", "/img", "/IMG/a", "/imgs", "/one.png", "/one.pngs",
             "/oneXpng", "/one.png/but/a", "/other")  # fmt: skip
    with routed(tmp_path, routes, loose=host) as theirs:
        for asked in paths:
            for at in (host, "other.example"):
                service = theirs(at, asked)
                expected = NOBODY if service == "nobody" else svc(service)
                assert reached(loaded, asked, at) == expected, (at, asked)


def _with_default(one: dict[str, Any], service: str) -> dict[str, Any]:
    one["spec"]["defaultBackend"] = {"service": {"name": service, "port": {"number": 80}}}
    return one


def test_a_default_backend_is_that_of_its_own_hosts() -> None:
    own = _with_default(
        manifest(("/a", "Prefix", "a"), host="a.example", enable_cors="true"), "own"
    )
    del own["spec"]["rules"][0]["http"]  # a host alone is one, too
    late = _with_default(manifest(("/l", "Prefix", "l"), name="late", host="a.example"), "late")
    other = manifest(("/b", "Prefix", "b"), name="other", host="b.example")
    everybody = _with_default(manifest(name="all"), "all")
    everybody["spec"]["rules"] = []
    loaded, left = imported(own, late, other, everybody)
    for host, path, service in (
        ("a.example", "/", "own"),
        ("a.example", "/l/x", "l"),
        ("b.example", "/b", "b"),
        ("b.example", "/rest", "all"),
        ("c.example", "/", "all"),
    ):
        assert reached(loaded, path, host) == svc(service), (host, path)
    assert [one for one in left if "default" in one] == [
        "Ingress late: its default backend for a.example: an Ingress before it has that host"
    ]
    assert reached(imported(own)[0], "/", "c.example") == NOBODY
    request = Request(b"GET", b"/", authority=b"a.example")
    assert loaded.rules.match(request).cors is not None  # its annotations hold there, too


def test_what_says_where_requests_go_and_is_no_ingress_is_named() -> None:
    one = manifest(("/a", "Prefix", "a"))
    one["spec"]["defaultBackend"] = {"resource": {"kind": "Bucket", "name": "static"}}
    kinds = ("HTTPRoute", "Gateway", "VirtualService", "Deployment", "ConfigMap", "Secret")
    others = [{"kind": kind, "metadata": {"name": kind.lower()}} for kind in kinds]
    controller = {"kind": "ConfigMap", "metadata": {"name": "ingress-nginx-controller"}}
    _, left = imported(one, *others, controller)
    told = "".join(f"{one}\n" for one in left)
    assert "the default backend is no Service" in told
    for said in ("HTTPRoute httproute", "Gateway gateway", "VirtualService virtualservice",
                 "ConfigMap ingress-nginx-controller"):  # fmt: skip
        assert f": {said}: only Ingresses are\n" in told
    assert len(left) == 5


def test_a_path_that_is_not_in_ascii_is_that_which_clients_send() -> None:
    loaded, left = imported(manifest(("/b\u00fccher", "Prefix", "books"), ("/a b", "Exact", "ab")))
    assert left == []
    assert reached(loaded, "/b%C3%BCcher/1") == svc("books")
    assert reached(loaded, "/a%20b") == svc("ab")


def test_deadlines_are_those_of_nginx_where_nothing_is_said() -> None:
    loaded, _ = imported(manifest(("/a", "Prefix", "a"), proxy_read_timeout="1h"))
    times = next(o for name, o in loaded.settings.origins.items() if name != "nothing").timeouts
    assert (times.connect, times.first_byte, times.idle) == (5, 60, 60)


def test_what_no_ingress_names_reaches_nobody_or_the_default() -> None:
    one = manifest(("/a", "Prefix", "a"))
    assert reached(imported(one)[0], "/b") == NOBODY
    one["spec"]["defaultBackend"] = {"service": {"name": "rest", "port": {"number": 8080}}}
    assert reached(imported(one)[0], "/b") == "http://rest.default.svc:8080"


@pytest.mark.parametrize(
    ("path", "asked", "matched"),
    [
        ("/a(/|$)(.*)", "/a", True),
        ("/a(/|$)(.*)", "/A/b", True),  # case does not count there
        ("/a(/|$)(.*)", "/ab", False),
        ("/a(b|$)", "/ab", False),  # a $ elsewhere is not in our dialect, and said
        ("/[A-C\\d_.-]x", "/b0", False),
        ("/[A-C\\d_.-]X", "/bx", True),
        ("/[A-C\\d_.-]X", "/2x", True),
        ("/[^a]b", "/Ab", False),
        ("/[-a]b", "/Ab", True),
        ("/[-a]b", "/Bb", False),
        ("/v[0-9]+/", "/v12/x", True),
        ("/v[0-9]+/", "/vx/x", False),
        ("/exact$", "/exact", True),
        ("/exact$", "/exact/x", False),
    ],
)
def test_paths_that_are_expressions(path: str, asked: str, matched: bool) -> None:
    loaded, left = imported(
        manifest((path, "ImplementationSpecific", "a"), ("/plain", "Exact", "b"), use_regex="true")
    )
    assert (reached(loaded, asked) == svc("a")) is matched
    assert bool(left) is ("(b|$)" in path)


def _verdict(loaded: Loaded, origin: str, method: str = "PUT", headers: str = "") -> bool:
    pairs = [(b"origin", origin.encode()), (b"access-control-request-method", method.encode())]
    if headers:
        pairs.append((b"access-control-request-headers", headers.encode()))
    request = Request(b"OPTIONS", b"/a", Fields(tuple(pairs)), authority=b"x")
    policy = loaded.rules.match(request).cors
    assert policy is not None
    answer = preflight_reply(policy, request)
    return answer.failing == ""


def _with_cors(**annotations: str) -> tuple[Loaded, list[str]]:
    return imported(manifest(("/a", "Prefix", "a"), enable_cors="true", **annotations))


def test_cors_as_annotated() -> None:
    loaded, left = _with_cors(
        cors_allow_origin="https://app.example.com, https://*.preview.example.com:8443",
        cors_allow_methods="PUT, GET",
        cors_allow_headers="X-Token",
        cors_expose_headers="*",
        cors_max_age="600",
    )
    (policy,) = loaded.settings.cors.values()
    assert policy.credentials is True  # as where nothing is said
    assert (policy.max_age, policy.expose) == (600, ())
    assert left == ["Ingress web: * among its expose: with credentials it means nothing"]
    assert _verdict(loaded, "https://app.example.com", headers="x-token")
    assert _verdict(loaded, "https://x.preview.example.com:8443")
    for origin, method, headers in (
        ("https://x.y.preview.example.com:8443", "PUT", ""),  # its * is one label
        ("https://evil.example/https://app.example.com", "PUT", ""),  # matched at its end there
        ("HTTPS://APP.EXAMPLE.COM", "PUT", ""),
        ("https://app.example.com", "DELETE", ""),
        ("https://app.example.com", "PUT", "x-other"),
    ):
        assert not _verdict(loaded, origin, method, headers)


def test_cors_with_nothing_but_enable_is_for_everybody_without_credentials() -> None:
    loaded, left = _with_cors()
    (policy,) = loaded.settings.cors.values()
    assert (policy.origins, policy.credentials, policy.max_age) == (("*",), False, 1728000)
    assert left == [
        "Ingress web: credentials: browsers refuse them together with *, so they never worked"
    ]
    assert _with_cors(cors_allow_credentials="false")[1] == []
    assert _verdict(loaded, "https://anybody.example", "PATCH", "authorization,range")
    assert not _verdict(loaded, "https://anybody.example", "PUT", "x-token")


def test_without_the_annotation_cors_is_left_to_the_service() -> None:
    loaded, _ = imported(manifest(("/a", "Prefix", "a"), cors_allow_origin="https://a.example"))
    assert loaded.settings.cors == {}


def test_services_give_their_ports_and_protocols_their_scheme() -> None:
    one = manifest(("/a", "Prefix", "a"), backend_protocol="HTTPS", upstream_vhost="a.internal",
                   proxy_read_timeout="90", proxy_connect_timeout="5")  # fmt: skip
    one["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = {"name": "web"}
    service = {
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"ports": [{"name": "web", "port": 8443}]},
    }
    loaded, left = imported(one, service)
    (origin,) = (o for name, o in loaded.settings.origins.items() if name != "nothing")
    assert str(origin.url) == "https://a.default.svc:8443"
    assert (origin.host.mode, origin.host.value) == ("literal", "a.internal")
    assert (origin.timeouts.first_byte, origin.timeouts.connect) == (90, 5)
    assert origin.tls.verify is False
    assert left == []
    _, left = imported(one)
    assert "80 is written; correct it" in left[0]


def test_lists_old_versions_and_other_kinds() -> None:
    old = manifest(("/a", "Prefix", "a"))
    old["spec"]["rules"][0]["http"]["paths"][0]["backend"] = {"serviceName": "b", "servicePort": 81}
    loaded, _ = imported({"kind": "List", "items": [{"kind": "Pod"}, old]}, {"kind": "ConfigMap"})
    assert reached(loaded, "/a") == "http://b.default.svc:81"


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"rewrite_target": "/$1"}, "rewrite-target: /$1"),
        ({"ssl_redirect": "true"}, "ssl-redirect: true"),
        ({"backend_protocol": "GRPC"}, "backend-protocol: GRPC: the proxy speaks HTTP/1.1"),
        ({"proxy_read_timeout": "5s"}, "proxy-read-timeout: 5s: not a number of seconds"),
        ({"upstream_vhost": "$host"}, "nothing but a host can be"),
        ({"enable_cors": "true", "cors_allow_origin": "nowhere"}, "no browser sends such a value"),
        ({"enable_cors": "true", "cors_allow_methods": "get"}, 'the method "get"'),
        ({"enable_cors": "true", "cors_max_age": "long"}, "cors-max-age: long"),
    ],
)
def test_what_is_not_taken_over_is_said(annotations: dict[str, str], said: str) -> None:
    _, left = imported(manifest(("/a", "Exact", "a"), **annotations))
    assert any(said in one for one in left), left


def test_the_same_path_twice_another_class_and_canaries() -> None:
    twice = manifest(("/", "Prefix", "b"), name="second")
    other = manifest(("/o", "Prefix", "o"), name="other")
    other["spec"]["ingressClassName"] = "traefik"
    canary = manifest(("/c", "Prefix", "c"), name="canary", canary="true")
    loaded, left = imported(manifest(("/", "Prefix", "a")), twice, other, canary)
    assert reached(loaded, "/o") == svc("a")
    for said in ("another path before it is the same", "it is for traefik", "canaries"):
        assert sum(said in one for one in left) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is no Ingress in it"),
        (b"kind: Service\n", "there is no Ingress in it"),
        (b"kind: Ingress\n", "no path has a Service"),
        (b"kind: [", "not YAML"),
        (b"kind: HTTPRoute\nmetadata: {name: r}", "in it, but web.yaml:1:1: HTTPRoute r"),
        (b"kind: Ingress\nspec: {}\nspec: {}", "web.yaml:3:1: duplicate key spec, first on line 2"),
        (
            b"kind: Ingress\nmetadata: {annotations: {%scors-allow-origin: [https://a]}}" % (
                PREFIX.encode()
            ),
            "cors-allow-origin is no text; put it into quotes",
        ),
        (b"a: &a [*a]", "refers to itself"),
        (b"a: !!python/object:os.system x", "has no meaning here"),
        (b"---\n" * 2000, "more than 1000 documents"),
        (b"[" * 100, "nested more than 32 deep"),
        (b"# " + b"x" * (1 << 20), "larger than 1 MiB"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
                b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10))
                for c in range(ord("b"), ord("i"))
            ),
            "aliases expanded",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        ingress.convert(data, "web.yaml").text()


def test_many_paths_by_aliases_are_refused() -> None:
    path = "{path: /a, backend: {service: {name: a, port: {number: 80}}}}"
    rows = "\n".join(f"  - {{http: *h}} # {at}" for at in range(200))
    text = f"x: &h {{paths: [{', '.join([path] * 50)}]}}\nkind: Ingress\nspec:\n  rules:\n{rows}\n"
    with pytest.raises(Unreadable, match=r"more than 1000 paths|aliases expanded"):
        ingress.convert(text.encode(), "web.yaml")


def test_nothing_in_it_becomes_structure_or_is_filled_in() -> None:
    evil = 'x"\nadmin: {address: "0.0.0.0:1"}\n${file:/etc/passwd}\x1b[31m'
    one = manifest(("/a${HOME}", "Prefix", "a"), name=evil, enable_cors="true",
                   cors_allow_headers=f"X-A,{evil}", configuration_snippet=evil)  # fmt: skip
    made = ingress.convert(yaml.safe_dump(one).encode(), evil)
    loaded = config.loads(made.text().encode(), "made.yaml", environ={"HOME": "/secret"})
    assert loaded.settings.admin.address is None
    assert reached(loaded, "/a${HOME}/x") == svc("a")
    assert "\x1b" not in made.text() + "".join(made.left_out)


def test_the_command(tmp_path: Path) -> None:
    one = manifest(("/a", "Prefix", "a"), ssl_redirect="true")
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(one))
    done = run("import", "ingress-nginx", "web.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "warning: not taken over: Ingress web: ssl-redirect: true\n",
    )
    (tmp_path / "made.yaml").write_text(done.stdout)
    assert run("validate", "made.yaml", cwd=tmp_path).stdout == "made.yaml: valid\n"
    assert run("import", "ingress-nginx", "web.yaml", "--strict", cwd=tmp_path).returncode == 1
