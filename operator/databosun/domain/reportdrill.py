"""One drill of the report: from its record, or, where that is not at hand, from what the cluster remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from databosun.api.drill import CheckResult, Level, PointKind, RecoveryPoint, Rpo, Rto, Verdict
from databosun.api.report import JointDrill, JointMember, RecordSeen, ReportDrill, Review, Trust
from databosun.domain.records import JointRecord, Record


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A finished RestoreDrillRun. `verdict` None: it said nothing about a backup (Refused, Error).

    `looked_for`: the storage of its record was read, so a record that was not found there is missing.
    """

    namespace: str
    name: str
    database: str
    phase: str
    verdict: Verdict | None
    completed_at: datetime | None
    backup: str = ""
    manifest_sha256: str | None = None
    reason: str = ""
    message: str = ""
    level_asked: Level | None = None
    level_reached: Level | None = None
    proven: bool = False
    checks: tuple[CheckResult, ...] = ()
    rto: Rto | None = None
    rpo: Rpo | None = None
    until: str = ""
    notes: tuple[str, ...] = ()
    uri: str | None = None
    sha256: str | None = None
    storage: str | None = None
    looked_for: bool = True
    review: Review | None = None


def drill_of_record(record: Record, run: KnownRun | None, manifests: Mapping[str, frozenset[str]]) -> ReportDrill:
    """A drill as its record tells it. `manifests`: digests of the manifests at hand, by backup."""
    told = record.evidence
    trust = Trust.BROKEN if record.problems else Trust.SIGNED if record.signed else Trust.UNSIGNED
    machine = told.measured_on
    return ReportDrill(
        run=told.run,
        at=told.completed_at,
        verdict=told.verdict,
        reason=told.reason,
        message=told.message,
        backup=told.backup,
        manifest_sha256=told.backup_manifest_sha256,
        manifest=_manifest(told.backup, told.backup_manifest_sha256, manifests),
        level_asked=told.level_asked,
        level_reached=told.level_reached,
        proven=told.proven and trust is not Trust.BROKEN,
        checks=told.checks,
        rto=told.rto,
        rpo=told.rpo,
        until=describe_point(told.until),
        negative_control=told.negative_control,
        measured_on=f"{machine.cpus} CPUs, {machine.arch}; {machine.path}",
        notes=told.notes,
        record=RecordSeen(
            where=record.where,
            sha256=record.sha256,
            trust=trust,
            problems=list(record.problems),
            notes=list(record.notes),
        ),
        review=run.review if run else None,
    )


def drill_of_status(run: KnownRun, verdict: Verdict, at: datetime) -> ReportDrill:
    """A drill as the cluster remembers it: nothing but the API server vouches for that."""
    record = RecordSeen(where=run.uri or "no record was written", sha256=run.sha256, trust=Trust.STATUS_ONLY)
    return _from_status(run, verdict, at, record, proven=run.proven)


def missing_drill(run: KnownRun, verdict: Verdict, at: datetime) -> ReportDrill:
    """A drill whose record should be there, and is not."""
    problem = f"the record is not at {run.uri or 'its place'}: it was deleted or moved"
    record = RecordSeen(where=run.uri or "unknown", sha256=run.sha256, trust=Trust.BROKEN, problems=[problem])
    return _from_status(run, verdict, at, record, proven=False)


def _from_status(run: KnownRun, verdict: Verdict, at: datetime, record: RecordSeen, *, proven: bool) -> ReportDrill:
    return ReportDrill(
        run=run.name,
        at=at,
        verdict=verdict,
        reason=run.reason,
        message=run.message,
        backup=run.backup,
        manifest_sha256=run.manifest_sha256,
        level_asked=run.level_asked,
        level_reached=run.level_reached,
        proven=proven,
        checks=list(run.checks),
        rto=run.rto,
        rpo=run.rpo,
        until=run.until,
        notes=list(run.notes),
        record=record,
        review=run.review,
    )


def joint_of(record: JointRecord, digests: Mapping[tuple[str, str], str]) -> JointDrill:
    """A drill of many as its record tells it. `digests`: of the records at hand, by namespace and run."""
    told = record.evidence
    trust = Trust.BROKEN if record.problems else Trust.SIGNED if record.signed else Trust.UNSIGNED
    return JointDrill(
        namespace=told.namespace,
        run=told.run,
        drill=told.drill,
        at=told.completed_at,
        verdict=told.verdict,
        reason=told.reason,
        message=told.message,
        seconds=told.seconds,
        met=told.met,
        members=[
            JointMember(
                database=one.database,
                run=one.run,
                verdict=one.verdict,
                group=one.group,
                seconds=one.seconds,
                ready_seconds=one.ready_seconds,
                objective=one.objective,
                met=one.met,
                record=_member(one.evidence_sha256, digests.get((told.namespace, one.run))),
            )
            for one in told.members
        ],
        record=RecordSeen(where=record.where, sha256=record.sha256, trust=trust, problems=list(record.problems)),
    )


def _member(wanted: str | None, seen: str | None) -> Literal["Matches", "Differs", "NotSeen", "None"]:
    if wanted is None:
        return "None"
    if seen is None:
        return "NotSeen"
    return "Matches" if wanted.lower() == seen else "Differs"


def describe_point(until: RecoveryPoint) -> str:
    """Where recovery was to end, for people."""
    match until.kind:
        case PointKind.TIME if until.time is not None:
            return f"to {until.time.isoformat()}"
        case PointKind.LSN:
            return f"to {until.lsn}"
        case PointKind.RESTORE_POINT:
            return f"to restore point {until.name}"
        case PointKind.GTID:
            return f"to transaction {until.name}"
        case PointKind.LATEST:
            return "to the end of the log"
        case _:
            return "to the end of the backup"


def _manifest(
    backup: str, wanted: str, manifests: Mapping[str, frozenset[str]]
) -> Literal["Matches", "Differs", "NotSeen"]:
    seen = manifests.get(backup)
    if seen is None:
        return "NotSeen"
    return "Matches" if wanted.lower() in seen else "Differs"
