"""A DataExport: what the steps of its run mean, the Job that reads and writes, and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.dataexport import ExportOrder, ExportResult
from databosun.api.lifecycletasks import ExportTask
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.dataexport import (
    MAX_FILES,
    DataExportSpec,
    DataExportStatus,
    ExportedFile,
    ExportPhase,
)
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.presets import read_span
from databosun.domain.run import Conclude, Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import RunKind, started, with_success, without_success

EXPORT_RUN = RunKind("DataExport", ExportPhase.PENDING, ExportPhase.RUNNING)
LONGEST_KEPT = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJobOrder(JobOrder):
    """What the Job is told of its own."""

    database: DatabaseTarget
    kept: timedelta


@dataclass(frozen=True, slots=True)
class ExportFacts(Unfinished[DataExportSpec, DataExportStatus, ExportJobOrder]):
    """One unfinished export."""


def kept_for(spec: DataExportSpec) -> timedelta:
    """How long the files lie in the store. UserFault(InvalidSpec)."""
    return read_span("spec.expiresAfter", spec.expires_after, timedelta(minutes=1), LONGEST_KEPT)


def decide_export(facts: ExportFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished export; total, deterministic."""
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: ExportFacts, step: Start, now: datetime) -> Plan:
    order, spec = facts.ordered, facts.spec
    task = ExportTask(
        id=facts.state.ref.name,
        uid=facts.state.ref.uid,
        database_uid=order.database.uid,
        database=spec.database,
        storage=spec.storage_ref.name,
        rules=[
            ExportOrder(
                name=one.name,
                table=one.table or "",
                column=one.column or "",
                keys=one.key_pattern,
                along=one.along,
                max_rows=one.max_rows,
            )
            for one in spec.rules
        ],
        expires_seconds=int(order.kept.total_seconds()),
    )
    not_after = spec.not_after if step.number == 1 else None
    return started(facts.state, attempt_job(facts.state, order, step, task, not_after=not_after), now)


def _recover(facts: ExportFacts, step: Recover, now: datetime) -> Plan:
    """Read the receipt, where nobody heard what came of it."""
    order = facts.ordered
    task = RecoverTask(database=order.database.name, id=facts.state.ref.name, durable="export")
    return look_for(facts.state, order, step, task, now)


def _conclude(facts: ExportFacts, step: Conclude, now: datetime) -> Plan:
    ending, found = step.ending, step.ending.result.dataexport if step.ending.result else None
    if found is None or found.receipt is None or found.receipt_sha256 is None:
        phase = ExportPhase.REFUSED if step.refused else ExportPhase.FAILED
        return Plan(status=without_success(facts.state, step.attempt, ending, now, phase=phase), wake_at=now)
    if found.uid != facts.state.ref.uid:
        message = "an export of this name was done before; nothing was exported, give this one a new name"
        ending = Ending(Reason.NAME_TAKEN, message, certain=True, refused=True)
        status = without_success(facts.state, step.attempt, ending, now, phase=ExportPhase.REFUSED)
        return Plan(status=status, wake_at=now)
    told = _told(found, StoredRecord(uri=found.receipt, sha256=found.receipt_sha256))
    message = (
        f"{told['rows']} rows of the person in {len(found.files)} files lie at {found.folder} until"
        f" {found.expires_at.replace(microsecond=0).isoformat()}"
    )
    status = with_success(facts.state, step.attempt, ending, now, reason=Reason.EXPORTED, message=message, **told)
    return Plan(status=status, after=(PostEvent(Reason.EXPORTED, message),), wake_at=now)


def _told(found: ExportResult, receipt: StoredRecord) -> dict[str, Any]:
    return {
        "phase": ExportPhase.SUCCEEDED,
        "subject": found.subject,
        "rows": sum(one.rows for one in found.files),
        "folder": found.folder,
        "files": [
            ExportedFile(
                rule=one.rule, table=one.table, rows=one.rows, name=one.name, bytes=one.bytes, sha256=one.sha256
            )
            for one in found.files[:MAX_FILES]
        ],
        "expires_time": found.expires_at.replace(microsecond=0),
        "receipt": receipt,
        "notes": found.notes[:16] or None,
    }
