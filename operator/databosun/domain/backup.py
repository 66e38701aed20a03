"""A Backup: what the steps of its run mean for its status, and the Jobs that they start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import format_duration, humanize_bytes
from databosun.api.request import (
    BackupTask,
    DatabaseTarget,
    ParentBackup,
    RecoverTask,
    Request,
    SecretUse,
    StorageTarget,
)
from databosun.api.result import BackupResult
from databosun.api.v1alpha1.backup import (
    FINAL_PHASES,
    Attempt,
    BackupPhase,
    BackupSpec,
    BackupStatus,
    Failure,
    Progress,
    Size,
)
from databosun.api.v1alpha1.backuppolicy import BackupType, Hooks, Method
from databosun.api.v1alpha1.common import API_VERSION, PodTemplate
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.domain.conditions import Wanted, kstatus, merge_conditions
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import (
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_POLICY_UID,
    LABEL_SCHEDULE,
    LABEL_STORAGE_UID,
    Action,
    DeleteJob,
    Owner,
    PatchMetadata,
    Plan,
    PostEvent,
    StartJob,
)
from databosun.domain.requests import Named
from databosun.domain.run import (
    Conclude,
    EndAttempt,
    Ending,
    JobSeen,
    Recover,
    RunFacts,
    Stage,
    Start,
    Tried,
    Wait,
    Watch,
    decide_run,
)

MAX_ATTEMPTS_SHOWN = 50
MAX_OBJECTS_SHOWN = 50
PROGRESS_EVERY = timedelta(seconds=30)
PROGRESS_PERCENT = 5
RECOVER_DEADLINE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Order:
    """All that the Jobs of one backup need to be told."""

    database: DatabaseTarget | None
    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    storage_secrets: tuple[SecretUse, ...]
    image: str
    type: BackupType
    method: Method
    consistency: str = "Strict"
    policy: str | None = None
    policy_uid: str | None = None
    storage_uid: str = ""
    schedule: str | None = None
    pod_template: PodTemplate | None = None
    hooks: Hooks | None = None
    parent: ParentBackup | None = None
    previous_bytes: int | None = None
    held: str | None = None
    storage_claim: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """One unfinished Backup and its Jobs. `order` is None where its storage is not known."""

    ref: Named
    generation: int
    spec: BackupSpec
    status: BackupStatus
    run: RunFacts
    order: Order | None
    database: str
    progress: Progress | None = None
    progress_at: datetime | None = None


def tried(status: BackupStatus) -> tuple[Tried, ...]:
    """The attempts as recorded in status."""
    return tuple(
        Tried(
            number=attempt.number,
            job=attempt.job,
            started=attempt.started_at or datetime.min,  # noqa: DTZ901 (never read: an attempt is recorded with its start)
            deadline=attempt.deadline or attempt.started_at or datetime.min,  # noqa: DTZ901 (as above)
            ended=attempt.ended_at,
            reason=attempt.reason,
            message=attempt.message,
            retryable=attempt.retryable,
            certain=attempt.certain,
        )
        for attempt in status.attempts
    )


def stage(status: BackupStatus) -> Stage:
    """Where the run stands before its verdict."""
    if status.phase is None:
        return Stage.NEW
    return Stage.RUNNING if status.attempts else Stage.PENDING


def decide_backup(facts: BackupFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished Backup; total, deterministic."""
    step = decide_run(facts.run, now)
    match step:
        case Wait():
            return _waiting(facts, step, now)
        case Start():
            return _start(facts, step, now)
        case Watch():
            return _watch(facts, step, now)
        case EndAttempt():
            return _end_attempt(facts, step, now)
        case Recover():
            return _recover(facts, step, now)
        case Conclude():
            return _conclude(facts, step, now)


def _status(facts: BackupFacts, conditions: Sequence[Wanted], now: datetime, **changes: Any) -> dict[str, Any]:
    update = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(facts.status.conditions, conditions, facts.generation, now),
        **changes,
    }
    if facts.spec.database_ref is None and facts.database:
        # The policy may name another one, or be gone, when the data are to be deleted.
        update["database"] = facts.database
    return facts.status.model_copy(update=update).dump()


def _waiting(facts: BackupFacts, step: Wait, now: datetime) -> Plan:
    conditions = kstatus(ready=False, reason=step.reason, message=step.message, reconciling=step.message)
    phase = BackupPhase.RUNNING if facts.status.attempts else BackupPhase.PENDING
    return Plan(status=_status(facts, conditions, now, phase=phase), wake_at=step.wake_at)


def _owner(facts: BackupFacts) -> Owner:
    return Owner(API_VERSION, "Backup", facts.ref.name, facts.ref.uid)


def _labels(order: Order) -> dict[str, str]:
    return {
        **({LABEL_DATABASE_UID: order.database.uid} if order.database else {}),
        LABEL_STORAGE_UID: order.storage_uid,
        **({LABEL_POLICY_UID: order.policy_uid} if order.policy_uid else {}),
    }


