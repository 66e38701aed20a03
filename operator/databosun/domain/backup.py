"""A Backup: what the steps of its run mean for its status, and the Jobs that they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import humanize_bytes
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
from databosun.api.v1alpha1.backup import BackupPhase, BackupSpec, Size
from databosun.api.v1alpha1.backuppolicy import BackupType, Hooks, Method
from databosun.api.v1alpha1.common import PodTemplate
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.domain.conditions import Wanted, kstatus
from databosun.domain.names import attempt_job_name, recover_job_name
from databosun.domain.plan import Action, Plan, PostEvent, StartJob
from databosun.domain.run import Conclude, Recover, Start, decide_run
from databosun.domain.running import (
    RECOVER_DEADLINE,
    RunKind,
    RunState,
    closed_attempts,
    go_on,
    references,
    started,
    without_success,
)

MAX_OBJECTS_SHOWN = 50
BACKUP_RUN = RunKind("Backup", BackupPhase.PENDING, BackupPhase.RUNNING)


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
    fingerprints: bool = True
    policy: str | None = None
    policy_uid: str | None = None
    storage_uid: str = ""
    schedule: str | None = None
    pod_template: PodTemplate | None = None
    hooks: Hooks | None = None
    parent: ParentBackup | None = None
    previous_bytes: int | None = None
    held: str | None = None
    log_begin: str | None = None
    storage_claim: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """One unfinished Backup and its Jobs. `order` is None where its storage is not known."""

    state: RunState
    spec: BackupSpec
    order: Order | None
    database: str


def remembered(spec: BackupSpec, database: str) -> Mapping[str, Any]:
    """The Database where the spec leaves it to the policy: that may name another one, or be gone, when the data are to
    be deleted."""
    return {"database": database} if spec.database_ref is None and database else {}


def decide_backup(facts: BackupFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished Backup; total, deterministic."""
    step = decide_run(facts.state.facts, now)
    match step:
        case Start():
            return _start(facts, step, now)
        case Recover():
            return _recover(facts, step, now)
        case Conclude():
            return _conclude(facts, step, now)
        case _:
            return go_on(facts.state, step, now, facts.order.image if facts.order else None)


def _labels(order: Order) -> dict[str, str]:
    return references(order.database.uid if order.database else None, order.policy_uid, order.storage_uid)


def _start(facts: BackupFacts, step: Start, now: datetime) -> Plan:
    order, ref = facts.order, facts.state.ref
    assert order is not None and order.database is not None  # noqa: S101, PT018 (decide_run starts nothing that is doomed)
    task = BackupTask(
        id=ref.name,
        database_uid=order.database.uid,
        policy=order.policy,
        policy_uid=order.policy_uid,
        type=order.type,
        method=order.method,
        consistency="Partial" if order.consistency == "Partial" else "Strict",
        fingerprints=order.fingerprints,
        parent=order.parent,
        scheduled_for=facts.spec.scheduled_for,
        hooks=order.hooks,
        previous_bytes=order.previous_bytes,
        held=order.held,
        log_begin=order.log_begin,
    )
    request = Request(
        run=ref.name,
        attempt=step.number,
        deadline=step.deadline.replace(microsecond=0),
        database=order.database,
        storage=order.storage,
        secrets=[*order.secrets, *order.storage_secrets],
        image=order.image,
        job=task,
    )
    # Recorded at once: retention must keep what a running incremental stands on.
    parent = order.parent
    taking: dict[str, Any] = {"type": order.type, "method": order.method, "parent": parent.id if parent else None}
    taking |= {"base": parent.base if parent else None}
    job = _job(facts, order, attempt_job_name(ref.name, step.number), request)
    return started(facts.state, job, now, notes=list(order.notes) or None, **taking)


def _job(facts: BackupFacts, order: Order, name: str, request: Request) -> StartJob:
    return StartJob(
        name=name,
        namespace=facts.state.ref.namespace,
        owner=facts.state.owner,
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=_labels(order),
        storage_claim=order.storage_claim,
    )


def _recover(facts: BackupFacts, step: Recover, now: datetime) -> Plan:
    order, ref = facts.order, facts.state.ref
    assert order is not None  # noqa: S101 (decide_run asks no storage that is not known)
    request = Request(
        run=ref.name,
        attempt=step.number,
        deadline=(now + RECOVER_DEADLINE).replace(microsecond=0),
        database=order.database,
        storage=order.storage,
        secrets=list(order.storage_secrets),
        image=order.image,
        job=RecoverTask(database=facts.database, id=ref.name),
    )
    job = _job(facts, order, recover_job_name(ref.name, step.number), request)
    return Plan(before=(job,), wake_at=now + timedelta(seconds=15))


def _conclude(facts: BackupFacts, step: Conclude, now: datetime) -> Plan:
    ending = step.ending
    if ending.succeeded and ending.result is not None and ending.result.backup is not None:
        return _succeeded(facts, step, ending.result.backup, now)
    status = without_success(facts.state, step.attempt, ending, now, phase=BackupPhase.FAILED)
    return Plan(status=status, after=(PostEvent(ending.reason, ending.message[:2048], warning=True),), wake_at=now)


def _succeeded(facts: BackupFacts, step: Conclude, result: BackupResult, now: datetime) -> Plan:
    plausible = (
        Wanted(ConditionType.SIZE_PLAUSIBLE, False, "SizeFell", result.size_suspicious)
        if result.size_suspicious
        else None
    )
    conditions = [*kstatus(ready=True, reason="Succeeded", message=""), *([plausible] if plausible else [])]
    notes = [*(facts.order.notes if facts.order else ()), *result.notes]
    status = facts.state.write(
        conditions,
        now,
        phase=BackupPhase.SUCCEEDED,
        start_time=facts.state.status.start_time or result.started_at,
        completion_time=result.completed_at,
        duration=facts.state.duration(result.completed_at, result.started_at),
        attempts=closed_attempts(facts.state, step.attempt, step.ending, now),
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
        engine=result.engine,
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
