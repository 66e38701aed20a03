"""A LifecycleRun: what the steps of its run mean, the Job that looks or enforces, and what its result says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.lifecycle import BatchOrder, LifecycleMode, LifecycleOrder, ThrottleOrder
from databosun.api.lifecycleresult import LifecycleResult, RuleState
from databosun.api.request import (
    DatabaseTarget,
    LifecycleTask,
    PreviousEvidence,
    RecoverTask,
    Request,
    SecretUse,
    StorageTarget,
)
from databosun.api.v1alpha1.common import PodTemplate
from databosun.api.v1alpha1.lifecyclerun import LifecyclePhase, LifecycleRunSpec, LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.run import Failure
from databosun.domain.conditions import kstatus
from databosun.domain.lifecycleview import plan_status, processed_by, rule_results, rule_state
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import Plan, PostEvent, StartJob
from databosun.domain.run import Conclude, Ending, Recover, Start, decide_run
from databosun.domain.running import (
    LOOK_AFTER_START,
    RunKind,
    RunState,
    ended,
    go_on,
    recover_request,
    references,
    started,
    without_success,
)

LIFECYCLE_RUN = RunKind("LifecycleRun", LifecyclePhase.PENDING, LifecyclePhase.RUNNING)
# The agent still verifies, counts and writes its audit after the last batch.
CLOSING = timedelta(minutes=1)
_PHASES = {
    RuleState.COMPLETED: LifecyclePhase.SUCCEEDED,
    RuleState.LIMITED: LifecyclePhase.SUCCEEDED,
    RuleState.REFUSED: LifecyclePhase.REFUSED,
    RuleState.FAILED: LifecyclePhase.FAILED,
}


@dataclass(frozen=True, slots=True)
class Consent:
    """The Approval that an enforced run stands on."""

    approval: str
    plan_hash: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class LifecycleJobOrder:
    """All that the Job needs to be told. `closes`: when the window that is open ends."""

    policy: str
    policy_uid: str
    order: LifecycleOrder
    database: DatabaseTarget
    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    image: str
    at: datetime
    batch: BatchOrder
    throttle: ThrottleOrder
    time_budget: timedelta
    closes: datetime | None = None
    previous: PreviousEvidence | None = None
    storage_uid: str | None = None
    storage_claim: str | None = None
    pod_template: PodTemplate | None = None


@dataclass(frozen=True, slots=True)
class LifecycleRunFacts:
    """One unfinished run. `order` is None where it is not known what to do; `consent` where none is in force."""

    state: RunState
    spec: LifecycleRunSpec
    status: LifecycleRunStatus
    order: LifecycleJobOrder | None
    consent: Consent | None = None

    @property
    def enforced(self) -> bool:
        """Whether anything is to be changed."""
        return self.spec.mode is LifecycleMode.ENFORCE


def decide_lifecycle_run(facts: LifecycleRunFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished run; total, deterministic."""
    step = decide_run(facts.state.facts, now)
    match step:
        case Start():
            chooses = facts.enforced and facts.status.approved is None
            return _choose(facts, now) if chooses else _start(facts, step, now)
        case Conclude():
            return _conclude(facts, step, now)
        case Recover():
            return _recover(facts, step, now)
        case _:
            return go_on(facts.state, step, now, facts.order.image if facts.order else None)


def _order(facts: LifecycleRunFacts) -> LifecycleJobOrder:
    assert facts.order is not None  # noqa: S101 (decide_run starts nothing that is doomed)
    return facts.order


def _choose(facts: LifecycleRunFacts, now: datetime) -> Plan:
    """Write down which plan is carried out, on whose word, before anything starts: all attempts carry out that one."""
    consent = facts.consent
    assert consent is not None  # noqa: S101 (a run without one is blocked)
    message = f"plan {consent.plan_hash} is to be carried out, as Approval {consent.approval} says"
    status = facts.state.write(
        kstatus(ready=False, reason=Reason.CHOSEN, message=message, reconciling=message),
        now,
        phase=LifecyclePhase.PENDING,
        at=_order(facts).at,
        approved=consent.plan_hash,
        approval=consent.approval,
    )
    return Plan(status=status, wake_at=now)


def _start(facts: LifecycleRunFacts, step: Start, now: datetime) -> Plan:
    order, ref = _order(facts), facts.state.ref
    deadline = step.deadline.replace(microsecond=0)
    request = Request(
        run=ref.name,
        attempt=step.number,
        deadline=deadline,
        not_after=_not_after(facts, step.number),
        database=order.database,
        storage=order.storage,
        secrets=list(order.secrets),
        image=order.image,
        job=_task(facts, order, deadline, now),
    )
    job = _job(facts, order, attempt_job_name(ref.name, step.number), request)
    return started(facts.state, job, now, at=order.at)


