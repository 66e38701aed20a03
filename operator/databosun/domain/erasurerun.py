"""An ErasureRequest: look, wait for consent, erase; what the steps of its run mean, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.erasure import ErasureResult
from databosun.api.lifecycle import LifecycleMode, LifecycleOrder
from databosun.api.lifecycletasks import EraseTask
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.erasurerequest import ErasurePhase, ErasurePlan, ErasureRequestSpec, ErasureRequestStatus
from databosun.api.v1alpha1.lifecyclestatus import AuditRecord
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending
from databosun.domain.conditions import kstatus
from databosun.domain.consent import Consent
from databosun.domain.erasure import erasure_hash, erasure_verdicts
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecyclerun import withdraw
from databosun.domain.lifecycleview import approved_calls, planned_rules, rule_results
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.remains import Kept, not_looked, remains
from databosun.domain.run import Conclude, Doomed, Recover, Start, Wait, Watch, decide_run
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import (
    LOOK_AFTER_START,
    RunKind,
    ended,
    go_on,
    started,
    with_success,
    without_success,
)

ERASURE_RUN = RunKind("ErasureRequest", ErasurePhase.PENDING, ErasurePhase.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureJobOrder(JobOrder):
    """What the Job is told of its own."""

    order: LifecycleOrder
    database: DatabaseTarget
    at: datetime
    wait: timedelta
    system: str | None = None
    previous: PreviousEvidence | None = None


@dataclass(frozen=True, slots=True)
class ErasureFacts(Unfinished[ErasureRequestSpec, ErasureRequestStatus, ErasureJobOrder]):
    """One unfinished request. `consent`: to the plan that it shows; `withdrawn`: why the attempt must not go on;
    `kept`: the backups there are; None where nobody looked."""

    consent: Consent | None = None
    withdrawn: Doomed | None = None
    kept: Sequence[Kept] | None = None

    @property
    def enforced(self) -> bool:
        """Whether anything is to be changed."""
        return self.status.approved is not None


def decide_erasure(facts: ErasureFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished request; total, deterministic."""
    if facts.status.phase is ErasurePhase.AWAITING_APPROVAL and facts.status.plan is not None:
        return _waiting(facts, facts.status.plan, now)
    plan = follow(facts, now, start=_start, recover=_recover, conclude=_conclude)
    job, goes_on = facts.state.facts.job, isinstance(decide_run(facts.state.facts, now), Watch)
    if facts.withdrawn is None or job is None or not goes_on:
        return plan
    return withdraw(facts.state, facts.withdrawn, job, plan, now)


def _waiting(facts: ErasureFacts, plan: ErasurePlan, now: datetime) -> Plan:
    """Consent is written down before anything is done with it; nobody's in time: nothing is done."""
    run, number = facts.state.facts, plan.attempt + 1
    if run.job is not None and run.job.attempt == number:
        return go_on(facts.state, Watch(number, wake_at=now), now, facts.order.image if facts.order else None)
    if run.doomed is not None:
        ending = Ending(run.doomed.reason, run.doomed.message, certain=True, refused=True)
        return _without(facts, plan.attempt, ending, now, phase=ErasurePhase.REFUSED)
    if facts.consent is None:
        if now < plan.until and not facts.enforced:
            return Plan(wake_at=plan.until)
        message = f"no Approval in force names plan {plan.hash}; nothing was erased"
        ending = Ending(Reason.NOT_APPROVED, message, certain=True, refused=True)
        return _without(facts, plan.attempt, ending, now, phase=ErasurePhase.REFUSED)
    if not facts.enforced:
        update = {"approved": plan.hash, "approval": facts.consent.name}
        return Plan(status=facts.status.model_copy(update=update).dump(), wake_at=now)
    if run.blocked is not None or facts.order is None:
        blocked = run.blocked
        reason, message = (blocked.reason, blocked.message) if blocked else (Reason.WAITING, "it is looked again")
        wait = Wait(reason, message, (blocked.again if blocked else None) or now + LOOK_AFTER_START)
        return Plan(status=facts.state.under_way(wait.reason, wait.message, now), wake_at=wait.wake_at)
    return _start(facts, Start(number, now + run.limits.deadline), now)


def _start(facts: ErasureFacts, step: Start, now: datetime) -> Plan:
    order = facts.ordered
    mode = LifecycleMode.ENFORCE if facts.enforced else LifecycleMode.DRY_RUN
    task = EraseTask(
        id=facts.state.ref.name,
        uid=facts.state.ref.uid,
        mode=mode,
        at=order.at,
        order=order.order,
        system=order.system,
        approved=facts.status.approved,
        calls=approved_calls(facts.status.plan.rules) if facts.enforced and facts.status.plan is not None else {},
        previous=order.previous if facts.enforced else None,
    )
    own = facts.spec.not_after if step.number == 1 else None
    not_after = facts.consent.not_after if facts.enforced and facts.consent is not None else own
    job = attempt_job(facts.state, order, step, task, not_after=not_after)
    return started(facts.state, job, now)


def _recover(facts: ErasureFacts, step: Recover, now: datetime) -> Plan:
    """Read the receipt, where nobody heard what came of it. A look leaves none: it is asked again."""
    if facts.status.attempts and not facts.enforced:
        ending = Ending(Reason.NO_RESULT, "no attempt reported what it found; nothing was erased, make another request")
        return _without(facts, 0, ending, now, phase=ErasurePhase.FAILED)
    order = facts.ordered
    task = RecoverTask(database=order.database.name, id=facts.state.ref.name, durable="erasure")
    return look_for(facts.state, order, step, task, now)


