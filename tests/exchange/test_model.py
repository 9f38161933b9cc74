"""Random origins, random requests, a moved clock: no reply that RFC 9111 forbids.

MODEL_STEPS sets how many steps are taken in all (100 000 takes a few minutes).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.exchange.conftest import Edge
from tests.exchange.model import Behaviour, World

STEPS = 50
EXAMPLES = max(1, int(os.environ.get("MODEL_STEPS", "5000")) // STEPS)

TARGETS = st.sampled_from([b"/a", b"/b?x=1"])
ORIGINS = st.sampled_from(
    [None, b"https://a.example", b"https://b.example", b"https://evil.example"]
)
BEHAVIOURS = st.builds(
    Behaviour,
    max_age=st.sampled_from([None, 0, 5, 30]),
    s_maxage=st.sampled_from([None, None, None, 3]),
    flags=st.frozensets(
        st.sampled_from(["no-store", "private", "no-cache", "must-revalidate", "public"]),
        max_size=2,
    ).filter(lambda flags: len(flags & {"no-store", "private"}) < 2),
    window=st.sampled_from(
        [None, None, ("stale-while-revalidate", 10), ("stale-if-error", 10), ("stale-if-error", 0)]
    ),
    vary=st.sampled_from(
        [(), (), (b"Origin",), (b"X-Select",), (b"Accept-Language", b"origin"), (b"*",)]
    ),
    etag=st.booleans(),
    modified=st.booleans(),
    cors=st.sampled_from(["none", "echo", "star", "listed"]),
    status=st.sampled_from([200, 200, 200, 200, 404, 503]),
    down=st.sampled_from([False, False, False, True]),
    broken=st.sampled_from([False, False, False, True]),
    age=st.sampled_from([0, 0, 4]),
    bare_304=st.booleans(),
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "accept_language": st.sampled_from([b"de", b"en"]),
        "x_select": st.sampled_from([b"1", b"2"]),
        "authorization": st.just(b"Basic x"),
        "cache_control": st.sampled_from(
            [b"no-cache", b"no-store", b"max-age=2", b"max-stale", b"max-stale=3"]
        ),
        "if_none_match": st.sampled_from([b'"v0"', b'"v1"', b'"v0", "v1"']),
        "range": st.sampled_from([b"bytes=0-3", b"bytes=2-", b"bytes=-3"]),
    },
)


class Cache(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World(Edge())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.world.edge.tasks.close())
        self.loop.close()

    def _ask(self, target: bytes, method: bytes, fields: dict[str, bytes]) -> None:
        self.loop.run_until_complete(self.world.ask(target, method, fields))

    @rule(path=TARGETS, origin=ORIGINS)
    def get(self, path: bytes, origin: bytes | None) -> None:
        self._ask(path, b"GET", {} if origin is None else {"origin": origin})

    @rule(path=TARGETS, origin=ORIGINS, asked=ASKED)
    def get_with(self, path: bytes, origin: bytes | None, asked: dict[str, bytes]) -> None:
        self._ask(path, b"GET", asked if origin is None else {**asked, "origin": origin})

    @rule(
        path=TARGETS,
        behaviour=BEHAVIOURS,
        origins=st.lists(ORIGINS, min_size=2, max_size=4),
        seconds=st.sampled_from([0, 1, 4, 12, 50]),
        asked=ASKED,
    )
    def get_again(
        self,
        path: bytes,
        behaviour: Behaviour,
        origins: list[bytes | None],
        seconds: int,
        asked: dict[str, bytes],
    ) -> None:
        """What most faults need: an answer, some time, and somebody who may not have it."""
        self.publish(path)
        self.behave(path, replace(behaviour, down=False, broken=False))
        for origin in origins[:-1]:
            self.get(path, origin)
        self.wait(seconds)
        self.get_with(path, origins[-1], asked)

    @rule(path=TARGETS)
    def head(self, path: bytes) -> None:
        self._ask(path, b"HEAD", {})

    @rule(path=TARGETS, method=st.sampled_from([b"POST", b"PUT", b"DELETE"]))
    def change(self, path: bytes, method: bytes) -> None:
        self._ask(path, method, {})

    @rule(seconds=st.sampled_from([1, 4, 12, 50, 90000]))
    def wait(self, seconds: int) -> None:
        self.world.edge.clock.forward(seconds)

    @rule(path=TARGETS, behaviour=BEHAVIOURS)
    def behave(self, path: bytes, behaviour: Behaviour) -> None:
        self.world.behaviour[path] = behaviour

    @rule(path=TARGETS)
    def publish(self, path: bytes) -> None:
        self.world.versions[path] = self.world.versions.get(path, 0) + 1

    @precondition(lambda self: bool(self.world.behaviour))
    @rule(path=TARGETS, down=st.booleans())
    def fail_or_recover(self, path: bytes, down: bool) -> None:
        before = self.world.behaviour.get(path, Behaviour())
        self.world.behaviour[path] = replace(before, down=down, broken=False)


Cache.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="MODEL_STEPS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate]
    if "MODEL_STEPS" in os.environ
    else list(Phase),
)
TestModel = Cache.TestCase
