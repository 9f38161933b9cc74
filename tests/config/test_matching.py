"""Globs and patterns of rules: what they match, always whole, never slowly."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary_proxy.configuration.matching import (
    host_matcher,
    name_pattern,
    path_matcher,
    value_matcher,
)
from vary_proxy.configuration.problems import Wrong


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("/img/*", ["/img/", "/img/a", "/img/a.png"], ["/img", "/img/a/b", "/x/img/a"]),
        ("/img/**", ["/img/", "/img/a", "/img/a/b"], ["/img", "/imga"]),
        ("/**/a.png", ["/a.png", "/x/a.png", "/x/y/a.png"], ["/xa.png", "a.png", "/a.png/"]),
        ("/*/x", ["/a/x", "//x"], ["/x", "/a/b/x"]),
        ("/a?c", ["/abc", "/a%c"], ["/ac", "/a/c", "/abbc"]),
        ("**.png", ["/a.png", "/a/b.png"], ["/a.pngx"]),
        ("/a*b*c", ["/abc", "/axbxc", "/abbcc"], ["/ab/c", "/acb"]),
        ("*", ["/", "/a/b", "*"], []),
        ("/exact", ["/exact"], ["/exact/", "/Exact", "/exac"]),
        ("/%2F/*", ["/%2F/a"], ["/%2f/a", "///a"]),
        ("/a.b+(c)", ["/a.b+(c)"], ["/axb+(c)", "/a.bb(c)"]),
        ("~/api/v[0-9]+", ["/api/v1", "/api/v22"], ["/api/v", "/api/v1/", "x/api/v1"]),
        ("~/(a|b)*", ["/", "/abba"], ["/c"]),
        ("~.*\\.(jpe?g|png)", ["/x.jpg", "/a/b.jpeg", "/x.png"], ["/x.gif", "/x.png?"]),
    ],
)
def test_paths(glob: str, yes: list[str], no: list[str]) -> None:
    matcher = path_matcher(glob)
    assert [one for one in yes if not matcher.matches(one.encode())] == []
    assert [one for one in no if matcher.matches(one.encode())] == []


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.example.com", ["a.example.com"], ["example.com", "a.b.example.com", "aexample.com"]),
        ("**.example.com", ["a.example.com", "a.b.example.com"], ["example.com"]),
        ("*", ["a", "a.example.com"], []),
        ("Media.Example.com", ["media.example.com"], ["media.example.com.evil"]),
        ("a.example:80*", ["a.example:80", "a.example:8080"], ["a.example"]),
    ],
)
def test_hosts(glob: str, yes: list[str], no: list[str]) -> None:
    matcher = host_matcher(glob)
    assert [one for one in yes if not matcher.matches(one.encode())] == []
    assert [one for one in no if matcher.matches(one.encode())] == []


def test_values_have_one_segment() -> None:
    assert value_matcher("*").matches(b"")
    assert value_matcher("text/*").matches(b"text/html; a=b/c.d")
    assert not value_matcher("text/*").matches(b"xtext/html")


_GLOBS = st.text("a/*?.", min_size=1, max_size=8).map(lambda text: f"/{text}")


def _reference(glob: str) -> re.Pattern[str]:
    """A glob as a plain, slow regular expression."""
    parts = re.findall(r"(?<=/)\*\*/|\*\*+|.", glob)
    known = {"*": "[^/]*", "?": "[^/]", "**/": "(?:.*/)?"}
    return re.compile("".join(known.get(p) or (".*" if "**" in p else re.escape(p)) for p in parts))


@settings(max_examples=300, deadline=None)
@given(_GLOBS, st.lists(st.text("a/.b", max_size=8), min_size=1, max_size=20))
def test_globs_mean_what_a_plain_expression_would(glob: str, paths: list[str]) -> None:
    matcher, reference = path_matcher(glob), _reference(glob)
    for path in paths:
        assert matcher.matches(f"/{path}".encode()) == bool(reference.fullmatch(f"/{path}"))


def _expressions() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\d", "\\.", "/"])
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=1, max_size=3).map(lambda some: f"({'|'.join(some)})"),
            inner.map(lambda one: f"({one})?"),
            inner.map(lambda one: f"(?:{one})*"),
            inner.map(lambda one: f"(?:{one}){{1,2}}"),
        ),
        max_leaves=6,
    )


@settings(max_examples=300, deadline=None)
@given(_expressions(), st.lists(st.text("ab/.0", max_size=6), min_size=1, max_size=20))
def test_patterns_that_are_taken_mean_what_python_means(text: str, values: list[str]) -> None:
    try:
        matcher = value_matcher(f"~{text}")
    except Wrong:
        return
    for value in values:
        expected = re.fullmatch(text.encode(), value.encode(), re.DOTALL) is not None
        assert matcher.matches(value.encode()) == expected


@pytest.mark.parametrize(
    ("glob", "value"),
    [
        ("/**a**a**a**a**b", b"/" + b"a" * 8000),
        ("/*a*a*a*a*b", b"/" + b"a" * 8000),
        ("/**/x/**/x/**/y", b"/x" * 4000),
        ("~.*a.*a.*a.*a.*b", b"a" * 8000),
        ("~[a-z]*[a-z]*[a-z]*[a-z]*0", b"a" * 8000),
    ],
)
def test_no_value_makes_a_match_slow(glob: str, value: bytes) -> None:
    matcher = value_matcher(glob) if glob[0] == "~" else path_matcher(glob)
    started = time.process_time()
    assert not matcher.matches(value)
    assert time.process_time() - started < 5.0  # a backtracking engine needs minutes


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("utm_*", [b"utm_", b"utm_x"], [b"utm", b"xutm_a"]),
        ("*a*b*", [b"ab", b"xaxbx"], [b"ba", b""]),
        ("_?", [b"_a", b"_\n"], [b"_", b"_ab"]),
        ("a.b", [b"a.b"], [b"axb"]),
        ("~[a-z]+", [b"abc"], [b"", b"a1"]),
    ],
)
def test_names_of_parameters(glob: str, yes: list[bytes], no: list[bytes]) -> None:
    pattern = name_pattern(glob)
    assert all(pattern.fullmatch(one) for one in yes)
    assert not any(pattern.fullmatch(one) for one in no)


@pytest.mark.parametrize("glob", ["*a*a*a*a*a*b", "~[a-z]*0"])
def test_no_parameter_name_makes_a_match_slow(glob: str) -> None:
    started = time.process_time()
    assert not name_pattern(glob).fullmatch(b"a" * 8000)
    assert time.process_time() - started < 5.0


def test_a_name_expression_that_could_be_slow_is_refused() -> None:
    with pytest.raises(Wrong, match="more than once"):
        name_pattern("~[a-z]*[a-z]*[a-z]*0")


def test_the_table_of_steps_stays_bounded() -> None:
    matcher = value_matcher("~" + "(a|b)" * 12 + "[ab]{0,20}(a|b)*")
    for number in range(20_000):
        matcher.matches(bytes(b"ab"[number >> bit & 1] for bit in range(15)))
    assert len(matcher._steps) <= 1 << 14
