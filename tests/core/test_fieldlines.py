"""Field lines that are remembered: which are, which never are, and how many."""

from __future__ import annotations

import operator

import pytest

from vary_proxy.core.fieldlines import LONGEST, MOST, read_lines
from vary_proxy.core.message import Pair


def read(line: bytes) -> Pair:
    found = read_lines([b"A: b", bytes(bytearray(line))])
    assert found is not None
    return found[1]


def is_remembered(line: bytes) -> bool:
    first = read(line)
    assert read(line) == first
    return read(line) is first


def test_a_line_that_comes_again_is_not_read_again() -> None:
    assert read(b"Accept-Language: de ") == (b"accept-language", b"de")
    assert is_remembered(b"Accept-Language: de ")


@pytest.mark.parametrize(
    "name", ["Cookie", "AUTHORIZATION", "Proxy-Authorization", "If-None-Match", "traceparent"]
)
def test_what_is_one_clients_own_is_not_held(name: str) -> None:
    assert not is_remembered(f"{name}: secret".encode())


def test_long_lines_are_not_held() -> None:
    assert is_remembered(b"A: " + b"x" * (LONGEST - 3))
    assert not is_remembered(b"A: " + b"x" * (LONGEST - 2))


def test_clients_cannot_make_the_table_grow() -> None:
    first = read(b"X-Some: line")
    pairs = [read(b"X-Number: %d" % number) for number in range(2 * MOST)]
    again = [read(b"X-Number: %d" % number) for number in range(2 * MOST)]
    assert again == pairs
    assert sum(map(operator.is_, again, pairs)) <= MOST
    assert read(b"X-Some: line") == first
    assert read(b"X-Some: line") is not first
    assert is_remembered(b"X-Some: line")


@pytest.mark.parametrize("line", [b"", b"a", b":", b" a: b", b"a : b", b"a: b\n", b"a:\0"])
def test_one_line_that_is_none_spoils_them_all(line: bytes) -> None:
    assert read_lines([b"A: b", line, b"A: b"]) is None
    assert read_lines([b"A: b", b"A: b"]) == [(b"a", b"b")] * 2


def test_lines_are_read_alike_when_known_and_when_not() -> None:
    lines = [b"Host:  h ", b"X-Y:", b"x-y:\tz\t"]
    pairs = [(b"host", b"h"), (b"x-y", b""), (b"x-y", b"z")]
    assert read_lines(lines) == read_lines(lines) == pairs
