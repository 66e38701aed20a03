"""A RestoreDrillRun: what the steps of its run mean, the Job that drills, and what its verdict says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.drill import Check, Level, Verdict
from databosun.api.recordtasks import PreviousEvidence, RecordPlace
from databosun.api.restoretasks import DrillTask, KnownErasure
from databosun.api.result import DrillResult
from databosun.api.targets import DatabaseTarget, SecretUse
from databosun.api.v1alpha1.backup import Proof
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.proving import ChosenBackup, StoredRecord, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrillrun import DrillPhase, RestoreDrillRunSpec, RestoreDrillRunStatus
from databosun.domain.attempt import Ending
from databosun.domain.conditions import find
from databosun.domain.drill import NEGATIVE_CONTROL
from databosun.domain.measured import (
    backup_ref,
    check_results,
    measured_rpo,
    measured_rto,
    recovery_point,
    target_point,
)
from databosun.domain.plan import LABEL_CONTROL, LABEL_PROVEN, LABEL_RTO, LABEL_RTO_MET, Plan, PostEvent
from databosun.domain.requests import for_evidence
from databosun.domain.run import Conclude, Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import RunKind, chosen, ended, failure_of, started, with_success, without_success

DRILL_RUN = RunKind("RestoreDrillRun", DrillPhase.PENDING, DrillPhase.RUNNING)
PHASES = {
    Verdict.PASSED: DrillPhase.PASSED,
    Verdict.FAILED: DrillPhase.FAILED,
    Verdict.PARTIAL: DrillPhase.PARTIAL,
    Verdict.REFUSED: DrillPhase.REFUSED,
    Verdict.ERROR: DrillPhase.ERROR,
}

TOLD = {
    DrillPhase.PASSED: Reason.DRILL_PASSED,
    DrillPhase.FAILED: Reason.DRILL_FAILED,
    DrillPhase.PARTIAL: Reason.DRILL_PARTIAL,
    DrillPhase.REFUSED: Reason.DRILL_REFUSED,
    DrillPhase.ERROR: Reason.DRILL_ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillOrder(JobOrder):
    """What the Job of one drill is told of its own. Its Secrets are those of the store and the age identities: none of
    the source, which a drill never talks to; where a cloud makes the copy, also the logins to that cloud and to it."""

    database: DatabaseTarget
    backup: ChosenBackup
    until: TargetPoint
    level: Level
    checks: tuple[Check, ...] = ()
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    heartbeat: bool = False
    previous: PreviousEvidence | None = None
    record: RecordPlace = field(default_factory=RecordPlace)
    record_secrets: tuple[SecretUse, ...] = ()
    erased: tuple[KnownErasure, ...] = ()
    scratch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DrillRunFacts(Unfinished[RestoreDrillRunSpec, RestoreDrillRunStatus, DrillOrder]):
    """One unfinished drill."""


def decide_drill_run(facts: DrillRunFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished run; total, deterministic."""
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: DrillRunFacts, step: Start, now: datetime) -> Plan:
    order = facts.ordered
    if facts.status.backup is None:
        choice = {"backup": order.backup, "until": order.until, "level": order.level}
        return chosen(facts.state, f"{order.backup.name} is to be drilled", now, **choice)
    task = DrillTask(
        id=facts.state.ref.name,
        backup=backup_ref(order.backup),
        until=recovery_point(order.until),
        level=order.level,
        checks=list(order.checks),
        erased=list(order.erased),
        rto_seconds=order.rto_seconds,
        rpo_seconds=order.rpo_seconds,
        ordered_at=_ordered(facts, step, now),
        heartbeat=order.heartbeat,
        negative_control=facts.spec.negative_control,
        previous=order.previous,
        record=order.record,
    )
    secrets = [*order.secrets, *for_evidence(order.record_secrets)]
    job = attempt_job(facts.state, order, step, task, secrets=secrets, scratch_bytes=order.scratch_bytes)
    return started(facts.state, job, now)


def _recover(facts: DrillRunFacts, step: Recover, now: datetime) -> Plan:
    """Read the evidence, where nobody heard what the drill found."""
    order = facts.ordered
    secrets = order.record_secrets if order.record.storage is not None else order.secrets
    task = RecoverTask(database=order.backup.database, id=facts.state.ref.name, durable="evidence")
    return look_for(facts.state, order, step, task, now, secrets=secrets, storage=order.record.storage)


