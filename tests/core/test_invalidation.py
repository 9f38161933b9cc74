"""What an unsafe method makes invalid (RFC 9111 §4.4)."""

from __future__ import annotations

import pytest

from tests.core.given import request, response
from vary_proxy.core import invalidation


@pytest.mark.parametrize(
    ("method", "status", "dropped"),
    [
        *(
            pytest.param(method, 200, True, id=f"4.4 {method.decode()}")
            for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"M-SEARCH", b"post", b"ANY")
        ),
        *(
            pytest.param(method, 200, False, id=f"9110 9.2.1 {method.decode()} is safe")
            for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE")
        ),
        *(
            pytest.param(b"PUT", status, True, id=f"4.4 {status}")
            for status in (201, 204, 303, 304)
        ),
        *(
            pytest.param(b"PUT", status, False, id=f"4.4 {status}")
            for status in (400, 409, 500, 503)
        ),
    ],
)
def test_which_exchanges_invalidate(method, status, dropped):
    found = invalidation.targets(request(method, b"/a?b"), response(status))
    assert found == ((b"/a?b",) if dropped else ())


@pytest.mark.parametrize("name", ["location", "content_location"])
@pytest.mark.parametrize(
    ("reference", "target"),
    [
        pytest.param(b"/b", b"/b", id="a path"),
        pytest.param(b"/b?c=%2F", b"/b?c=%2F", id="a query, byte for byte"),
        pytest.param(b"b", b"/x/b", id="9110 10.2.2 relative to the target"),
        pytest.param(b"../b", b"/b", id="3986 5.2.4 dots"),
        pytest.param(b"?c", b"/x/a?c", id="3986 5.2.2 a query alone"),
        pytest.param(b"#frag", None, id="the target itself"),
        pytest.param(b"/b#frag", b"/b", id="a fragment is not sent"),
        pytest.param(b"http://edge.example/b", b"/b", id="in full"),
        pytest.param(b"http://EDGE.example/b", b"/b", id="9110 4.2.3 hosts have no case"),
        pytest.param(b"http://edge.example", b"/", id="9110 4.2.3 no path"),
        pytest.param(b"//edge.example/b", b"/b", id="without a scheme"),
        pytest.param(b"http://other.example/b", None, id="4.4 another host"),
        pytest.param(b"http://edge.example:81/b", None, id="4.4 another port"),
        pytest.param(b"http://edge.example@other.example/b", None, id="4.4 a trick"),
        pytest.param(b"//other.example/b", None, id="4.4 another host, without a scheme"),
        pytest.param(b"http://[::1/b", None, id="no URI"),
        pytest.param(b"mailto:a@edge.example", None, id="another scheme altogether"),
        pytest.param(b"/\xe9", b"/\xe9", id="bytes beyond ASCII"),
    ],
)
def test_4_4_what_the_response_names(name, reference, target):
    asked = request(b"POST", b"/x/a", body=True)
    found = invalidation.targets(asked, response(201, **{name: reference}))
    assert found == (b"/x/a",) if target is None else found == (b"/x/a", target)


def test_4_4_both_fields_count_and_each_target_once():
    answer = response(201, location=b"/b", content_location=b"/c")
    assert invalidation.targets(request(b"POST"), answer) == (b"/a", b"/b", b"/c")
    answer = response(201, location=b"/a", content_location=b"/a")
    assert invalidation.targets(request(b"POST"), answer) == (b"/a",)
