"""The ``match`` of one rule, compiled: says why a request is not meant, or None when it is.

Path and host are those of the request as it came: the raw path byte for byte, the host in
lower case and without port (unless the pattern names one). Query names and values, which the
origin decodes, are decoded first, so that no spelling of a parameter hides it. How the origin may
read an odd path is asked by ``may_be_place`` (core.readings).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from vary_proxy.configuration.matching import Matcher, host_matcher, path_matcher, value_matcher
from vary_proxy.configuration.problems import shown
from vary_proxy.configuration.settings import Match
from vary_proxy.core.message import Request


@dataclass(frozen=True, slots=True)
class Conditions:
    """All must hold; of several matchers under one key, one."""

    paths: tuple[Matcher, ...] = ()
    hosts: tuple[Matcher, ...] = ()
    methods: frozenset[bytes] = frozenset()
    query: tuple[tuple[Matcher, Matcher], ...] = ()  # of a name, of its value
    headers: tuple[tuple[bytes, Matcher], ...] = ()  # lower-case name, matcher of its value

    @property
    def per_request(self) -> bool:
        """True when more than method, host and path is looked at."""
        return bool(self.query or self.headers)

    def reason(self, request: Request) -> str | None:
        """Why *request* is not meant; None when it is."""
        return self.reason_of_place(request) or self.reason_per_request(request)

    def reason_of_place(self, request: Request) -> str | None:
        """As ``reason``, from method, host and path alone."""
        match self._unmet_of_place(request):
            case "method":
                return f"method {_text(request.method)} is not {_listed(self.methods)}"
            case "path":
                path = _path(request)
                return f"path {_text(path)} does not match {_shown(self.paths)}"
            case "host":
                return f"host {_text(request.authority)} does not match {_shown(self.hosts)}"
        return None

    def is_place(self, request: Request) -> bool:
        """Whether *request* is meant as far as method, host and path go, with no words made."""
        return not self._unmet_of_place(request)

    def may_be_place(self, request: Request, reading: bytes, *, climbs: bool) -> bool:
        """As ``is_place``, for an origin that takes *reading* for the path of *request*.

        A pattern that is itself spelled oddly is meant for the path as it came, unless that
        *climbs* out of where it seems to be.
        """
        read = any(one.matches(reading) for one in self.paths) or not self.paths
        if not read and not climbs:
            path = _path(request)
            read = any(one.matches(path) for one in self.paths if _SPELT_ODDLY.search(one.text))
        return read and self._unmet_of_place(request, path_too=False) == ""

    def _unmet_of_place(self, request: Request, *, path_too: bool = True) -> str:
        if self.methods and not self.methods & {request.method, asked_method(request)}:
            return "method"
        if path_too and self.paths:
            path = _path(request)
            if not any(one.matches(path) for one in self.paths):
                return "path"
        return "host" if self.hosts and not self._is_host(request.authority.lower()) else ""

    def reason_per_request(self, request: Request) -> str | None:
        """As ``reason``, from query and headers alone."""
        for name, value in self.headers:
            given = request.fields.combined(name)
            if given is None:
                return f"no field {name.decode()}"
            if not value.matches(given):
                return f"field {name.decode()} does not match {shown(value.text)}"
        return self._reason_of_query(request) if self.query else None

    def _reason_of_query(self, request: Request) -> str | None:
        parameters = _parameters(request.target)
        for name, value in self.query:
            values = [given for key, given in parameters if name.matches(key)]
            if not values:
                return f"no query parameter {name.text}"
            if not any(value.matches(given) for given in values):
                return f"query parameter {name.text} does not match {shown(value.text)}"
        return None

    def _is_host(self, authority: bytes) -> bool:
        host, port = _without_port(authority)
        return any(
            one.matches(host) or (":" in one.text and one.matches(host + port))
            for one in self.hosts
        )


def conditions(match: Match) -> Conditions:
    """*match* compiled; its patterns were judged when they were read."""
    return Conditions(
        paths=tuple(map(path_matcher, match.path)),
        hosts=tuple(map(host_matcher, match.host)),
        methods=frozenset(name.encode() for name in match.methods),
        query=tuple((value_matcher(key), value_matcher(one)) for key, one in match.query.items()),
        headers=tuple((key.lower().encode(), value_matcher(v)) for key, v in match.headers.items()),
    )


def asked_method(request: Request) -> bytes:
    """The method that a preflight asks for; b"" for any other request."""
    if request.method != b"OPTIONS" or b"origin" not in request.fields:
        return b""
    return request.fields.get(b"access-control-request-method") or b""


def _parameters(target: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (part.partition(b"=") for part in target.partition(b"?")[2].split(b"&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _without_port(authority: bytes) -> tuple[bytes, bytes]:
    host, colon, port = authority.rpartition(b":")
    if not colon or not (port.isdigit() or not port) or (b":" in host and host[-1:] != b"]"):
        host, port = authority, b""
    else:
        port = colon + port
    return host.removesuffix(b"."), port


def _path(request: Request) -> bytes:
    return request.target.partition(b"?")[0]


_SPELT_ODDLY = re.compile(r"%|;|//")


def _shown(matchers: tuple[Matcher, ...]) -> str:
    return " or ".join(shown(one.text) for one in matchers)


def _listed(methods: frozenset[bytes]) -> str:
    return " or ".join(sorted(one.decode() for one in methods))


def _text(value: bytes) -> str:
    return shown(value.decode("utf-8", "backslashreplace"))
