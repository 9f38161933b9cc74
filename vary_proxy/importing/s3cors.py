"""The CORS configuration of an S3 bucket, as JSON or XML, into a configuration of ours.

S3 takes the first rule that matches the Origin, the method and, of a preflight, every header
that is asked for. Each becomes a policy, and a rule that says for which requests: by method,
by Origin where a later rule shares a method, and by the headers asked for where such a rule
could take what this one refuses. What no rule matches is refused, as S3 does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vary_proxy.configuration.matching import value_matcher
from vary_proxy.configuration.problems import Wrong
from vary_proxy.core import syntax
from vary_proxy.importing.origins import Taken, take
from vary_proxy.importing.s3reading import S3Rule, read
from vary_proxy.importing.writing import LONGEST, Unreadable, Writing, label, listed, quoted

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
_MOST_IN_PATTERN = 300  # characters: a pattern has a bound, so origins are put into several


@dataclass(frozen=True)
class _Made:
    """A rule of S3's in our words. ``headers`` None: any may be asked for."""

    name: str
    taken: Taken
    methods: tuple[str, ...]
    headers: tuple[str, ...] | None
    origins: tuple[str, ...]  # patterns for a rule that has to look at Origin


def convert(data: bytes, name: str, origin: str | None = None) -> Writing:
    """The configuration for the bucket at *origin*, or $BUCKET_URL. Raises Unreadable."""
    rules = read(data, name)
    out = Writing()
    out.begin(
        f"The CORS rules of {name}, as S3 understands them: the first that matches wins.",
        "Try it: vary-proxy explain OPTIONS http://localhost:8080/key -H 'Origin: https://…' "
        "-H 'Access-Control-Request-Method: PUT' -c FILE",
    )
    where = '"${BUCKET_URL:-http://127.0.0.1:9000}"' if origin is None else quoted(origin)
    out.add("origins:", f"  bucket: {{url: {where}}}", "", "cors:")
    made = [one for at, rule in enumerate(rules) if (one := _policy(rule, at, out)) is not None]
    if not made:
        told = "; ".join(out.left_out)
        raise Unreadable(f"{name}: no rule is left that could be taken over: {told}")
    out.add("", "defaults:")
    out.comment("What no rule grants gets no CORS fields, and its preflight 403, as from S3.", 2)
    out.add(
        "  origin: bucket", "  vary: repair", "  cors: strip", "  preflight: deny", "", "rules:"
    )
    _rules(made, out)
    return out


def _policy(rule: S3Rule, at: int, out: Writing) -> _Made | None:
    credentials = "*" not in rule.origins
    taken = take(rule.origins, credentials=credentials)
    if taken.wide:
        taken = take(rule.origins, credentials=False)
    name = f"{label(rule.id, 's3')}-{at + 1}"
    methods = [one for one in METHODS if one in rule.methods]
    out.comment(f"CORSRule {at + 1}" + (f": {rule.id}" if rule.id else ""), 2)
    for said in (*taken.said, *rule.unknown):
        out.warn(f"CORSRule {at + 1}: {said}", 2)
    for method in rule.methods:
        if method not in METHODS:
            out.warn(f'CORSRule {at + 1}: the method "{method}", which S3 does not know', 2)
    if taken.empty or not methods:
        what = "no origin" if taken.empty else "no method"
        out.warn(f"CORSRule {at + 1} as a whole: {what} of it can be taken over", 2)
        return None
    everybody = taken.anyone or bool(taken.wide)
    if taken.wide and not taken.anyone:
        out.warn(f"CORSRule {at + 1}: credentials, because {taken.wide[0]} is anybody", 2)
    headers, any_header = _headers(rule, at, out)
    out.add(f"  {name}:")
    out.add(f"    origins: {quoted('*') if everybody else listed(taken.listed)}")
    out.add(f"    methods: [{', '.join(methods)}]")
    if headers:
        out.add(f"    headers: {listed(headers)}")
    _rest(rule, at, out, credentials=not everybody)
    # S3 stops at this rule for all that it matches, also for what we did not take over: the
    # policy refuses that. A policy for everybody cannot, so there only what was taken over counts.
    patterns = [_pattern_of_origin(one) for one in (*taken.listed, *taken.wide)]
    if not taken.wide:
        patterns = [_pattern_of_glob(one) for one in rule.origins if one.count("*") <= 1]
    asked = None if any_header else headers
    return _Made(name, taken, tuple(methods), asked, _grouped(patterns))


