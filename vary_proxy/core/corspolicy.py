"""A named CORS policy, compiled to the bytes that will be sent.

What does not depend on the request is rendered here, once: for a constant policy the whole
answer, for any other the answer to each exact origin. Every configuration that browsers
would not honour, or that would admit strangers, is refused with the remedy.
Fetch, "CORS protocol and credentials", "CORS protocol and HTTP caches".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from vary_proxy.core import syntax
from vary_proxy.core.corsorigins import Origins, PolicyError, compile_origins, exact_origin
from vary_proxy.core.message import Pair
from vary_proxy.core.policy import CORS_VARY
from vary_proxy.core.values import immutable

ALLOW_ORIGIN = b"access-control-allow-origin"
TIMING = b"timing-allow-origin"
RESOURCE_POLICY = b"cross-origin-resource-policy"

_ORIGIN, _HEADERS, _METHOD = CORS_VARY
REASONS = ("origin", "null-origin", "malformed")


class Kind(Enum):
    """What is made of a request's ``Origin``."""

    ABSENT = "absent"
    ALLOWED = "allowed"
    REFUSED = "refused"


@immutable
class Verdict:
    """What a policy makes of a request, and the CORS fields of the reply to it.

    ``reason`` of a refusal: origin | null-origin | malformed; of a preflight also method |
    header | denied; of the origin's own answer also credentials; stripped.
    """

    kind: Kind
    reason: str = ""
    fields: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """One policy. The names in pairs are lower case, as everywhere inside."""

    name: str
    origins: Origins
    static: tuple[Pair, ...]  # on every response, whatever its verdict
    granted: tuple[Pair, ...]  # after Allow-Origin on an actual response; static included
    methods: frozenset[bytes]  # with b"*" in it: any
    headers: frozenset[bytes]  # lower case; with b"*" in it: any but Authorization
    prefixes: tuple[bytes, ...]  # of header names to be echoed, lower case; b"": any
    listed: tuple[bytes, ...]  # header names as spelled
    preflight: tuple[Pair, ...]  # after Allow-Origin; less Allow-Headers where that echoes
    on_reject: int  # status of a refused preflight: 403 or 204
    fixed: bytes | None = field(init=False)  # the only Allow-Origin there is
    absent: Verdict = field(init=False)
    known: Mapping[bytes, Verdict] = field(init=False)  # by exact origin
    refused: Mapping[str, Verdict] = field(init=False)  # by reason

    def __post_init__(self) -> None:
        fixed = b"*" if self.origins.anyone else self.origins.only
        always = self.static if fixed is None else ((ALLOW_ORIGIN, fixed), *self.granted)
        known = {one: self.allowed(one) for one in self.origins.exact}
        if self.origins.anyone:
            known[b"null"] = self.allowed(b"*")
        refused = {one: Verdict(Kind.REFUSED, one, always) for one in REASONS}
        for name, value in (("fixed", fixed), ("known", known), ("refused", refused)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "absent", Verdict(Kind.ABSENT, "", always))

    def allowed(self, origin: bytes) -> Verdict:
        return Verdict(Kind.ALLOWED, "", ((ALLOW_ORIGIN, origin), *self.granted))

    @property
    def is_constant(self) -> bool:
        """True when the reply to an actual request is the same whatever ``Origin`` says."""
        return self.fixed is not None

    @property
    def owned(self) -> frozenset[bytes]:
        """The names beyond Access-Control-* that are ours to set."""
        return frozenset(key for key, _ in self.static)

    @property
    def vary(self) -> tuple[bytes, ...]:
        """The request fields on which the reply to an actual request depends."""
        return () if self.is_constant else (_ORIGIN,)

    @property
    def preflight_vary(self) -> tuple[bytes, ...]:
        """The request fields on which the reply to a preflight depends."""
        if not self.is_constant:
            return CORS_VARY
        return (_HEADERS,) if self.prefixes else ()


def compile_policy(
    name: str,
    *,
    origins: str | Sequence[str],
    methods: str | Sequence[str] = ("GET", "HEAD"),
    headers: str | Sequence[str] = (),
    expose: str | Sequence[str] = (),
    credentials: bool = False,
    max_age: float | None = None,
    on_reject: int = 403,
    timing_allow_origin: str | Sequence[str] | None = None,
    resource_policy: str | None = None,
    allow_private_network: bool = False,
    preflight_cache_control: bool = False,
) -> CorsPolicy:
    """The policy *name*, compiled. *max_age* is in seconds; None: browsers take 5.

    *preflight_cache_control* lets the caches between us and browsers keep preflights for
    *max_age* too. Raises PolicyError; its ``every`` holds all that is wrong.
    """
    errors: list[PolicyError] = []
    admitted = compile_origins(origins, errors)
    allowed = _tokens("methods", methods, errors)
    asked = _tokens("headers", headers, errors)
    exposed = _tokens("expose", expose, errors)
    static = _static_fields(timing_allow_origin, resource_policy, errors)
    if credentials:
        errors += _credential_errors(admitted, allowed, exposed)
    errors += _scalar_errors(max_age, on_reject, preflight_cache_control)
    if errors:
        errors[0].every = tuple(errors)
        raise errors[0]
    trust = ((b"access-control-allow-credentials", b"true"),) if credentials else ()
    listed, prefixes = _headers(asked, credentials)
    preflight = (
        *trust,
        *_list(b"access-control-allow-methods", allowed),
        *(() if prefixes else _list(b"access-control-allow-headers", listed)),
        *_age_fields(max_age, preflight_cache_control),
        *(((b"access-control-allow-private-network", b"true"),) if allow_private_network else ()),
    )
    return CorsPolicy(
        name=name,
        origins=admitted,
        static=static,
        granted=(*trust, *_list(b"access-control-expose-headers", exposed), *static),
        methods=frozenset(allowed),
        headers=frozenset(one.lower() for one in listed),
        prefixes=prefixes,
        listed=listed,
        preflight=preflight,
        on_reject=on_reject,
    )


