"""What a process knows of a shared store is bounded, and findable by tag."""

from __future__ import annotations

from dataclasses import replace

from tests.store.builders import stored
from vary_proxy.core.stored import Resource
from vary_proxy.store import known as module
from vary_proxy.store.known import Known

ONE = Resource((stored(b"https://a.example", cache_tag="news, sport"),))
TWO = Resource((stored(b"https://a.example", cache_tag="sport"),))


def test_it_stays_within_its_bound_and_lets_the_least_used_go() -> None:
    known = Known(50_000)
    for number in range(1000):
        known.put(b"%d" % number, ONE)
        assert known.get(b"0") is not None  # in use all the time
        assert known.bytes <= 50_000
    assert known.get(b"999") is not None
    assert known.get(b"1") is None
    assert 20 < len(known) < 1000


def test_that_there_is_nothing_is_known_without_pushing_anything_out() -> None:
    known = Known(5_000)
    known.put(b"held", ONE)
    for number in range(module._MOST_NOTHING + 10):
        known.put(b"%d" % number, Resource())
    assert known.get(b"held") is ONE
    assert known.get(b"0") is None
    assert known.get(b"20000") == Resource()
    known.put(b"20000", ONE)
    assert known.get(b"20000") is ONE
    known.pop(b"20000")
    assert known.get(b"20000") is None


def test_that_there_is_nothing_is_known_of_long_keys_too_without_growing() -> None:
    known = Known(5_000)
    for number in range(2_000):
        known.put(b"%8d" % number * 1024, Resource())
    assert sum(map(len, known._nothing)) <= module._NOTHING_BYTES
    assert known.get(b"%8d" % 1999 * 1024) == Resource()
    known.pop(b"%8d" % 1999 * 1024)
    assert known._nothing_bytes == sum(map(len, known._nothing))
    known.clear()
    assert known._nothing_bytes == 0


def test_long_selecting_values_count() -> None:
    known = Known(100_000)
    for number in range(100):
        one = replace(stored(), selecting=((b"origin", b"x" * 16_000),))
        known.put(b"%d" % number, Resource((one,)))
    assert len(known) <= 6


def test_resources_are_found_by_tag_as_long_as_they_bear_it() -> None:
    known = Known(50_000)
    known.put(b"1", ONE)
    known.put(b"2", TWO)
    assert sorted(known.tagged(b"sport")) == [b"1", b"2"]
    assert known.tagged(b"news") == [b"1"]
    known.put(b"1", TWO)
    assert known.tagged(b"news") == []
    known.pop(b"2")
    assert known.tagged(b"sport") == [b"1"]
    known.clear()
    assert known.tagged(b"sport") == []
    assert known.bytes == 0


def test_what_is_counted_in_is_counted_out() -> None:
    known = Known(1 << 20)
    for number in range(100):
        known.put(b"%d" % (number % 10), ONE if number % 3 else TWO)
    for number in range(10):
        known.pop(b"%d" % number)
    assert (known.bytes, len(known), known.tagged(b"sport")) == (0, 0, [])
