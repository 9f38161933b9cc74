"""What Vary comes to: sent, and keyed (RFC 9110 §12.5.5, RFC 9111 §4.1)."""

from __future__ import annotations

import pytest

from tests.core.given import fields
from vary_proxy.core import vary
from vary_proxy.core.policy import VaryMode, VaryPolicy

O, H, M = b"Origin", b"Access-Control-Request-Headers", b"Access-Control-Request-Method"  # noqa: E741  # the three names, as the tables write them
THREE = b", ".join((O, H, M))
KEYS = tuple(sorted((O.lower(), H.lower(), M.lower())))


def effective(*lines, mode=VaryMode.REPAIR, method=b"GET", names=(O, H, M), known=()):
    given = fields(*((b"vary", line) for line in lines))
    return vary.effective(given, VaryPolicy(mode, names), method, known)


@pytest.mark.parametrize(
    ("lines", "line", "action", "added"),
    [
        pytest.param([], THREE, "added", (O, H, M), id="absent"),
        pytest.param([b""], THREE, "added", (O, H, M), id="empty"),
        pytest.param([b" , ,"], THREE, "added", (O, H, M), id="empty members"),
        pytest.param([b"Origin"], THREE, "repaired", (H, M), id="some are missing"),
        pytest.param([THREE], THREE, "complete", (), id="complete"),
        pytest.param(
            [b"access-control-request-method, ORIGIN, Access-Control-Request-Headers"],
            b"access-control-request-method, ORIGIN, Access-Control-Request-Headers",
            "complete",
            (),
            id="complete, in its order and spelling",
        ),
        pytest.param(
            [b"Accept-Encoding"],
            b"Accept-Encoding, " + THREE,
            "repaired",
            (O, H, M),
            id="the origin's own come first",
        ),
        pytest.param(
            [b"accept-encoding", b" , ORIGIN ,accept-encoding"],
            b"accept-encoding, ORIGIN, " + b", ".join((H, M)),
            "repaired",
            (H, M),
            id="two lines, one name twice: one line, each once",
        ),
    ],
)
def test_repair(lines, line, action, added):
    found = effective(*lines)
    assert (found.line, found.action, found.added, found.star) == (line, action, added, False)
    assert set(KEYS) <= set(found.names)
    assert found.names == tuple(sorted(set(found.names)))


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"*"], id="12.5.5 a star"),
        pytest.param([b"*, Origin"], id="12.5.5 among others"),
        pytest.param([b"Origin", b"*"], id="12.5.5 on another line"),
        pytest.param([b" * "], id="12.5.5 with white space"),
        pytest.param([b"Accept Encoding"], id="5.1 a space within a name"),
        pytest.param([b"Origin; Accept"], id="5.1 a semicolon"),
        pytest.param([b'"Origin"'], id="5.1 quotes"),
        pytest.param([b"Orig\xefn"], id="5.1 a byte beyond ASCII"),
    ],
)
@pytest.mark.parametrize("mode", list(VaryMode))
def test_a_star_or_what_cannot_be_read_is_left_alone_and_never_keyed(mode, lines):
    found = effective(*lines, mode=mode)
    assert found.star
    assert found.action == "star"
    given = fields(*((b"vary", line) for line in lines))
    assert vary.dress(given, found) is given


@pytest.mark.parametrize(
    ("mode", "method", "lines", "line", "names"),
    [
        pytest.param(VaryMode.IF_MISSING, b"GET", [], THREE, KEYS, id="if-missing: absent"),
        pytest.param(
            VaryMode.IF_MISSING,
            b"GET",
            [b"Accept"],
            b"Accept",
            (b"accept",),
            id="if-missing: there",
        ),
        pytest.param(VaryMode.MINIMAL, b"GET", [], O, (b"origin",), id="minimal: GET"),
        pytest.param(VaryMode.MINIMAL, b"OPTIONS", [], THREE, KEYS, id="minimal: OPTIONS"),
        pytest.param(
            VaryMode.MINIMAL,
            b"GET",
            [b"Accept"],
            b"Accept, Origin",
            (b"accept", b"origin"),
            id="minimal: what is missing of it",
        ),
        pytest.param(
            VaryMode.REPLACE,
            b"GET",
            [b"Accept"],
            THREE,
            tuple(sorted((*KEYS, b"accept"))),
            id="replace: sends ours, keys the origin's too",
        ),
        pytest.param(VaryMode.PASSTHROUGH, b"GET", [], None, (), id="passthrough: nothing"),
        pytest.param(
            VaryMode.PASSTHROUGH,
            b"GET",
            [b"B", b"a"],
            b"B, a",
            (b"a", b"b"),
            id="passthrough: what was said",
        ),
        pytest.param(
            VaryMode.STRIP, b"GET", [b"Accept"], None, (b"accept",), id="strip: keyed all the same"
        ),
        pytest.param(VaryMode.STRIP, b"GET", [], None, (), id="strip: nothing"),
    ],
)
def test_other_modes(mode, method, lines, line, names):
    found = effective(*lines, mode=mode, method=method)
    assert (found.line, found.names, found.star) == (line, names, False)


