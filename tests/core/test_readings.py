"""How else a path may be read. RFC 3986."""

from __future__ import annotations

import pytest

from vary_proxy.core import readings


@pytest.mark.parametrize(
    ("path", "also"),
    [
        pytest.param(b"/%70rivate", b"/private", id="6.2.2.2 unreserved"),
        pytest.param(b"/a%2Fb", b"/a/b", id="2.2 reserved, decoded all the same"),
        pytest.param(b"/%2570", b"/p", id="decoded twice"),
        pytest.param(b"/%C3%A4", b"/\xc3\xa4", id="3.2.2 bytes above ASCII"),
        pytest.param(b"/a//b", b"/a/b", id="slashes joined"),
        pytest.param(b"//a", b"/a", id="slashes joined in front"),
        pytest.param(b"/a/../b", b"/b", id="5.2.4 dot segments"),
        pytest.param(b"/a/./b", b"/a/b", id="5.2.4 a single dot"),
        pytest.param(b"/a/..", b"/", id="5.2.4 at the end"),
        pytest.param(b"/a/b/.", b"/a/b/", id="5.2.4 one dot at the end"),
        pytest.param(b"/../../a", b"/a", id="5.2.4 above the root"),
        pytest.param(b"/a//../b", b"/b", id="slashes joined before dots"),
        pytest.param(b"/a//../b", b"/a/b", id="5.2.4 dots before slashes joined"),
        pytest.param(b"/a/%2e%2E/b", b"/b", id="encoded dots"),
        pytest.param(b"/a/..%2Fb", b"/b", id="an encoded slash behind dots"),
        pytest.param(b"/a;b=1/c", b"/a/c", id="3.3 parameters of a segment"),
        pytest.param(b"/a/..;/b", b"/b", id="parameters hide dots"),
        pytest.param(b"/a\\..\\b", b"/b", id="backslashes"),
        pytest.param(b"/a/..%5cb", b"/b", id="an encoded backslash"),
        pytest.param(b"/a%3fb%70", b"/a%3fbp", id="an encoded ? begins no query"),
    ],
)
def test_a_path_may_be_read(path: bytes, also: bytes) -> None:
    found = readings.readings(path)
    assert found is not None
    assert also in found
    assert path not in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize("path", [b"/", b"/a/b.png", b"/a.b/c..d", b"/.well-known/a", b"*", b""])
def test_what_can_be_read_in_one_way(path: bytes) -> None:
    assert readings.readings(path) == ()


def test_climbing_is_seen_in_every_reading() -> None:
    path = b"/a/%2e%2e/b"
    assert readings.climbs((path, *(readings.readings(path) or ())))
    assert not readings.climbs((b"/a/b..c", b"/a/b"))


def test_what_is_spelled_in_too_many_ways_may_be_anything() -> None:
    assert readings.readings(b"/%25%36%31;a\\b//c/./d") is None
    assert readings.readings(b"/a%20" + b"b" * 1024) is None
    assert readings.readings(b"/" + b"b" * 4096) == ()
