"""Whatever becomes of Jobs, consent, windows and other runs: a test ends, and a primary is ordered to move once at
most, with consent where that is needed, within a window, and by the plan that was shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.api.failover import (
    FailoverMode,
    FailoverResult,
    FailoverStep,
    FailoverTask,
    FailoverVerdict,
    GuardResult,
    Member,
    MemberRole,
    ProviderTarget,
    Topology,
)
from databosun.api.injection import FaultKind, InjectedFault
from databosun.api.request import Request
from databosun.api.result import Outcome, Result
from databosun.api.targets import DatabaseTarget, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.failovertest import FailoverTestSpec
from databosun.api.v1alpha1.failovertestrun import FAILOVER_FINAL, FailoverTestRunSpec, FailoverTestRunStatus
from databosun.domain.attempt import JobSeen, PodSeen
from databosun.domain.consent import Consent
from databosun.domain.failoverguards import Backups
from databosun.domain.failoverorder import FAILOVER_RUN, FailoverFacts, FailoverOrder
from databosun.domain.failoverplan import make_plan
from databosun.domain.failoverrun import decide_failover
from databosun.domain.failovertest import effective_failover
from databosun.domain.plan import StartJob
from databosun.domain.requests import Named
from databosun.domain.run import Blocked, Doomed, RunFacts
from databosun.domain.running import RunState, stage, tried
from databosun.domain.timing import window_at
from support.backups import at

T0 = at("2026-03-01T02:00")
SPEC = {
    "databaseRef": {"name": "orders"},
    "evidence": {"storageRef": {"name": "prod"}},
    "windows": [{"cron": "0 3 * * *", "duration": "2h"}, {"cron": "30 22 * * *", "duration": "1h"}],
    "waitFor": "36h",
    "deadline": "30m",
}
TEST = effective_failover(FailoverTestSpec.model_validate(SPEC))
RUN = FailoverTestRunSpec.model_validate(
    {"testRef": {"name": "t"}, "databaseRef": {"name": "orders"}, "scheduledFor": T0.isoformat()}
)
ENDINGS = ("good", "unsettled", "refused", "failed", "crash", "lost", "never")
LONGEST = timedelta(days=4)
ASKED_FOR: list[tuple[FailoverMode, InjectedFault | None]] = [
    (FailoverMode.PLANNED_SWITCHOVER, None),
    (FailoverMode.FORCED_FAILOVER, None),
    (FailoverMode.FAULT_INJECTION, InjectedFault(kind=FaultKind.POD_DELETE)),
    (FailoverMode.FAULT_INJECTION, InjectedFault(kind=FaultKind.NETWORK_PARTITION, duration="30s")),
]
"""What may be asked for; the test may be edited at any moment."""


def order(*, approval_needed: bool, mode: FailoverMode, fault: InjectedFault | None) -> FailoverOrder:
    return FailoverOrder(
        database=DatabaseTarget(namespace="n", name="orders", uid="d", engine=EngineName.REDIS, hosts=["r"], port=1),
        storage=StorageTarget(namespace="n", name="prod", cluster_id="c"),
        secrets=(),
        image="runner",
        provider=ProviderTarget(provider="Sentinel"),
        mode=mode,
        fault=fault,
        test=TEST,
        lost_writes=0,
        approval_needed=approval_needed,
    )


@dataclass
class World:
    """One run from its first look to its verdict, and what was ordered on the way."""

    data: st.DataObject
    approval_needed: bool
    usual: int
    now: datetime = T0
    status: FailoverTestRunStatus = field(default_factory=FailoverTestRunStatus)
    job: StartJob | None = None
    created: datetime = T0
    recovers: list[StartJob] = field(default_factory=list)
    moved: list[tuple[datetime, Request, Consent | None]] = field(default_factory=list)

    def step(self) -> None:
        """One look of the operator."""
        consent = self._consent()
        plan = decide_failover(self._facts(consent), self.now)
        for one in plan.before:
            assert isinstance(one, StartJob)
            self._start(one, consent)
        if plan.status is not None:
            self.status = FailoverTestRunStatus.model_validate(plan.status)
        later = plan.wake_at or self.now
        self.now = max(later, self.now + timedelta(seconds=self.data.draw(st.sampled_from([1, 20, 600, 4000]))))

    def _start(self, one: StartJob, consent: Consent | None) -> None:
        task = one.request.job
        if not isinstance(task, FailoverTask):
            self.recovers.append(one)
            return
        self.job, self.created = one, self.now
        if task.step is FailoverStep.SWITCH:
            self.moved.append((self.now, one.request, consent))

    def _facts(self, consent: Consent | None) -> FailoverFacts:
        draw = self.data.draw
        blocked = Blocked("Waiting", "a backup is active") if draw(st.sampled_from([False, False, True])) else None
        doomed = Doomed("TestNotFound", "it is gone") if draw(st.sampled_from([False] * 9 + [True])) else None
        facts = RunFacts(
            created=T0,
            stage=stage(self.status),
            limits=TEST.limits,
            tried=tried(self.status),
            job=self._job_seen(),
            recovers=tuple(self._recover_seen(one) for one in self.recovers),
            blocked=blocked,
            doomed=doomed,
            recoverable=self.status.phase is None or self.status.step is not None,
        )
        state = RunState(FAILOVER_RUN, Named("n", "run", "uid"), 1, self.status, facts)
        age = draw(st.sampled_from([timedelta(hours=1), timedelta(hours=1), timedelta(days=3)]))
        backups = Backups(self.now - age, self.now - timedelta(days=1))
        mode, fault = draw(st.sampled_from([ASKED_FOR[self.usual]] * 9 + ASKED_FOR))
        what = order(approval_needed=self.approval_needed, mode=mode, fault=fault)
        return FailoverFacts(state, RUN, self.status, what, backups, consent)

    def _consent(self) -> Consent | None:
        if self.status.plan is None or not self.data.draw(st.booleans()):
            return None
        return Consent("a", self.status.plan.hash, self.now + timedelta(hours=self.data.draw(st.integers(1, 20))))

    def _job_seen(self) -> JobSeen | None:
        if self.job is None:
            return None
        request = self.job.request
        last = self.status.attempts[-1] if self.status.attempts else None
        wanted = 1 if last is None else last.number + (last.ended_at is not None)
        if request.attempt != wanted:
            return None
        ending = self.data.draw(st.sampled_from((*ENDINGS, "running")))
        if ending == "lost":
            return None
        seen = JobSeen(self.job.name, "j", request.attempt, self.created, request.deadline)
        pod = PodSeen("p", "u", self.created, started=True)
        if ending == "never":
            return seen
        if ending != "running":
            pod = replace(pod, terminated=True, ended=self.now, **self._said(request.job, ending))
        return replace(seen, pod=pod)

    def _recover_seen(self, one: StartJob) -> JobSeen:
        pod = PodSeen("p", "u", self.now, started=True, terminated=True, ended=self.now)
        found = self.data.draw(st.booleans())
        said = self._said(self.job.request.job, "good") if found and self.job else {"outcome": Outcome.FAILED}
        return JobSeen(one.name, "j", one.request.attempt, self.now, one.request.deadline, pod=replace(pod, **said))

    def _said(self, task: object, ending: str) -> dict[str, Any]:
        assert isinstance(task, FailoverTask)
        if ending == "crash":
            return {"exit_code": 139}
        if ending in ("refused", "failed"):
            outcome = Outcome.REFUSED if ending == "refused" else Outcome.FAILED
            return {"outcome": outcome, "reason": "Word", "retryable": self.data.draw(st.booleans())}
        result = Result(outcome=Outcome.SUCCEEDED, reason="R", failover=self._result(task, settled=ending == "good"))
        return {"outcome": Outcome.SUCCEEDED, "reason": "R", "result": result, "result_expected": True}

    def _result(self, task: FailoverTask, *, settled: bool) -> FailoverResult:
        draw = self.data.draw
        nodes = [Member(name=name, host=name, port=1, role=MemberRole.REPLICA, healthy=True) for name in ("a", "b")]
        looks = task.step is FailoverStep.DISCOVER
        holds = draw(st.sampled_from([True, True, False]))
        return FailoverResult(
            id="run",
            step=task.step,
            verdict=None if looks else draw(st.sampled_from(FailoverVerdict)),
            reason="Word",
            message="words",
            plan_hash=task.plan.hash if task.plan else None,
            primary="a",
            candidate="b",
            topology=Topology(observed_at=self.now, provider="Sentinel", primary="a", members=nodes),
            guards=[GuardResult(name="maxLagBytes", ok=holds, observed="1", limit="2")] if looks else [],
            settled=looks or settled,
        )


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans(), st.integers(0, 3))
def test_it_ends_and_moves_once_at_most_and_never_without_what_it_needs(
    data: st.DataObject, approval_needed: bool, usual: int
) -> None:
    world = World(data, approval_needed, usual)
    while world.status.phase not in FAILOVER_FINAL:
        assert world.now - T0 <= LONGEST, f"it goes on and on: {world.status.dump()}"
        world.step()
    assert len(world.moved) <= 1
    for when, request, consent in world.moved:
        task = request.job
        assert isinstance(task, FailoverTask)
        assert request.not_after is not None
        closes, _ = window_at(TEST.windows, when)
        assert closes is not None, "it was ordered outside of every window"
        assert when < request.not_after <= closes
        assert not approval_needed or (consent is not None and request.not_after <= consent.not_after)
        plan = world.status.plan
        assert task.plan is not None
        assert plan is not None
        assert (task.plan.hash, task.mode, task.fault) == (plan.hash, plan.mode, plan.fault)
        what = task.provider.provider, task.mode, plan.primary, plan.candidate, plan.members, task.fault
        assert make_plan(task.uid, *what).hash == plan.hash, "what is done is not what was shown"
    if str(world.status.phase) == "Passed":
        assert world.moved, "nothing was moved, and it passed"
    assert world.status.completion_time is not None
    assert (world.status.phase == "Passed") == (world.status.failure is None)
