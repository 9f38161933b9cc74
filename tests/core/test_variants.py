"""How variants join a resource, and who may not push whom out (RFC 9111 §4)."""

from __future__ import annotations

import pytest

from tests.core.given import NOW, stored
from vary_proxy.core import variants
from vary_proxy.core.stored import Part, Resource

ACAO = {"access_control_allow_origin": b"*"}
FRESH = b"max-age=60"


def of(origin: bytes | None, *, allowed: bool = True, age: float = 0.0, **more):
    named = ACAO if allowed else {}
    selecting = ((b"origin", origin),)
    return stored(cache_control=FRESH, age=age, selecting=selecting, **named, **more)


def joined(resource, one, limit=64):
    return variants.joined(resource, one, limit, NOW)


def test_the_first():
    one = stored()
    assert joined(None, one) == Resource((one,))


def test_4_the_newest_stands_first():
    a, b = of(b"a"), of(b"b")
    assert joined(Resource((a,)), b) == Resource((b, a))


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        pytest.param(of(b"a", age=9), of(b"a"), False, id="4.1 the same selecting values"),
        pytest.param(of(b"a"), of(b"b"), True, id="4.1 others"),
        pytest.param(of(None), of(b""), True, id="4.1 absent and empty"),
        pytest.param(
            stored(206, part=Part(0, 99)), stored(200, length=99), False, id="3.3 the whole comes"
        ),
        pytest.param(
            stored(206, part=Part(0, 99), etag=b'"1"'),
            stored(206, part=Part(50, 99), etag=b'"1"'),
            True,
            id="3.3 another part of the same",
        ),
        pytest.param(
            stored(206, part=Part(5, 99), etag=b'"1"', length=5),
            stored(206, part=Part(0, 99), etag=b'"1"', length=20),
            False,
            id="3.3 a part that includes it",
        ),
        pytest.param(
            stored(206, part=Part(0, 99), etag=b'"1"'),
            stored(206, part=Part(50, 99), etag=b'"2"'),
            False,
            id="3.4 a part of something newer",
        ),
    ],
)
def test_what_a_new_variant_displaces(old, new, stays):
    found = joined(Resource((old,)), new)
    assert found == Resource((new, old) if stays else (new,))


def test_a_full_resource_takes_nobody_in_while_all_are_fresh():
    full = Resource(tuple(of(b"%d" % number) for number in range(4)))
    assert joined(full, of(b"new"), 4) is None


def test_a_full_resource_replaces_the_oldest_that_is_spent():
    spent = [of(b"x", age=99), of(b"y", age=99)]
    full = Resource((of(b"a"), spent[0], of(b"b"), spent[1]))
    found = joined(full, of(b"new"), 4)
    assert found is not None
    assert [dict(one.selecting)[b"origin"] for one in found.variants] == [b"new", b"a", b"x", b"b"]


def test_the_plain_response_is_always_taken_in():
    full = Resource(tuple(of(b"%d" % number) for number in range(4)))
    found = joined(full, of(None), 4)
    assert found is not None
    assert len(found.variants) == 4
    assert found.variants[0] == of(None)


def test_the_plain_response_is_not_pushed_out():
    full = Resource((of(b"a"), of(b"b"), of(b"c"), of(None, age=99)))
    assert joined(full, of(b"new"), 4) is None


ASKED = (b"access-control-request-headers", b"access-control-request-method")


def naming(name, value, origin=None):
    selecting = tuple(sorted([(b"origin", origin), (name, value)]))
    return stored(cache_control=FRESH, selecting=selecting, **ACAO)


@pytest.mark.parametrize("origin", [None, b"a"])
@pytest.mark.parametrize("name", ASKED)
def test_what_browsers_ask_in_preflights_alone_takes_a_small_share(name, origin):
    real = of(b"a"), of(None)
    resource = Resource(real)
    for number in range(100):
        resource = joined(resource, naming(name, b"%d" % number, origin), 16) or resource
    assert len(resource.variants) == 4
    assert resource.variants[-2:] == real
    assert joined(resource, of(b"b"), 16) is not None


def test_of_plain_responses_only_a_few_push_others_out():
    resource = Resource(tuple(of(b"%d" % number) for number in range(16)))
    for number in range(100):
        one = naming(b"accept-language", b"%d" % number)
        resource = joined(resource, one, 16) or resource
    plain = [one for one in resource.variants if dict(one.selecting)[b"origin"] is None]
    assert (len(plain), len(resource.variants)) == (2, 16)


def test_of_refused_requesters_only_a_few_are_kept():
    resource = Resource((of(None),))
    for number in range(100):
        resource = joined(resource, of(b"%d" % number, allowed=False), 16) or resource
    refused = [one for one in resource.variants if dict(one.selecting)[b"origin"] is not None]
    assert len(refused) == 2
    assert of(None) in resource.variants


def test_a_refused_requester_takes_the_place_of_a_refused_one_only():
    allowed = of(b"a", age=99)
    resource = Resource((of(b"x", allowed=False, age=99), allowed))
    found = joined(resource, of(b"y", allowed=False), 8)
    assert found is not None
    assert found.variants == (of(b"y", allowed=False), allowed)


def test_a_variant_is_replaced_where_it_still_stands():
    a, b = of(b"a"), of(b"b")
    new = of(b"a", x=b"new")
    assert variants.replaced(Resource((b, a)), a, new) == Resource((new, b))
    assert variants.replaced(Resource((b,)), a, new) is None


def test_a_variant_that_takes_anothers_values_takes_its_place():
    a, b = of(b"a"), of(b"b")
    moved = of(b"b", x=b"new")
    assert variants.replaced(Resource((b, a)), a, moved) == Resource((moved,))


def test_whether_there_will_be_room_is_known_before_the_body():
    full = Resource(tuple(of(b"%d" % number) for number in range(4)))
    assert variants.has_room(None, of(b"new"), 4, NOW)
    assert variants.has_room(full, of(b"0"), 4, NOW)
    assert not variants.has_room(full, of(b"new"), 4, NOW)
    assert variants.has_room(full, of(b"new", part=Part(0, 99)), 4, NOW)  # it may displace others


def test_no_room_at_all():
    assert joined(None, of(b"a"), 0) is None
    assert joined(None, of(b"a"), 1) == Resource((of(b"a"),))


@pytest.mark.parametrize(("age", "spent"), [(59.5, False), (60.0, True), (60.5, True)])
def test_what_is_spent_is_so_from_the_end_of_its_lifetime_on(age, spent):
    old, new = of(b"x", age=age), of(b"new")
    assert joined(Resource((old,)), new, 1) == (Resource((new,)) if spent else None)


@pytest.mark.parametrize(("length", "stays"), [(19, True), (20, False), (21, False)])
def test_3_3_a_part_goes_when_all_of_it_is_in_another(length, stays):
    old = stored(206, part=Part(5, 99), etag=b'"1"', length=20)
    new = stored(206, part=Part(5, 99), etag=b'"1"', length=length)
    assert joined(Resource((old,)), new) == Resource((new, old) if stays else (new,))