def _headers(rule: S3Rule, at: int, out: Writing) -> tuple[tuple[str, ...], bool]:
    """The header names to allow, and whether that is any."""
    if "*" in rule.headers:
        return ("*", "Authorization"), True  # a lone * never covers Authorization, but S3's does
    kept = []
    for name in rule.headers:
        stem = name.removesuffix("*")
        if "*" in stem or not syntax.is_token(name.encode("utf-8", "replace")):
            out.warn(f'CORSRule {at + 1}: the header "{name}"; only names and prefixes can be', 2)
        else:
            kept.append(name)
    return tuple(kept), False


def _rest(rule: S3Rule, at: int, out: Writing, *, credentials: bool) -> None:
    exposed = []
    for name in rule.expose:
        if name == "*" or not syntax.is_token(name.encode("utf-8", "replace")):
            out.warn(f'CORSRule {at + 1}: the exposed header "{name}"; list the names', 4)
        else:
            exposed.append(name)
    if exposed:
        out.add(f"    expose: {listed(exposed)}")
    if credentials:
        out.add("    credentials: true    # as S3 says; leave it out where no cookies are sent")
    if rule.max_age is not None:
        out.add(f"    max_age: {min(rule.max_age, LONGEST)}s")


def _rules(made: Sequence[_Made], out: Writing) -> None:
    """Ours, in an order in which the first match is S3's."""
    rivals = [one for at, one in enumerate(made) if _has_rival(made, at)]
    picky = [one for one in rivals if one.headers is not None]
    if picky:
        out.comment("Preflights that ask for headers: of the first rule that has them all.", 2)
        for one in made:
            if asked := _pattern_of_headers(one, out):
                _rule(one, out, f"{one.name}-headers", asked)
        out.comment("All other requests.", 2)
    for at, one in enumerate(made):
        by_origin = bool(one.taken.wide) or any(
            set(one.methods) & set(other.methods) for other in made[at + 1 :]
        )
        _rule(one, out, one.name, None, by_origin=by_origin and not one.taken.anyone)


def _has_rival(made: Sequence[_Made], at: int) -> bool:
    """Whether a later rule shares a method with the one *at*, and might share an origin."""
    one = made[at]
    return any(set(one.methods) & set(other.methods) for other in made[at + 1 :])


def _pattern_of_headers(made: _Made, out: Writing) -> str:
    """What matches a list of its names in Access-Control-Request-Headers; "": nothing can.

    Browsers send the names in lower case.
    """
    if made.headers is None:
        return "*"
    names = {name.lower() for name in made.headers}
    stems = tuple(name[:-1] for name in names if name.endswith("*"))
    # A name that a prefix covers would be matched in two ways.
    kept = [one for one in sorted(names) if not one.removesuffix("*").startswith(
        tuple(stem for stem in stems if f"{stem}*" != one))]  # fmt: skip
    if not kept:
        return ""
    one = "|".join(map(_name_pattern, kept))
    pattern = f"~ *({one}) *(, *({one}) *)*"
    try:
        value_matcher(pattern)
    except Wrong:
        out.warn(f"{made.name}: its headers, which are too many to choose a rule by", 2)
        return ""
    return pattern


def _name_pattern(name: str) -> str:
    stem = re.sub(r"([.+*^|$])", r"\\\1", name.removesuffix("*"))
    return stem + ("[a-z0-9_-]*" if name.endswith("*") else "")


def _rule(
    made: _Made, out: Writing, name: str, asked: str | None, *, by_origin: bool | None = None
) -> None:
    wanted = not made.taken.anyone if by_origin is None else by_origin
    patterns = made.origins if wanted else (None,)
    for at, pattern in enumerate(patterns):
        headers = [] if pattern is None else [f"Origin: {quoted(pattern)}"]
        headers += [] if asked is None else [f"Access-Control-Request-Headers: {quoted(asked)}"]
        told = f", headers: {{{', '.join(headers)}}}" if headers else ""
        out.add(
            f"  - name: {name}{f'-{at + 1}' if at else ''}",
            f"    match: {{methods: [{', '.join(made.methods)}]{told}}}",
            f"    cors: {{policy: {made.name}, mode: override}}",
            "    preflight: synthesize",
        )


def _pattern_of_origin(listed_as: str) -> str:
    """An origin as our policies have it, as a part of a pattern."""
    return listed_as[1:] if listed_as.startswith("~") else _pattern_of_glob(listed_as)


def _pattern_of_glob(text: str) -> str:
    return re.sub(r"([.^$+?()\[\]{}|\\])", r"\\\1", text).replace("*", ".*")


def _grouped(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns that between them match what *patterns* do, none of them too long."""
    groups: list[list[str]] = [[]]
    for one in filter(str.isascii, patterns):
        if sum(map(len, groups[-1])) + len(one) > _MOST_IN_PATTERN and groups[-1]:
            groups.append([])
        groups[-1].append(one)
    return tuple(f"~({'|'.join(group)})" for group in groups)
