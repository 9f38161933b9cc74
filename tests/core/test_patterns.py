"""The pattern dialect: it reads as ``re`` does, in time that grows with the value alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vary_proxy.core.automaton import build
from vary_proxy.core.patterns import PatternError, parse, samples

_leaves = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "-",
        r"\.",
        ".",
        r"\d",
        r"\D",
        r"\W",
        r"\w",
        "[ab]",
        "[^a]",
        "[a-c1]",
        r"[\w-]",
        r"\-",
    ]
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "+?", "{2,}?"])
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, quantifiers).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


_patterns = st.recursive(_leaves, _grown, max_leaves=6)
_SETTINGS = settings(max_examples=400, deadline=None, derandomize=True, database=None)


@_SETTINGS
@given(_patterns, st.lists(st.text("ab1-.c", max_size=8), max_size=8))
def test_a_pattern_matches_what_re_matches(pattern: str, values: list[str]) -> None:
    try:
        tree = parse(pattern)
        automaton = build(tree)
    except PatternError:
        return
    compiled = re.compile(pattern.encode())
    for value in (*samples(tree), *(one.encode() for one in values)):
        assert automaton.matches(value) is (compiled.fullmatch(value) is not None), value


@_SETTINGS
@given(_patterns)
def test_samples_are_matched(pattern: str) -> None:
    tree = parse(pattern)
    compiled = re.compile(pattern.encode())
    assert samples(tree)
    assert all(compiled.fullmatch(one) for one in samples(tree))


@_SETTINGS
@given(st.text("ab()[]{}|*+?.\\^$-,0129é", max_size=12))
def test_any_text_is_read_or_refused_and_never_read_otherwise_than_re_does(text: str) -> None:
    try:
        automaton = build(parse(text))
    except PatternError:
        return
    inner = text.removeprefix("^")
    inner = inner if inner.endswith("\\$") else inner.removesuffix("$")
    compiled = re.compile(inner.encode())
    for value in (b"", b"a", b"b", b"ab", b"ba", b"a-b", b"00", b"aab", b".", b"$", b"^"):
        assert automaton.matches(value) is (compiled.fullmatch(value) is not None), value


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "(a*)*", "(a|a)*", "(a|b|ab)*", "(a?)+", "([a-z]+-?)+", "(.*)*x", "((a{2,})b?)+",
     "(" + "|".join("a" * 200) + ")+b", "(x+x+)+y", "((ab)*(ab)*)*", "(a|[ab])+c", "((a|b)+|c+)+"],
)  # fmt: skip
def test_what_can_go_round_in_two_ways_is_catastrophic(pattern: str) -> None:
    with pytest.raises(PatternError, match="catastrophic"):
        build(parse(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["(" + "|".join("[a-z]{1,18}" + end for end in "ABCDEFGHIJKLMNOPQRSTUVWXYZ") + ")+",
     "([a-z0-9]+\\.)+", "(ab*)*", "(a|b)*", "(a+b)+", "a*a*a*", "(a|b|cd)*", "([ab]c|[ab]d)+",
     "(a{3})+", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"],
)  # fmt: skip
def test_what_reads_in_one_way_is_taken(pattern: str) -> None:
    build(parse(pattern))


def test_each_byte_is_read_once_where_re_would_take_for_ever() -> None:
    automaton = build(parse("a?" * 60 + "a" * 60))
    assert automaton.matches(b"a" * 60)
    assert not automaton.matches(b"a" * 59 + b"b" * 4000)
    steps = build(parse(".*a.*a.*a.*a.*a.*b"))
    assert not steps.matches(b"a" * 4000)


def test_every_alternative_is_sampled_however_many_there_are() -> None:
    tree = parse("(a|b|c|d|e|f)(g|h|i|j|k|l)(m|n|o|p|q|r)" + "|".join(["", *"stuvwxyz"]))
    spelt = b"".join(samples(tree))
    assert set(spelt) == set(b"abcdefghijklmnopqrstuvwxyz")


def test_values_are_made_of_the_universe_given() -> None:
    lower = sum(1 << code for code in b"abc")
    assert not build(parse(".", lower)).matches(b"d")
    assert not build(parse("[^a]", lower)).matches(b"z")
    assert build(parse("[^a]")).matches(b"\xff")
    with pytest.raises(PatternError, match="holds d"):
        parse("ad", lower)


@pytest.mark.parametrize("depth", [33, 250, 100_000])
def test_groups_are_nested_so_deep_and_no_deeper(depth: int) -> None:
    build(parse("(" * 32 + "a" + ")" * 32))
    with pytest.raises(PatternError, match="nested more than 32 deep"):
        parse("(" * depth + "a" + ")" * depth)


def test_what_repeats_nothing_many_times_is_too_large() -> None:
    """Nothing times 64, seven times over: there is no position in it to be counted."""
    with pytest.raises(PatternError, match="too large"):
        build(parse("(" * 7 + "()" + "{64})" * 7))