def _start(facts: BackupFacts, step: Start, now: datetime) -> Plan:
    order = facts.order
    assert order is not None and order.database is not None  # noqa: S101, PT018 (decide_run starts nothing that is doomed)
    name = attempt_job_name(facts.ref.name, step.number)
    deadline = step.deadline.replace(microsecond=0)
    task = BackupTask(
        id=facts.ref.name,
        database_uid=order.database.uid,
        policy=order.policy,
        policy_uid=order.policy_uid,
        type=order.type,
        method=order.method,
        consistency="Partial" if order.consistency == "Partial" else "Strict",
        parent=order.parent,
        scheduled_for=facts.spec.scheduled_for,
        hooks=order.hooks,
        previous_bytes=order.previous_bytes,
        held=order.held,
    )
    request = Request(
        run=facts.ref.name,
        attempt=step.number,
        deadline=deadline,
        database=order.database,
        storage=order.storage,
        secrets=[*order.secrets, *order.storage_secrets],
        image=order.image,
        job=task,
    )
    job = StartJob(
        name=name,
        namespace=facts.ref.namespace,
        owner=_owner(facts),
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=_labels(order),
        storage_claim=order.storage_claim,
    )
    attempt = Attempt(number=step.number, job=name, started_at=now.replace(microsecond=0), deadline=deadline)
    # Recorded at once: retention must keep what a running incremental stands on.
    parent = order.parent
    taking: dict[str, Any] = {"type": order.type, "method": order.method, "parent": parent.id if parent else None}
    taking |= {"base": parent.base if parent else None}
    status = _running(facts, attempt, now, image=order.image, notes=list(order.notes) or None, **taking)
    return Plan(before=(job,), status=status, wake_at=now + timedelta(seconds=15))


def _running(facts: BackupFacts, attempt: Attempt, now: datetime, **more: Any) -> dict[str, Any]:
    message = f"attempt {attempt.number} is running"
    attempts = [known for known in facts.status.attempts if known.number != attempt.number]
    return _status(
        facts,
        kstatus(ready=False, reason="Running", message=message, reconciling=message),
        now,
        phase=BackupPhase.RUNNING,
        start_time=facts.status.start_time or attempt.started_at,
        deadline=attempt.deadline,
        attempts=[*attempts, attempt][-MAX_ATTEMPTS_SHOWN:],
        failure=None,
        **more,
    )


def _watch(facts: BackupFacts, step: Watch, now: datetime) -> Plan:
    """The Job goes on; record an attempt that was started but not written down, and progress when it moved enough."""
    job = facts.run.job
    known = {attempt.number for attempt in facts.status.attempts}
    if job is not None and job.attempt not in known:
        attempt = Attempt(number=job.attempt, job=job.name, started_at=job.created, deadline=job.deadline)
        image = facts.order.image if facts.order else None
        return Plan(status=_running(facts, attempt, now, image=image), wake_at=step.wake_at)
    if facts.progress is None or not _moved(facts, now):
        return Plan(wake_at=step.wake_at)
    return Plan(status=facts.status.model_copy(update={"progress": facts.progress}).dump(), wake_at=step.wake_at)


def _moved(facts: BackupFacts, now: datetime) -> bool:
    old, new = facts.status.progress, facts.progress
    if old is None or new is None or old.stage != new.stage:
        return new is not None
    if old == new:
        return False
    if new.percent is not None and old.percent is not None and abs(new.percent - old.percent) >= PROGRESS_PERCENT:
        return True
    return facts.progress_at is None or now - facts.progress_at >= PROGRESS_EVERY


def _ended(facts: BackupFacts, number: int, ending: Ending, now: datetime) -> list[Attempt]:
    """The attempts with the one that ended closed; also where its start was never written down."""
    job = facts.run.job
    records = list(facts.status.attempts)
    if number and number not in {attempt.number for attempt in records}:
        started = job.created if job else now
        deadline = job.deadline if job else now
        name = job.name if job else attempt_job_name(facts.ref.name, number)
        records.append(Attempt(number=number, job=name, started_at=started, deadline=deadline))
    closed = {
        "ended_at": now.replace(microsecond=0),
        "reason": ending.reason,
        "message": ending.message[:1024],
        "retryable": ending.retryable,
        "certain": ending.certain,
    }
    return [
        attempt.model_copy(update=closed) if attempt.number == number and attempt.ended_at is None else attempt
        for attempt in records
    ]


def _end_attempt(facts: BackupFacts, step: EndAttempt, now: datetime) -> Plan:
    ending = step.ending
    more = "another attempt follows" if step.retry_at else "looking for what it left in storage"
    message = f"attempt {step.number} ended with {ending.reason}: {ending.message}; {more}"
    conditions = kstatus(ready=False, reason=ending.reason, message=message, reconciling=message)
    status = _status(
        facts,
        conditions,
        now,
        phase=BackupPhase.RUNNING,
        start_time=facts.status.start_time or now.replace(microsecond=0),
        attempts=_ended(facts, step.number, ending, now),
        failure=Failure(reason=ending.reason, message=ending.message[:2048]),
    )
    return Plan(status=status, wake_at=step.retry_at or now)