def _ordered(facts: DrillRunFacts, step: Start, now: datetime) -> datetime:
    """When somebody in need would have asked: at the choice, for another attempt at the last one's end. Waiting for
    other runs is no part of a restore: where that came between, it is now."""
    if step.number > 1 and facts.state.facts.tried:
        return facts.state.facts.tried[-1].ended or now
    seen = find(facts.status.conditions, ConditionType.READY)
    waited = seen is not None and seen.reason != Reason.CHOSEN
    return now if waited or facts.status.backup is None else facts.status.backup.resolved_at


def _conclude(facts: DrillRunFacts, step: Conclude, now: datetime) -> Plan:
    step = _of_this_run(facts, step)
    ending = step.ending
    found = ending.result.drill if ending.result is not None else None
    phase = PHASES[found.verdict] if found is not None else phase_without_word(step)
    changes: dict[str, Any] = _found(found) if found is not None else {}
    if phase is DrillPhase.PASSED or (found is not None and found.proven):
        passed = phase is DrillPhase.PASSED
        good: dict[str, Any] = {
            "phase": phase,
            "attempts": ended(facts.state, step.attempt, ending, now),
            "failure": None if passed else failure_of(ending),
        }
        reason = Reason.PASSED if passed else ending.reason
        more = good | changes
        status = with_success(
            facts.state, step.attempt, ending, now, reason=reason, message=ending.message, **more
        )  # fmt: skip
    else:
        status = without_success(facts.state, step.attempt, ending, now, phase=phase, **changes)
    event = PostEvent(TOLD[phase], _told(facts, phase, ending, found), warning=phase is not DrillPhase.PASSED)
    return Plan(status=status, after=(event,), wake_at=now)


def _of_this_run(facts: DrillRunFacts, step: Conclude) -> Conclude:
    """The same, but where the evidence is of an earlier run of this name: it proves nothing of this one's backup."""
    found = step.ending.result.drill if step.ending.result is not None else None
    chosen = facts.status.backup
    if found is None or chosen is None or found.backup == chosen.name:
        return step
    message = f"a drill of this name was done before, of backup {found.backup}, not {chosen.name}; give this a new name"
    return replace(step, ending=Ending(Reason.NAME_TAKEN, message, certain=True, refused=True))


def phase_without_word(step: Conclude) -> DrillPhase:
    """The phase where no drill was reported: it never began for want of something, or the cluster failed."""
    return DrillPhase.REFUSED if step.refused else DrillPhase.ERROR


def _found(found: DrillResult) -> dict[str, Any]:
    record = None
    if found.evidence is not None and found.evidence_sha256 is not None:
        record = StoredRecord(uri=found.evidence, sha256=found.evidence_sha256, storage=found.evidence_storage)
    # What was proven was proven then, whenever its record is read: by a run that came back without its status.
    ended_then = {"completion_time": found.completed_at.replace(microsecond=0)} if found.completed_at else {}
    return ended_then | {
        "level_reached": found.level_reached,
        "proven": found.proven,
        "checks": check_results(found.checks),
        "rto": measured_rto(found.rto),
        "rpo": measured_rpo(found.rpo),
        "ordered_at": found.ordered_at,
        "until": target_point(found.until),
        "reached": found.reached,
        "evidence": record,
        "notes": list(dict.fromkeys(found.notes))[:16] or None,
    }


def _told(facts: DrillRunFacts, phase: DrillPhase, ending: Ending, found: DrillResult | None) -> str:
    backup = facts.status.backup.name if facts.status.backup else "no backup"
    took = measured_rto(found.rto) if found is not None else None
    if phase is DrillPhase.PASSED and took is not None:
        return f"{backup} was restored in {took.took}: {ending.message}"
    return f"{backup}: {ending.reason}: {ending.message}"[:1024]


def proof_of(name: str, status: RestoreDrillRunStatus) -> Proof | None:
    """What a finished run proves of its backup; None where nothing."""
    if not status.proven or status.level_reached is None or status.completion_time is None:
        return None
    return Proof(level=str(status.level_reached), at=status.completion_time, run=name)


def finish_labels(name: str, status: RestoreDrillRunStatus) -> dict[str, str]:
    """What of a finished run is known without reading it: coverage, trend and control are counted from these."""
    control = next((one for one in status.checks or () if one.name == NEGATIVE_CONTROL), None)
    found: dict[str, str | None] = {
        LABEL_PROVEN: "true" if proof_of(name, status) is not None else None,
        LABEL_RTO: str(status.rto.seconds) if status.rto is not None else None,
        LABEL_RTO_MET: str(status.rto.met).lower() if status.rto is not None and status.rto.met is not None else None,
        LABEL_CONTROL: str(control.result) if control is not None else None,
    }
    return {label: value for label, value in found.items() if value is not None}
