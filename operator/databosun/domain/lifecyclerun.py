"""A LifecycleRun: what the steps of its run mean, the Job that looks or enforces, and what its result says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.lifecycle import BatchOrder, LifecycleMode, LifecycleOrder, ThrottleOrder
from databosun.api.lifecycleresult import LifecycleResult, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.targets import DatabaseTarget
from databosun.api.tiering import TieringScope
from databosun.api.v1alpha1.lifecyclerun import LifecyclePhase, LifecycleRunSpec, LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord, LifecyclePlanStatus
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending, JobSeen
from databosun.domain.conditions import kstatus
from databosun.domain.consent import Consent
from databosun.domain.lifecycleview import (
    approved_calls,
    done,
    looked,
    plan_status,
    processed_by,
    rule_results,
    rule_state,
)
from databosun.domain.plan import DeleteJob, Plan, PostEvent
from databosun.domain.run import Conclude, Doomed, Recover, Start, Watch, decide_run
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import RunKind, RunState, chosen, started, with_success, without_success

LIFECYCLE_RUN = RunKind("LifecycleRun", LifecyclePhase.PENDING, LifecyclePhase.RUNNING)
# The agent still verifies, counts and writes its audit after the last batch.
CLOSING = timedelta(minutes=1)
_PHASES = {
    RuleState.COMPLETED: LifecyclePhase.SUCCEEDED,
    RuleState.LIMITED: LifecyclePhase.SUCCEEDED,
    RuleState.REFUSED: LifecyclePhase.REFUSED,
    RuleState.FAILED: LifecyclePhase.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleJobOrder(JobOrder):
    """What the Job is told of its own. `closes`: when the window that is open ends; `planned`: the policy's plan."""

    policy: str
    order: LifecycleOrder
    database: DatabaseTarget
    at: datetime
    batch: BatchOrder
    throttle: ThrottleOrder
    time_budget: timedelta
    closes: datetime | None = None
    held: str | None = None
    previous: PreviousEvidence | None = None
    planned: LifecyclePlanStatus | None = None
    tiering: TieringScope = field(default_factory=TieringScope)


@dataclass(frozen=True, slots=True)
class LifecycleRunFacts(Unfinished[LifecycleRunSpec, LifecycleRunStatus, LifecycleJobOrder]):
    """One unfinished run. `consent` is None where none is in force; `withdrawn`: why the attempt must not go on."""

    consent: Consent | None = None
    withdrawn: Doomed | None = None

    @property
    def enforced(self) -> bool:
        """Whether anything is to be changed."""
        return self.spec.mode is LifecycleMode.ENFORCE


