"""Fixtures: each framework once per session, and what it says when it is asked directly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest

from tests.frameworks.apps.site import POLICIES
from tests.frameworks.behind import PASSED_THROUGH, Proxy, behind_proxy
from tests.frameworks.corpus import Question, questions
from tests.frameworks.origins import NAMED, Framework, Program, running
from tests.real.asking import Got, asking


@dataclass(frozen=True)
class Origin:
    """A framework with one policy. ``told`` is what it answered directly, by question."""

    program: Program
    url: str
    told: dict[Question, Got] = field(default_factory=dict)

    def behind(self, clock: Callable[[], float] = time.time) -> AbstractAsyncContextManager[Proxy]:
        """A proxy of its own before it, that leaves CORS to it."""
        return behind_proxy(PASSED_THROUGH.format(url=self.url), clock)

    async def ask_all(self) -> list[Question]:
        """Every question, once it has been asked of the origin itself."""
        async with asking(self.url) as ask:
            tag = (await ask("/plain"))["etag"]
            assert tag is not None
            asked = questions(self.program, tag)
            for one in asked:
                if one not in self.told:
                    self.told[one] = await one.put_to(ask)
        return asked


@pytest.fixture(scope="session", params=NAMED)
def framework(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Framework]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture(scope="session", params=POLICIES)
def origin(request: pytest.FixtureRequest, framework: Framework) -> Origin:
    return Origin(framework.program, framework.urls[request.param])
