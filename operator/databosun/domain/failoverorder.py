"""The Jobs of a failover test: what looks, what switches, what puts in order, and what reads the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.backuptasks import RecoverTask
from databosun.api.failover import (
    FailbackWhen,
    FailoverMode,
    FailoverPlan,
    FailoverStep,
    FailoverTask,
    GuardResult,
    ProviderTarget,
)
from databosun.api.injection import InjectedFault
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.failovertestrun import (
    FailoverPhase,
    FailoverTestRunSpec,
    FailoverTestRunStatus,
    PlannedFailover,
)
from databosun.domain.consent import Consent
from databosun.domain.failoverguards import Backups
from databosun.domain.failovertest import EffectiveFailover
from databosun.domain.plan import Plan, StartJob
from databosun.domain.run import Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, look_for
from databosun.domain.running import RunKind

FAILOVER_RUN = RunKind("FailoverTestRun", FailoverPhase.PENDING, FailoverPhase.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverOrder(JobOrder):
    """What the Jobs of one test are told of their own. `approval_needed`: by the test, or since it is Production."""

    database: DatabaseTarget
    provider: ProviderTarget
    mode: FailoverMode
    fault: InjectedFault | None
    failback: FailbackWhen = FailbackWhen.NEVER
    test: EffectiveFailover
    lost_writes: int
    approval_needed: bool


@dataclass(frozen=True, slots=True)
class FailoverFacts(Unfinished[FailoverTestRunSpec, FailoverTestRunStatus, FailoverOrder]):
    """One unfinished run. `consent`: the Approval of its plan; `moved`: when a test moved this database's primary
    last; `provider_guards`: what the provider's own object in the cluster says."""

    backups: Backups = field(default_factory=Backups)
    consent: Consent | None = None
    moved: datetime | None = None
    provider_guards: tuple[GuardResult, ...] = ()


def look_job(facts: FailoverFacts, step: Start) -> StartJob:
    """It only reads. Also the agent starts nothing after the run's notAfter: its Job may have waited for a node."""
    not_after = facts.spec.not_after if step.number == 1 else None
    return attempt_job(facts.state, facts.ordered, step, _task(facts, FailoverStep.DISCOVER, None), not_after=not_after)


def switch_job(facts: FailoverFacts, plan: PlannedFailover, step: Start, not_after: datetime) -> StartJob:
    """The one that moves the primary, if all is still as planned, and not after `not_after`."""
    return attempt_job(facts.state, facts.ordered, step, _task(facts, FailoverStep.SWITCH, plan), not_after=not_after)


def settle_job(facts: FailoverFacts, step: Start) -> StartJob:
    """Puts in order what a switch may have left."""
    return attempt_job(facts.state, facts.ordered, step, _task(facts, FailoverStep.SETTLE, facts.status.plan))


def look_for_verdict(facts: FailoverFacts, step: Recover, now: datetime) -> Plan:
    """Read the evidence, where nobody heard what came of it."""
    order = facts.ordered
    task = RecoverTask(database=order.database.name, id=facts.state.ref.name, durable="failover")
    return look_for(facts.state, order, step, task, now)


def _task(facts: FailoverFacts, step: FailoverStep, plan: PlannedFailover | None) -> FailoverTask:
    order, test = facts.ordered, facts.ordered.test
    return FailoverTask(
        id=facts.state.ref.name,
        uid=facts.state.ref.uid,
        step=step,
        mode=order.mode,
        fault=order.fault,
        provider=order.provider,
        plan=FailoverPlan.model_validate(plan.model_dump()) if plan is not None else None,
        failback=order.failback,
        guards=test.guards,
        probe=test.probe,
        write_downtime_seconds=test.write_downtime,
        lost_writes=order.lost_writes,
        rejoin_seconds=test.rejoin,
        abort_seconds=test.abort,
        lock_seconds=int(test.lock.total_seconds()) if test.lock is not None else None,
    )