def decide_lifecycle_run(facts: LifecycleRunFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished run; total, deterministic."""
    plan = follow(facts, now, start=_start, recover=_recover, conclude=_conclude)
    job, goes_on = facts.state.facts.job, isinstance(decide_run(facts.state.facts, now), Watch)
    if facts.withdrawn is None or job is None or not goes_on:
        return plan
    return withdraw(facts.state, facts.withdrawn, job, plan, now)


def withdraw(state: RunState, why: Doomed, job: JobSeen, plan: Plan, now: datetime) -> Plan:
    """Its agent is told to stop, ends its step and its audit, and its word is still heard; no other follows."""
    message = f"the attempt is stopped: {why.message}"
    conditions = kstatus(ready=False, reason=why.reason, message=message, reconciling=message)
    return replace(
        plan,
        before=(*plan.before, DeleteJob(state.ref.namespace, job.name, job.uid)),
        status=plan.status or state.write(conditions, now),
    )


def _choose(facts: LifecycleRunFacts, now: datetime) -> Plan:
    """Which plan is carried out, on whose word: all attempts carry out that one."""
    consent = facts.consent
    assert consent is not None  # noqa: S101 (a run without one is blocked)
    message = f"plan {consent.plan_hash} is to be carried out, as Approval {consent.name} says"
    choice = {"at": facts.ordered.at, "approved": consent.plan_hash, "approval": consent.name}
    return chosen(facts.state, message, now, **choice)


def _start(facts: LifecycleRunFacts, step: Start, now: datetime) -> Plan:
    if facts.enforced and facts.status.approved is None:
        return _choose(facts, now)
    order = facts.ordered
    task = _task(facts, order, step.deadline.replace(microsecond=0), now)
    job = attempt_job(facts.state, order, step, task, not_after=_not_after(facts, step.number))
    return started(facts.state, job, now, at=order.at)


def _task(facts: LifecycleRunFacts, order: LifecycleJobOrder, deadline: datetime, now: datetime) -> LifecycleTask:
    began = facts.status.start_time or now.replace(microsecond=0)
    consented = facts.consent.not_after if facts.consent is not None else None
    bounds = (began + order.time_budget, deadline - CLOSING, order.closes, consented)
    ends = [one for one in bounds if one is not None]
    planned = order.planned if facts.enforced else None
    return LifecycleTask(
        id=facts.state.ref.name,
        policy=order.policy,
        mode=facts.spec.mode,
        at=facts.status.at or order.at,
        order=order.order,
        approved=facts.status.approved if facts.enforced else None,
        calls=approved_calls(planned.rules) if planned is not None and planned.hash == facts.status.approved else {},
        held=order.held,
        batch=order.batch,
        throttle=order.throttle,
        stop_at=min(ends) if facts.enforced else None,
        previous=order.previous if facts.enforced else None,
        tiering=order.tiering,
    )


def _not_after(facts: LifecycleRunFacts, attempt: int) -> datetime | None:
    """The agent starts nothing when consent is over, nor where its Job has waited for a node for too long."""
    own = facts.spec.not_after if attempt == 1 else None
    known = [one for one in (own, facts.consent.not_after if facts.consent else None) if one is not None]
    return min(known, default=None)


def _recover(facts: LifecycleRunFacts, step: Recover, now: datetime) -> Plan:
    """Read the record, where nobody heard what came of it. A dry run leaves none: it is asked again."""
    if not facts.enforced:
        ending = Ending(Reason.NO_RESULT, "no attempt reported what it found; nothing was changed, start another run")
        return _without(facts, 0, ending, now, phase=LifecyclePhase.FAILED)
    order = facts.ordered
    task = RecoverTask(database=order.database.name, id=facts.state.ref.name, durable="lifecycle")
    return look_for(facts.state, order, step, task, now)


def _conclude(facts: LifecycleRunFacts, step: Conclude, now: datetime) -> Plan:
    ending, found = step.ending, step.ending.result.lifecycle if step.ending.result else None
    if found is None:
        phase = LifecyclePhase.REFUSED if step.refused else LifecyclePhase.FAILED
        if not step.refused and facts.enforced:
            message = f"{ending.message}; what had been committed stays done, and the next run goes on from there"
            ending = replace(ending, message=message)
        return _without(facts, step.attempt, ending, now, phase=phase)
    if facts.enforced and found.at != facts.status.at:
        message = "an enforced run of this name was done before; nothing was done, give this one a new name"
        ending = Ending(Reason.NAME_TAKEN, message, certain=True, refused=True)
        return _without(facts, step.attempt, ending, now, phase=LifecyclePhase.REFUSED)
    shown = plan_status(found, facts.state.ref.name)
    if shown.hash != found.plan_hash:
        message = (
            f"the agent made plan {found.plan_hash} of what it found, the operator {shown.hash}: they are of different"
            " releases; set runner images of the operator's own release"
        )
        return _without(facts, step.attempt, Ending(Reason.BAD_REQUEST, message), now, phase=LifecyclePhase.FAILED)
    more: dict[str, Any] = {"plan": shown, "at": found.at, "notes": found.notes[:16] or None}
    more["archived_until"] = next((one.bucket.archived_until for one in found.facts if one.bucket), None)
    if not facts.enforced:
        return _succeeded(facts, step, now, Reason.LOOKED, looked(found), **more)
    if not found.outcomes:
        return _without(facts, step.attempt, ending, now, phase=LifecyclePhase.REFUSED, **more)
    return _enforced(facts, step, found, now, more)


def _enforced(
    facts: LifecycleRunFacts, step: Conclude, found: LifecycleResult, now: datetime, more: dict[str, Any]
) -> Plan:
    state = rule_state(found.outcomes)
    more |= {
        "rules": rule_results(found.outcomes),
        "processed": processed_by(found.outcomes),
        "remaining": sum(one.remaining or 0 for one in found.outcomes),
        "archived_until": max((one.archived_until for one in found.outcomes if one.archived_until), default=None)
        or more["archived_until"],
    }
    if found.audit is not None and found.audit_sha256 is not None:
        more["audit"] = AuditRecord(run=facts.state.ref.name, uri=found.audit, sha256=found.audit_sha256)
    if state in (RuleState.COMPLETED, RuleState.LIMITED):
        return _succeeded(facts, step, now, Reason.LIFECYCLE_DONE, done(found), **more)
    reason = Reason.RULES_FAILED if state is RuleState.FAILED else Reason.RULES_REFUSED
    why = next((one.failure.message for one in found.outcomes if one.state is state and one.failure), "")
    ending = replace(step.ending, reason=reason, message=f"{done(found)}; {why}")
    return _without(facts, step.attempt, ending, now, phase=_PHASES[state], **more)


def _succeeded(
    facts: LifecycleRunFacts, step: Conclude, now: datetime, reason: Reason, message: str, **more: Any
) -> Plan:
    more |= {"phase": LifecyclePhase.SUCCEEDED}
    status = with_success(facts.state, step.attempt, step.ending, now, reason=reason, message=message, **more)
    events = (PostEvent(reason, message),) if facts.enforced else ()
    return Plan(status=status, after=events, wake_at=now)


def _without(
    facts: LifecycleRunFacts, attempt: int, ending: Ending, now: datetime, *, phase: LifecyclePhase, **more: Any
) -> Plan:
    status = without_success(facts.state, attempt, ending, now, phase=phase, **more)
    event = PostEvent(ending.reason, f"{phase}: {ending.message}"[:1024], warning=True)
    return Plan(status=status, after=(event,), wake_at=now)