def _task(facts: LifecycleRunFacts, order: LifecycleJobOrder, deadline: datetime, now: datetime) -> LifecycleTask:
    began = facts.status.start_time or now.replace(microsecond=0)
    ends = [began + order.time_budget, deadline - CLOSING, *([order.closes] if order.closes is not None else [])]
    return LifecycleTask(
        id=facts.state.ref.name,
        policy=order.policy,
        mode=facts.spec.mode,
        at=facts.status.at or order.at,
        order=order.order,
        approved=facts.status.approved if facts.enforced else None,
        batch=order.batch,
        throttle=order.throttle,
        stop_at=min(ends) if facts.enforced else None,
        previous=order.previous if facts.enforced else None,
    )


def _not_after(facts: LifecycleRunFacts, attempt: int) -> datetime | None:
    """The agent starts nothing when consent is over, nor where its Job has waited for a node for too long."""
    own = facts.spec.not_after if attempt == 1 else None
    known = [one for one in (own, facts.consent.not_after if facts.consent else None) if one is not None]
    return min(known, default=None)


def _job(facts: LifecycleRunFacts, order: LifecycleJobOrder, name: str, request: Request) -> StartJob:
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


def _recover(facts: LifecycleRunFacts, step: Recover, now: datetime) -> Plan:
    """Read the record, where nobody heard what came of it. A dry run leaves none: it is asked again."""
    if not facts.enforced:
        ending = Ending(Reason.NO_RESULT, "no attempt reported what it found; nothing was changed, start another run")
        return _without(facts, 0, ending, now, phase=LifecyclePhase.FAILED)
    order, name = _order(facts), facts.state.ref.name
    secrets = [use for use in order.secrets if use.use not in ("hash",) and not use.use.startswith("database")]
    request = recover_request(facts.state, step, order.storage, secrets, order.image, now)
    task = RecoverTask(database=order.database.name, id=name, durable="lifecycle")
    job = _job(facts, order, recover_job_name(name, step.number), request(task))
    return Plan(before=(job,), wake_at=now + LOOK_AFTER_START)


def _conclude(facts: LifecycleRunFacts, step: Conclude, now: datetime) -> Plan:
    ending, found = step.ending, step.ending.result.lifecycle if step.ending.result else None
    if found is None:
        refused = ending.refused or step.attempt == 0
        phase = LifecyclePhase.REFUSED if refused else LifecyclePhase.FAILED
        if not refused and facts.enforced:
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
    if not facts.enforced:
        return _succeeded(facts, step, now, Reason.LOOKED, _looked(found), **more)
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
    }
    if found.audit is not None and found.audit_sha256 is not None:
        more["audit"] = AuditRecord(run=facts.state.ref.name, uri=found.audit, sha256=found.audit_sha256)
    if state in (RuleState.COMPLETED, RuleState.LIMITED):
        return _succeeded(facts, step, now, Reason.LIFECYCLE_DONE, _done(found), **more)
    reason = Reason.RULES_FAILED if state is RuleState.FAILED else Reason.RULES_REFUSED
    why = next((one.failure.message for one in found.outcomes if one.state is state and one.failure), "")
    ending = replace(step.ending, reason=reason, message=f"{_done(found)}; {why}")
    return _without(facts, step.attempt, ending, now, phase=_PHASES[state], **more)


def _succeeded(
    facts: LifecycleRunFacts, step: Conclude, now: datetime, reason: Reason, message: str, **more: Any
) -> Plan:
    ending = replace(step.ending, reason=Reason.SUCCEEDED, retryable=False)
    changes: dict[str, Any] = {
        "phase": LifecyclePhase.SUCCEEDED,
        "completion_time": now.replace(microsecond=0),
        "duration": facts.state.duration(now),
        "attempts": ended(facts.state, step.attempt, ending, now),
        "progress": None,
        "failure": None,
    }
    status = facts.state.write(kstatus(ready=True, reason=reason, message=message), now, **(changes | more))
    events = (PostEvent(reason, message),) if facts.enforced else ()
    return Plan(status=status, after=events, wake_at=now)


def _without(
    facts: LifecycleRunFacts, attempt: int, ending: Ending, now: datetime, *, phase: LifecyclePhase, **more: Any
) -> Plan:
    failure = Failure(reason=ending.reason, message=ending.message[:2048])
    status = without_success(facts.state, attempt, ending, now, **(more | {"phase": phase, "failure": failure}))
    event = PostEvent(ending.reason, f"{phase}: {ending.message}"[:1024], warning=True)
    return Plan(status=status, after=(event,), wake_at=now)


def _looked(found: LifecycleResult) -> str:
    eligible = sum(one.counts.eligible for one in found.facts)
    return f"{eligible} rows match the rules; nothing was changed"


def _done(found: LifecycleResult) -> str:
    counts = {
        "archived": sum(one.archived for one in found.outcomes),
        "deleted": sum(one.deleted for one in found.outcomes),
        "anonymised": sum(one.anonymized for one in found.outcomes),
    }
    refused = sum(one.state is RuleState.REFUSED for one in found.outcomes)
    said = ", ".join(f"{count} rows {what}" for what, count in counts.items() if count) or "no row taken"
    return f"{said}; {refused} of {len(found.outcomes)} rules refused" if refused else said