def _recover(facts: BackupFacts, step: Recover, now: datetime) -> Plan:
    order = facts.order
    assert order is not None  # noqa: S101 (decide_run asks no storage that is not known)
    request = Request(
        run=facts.ref.name,
        attempt=step.number,
        deadline=(now + RECOVER_DEADLINE).replace(microsecond=0),
        database=order.database,
        storage=order.storage,
        secrets=list(order.storage_secrets),
        image=order.image,
        job=RecoverTask(database=facts.database, id=facts.ref.name),
    )
    job = StartJob(
        name=recover_job_name(facts.ref.name, step.number),
        namespace=facts.ref.namespace,
        owner=_owner(facts),
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=_labels(order),
        storage_claim=order.storage_claim,
    )
    return Plan(before=(job,), wake_at=now + timedelta(seconds=15))


def _conclude(facts: BackupFacts, step: Conclude, now: datetime) -> Plan:
    ending = step.ending
    if ending.succeeded and ending.result is not None and ending.result.backup is not None:
        return _succeeded(facts, step, ending.result.backup, now)
    message = ending.message[:2048]
    status = _status(
        facts,
        kstatus(ready=False, reason=ending.reason, message=message, stalled=True),
        now,
        phase=BackupPhase.FAILED,
        start_time=facts.status.start_time,
        completion_time=now.replace(microsecond=0),
        attempts=_ended(facts, step.attempt, ending, now),
        progress=None,
        failure=Failure(reason=ending.reason, message=message),
        duration=_duration(facts, now),
    )
    return Plan(status=status, after=(PostEvent(ending.reason, message, warning=True),), wake_at=now)


def _succeeded(facts: BackupFacts, step: Conclude, result: BackupResult, now: datetime) -> Plan:
    plausible = (
        Wanted(ConditionType.SIZE_PLAUSIBLE, False, "SizeFell", result.size_suspicious)
        if result.size_suspicious
        else None
    )
    conditions = [*kstatus(ready=True, reason="Succeeded", message=""), *([plausible] if plausible else [])]
    notes = [*(facts.order.notes if facts.order else ()), *result.notes]
    status = _status(
        facts,
        conditions,
        now,
        phase=BackupPhase.SUCCEEDED,
        start_time=facts.status.start_time or result.started_at,
        completion_time=result.completed_at,
        duration=_duration(facts, result.completed_at, result.started_at),
        attempts=_ended(facts, step.attempt, replace(step.ending, reason="Succeeded", retryable=False), now),
        progress=None,
        failure=None,
        type=result.type,
        method=result.method,
        size=Size(logical=result.logical_bytes, stored=result.stored_bytes, human=humanize_bytes(result.stored_bytes)),
        objects=result.objects[:MAX_OBJECTS_SHOWN] or None,
        object_count=result.object_count,
        checksum=result.checksum,
        location=result.location,
        position=result.position,
        snapshot_time=result.snapshot_time,
        engine_version=result.engine_version,
        system_identifier=result.system_identifier,
        tool_versions=result.tool_versions or None,
        parent=result.parent,
        base=result.base,
        chain_length=result.chain_length,
        notes=list(dict.fromkeys(notes))[:16] or None,
    )
    size = humanize_bytes(result.stored_bytes)
    events: list[Action] = [
        PostEvent("BackupSucceeded", f"{result.type} {result.method} backup of {size} is in storage")
    ]
    if plausible is not None:
        events.append(PostEvent("SizeFell", plausible.message, warning=True))
    return Plan(status=status, after=tuple(events), wake_at=now)


def _duration(facts: BackupFacts, end: datetime, start: datetime | None = None) -> str | None:
    begin = facts.status.start_time or start
    return format_duration(end - begin) if begin is not None else None


def decide_cleanup(
    status: BackupStatus, jobs: Sequence[JobSeen], releases: Sequence[Action], labels: Mapping[str, str], namespace: str
) -> Plan:
    """After the verdict is recorded: let go of pods and Jobs, and only then mark the run as finished.

    `labels` are the references that finished runs are found by.
    """
    if status.phase not in FINAL_PHASES:
        return Plan()
    delete = tuple(DeleteJob(namespace, job.name, job.uid) for job in jobs)
    mark = PatchMetadata({"labels": {**labels, LABEL_FINISHED: str(status.phase)}})
    return Plan(after=(*releases, *delete, mark))


def finished_labels(
    database_uid: str | None, policy_uid: str | None, storage_uid: str | None, schedule: str | None
) -> dict[str, str]:
    """The references of a run as labels; what is not known is left out."""
    wanted = {
        LABEL_DATABASE_UID: database_uid,
        LABEL_POLICY_UID: policy_uid,
        LABEL_STORAGE_UID: storage_uid,
        LABEL_SCHEDULE: schedule,
    }
    return {key: value for key, value in wanted.items() if value}
