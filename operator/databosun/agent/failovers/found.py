"""What one test has found so far, and the result that comes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from databosun.agent.context import Context
from databosun.agent.failovers.clients import Crowd
from databosun.agent.failovers.paths import Shown, rounded
from databosun.api.failover import (
    FailoverMeasured,
    FailoverPlan,
    FailoverResult,
    FailoverTask,
    FailoverVerdict,
    GuardResult,
    TimelineEvent,
    Topology,
)
from databosun.api.failoverprobe import MAX_CLIENTS_TOLD
from databosun.domain.failoverplan import make_plan, way_back
from databosun.domain.ledger import ReadBack
from databosun.domain.ledgerjudge import Judged, Span, downtime, judge
from databosun.domain.ledgerpaths import PathFigures
from databosun.domain.ledgerverdict import Decided, MoveFacts, Objectives, decide_verdict, split_brain_lines

BACK = "Failback"
"""What events of the move back begin with."""


@dataclass
class Found:
    """Instants are of the monotonic clock, but for the timeline and `ordered_at`. `promoted`: who took writes after it;
    where that is the primary that there was, `recovered_after` and `resumed` say since when.

    `former`: of the move back, what was measured before it; its timeline, clients and read-backs are those of the first
    move, of which `read_before` were made before. `handovers`: of the primary, in all of the ledger."""

    ctx: Context
    task: FailoverTask
    plan: FailoverPlan
    topology: Topology | None = None
    topology_after: Topology | None = None
    guards: list[GuardResult] = field(default_factory=list)
    timeline: list[TimelineEvent] = field(default_factory=list)
    crowd: Crowd = field(default_factory=Crowd)
    prepared: bool = False
    ordered: float | None = None
    ordered_at: datetime | None = None
    promoted: str | None = None
    promoted_after: float | None = None
    recovered_after: float | None = None
    resumed: float | None = None
    rejoined_after: float | None = None
    missing: str | None = None
    stopped: float | None = None
    backs: list[ReadBack] = field(default_factory=list)
    divergence: list[str] = field(default_factory=list)
    switch_fault: str | None = None
    unseen: str | None = None
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    former: FailoverMeasured | None = None
    read_before: int = 0
    handovers: int = 1

    def planned_anew(self, topology: Topology, candidate: str) -> FailoverPlan:
        """The plan that what is found now would make."""
        task, primary = self.task, topology.primary or ""
        names = [one.name for one in topology.members]
        if self.former is not None:
            return way_back(task.uid, self.plan.model_copy(update={"primary": candidate, "members": names}), primary)
        what = topology.provider, task.mode, primary, candidate, names
        return make_plan(task.uid, *what, task.fault, topology.shard, task.failback)

    def event(self, event: str, node: str | None = None, note: str | None = None) -> None:
        """Something happened, now."""
        event = f"{BACK}{event}" if self.former is not None else event
        self.ctx.log.info("failover", what=event, node=node, note=note)
        self.timeline.append(TimelineEvent(at=self.ctx.clock(), event=event, node=node, note=note))

    def since_order(self) -> float:
        """Seconds since the switch was ordered."""
        return time.monotonic() - (self.ordered if self.ordered is not None else time.monotonic())

    def refused(self, reason: str, message: str) -> FailoverResult:
        """Nothing was moved."""
        return self.result(FailoverVerdict.REFUSED, reason, message)

    def judged(self) -> Judged | None:
        """What the ledger says; None where the switch was never ordered."""
        if self.ordered is None:
            return None
        return judge(self.crowd.writes, self.backs, self._span(self.ordered), self.crowd.sightings)

    @property
    def shown(self) -> Shown:
        """What clients and watchers met."""
        return Shown(self.crowd, self.ctx.log.redactor.text)

    def _paths(self, judged: Judged | None) -> list[PathFigures]:
        if judged is None or self.ordered is None:
            return []
        return self.shown.paths(judged.clients, self._span(self.ordered))

    def concluded(self) -> FailoverResult:
        """The verdict of a test that was gone through with."""
        judged = self.judged()
        paths = self._paths(judged)
        objectives = Objectives(self.task.write_downtime_seconds, self.task.lost_writes, self.task.rejoin_seconds)
        facts = MoveFacts(
            objectives,
            judged,
            self.rejoined_after,
            self.missing,
            len(self.backs) - self.read_before,
            self.divergence,
            self.switch_fault,
            unseen=self.unseen,
            again=self.plan.primary if self.recovered_after is not None else None,
            paths=paths,
        )
        decided = decide_verdict(facts)
        return self._measured(decided, judged, split_brain_lines(facts), paths)

    def aborted(self, reason: str, message: str) -> FailoverResult:
        """Stopped on the way."""
        return self.result(FailoverVerdict.ABORTED, reason, message)

    def result(self, verdict: FailoverVerdict, reason: str, message: str) -> FailoverResult:
        """The result without figures."""
        return FailoverResult(
            id=self.task.id,
            step=self.task.step,
            verdict=verdict,
            reason=reason,
            message=message,
            plan_hash=self.plan.hash,
            primary=self.plan.primary,
            candidate=self.promoted or self.plan.candidate,
            topology=self.topology,
            topology_after=self.topology_after,
            guards=self.guards,
            timeline=self.timeline,
            settled=not self.left,
            notes=[*self.left, *self.notes],
            ordered_at=self.ordered_at,
        )

    def _measured(
        self, decided: Decided, judged: Judged | None, split_brain: list[str], paths: Sequence[PathFigures]
    ) -> FailoverResult:
        result = self.result(decided.verdict, decided.reason, decided.message)
        if judged is None or self.ordered is None:
            return result
        reads = self.crowd.reads
        former = self.former or FailoverMeasured()
        measured = FailoverMeasured(
            write_downtime_seconds=round(judged.downtime.seconds, 3) if judged.before else None,
            read_downtime_seconds=round(downtime(reads, self._span(self.ordered)).seconds, 3) if len(reads) else None,
            resumed=judged.downtime.resumed,
            promotion_seconds=rounded(self.promoted_after),
            recovered_seconds=rounded(self.recovered_after),
            rejoin_seconds=rounded(self.rejoined_after),
            acknowledged=judged.acknowledged - former.acknowledged,
            lost=judged.losses.lost.count - former.lost,
            unknown=judged.unknown - former.unknown,
            phantom=judged.losses.phantom.count - former.phantom,
            reappeared=judged.losses.reappeared - former.reappeared,
            rejoin_lost=judged.losses.rejoin_lost.count - former.rejoin_lost,
            unexplained=judged.unexplained - former.unexplained,
            split_brain=split_brain,
        )
        more = {
            "measured": measured,
            "clients": [self.shown.client(one) for one in judged.clients[:MAX_CLIENTS_TOLD]],
            "paths": [self.shown.path(one) for one in paths],
            "instances": self.shown.instances(self.ordered),
        }
        return result.model_copy(update=more)

    def _span(self, ordered: float) -> Span:
        until = self.stopped if self.stopped is not None else time.monotonic()
        another = self.promoted if self.recovered_after is None else None
        return Span(ordered, until, another, self.handovers)
