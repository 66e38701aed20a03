"""A simulated database of two nodes, and the agent that makes it fail over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.failover import (
    FailoverMeasured,
    FailoverResult,
    FailoverStep,
    FailoverTask,
    FailoverVerdict,
    GuardResult,
    Member,
    MemberRole,
    TimelineEvent,
    Topology,
)
from databosun.api.result import Outcome, Result
from databosun.domain.failoverplan import make_plan


@dataclass(slots=True)
class Nodes:
    """Who is primary, how often that moved, what a switch left behind, and the evidence by run."""

    primary: str = "n1"
    moves: int = 0
    left_behind: bool = False
    settles: int = 0
    healthy: bool = True
    evidence: dict[str, FailoverResult] = field(default_factory=dict)

    @property
    def candidate(self) -> str:
        """The other one."""
        return "n2" if self.primary == "n1" else "n1"

    def serve(self, task: FailoverTask, now: datetime) -> Result:
        """One Job's work."""
        if task.step is FailoverStep.DISCOVER:
            return _told(self._seen(task, now))
        if (known := self.evidence.get(task.id)) is not None:
            self.left_behind = False
            return _told(known)
        if task.step is FailoverStep.SETTLE:
            self.settles += 1
            self.left_behind = False
            return _told(self._written(task, now, FailoverVerdict.INCONCLUSIVE, "LedgerLost", "no ledger is left"))
        return self._switch(task, now)

    def move(self) -> None:
        """What the order to switch does."""
        self.primary, self.moves = self.candidate, self.moves + 1

    def _switch(self, task: FailoverTask, now: datetime) -> Result:
        plan = task.plan
        assert plan is not None
        what = task.provider.provider, task.mode, self.primary, self.candidate, ["n1", "n2"], task.fault
        found = make_plan(task.uid, *what)
        if found.hash != plan.hash:
            return _told(
                self._written(task, now, FailoverVerdict.REFUSED, "PlanChanged", f"{self.primary} is primary now")
            )
        if not self.healthy:
            return _told(self._written(task, now, FailoverVerdict.REFUSED, "GuardFailed", "the replica is gone"))
        self.move()
        done = self._written(task, now, FailoverVerdict.PASSED, "Passed", "2.6 s without a write, none lost")
        return _told(done)

    def _written(
        self, task: FailoverTask, now: datetime, verdict: FailoverVerdict, reason: str, message: str
    ) -> FailoverResult:
        moved = verdict is FailoverVerdict.PASSED
        measured = FailoverMeasured(write_downtime_seconds=2.6, acknowledged=400, rejoin_seconds=9.0) if moved else None
        seen = self._seen(task, now)
        result = seen.model_copy(
            update={
                "topology_after": seen.topology if moved else None,
                "verdict": verdict,
                "reason": reason,
                "message": message,
                "plan_hash": task.plan.hash if task.plan else None,
                "measured": measured,
                "ordered_at": now if moved else None,
                "timeline": [TimelineEvent(at=now, event="SwitchOrdered")] if moved else [],
                "evidence": f"file:///orders/failovers/{task.id}/evidence.json",
                "evidence_sha256": hashlib.sha256(task.id.encode()).hexdigest(),
            }
        )
        self.evidence[task.id] = result
        return result

    def _seen(self, task: FailoverTask, now: datetime) -> FailoverResult:
        nodes = [
            Member(
                name=name,
                host=name,
                port=5432,
                role=MemberRole.PRIMARY if name == self.primary else MemberRole.REPLICA,
                healthy=self.healthy or name == self.primary,
                lag_bytes=0,
            )
            for name in ("n1", "n2")
        ]
        replicas = 1 if self.healthy else 0
        guard = GuardResult(
            name="minHealthyReplicas", ok=self.healthy, observed=str(replicas), limit="at least 1", message="start it"
        )
        return FailoverResult(
            id=task.id,
            step=task.step,
            reason="Looked",
            message="looked",
            primary=self.primary,
            candidate=self.candidate,
            topology=Topology(observed_at=now, provider=task.provider.provider, primary=self.primary, members=nodes),
            guards=[guard],
        )


def _told(result: FailoverResult) -> Result:
    return Result(outcome=Outcome.SUCCEEDED, reason=result.reason, message=result.message, failover=result)