def _conclude(facts: ErasureFacts, step: Conclude, now: datetime) -> Plan:
    ending, found = step.ending, step.ending.result.erasure if step.ending.result else None
    if found is None:
        phase = ErasurePhase.REFUSED if step.refused else ErasurePhase.FAILED
        if not step.refused and facts.enforced:
            message = f"{ending.message}; what had been committed stays done, and no restore brings it back"
            ending = replace(ending, message=message)
        return _without(facts, step.attempt, ending, now, phase=phase)
    if found.uid != facts.state.ref.uid:
        message = "an erasure of this name was done before; nothing was done, give this request a new name"
        ending = Ending(Reason.NAME_TAKEN, message, certain=True, refused=True)
        return _without(facts, step.attempt, ending, now, phase=ErasurePhase.REFUSED)
    known = erasure_hash(found.order, found.facts, found.subject, found.uid)
    if known != found.plan_hash:
        message = (
            f"the agent made plan {found.plan_hash} of what it found, the operator {known}: they are of different"
            " releases; set runner images of the operator's own release"
        )
        return _without(facts, step.attempt, Ending(Reason.BAD_REQUEST, message), now, phase=ErasurePhase.FAILED)
    if found.mode is LifecycleMode.DRY_RUN:
        return _looked(facts, step, found, now)
    return _erased(facts, step, found, now)


def _looked(facts: ErasureFacts, step: Conclude, found: ErasureResult, now: datetime) -> Plan:
    """Show the plan and wait, or say why there is none that could be approved."""
    made = make_plan(found.order, found.facts)
    against = erasure_verdicts(made, found.order, found.facts, found.at)
    at = now.replace(microsecond=0)
    rows = sum(one.counts.eligible for one in found.facts)
    plan = ErasurePlan(
        hash=found.plan_hash,
        at=at,
        until=at + (facts.ordered.wait if facts.order else timedelta(0)),
        attempt=step.attempt,
        rows=rows,
        rules=planned_rules(made, found, against),
    )
    more: dict[str, Any] = {"plan": plan, "subject": found.subject}
    said = [one.message for refusals in against.values() for one in refusals]
    if said:
        ending = Ending(Reason.RULES_REFUSED, f"{'; '.join(said)}; nothing was erased", certain=True, refused=True)
        return _without(facts, step.attempt, ending, now, phase=ErasurePhase.REFUSED, **more)
    message = (
        f"{rows} rows of the person were found; look at status.plan and approve it (kubectl bosun approve --erasure"
        f" {facts.state.ref.name}) until {plan.until.isoformat()}, or nothing is erased"
    )
    planned = replace(step.ending, reason=str(Reason.ERASURE_PLANNED), certain=True, retryable=False)
    more |= {
        "phase": ErasurePhase.AWAITING_APPROVAL,
        "attempts": ended(facts.state, step.attempt, planned, now),
        "progress": None,
        "failure": None,
    }
    conditions = kstatus(ready=False, reason=Reason.AWAITING_APPROVAL, message=message)
    status = facts.state.write(conditions, now, **more)
    # At once: while it waits for a person, nothing else waits for it.
    return Plan(status=status, after=(PostEvent(Reason.ERASURE_PLANNED, message),), wake_at=now)


def _erased(facts: ErasureFacts, step: Conclude, found: ErasureResult, now: datetime) -> Plan:
    more: dict[str, Any] = {
        "subject": found.subject,
        "rules": rule_results(found.outcomes) or None,
        "processed": sum(one.deleted + one.anonymized + sum(one.children.values()) for one in found.outcomes),
        "notes": found.notes[:16] or None,
    }
    if found.audit is not None and found.audit_sha256 is not None:
        more["audit"] = AuditRecord(run=facts.state.ref.name, uri=found.audit, sha256=found.audit_sha256)
    if found.verified_at is None or found.receipt is None or found.receipt_sha256 is None:
        phase = ErasurePhase.REFUSED if step.refused else ErasurePhase.FAILED
        return _without(facts, step.attempt, step.ending, now, phase=phase, **more)
    left = remains(facts.kept, found.verified_at, now) if facts.kept is not None else not_looked(now)
    more |= {
        "phase": ErasurePhase.SUCCEEDED,
        "verified_time": found.verified_at,
        "receipt": StoredRecord(uri=found.receipt, sha256=found.receipt_sha256),
        "remains": left,
    }
    holding = (
        f"{left.backups} backups hold the person still; the stores are looked through next for what is there besides"
    )
    if facts.kept is None:
        holding = "which backups hold the person still is looked up next"
    message = f"{more['processed']} rows erased, none with the subject left; {holding}"
    status = with_success(facts.state, step.attempt, step.ending, now, reason=Reason.ERASED, message=message, **more)
    return Plan(status=status, after=(PostEvent(Reason.ERASED, message),), wake_at=now)


def _without(
    facts: ErasureFacts, attempt: int, ending: Ending, now: datetime, *, phase: ErasurePhase, **more: Any
) -> Plan:
    status = without_success(facts.state, attempt, ending, now, phase=phase, **more)
    reason = Reason.ERASURE_REFUSED if phase is ErasurePhase.REFUSED else Reason.ERASURE_FAILED
    return Plan(
        status=status,
        after=(PostEvent(reason, f"{ending.reason}: {ending.message}"[:1024], warning=True),),
        wake_at=now,
    )
