"""Cache-Control and its relatives, parsed once into typed records.

Cache-Control is a list, not a structured field: names in any case, arguments as tokens or
quoted strings, unknown directives ignored (RFC 9111 §5.2). Where a directive that limits
reuse cannot be read or is repeated with another value, the strict reading wins: stale.
A targeted field (RFC 9213), or the older Surrogate-Control, replaces Cache-Control and
Expires for us; a targeted field that is not a valid dictionary is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vary_proxy.core import structured, syntax
from vary_proxy.core.memo import remembered
from vary_proxy.core.message import Fields

# Ours first: the most specific target that is valid is the one obeyed (RFC 9213 §2.2).
TARGETS = (b"vary-proxy-cache-control", b"cdn-cache-control")
DEVICE = b"vary-proxy"  # how Surrogate-Control may address us, and Surrogate-Capability names us


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """RFC 9111 §5.2.1; seconds. ``max_stale`` is None when absent, infinity without argument."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: float | None = None


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """RFC 9111 §5.2.2, RFC 5861, RFC 8246; seconds.

    ``no_cache`` and ``private`` are True, or the field names to which they are limited.
    ``targeted`` says that a targeted field spoke: Expires and Pragma are then not consulted.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    no_cache: bool | frozenset[bytes] = False
    private: bool | frozenset[bytes] = False
    no_store: bool = False
    no_transform: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    public: bool = False
    immutable: bool = False
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    targeted: bool = False

    @property
    def explicit(self) -> bool:
        """True when a lifetime was stated."""
        return self.max_age is not None or self.s_maxage is not None


def of_request(fields: Fields) -> RequestDirectives:
    """Directives of a request; ``Pragma: no-cache`` counts where Cache-Control is absent (§5.4)."""
    value = fields.combined(b"cache-control")
    if value is None:
        pragma = fields.combined(b"pragma")
        silent = pragma is None or b"no-cache" not in {
            part.lower() for part in syntax.members(pragma)
        }
        return _SILENT if silent else RequestDirectives(no_cache=True)
    return _asked(value)


@remembered
def _asked(value: bytes) -> RequestDirectives:
    found = _split(value)
    return RequestDirectives(
        no_cache=b"no-cache" in found,
        no_store=b"no-store" in found,
        only_if_cached=b"only-if-cached" in found,
        max_age=_seconds(found, b"max-age"),
        min_fresh=_seconds(found, b"min-fresh"),
        max_stale=_max_stale(found),
    )


def of_response(fields: Fields) -> ResponseDirectives:
    """Directives that we, a shared cache at the edge, obey: the most specific field that speaks."""
    aimed = None if fields.lacks(_AIMED) else _at_us(fields)
    if aimed is not None:
        return aimed
    value = fields.combined(b"cache-control")
    return _NOTHING if value is None else _said(value)


_AIMED = frozenset((*TARGETS, b"surrogate-control"))


def _at_us(fields: Fields) -> ResponseDirectives | None:
    """What the fields say that are meant for caches like us; None when nothing."""
    for name in TARGETS:
        value = fields.combined(name)
        if value is not None:
            found = _targeted(value)
            if found is not None:
                return _response(found, targeted=True)
    value = fields.combined(b"surrogate-control")
    if value is not None and (found := _surrogate(value)):
        return _response(found, targeted=True)
    return None


_SILENT = RequestDirectives()
_NOTHING = ResponseDirectives()


@remembered
def _said(value: bytes) -> ResponseDirectives:
    return _response(_split(value), targeted=False)


def _response(found: dict[bytes, list[bytes | None]], *, targeted: bool) -> ResponseDirectives:
    return ResponseDirectives(
        max_age=_seconds(found, b"max-age"),
        s_maxage=_seconds(found, b"s-maxage"),
        no_cache=_names(found, b"no-cache"),
        private=_names(found, b"private"),
        no_store=b"no-store" in found,
        no_transform=b"no-transform" in found,
        must_revalidate=b"must-revalidate" in found,
        proxy_revalidate=b"proxy-revalidate" in found,
        must_understand=b"must-understand" in found,
        public=b"public" in found,
        immutable=b"immutable" in found,
        stale_while_revalidate=_seconds(found, b"stale-while-revalidate"),
        stale_if_error=_seconds(found, b"stale-if-error"),
        targeted=targeted,
    )


def _split(value: bytes) -> dict[bytes, list[bytes | None]]:
    """Directive name -> its arguments in order, None for one without."""
    found: dict[bytes, list[bytes | None]] = {}
    for member in syntax.members(value):
        name, equals, argument = member.partition(b"=")
        found.setdefault(name.lower(), []).append(argument if equals else None)
    return found


def _targeted(value: bytes) -> dict[bytes, list[bytes | None]] | None:
    """A targeted field as directives; None when it is to be ignored (RFC 9213 §2.1).

    A directive whose value is not of its type is passed over, not coerced.
    """
    parsed = structured.dictionary(value)
    if not parsed:  # unreadable, or empty: as if it had not been there
        return None
    found: dict[bytes, list[bytes | None]] = {}
    for name, item in parsed.items():
        if name in _SECONDS:
            if isinstance(item, int) and not isinstance(item, bool):
                found[name] = [b"%d" % max(0, item)]
        elif item is True:
            found[name] = [None]
        elif isinstance(item, bytes) and name in _NAMES:
            found[name] = [b'"' + item + b'"']
    return found


_SECONDS = frozenset((b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"))
_NAMES = frozenset((b"no-cache", b"private"))


def _surrogate(value: bytes) -> dict[bytes, list[bytes | None]]:
    """Surrogate-Control as directives: those for us over those for all, none for others.

    The Edge Architecture note has two that concern a cache. A lifetime may name the seconds of
    stale use after it, which we leave to Cache-Control's extensions: ``max-age=30+60``.
    """
    for_all: dict[bytes, list[bytes | None]] = {}
    for_us: dict[bytes, list[bytes | None]] = {}
    for member in syntax.members(value):
        directive, semicolon, device = member.partition(b";")
        name, equals, argument = directive.strip(b" \t").partition(b"=")
        name = name.lower()
        if name not in (b"max-age", b"no-store"):
            continue
        if semicolon and device.strip(b" \t").lower() != DEVICE:
            continue
        found = for_us if semicolon else for_all
        found.setdefault(name, []).append(argument.partition(b"+")[0] if equals else None)
    return for_us or for_all


def _seconds(found: dict[bytes, list[bytes | None]], name: bytes) -> int | None:
    """Seconds; 0 when unreadable or repeated with different values (RFC 9111 §4.2.1)."""
    arguments = found.get(name)
    if arguments is None:
        return None
    values = {_argument(one) for one in arguments}
    only = values.pop() if len(values) == 1 else None
    return 0 if only is None else only


def _argument(raw: bytes | None) -> int | None:
    if raw is None:
        return None
    quoted = syntax.unquote(raw)
    return syntax.delta_seconds(raw if quoted is None else quoted)


def _max_stale(found: dict[bytes, list[bytes | None]]) -> float | None:
    arguments = found.get(b"max-stale")
    if arguments is None:
        return None
    if arguments == [None]:
        return float("inf")
    seconds = _seconds(found, b"max-stale")
    return None if seconds is None else float(seconds)


def _names(found: dict[bytes, list[bytes | None]], name: bytes) -> bool | frozenset[bytes]:
    """False, True, or the field names listed; any member without a list means all (§5.2.2.4)."""
    arguments = found.get(name)
    if arguments is None:
        return False
    listed: set[bytes] = set()
    for one in arguments:
        content = None if one is None else (syntax.unquote(one) or one)
        names = [] if content is None else syntax.members(content)
        if not names or not all(syntax.is_token(part) for part in names):
            return True
        listed.update(part.lower() for part in names)
    return frozenset(listed)


def field_names(value: bool | frozenset[bytes]) -> Iterable[bytes]:
    """The names that a limited ``no-cache`` or ``private`` lists; nothing for True or False."""
    return value if isinstance(value, frozenset) else ()
