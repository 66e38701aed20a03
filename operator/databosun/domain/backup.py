"""A Backup: what the steps of its run mean for its status, and the Jobs that they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.backuptasks import BackupTask, ParentBackup, RecoverTask
from databosun.api.quantities import humanize_bytes
from databosun.api.result import BackupResult
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.backup import BackupPhase, BackupSpec, BackupStatus, Size
from databosun.api.v1alpha1.backuppolicy import BackupType, Hooks, Method
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.domain.conditions import Wanted
from databosun.domain.plan import Action, Plan, PostEvent
from databosun.domain.run import Conclude, Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import RunKind, started, with_success, without_success

MAX_OBJECTS_SHOWN = 50
BACKUP_RUN = RunKind("Backup", BackupPhase.PENDING, BackupPhase.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(JobOrder):
    """What the Jobs of one backup are told of their own. Its Secrets are those of the database."""

    storage_secrets: tuple[SecretUse, ...]
    type: BackupType
    method: Method
    consistency: str = "Strict"
    fingerprints: bool = True
    policy: str | None = None
    schedule: str | None = None
    hooks: Hooks | None = None
    parent: ParentBackup | None = None
    previous_bytes: int | None = None
    held: str | None = None
    log_begin: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupFacts(Unfinished[BackupSpec, BackupStatus, Order]):
    """One unfinished Backup; `database` is the name of the one that is backed up."""

    database: str


def remembered(spec: BackupSpec, database: str) -> Mapping[str, Any]:
    """The Database where the spec leaves it to the policy: that may name another one, or be gone, when the data are to
    be deleted."""
    return {"database": database} if spec.database_ref is None and database else {}


def decide_backup(facts: BackupFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished Backup; total, deterministic."""
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: BackupFacts, step: Start, now: datetime) -> Plan:
    order = facts.ordered
    assert order.database is not None  # noqa: S101 (decide_run starts nothing that is doomed)
    task = BackupTask(
        id=facts.state.ref.name,
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
    # Recorded at once: retention must keep what a running incremental stands on.
    parent = order.parent
    taking: dict[str, Any] = {"type": order.type, "method": order.method, "parent": parent.id if parent else None}
    taking |= {"base": parent.base if parent else None}
    job = attempt_job(facts.state, order, step, task, secrets=[*order.secrets, *order.storage_secrets])
    return started(facts.state, job, now, notes=list(order.notes) or None, **taking)


def _recover(facts: BackupFacts, step: Recover, now: datetime) -> Plan:
    order = facts.ordered
    task = RecoverTask(database=facts.database, id=facts.state.ref.name)
    secrets = order.storage_secrets
    return look_for(facts.state, order, step, task, now, secrets=secrets, database=order.database)


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
    notes = [*(facts.order.notes if facts.order else ()), *result.notes]
    status = with_success(
        facts.state,
        step.attempt,
        step.ending,
        now,
        reason="Succeeded",
        also=[plausible] if plausible else [],
        phase=BackupPhase.SUCCEEDED,
        start_time=facts.state.status.start_time or result.started_at,
        completion_time=min(result.completed_at, now.replace(microsecond=0)),
        duration=facts.state.duration(result.completed_at, result.started_at),
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