def test_names_of_a_rule():
    found = effective(b"Accept", names=(b"Origin", b"X-Tenant"))
    assert found.line == b"Accept, Origin, X-Tenant"
    assert found.names == (b"accept", b"origin", b"x-tenant")


E = b"Accept-Encoding"


@pytest.mark.parametrize(
    ("lines", "known", "line", "added"),
    [
        pytest.param([O], [E], b"Origin, Accept-Encoding, " + H + b", " + M, (E, H, M), id="lost"),
        pytest.param([], [E], E + b", " + THREE, (E, O, H, M), id="none at all"),
        pytest.param([b"accept-encoding"], [E], b"accept-encoding, " + THREE, (O, H, M), id="kept"),
        pytest.param([O], [THREE, O], THREE, (H, M), id="what the rule adds keeps its place"),
        pytest.param([E], [b"Accept", b"X, accept"], E + b", Accept, X, " + THREE,
                     (b"Accept", b"X", O, H, M), id="of several lines, each once"),
        pytest.param([O], [b"*"], THREE, (H, M), id="a star of another is not ours to send"),
    ],
)  # fmt: skip
def test_what_the_resource_has_said_is_said_of_every_response(lines, known, line, added):
    """RFC 9111 §4.1: a name that one stored response gives selects among all of them."""
    found = effective(*lines, known=tuple(known))
    assert (found.line, found.added, found.action) == (
        line,
        added,
        "repaired" if lines else "added",
    )
    assert found.names == tuple(sorted(name.strip().lower() for name in line.split(b",")))


def test_no_more_is_learned_than_a_line_can_bear():
    names = [b"X-%d" % number for number in range(17)]
    assert effective(O, known=tuple(names[:16])).line == b", ".join((O, *names[:16], H, M))
    assert effective(O, known=tuple(names)).line == THREE


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        (VaryMode.MINIMAL, b"Origin, Accept-Encoding"),
        (VaryMode.IF_MISSING, O),
        (VaryMode.REPLACE, THREE),
        (VaryMode.PASSTHROUGH, O),
        (VaryMode.STRIP, None),
    ],
)
def test_only_where_vary_is_repaired(mode, line):
    assert effective(O, mode=mode, known=(E, THREE)).line == line


@pytest.mark.parametrize(
    ("lines", "mode", "sent"),
    [
        pytest.param([], VaryMode.REPAIR, (THREE,), id="one line is added"),
        pytest.param([b"a", b"b"], VaryMode.REPAIR, (b"a, b, " + THREE,), id="lines become one"),
        pytest.param([b"a"], VaryMode.STRIP, (), id="stripped"),
    ],
)
def test_the_field_that_is_sent(lines, mode, sent):
    given = fields(*((b"vary", line) for line in lines), x=b"1")
    dressed = vary.dress(given, effective(*lines, mode=mode))
    assert dressed.lines(b"vary") == sent
    assert dressed.get(b"x") == b"1"


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        (VaryMode.REPAIR, THREE),
        (VaryMode.IF_MISSING, THREE),
        (VaryMode.MINIMAL, O),
        (VaryMode.REPLACE, THREE),
        (VaryMode.PASSTHROUGH, b""),
        (VaryMode.STRIP, b""),
    ],
)
def test_errors_of_ours_say_what_the_path_says(mode, line):
    assert vary.for_errors(VaryPolicy(mode), b"GET") == line


@pytest.mark.parametrize(
    ("mode", "lines", "action"),
    [
        pytest.param(VaryMode.REPLACE, [], "replaced", id="replace: nothing was said"),
        pytest.param(VaryMode.REPLACE, [b"Accept"], "replaced", id="replace: something else was"),
        pytest.param(VaryMode.REPLACE, [THREE], "complete", id="replace: just that was"),
        pytest.param(VaryMode.REPLACE, [THREE + b", A"], "replaced", id="replace: more was"),
        pytest.param(VaryMode.STRIP, [b"Accept"], "stripped", id="strip: something"),
        pytest.param(VaryMode.STRIP, [], "none", id="strip: nothing"),
        pytest.param(VaryMode.PASSTHROUGH, [b"Accept"], "none", id="passthrough"),
        pytest.param(VaryMode.IF_MISSING, [b"Accept"], "none", id="if-missing: there"),
        pytest.param(VaryMode.IF_MISSING, [], "added", id="if-missing: absent"),
        pytest.param(VaryMode.MINIMAL, [b"Accept"], "repaired", id="minimal"),
    ],
)
def test_what_was_done_is_told(mode, lines, action):
    found = effective(*lines, mode=mode)
    assert found.action == action
    assert found.said == (b", ".join(lines) if lines else None)


def test_white_space_around_names_is_no_part_of_them():
    found = effective(b"\tOrigin\t,\tAccept ", names=())
    assert (found.line, found.names) == (b"Origin, Accept", (b"accept", b"origin"))


def test_what_was_said_in_several_lines_is_told_in_one():
    assert effective(b"A", b"B").said == b"A, B"


def test_hundreds_of_names_select_all_the_same():
    line = b", ".join(b"X-%d" % number for number in range(300))
    found = effective(line, names=(b"Origin",))
    assert found.line == line + b", Origin"
    assert len(found.names) == 301
