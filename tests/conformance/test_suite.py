"""The harness measures right: it reads results as the suite's authors do."""

from __future__ import annotations

import pytest

from tests.conformance import runner, suite
from tests.conformance.suite import Test

KNOWN = {
    test.id: test
    for test in (
        Test("base", "s", "", "check", (), False),
        Test("must", "s", "", "required", ("base",), False),
        Test("better", "s", "", "optimal", ("must",), False),
    )
}


@pytest.mark.parametrize(
    ("results", "outcomes"),
    [
        pytest.param(
            {"base": True, "must": True, "better": True}, "yes pass pass", id="all is well"
        ),
        pytest.param(
            {"base": ["Assertion", "x"], "must": True, "better": True},
            "no dependency dependency",
            id="what rests on a no has not been tested, however deep",
        ),
        pytest.param(
            {"base": True, "must": ["Assertion", "x"], "better": ["Assertion", "x"]},
            "yes fail dependency",
            id="a failure counts once",
        ),
        pytest.param(
            {"base": True, "must": True, "better": ["Assertion", "x"]},
            "yes pass fail",
            id="an optimal failure",
        ),
        pytest.param(
            {"base": True, "must": ["Setup", "x"], "better": ["Setup", "retry"]},
            "yes setup dependency",
            id="what could not be set up has not passed",
        ),
        pytest.param(
            {"base": ["Setup", "retry"]}, "retry untested untested", id="retries and silence"
        ),
        pytest.param(
            {"base": ["FetchError", "socket hang up"], "must": True, "better": True},
            "no dependency dependency",
            id="a client's error is no answer",
        ),
    ],
)
def test_a_result_means_what_the_suite_says(results, outcomes):
    assert " ".join(suite.classify(KNOWN, results).values()) == outcomes


def test_the_published_results_are_read_as_their_authors_read_them():
    # nginx 1.22, measured with this harness, gives the same three numbers.
    nginx = runner.peers()["nginx 1.18.0"]
    counts = [str(suite.count(nginx.known, nginx.outcomes, kind)) for kind in runner.KINDS]
    assert counts == ["94/165", "50/95", "27/90"]


@pytest.mark.parametrize(
    ("recorded", "found", "worse", "other"),
    [
        pytest.param({}, {"must": True}, 0, 0, id="nothing recorded, everything passes"),
        pytest.param({}, {"must": ["Assertion", ""]}, 1, 0, id="a new failure"),
        pytest.param(
            {"must": "fail"}, {"must": ["Assertion", ""]}, 0, 0, id="a failure that is listed"
        ),
        pytest.param({"must": "fail"}, {"must": True}, 0, 1, id="a failure that went away"),
        pytest.param(
            {"must": "dependency"}, {"must": ["Assertion", ""]}, 0, 1, id="failing in another way"
        ),
        pytest.param({"base": "yes"}, {}, 0, 1, id="another answer to a question"),
        pytest.param({"removed": "fail"}, {"must": True}, 1, 0, id="a test that is gone"),
    ],
)
def test_changes_are_judged(recorded, found, worse, other):
    known = {"must": Test("must", "s", "", "required", (), False)}
    results: dict[str, object] = {"must": True, **found}
    if "base" in recorded:
        known["base"] = KNOWN["base"]
        results["base"] = ["Assertion", ""]
    run = runner.Run(known, results, suite.classify(known, results))
    expected = {name: {"outcome": outcome} for name, outcome in recorded.items()}
    assert tuple(map(len, runner.changes(run, expected))) == (worse, other)
