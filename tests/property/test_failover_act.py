"""Whatever dies on the way, and whatever else happens to the pod: the operator strikes one pod at most, and never one
that came after it; it says "done" of nothing that was not, and "not done" of nothing that was, also where Chaos Mesh
did it and had no time to say so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode
from databosun.api.injection import FaultKind, InjectedFault
from databosun.domain.failoveract import ActFacts, EndPod, Inject, PodFound, Withdraw, decide_act
from databosun.domain.failoverchaos import Injection
from databosun.domain.failoverplan import make_plan

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FAULTS = (
    InjectedFault(kind=FaultKind.POD_DELETE),
    InjectedFault(kind=FaultKind.CONTAINER_KILL),
    InjectedFault(kind=FaultKind.NETWORK_PARTITION, duration="30s"),
)
POD = PodFound("n", "0", ("h",), "StatefulSet s", deleting=False, agent=False, containers=("c",), claims=frozenset("c"))
ACTIONS = (
    "look",
    "look",
    "die before",
    "die after",
    "another pod",
    "mesh does",
    "mesh begins",
    "mesh ends",
    "not any more",
    "later",
)


@dataclass
class World:
    """A pod, the word that was written down, and what Chaos Mesh was told. `struck`: uids of pods."""

    fault: InjectedFault
    now: datetime = NOW
    pod: PodFound | None = POD
    begun: str | None = None
    injection: Injection | None = None
    target: str | None = None
    against: str | None = None
    struck: list[str] = field(default_factory=list)
    answer: ActAnswer | None = None
    pods: int = 0

    def do(self, action: str) -> None:
        """One thing that happens."""
        if action == "later":
            self.now += timedelta(seconds=40)
        elif action == "another pod":
            self._replace()
        elif action == "not any more":
            self.against = "no window is open"
        elif action.startswith("mesh") and self.injection is not None:
            if self.target is not None and self.pod is not None and self.pod.uid == self.target:
                if action != "mesh does":
                    done = action == "mesh ends" or self.injection.done
                    self.injection = replace(self.injection, begun=True, done=done)
                self.struck.append(self.target)
        elif self.answer is None:
            self._look(action)

    def _look(self, action: str) -> None:
        plan = make_plan("u", "Sentinel", FailoverMode.FAULT_INJECTION, "n", "m", ["n", "m"], self.fault)
        asked = ActAsked(plan_hash=plan.hash, member="n", host="h", not_after=NOW + timedelta(seconds=90))
        facts = ActFacts(asked, plan, self.pod, self.begun, None, self.against, self.injection)
        decided = decide_act(facts, self.now)
        if isinstance(decided, EndPod | Inject) and decided.first:
            self.begun = decided.uid
        if action == "die before":
            return
        if isinstance(decided, EndPod):
            if self.pod is not None and self.pod.uid == decided.uid:  # else the API server refuses it
                self.struck.append(decided.uid)
                self.pod = None
            if action == "look":
                self.answer = ActAnswer(plan_hash=plan.hash, done=True, message="")
        elif isinstance(decided, Inject) and self.injection is None:
            self.injection, self.target = Injection("PodChaos", "x", "u", "1", begun=False, done=False), decided.uid
        elif isinstance(decided, Withdraw):
            assert not decided.injection.begun
            self.injection = None
        elif isinstance(decided, ActAnswer) and action == "look":
            self.answer = decided

    def _replace(self) -> None:
        self.pods += 1
        if self.pod is not None:
            self.pod = replace(self.pod, uid=str(self.pods))
        else:
            self.pod = replace(POD, uid=str(self.pods))


@given(st.sampled_from(FAULTS), st.lists(st.sampled_from(ACTIONS), max_size=20))
def test_one_pod_at_most_is_struck_and_what_is_said_of_it_is_true(fault: InjectedFault, actions: list[str]) -> None:
    world = World(fault)
    for action in actions:
        world.do(action)
    assert len(set(world.struck)) <= 1
    assert set(world.struck) <= {world.begun}
    if world.answer is not None and not world.answer.done and not world.answer.uncertain:
        assert not world.struck
    if world.answer is not None and world.answer.done and fault.kind is not FaultKind.POD_DELETE:
        assert world.struck
    for _ in range(3):  # and it ends
        world.do("later")
    for _ in range(3):
        world.do("look")
    assert world.answer is not None
    world.do("mesh ends")  # what was said to be not done is not done later either
    assert world.answer.done or world.answer.uncertain or not world.struck
