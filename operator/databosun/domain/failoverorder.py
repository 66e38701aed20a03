"""The Jobs of a failover test: what looks, what switches, what puts in order, and what reads the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.failover import FailoverMode, FailoverPlan, FailoverStep, FailoverTask, ProviderTarget
from databosun.api.request import DatabaseTarget, RecoverTask, Request, SecretUse, StorageTarget
from databosun.api.v1alpha1.common import PodTemplate
from databosun.api.v1alpha1.failovertestrun import (
    FailoverPhase,
    FailoverTestRunSpec,
    FailoverTestRunStatus,
    PlannedFailover,
)
from databosun.domain.failoverguards import Backups, Consent
from databosun.domain.failovertest import EffectiveFailover
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import StartJob
from databosun.domain.run import Recover, Start
from databosun.domain.running import RunKind, RunState, recover_request, references

FAILOVER_RUN = RunKind("FailoverTestRun", FailoverPhase.PENDING, FailoverPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class FailoverOrder:
    """All that the Jobs of one test need to be told. `approval_needed`: by the test, or since it is Production."""

    database: DatabaseTarget
    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    image: str
    provider: ProviderTarget
    mode: FailoverMode
    test: EffectiveFailover
    lost_writes: int
    approval_needed: bool
    policy_uid: str | None = None
    storage_uid: str | None = None
    storage_claim: str | None = None
    pod_template: PodTemplate | None = None


@dataclass(frozen=True, slots=True)
class FailoverFacts:
    """One unfinished run. `order` is None where what it refers to is gone. `consent`: the Approval of its plan;
    `moved`: when a test moved this database's primary last."""

    state: RunState
    spec: FailoverTestRunSpec
    status: FailoverTestRunStatus
    order: FailoverOrder | None
    backups: Backups = field(default_factory=Backups)
    consent: Consent | None = None
    moved: datetime | None = None

    @property
    def ordered(self) -> FailoverOrder:
        """The order, where one must be there."""
        assert self.order is not None  # noqa: S101 (nothing is started, nor planned, of what is doomed)
        return self.order


def look_job(facts: FailoverFacts, step: Start) -> StartJob:
    """It only reads. Also the agent starts nothing after the run's notAfter: its Job may have waited for a node."""
    not_after = facts.spec.not_after if step.number == 1 else None
    return _work(facts, step, _task(facts, FailoverStep.DISCOVER, None), not_after)


def switch_job(facts: FailoverFacts, plan: PlannedFailover, step: Start, not_after: datetime) -> StartJob:
    """The one that moves the primary, if all is still as planned, and not after `not_after`."""
    return _work(facts, step, _task(facts, FailoverStep.SWITCH, plan), not_after)


def settle_job(facts: FailoverFacts, step: Start) -> StartJob:
    """Puts in order what a switch may have left."""
    return _work(facts, step, _task(facts, FailoverStep.SETTLE, facts.status.plan), None)


def recover_job(facts: FailoverFacts, step: Recover, now: datetime) -> StartJob:
    """Reads the evidence, where nobody heard what came of it."""
    order, name = facts.ordered, facts.state.ref.name
    secrets = [use for use in order.secrets if not use.use.startswith(("database", "failover"))]
    request = recover_request(facts.state, step, order.storage, secrets, order.image, now)
    task = RecoverTask(database=order.database.name, id=name, durable="failover")
    return _job(facts, recover_job_name(name, step.number), request(task))


def _task(facts: FailoverFacts, step: FailoverStep, plan: PlannedFailover | None) -> FailoverTask:
    order, test = facts.ordered, facts.ordered.test
    return FailoverTask(
        id=facts.state.ref.name,
        uid=facts.state.ref.uid,
        step=step,
        mode=order.mode,
        provider=order.provider,
        plan=FailoverPlan.model_validate(plan.model_dump()) if plan is not None else None,
        guards=test.guards,
        probe=test.probe,
        write_downtime_seconds=test.write_downtime,
        lost_writes=order.lost_writes,
        rejoin_seconds=test.rejoin,
        abort_seconds=test.abort,
        lock_seconds=int(test.lock.total_seconds()) if test.lock is not None else None,
    )


def _work(facts: FailoverFacts, step: Start, task: FailoverTask, not_after: datetime | None) -> StartJob:
    order, name = facts.ordered, facts.state.ref.name
    request = Request(
        run=name,
        attempt=step.number,
        deadline=step.deadline.replace(microsecond=0),
        not_after=not_after,
        database=order.database,
        storage=order.storage,
        secrets=list(order.secrets),
        image=order.image,
        job=task,
    )
    return _job(facts, attempt_job_name(name, step.number), request)


def _job(facts: FailoverFacts, name: str, request: Request) -> StartJob:
    order = facts.ordered
    return StartJob(
        name=name,
        namespace=facts.state.ref.namespace,
        owner=facts.state.owner,
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=references(order.database.uid, order.policy_uid, order.storage_uid),
        storage_claim=order.storage_claim,
    )