def _headers(
    asked: tuple[bytes, ...], credentials: bool
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The header names to list, and the prefixes of those to echo."""
    listed = tuple(one for one in asked if not one.endswith(b"*"))
    if b"*" not in asked:
        return listed, tuple(one[:-1].lower() for one in asked if one.endswith(b"*"))
    # With credentials ``*`` is a name like any other: what is asked for has to be named.
    return (listed, (b"",)) if credentials else ((b"*", *listed), ())


def _list(name: bytes, members: Iterable[bytes]) -> tuple[Pair, ...]:
    value = b", ".join(members)
    return ((name, value),) if value else ()


def _age_fields(max_age: float | None, cached: bool) -> tuple[Pair, ...]:
    if max_age is None:
        return ()
    told = ((b"access-control-max-age", b"%d" % max_age),)
    return (*told, (b"cache-control", b"public, max-age=%d" % max_age)) if cached else told


def _static_fields(
    timing: str | Sequence[str] | None, resource_policy: str | None, errors: list[PolicyError]
) -> tuple[Pair, ...]:
    """Timing-Allow-Origin and Cross-Origin-Resource-Policy.

    Both are read where no ``Origin`` was sent, so they cannot depend on it.
    """
    fields: list[Pair] = []
    if timing is not None:
        listed = [timing] if isinstance(timing, str) else timing
        values = [_timing(text, index, errors) for index, text in enumerate(listed)]
        fields += _list(TIMING, values)
    if resource_policy is not None:
        if resource_policy not in _RESOURCE_POLICIES:
            remedy = f"write {', '.join(_RESOURCE_POLICIES)}"
            what = f'"{resource_policy}" is not a resource policy'
            errors.append(PolicyError(("resource_policy",), what, remedy))
        fields.append((RESOURCE_POLICY, resource_policy.encode("ascii", "replace")))
    return tuple(fields)


_RESOURCE_POLICIES = ("same-origin", "same-site", "cross-origin")


def _timing(text: str, index: int, errors: list[PolicyError]) -> bytes:
    if text in ("*", "null"):
        return text.encode()
    try:
        return exact_origin(text, ("timing_allow_origin", index))
    except PolicyError as error:
        errors.append(error)
        return b""


def _tokens(key: str, given: str | Sequence[str], errors: list[PolicyError]) -> tuple[bytes, ...]:
    """The field names or methods in *given*, in order, each once."""
    found: dict[bytes, bytes] = {}
    for index, text in enumerate([given] if isinstance(given, str) else given):
        value = text.encode("utf-8")
        stem = value.removesuffix(b"*") if key == "headers" or value == b"*" else value
        if not syntax.is_token(value) or b"*" in stem:
            what = f'"{text}" is not a name'
            errors.append(PolicyError((key, index), what, _REMEDIES[key]))
        elif key == "methods":
            _check_method(text, index, errors)
            found.setdefault(value, value)
        else:
            found.setdefault(value.lower(), value)
    return tuple(found.values())


_REMEDIES = {
    "methods": "write one method, as PUT",
    "headers": "write one name, as X-Token, or a prefix, as X-Amz-*",
    "expose": "write one name, as X-Token",
}
_FORBIDDEN = ("CONNECT", "TRACE", "TRACK")


def _check_method(text: str, index: int, errors: list[PolicyError]) -> None:
    upper = text.upper()
    if upper in _FORBIDDEN:
        what = f"browsers never send {upper}"
        errors.append(PolicyError(("methods", index), what, "leave it out"))
    elif text != upper:
        what = f'"{text}" is not in upper case, and methods are case-sensitive'
        errors.append(PolicyError(("methods", index), what, f"write {upper}"))


def _credential_errors(
    origins: Origins, methods: tuple[bytes, ...], exposed: tuple[bytes, ...]
) -> list[PolicyError]:
    """What must not be said together with ``credentials: true``."""
    errors: list[PolicyError] = []
    if origins.anyone:
        what = '"*" with credentials would let every site act as its visitors'
        remedy = "list the origins, or leave credentials out"
        errors.append(PolicyError(("origins",), what, remedy))
    if b"null" in origins.exact:
        what = '"null" with credentials admits any sandboxed page: everybody can be null'
        remedy = 'leave "null" or credentials out'
        errors.append(PolicyError(("origins",), what, remedy))
    for key, names in (("methods", methods), ("expose", exposed)):
        if b"*" in names:
            what = '"*" means nothing to browsers once credentials are included'
            errors.append(PolicyError((key,), what, "list the names, or leave credentials out"))
    return errors


def _scalar_errors(max_age: float | None, on_reject: int, cached: bool) -> list[PolicyError]:
    errors: list[PolicyError] = []
    if max_age is not None and not 0 <= max_age < 2**31:
        what = f"{max_age:g} is not a lifetime in seconds"
        errors.append(PolicyError(("max_age",), what, "write 0 or more, for example 2h"))
    if max_age is None and cached:
        what = "preflights without max_age have no lifetime that caches could be told"
        errors.append(PolicyError(("preflight_cache_control",), what, "set max_age"))
    if on_reject not in (403, 204):
        what = f"{on_reject} is not a status for refused preflights"
        errors.append(PolicyError(("on_reject",), what, "write 403 or 204"))
    return errors
