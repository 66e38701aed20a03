"""Everything that `status` shows, read from the cluster; and the same for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from databosun.api.quantities import humanize_bytes, parse_duration
from databosun.api.v1alpha1.backup import BackupPhase, BackupStatus
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.run import Progress
from databosun.cli import findings
from databosun.cli.findings import Finding
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import Seen, SeenBackup, SeenDatabase
from databosun.domain.conditions import find
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_FINISHED
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, DATABASES, Object

MAX_LOOKED_UP: Final = 50
SOON: Final = 0.8

S = TypeVar("S", bound=Seen[Any, Any])


@dataclass(frozen=True, slots=True)
class DatabaseLine:
    """One Database. `rpo` is the age of the newest instant that could be restored; None where nothing could."""

    namespace: str
    name: str
    engine: str
    version: str | None
    tier: int
    protected: str
    rpo: timedelta | None
    rpo_objective: str | None
    rto_objective: str | None
    last_backup: str | None
    last_backup_at: datetime | None
    last_backup_bytes: int | None
    next_run: datetime | None
    policies: tuple[str, ...]
    ready: str
    proven: str
    proven_at: datetime | None
    rto: str | None
    rto_met: str

    @property
    def health(self) -> str:
        """`bad` where the objective is missed or nothing could be restored, `close` where it soon will be."""
        if self.rpo is None or self.protected == "False":
            return "bad"
        if self.rpo_objective is None:
            return "unknown"
        share = self.rpo / parse_duration(self.rpo_objective)
        return "bad" if share >= 1 else "close" if share >= SOON else "good"


@dataclass(frozen=True, slots=True)
class RunLine:
    """One Backup that is under way."""

    namespace: str
    name: str
    database: str
    phase: str
    message: str
    progress: Progress | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it, at one instant."""

    at: datetime
    databases: tuple[DatabaseLine, ...]
    runs: tuple[RunLine, ...]
    findings: tuple[Finding, ...]


async def gather(session: Session) -> Overview:
    """Read what there is within the session's scope."""
    bodies = await asyncio.gather(
        *(session.list(resource) for resource in (DATABASES, BACKUP_POLICIES, BACKUP_STORAGES)),
        session.list(BACKUPS, label_selector=f"!{LABEL_FINISHED}"),
    )
    now = session.clock.now()
    found: list[Finding] = []
    databases = _parsed("Database", bodies[0], read.database, found)
    policies = _parsed("BackupPolicy", bodies[1], read.policy, found)
    storages = _parsed("BackupStorage", bodies[2], read.storage, found)
    runs = _parsed("Backup", bodies[3], read.backup, found)
    failed = await _failed_runs(session, databases)
    for database in databases:
        mine = failed.get(database.meta.namespace, {})
        found += findings.of_database(database, mine, now)
    for policy in policies:
        found += findings.of_policy(policy, now)
    for storage in storages:
        found += findings.of_storage(storage, now)
    return Overview(
        at=now,
        databases=tuple(database_line(one, now) for one in databases),
        runs=tuple(
            run_line(one) for one in runs if one.status.phase not in (BackupPhase.SUCCEEDED, BackupPhase.FAILED)
        ),
        findings=tuple(found),
    )


def _parsed(
    kind: str, bodies: Iterable[Object], parse: Callable[[Mapping[str, Any]], S], found: list[Finding]
) -> list[S]:
    """The objects that can be read; those that cannot become findings."""
    parsed = []
    for body in bodies:
        try:
            parsed.append(parse(body))
        except UserFault as fault:
            found.append(findings.broken(kind, body, fault.message))
    return parsed


async def _failed_runs(session: Session, databases: Sequence[SeenDatabase]) -> dict[str, dict[str, BackupStatus]]:
    """The newest failed runs, by namespace and name; of many the first fifty."""
    wanted = [
        (database.meta.namespace, entry.last_run)
        for database in databases
        for entry in database.status.policies
        if entry.consecutive_failures and entry.last_run
    ][:MAX_LOOKED_UP]
    bodies = await asyncio.gather(*(session.kube.get(BACKUPS, namespace, name) for namespace, name in wanted))
    found: dict[str, dict[str, BackupStatus]] = {}
    for (namespace, name), body in zip(wanted, bodies, strict=True):
        if body is not None:
            found.setdefault(namespace, {})[name] = read.backup(body).status
    return found


def database_line(seen: SeenDatabase, now: datetime) -> DatabaseLine:
    """What one Database comes to, now."""
    status = seen.status
    latest = status.recovery.latest if status.recovery else None
    upcoming = [entry.next for entry in status.policies if entry.next is not None and not entry.suspended]
    last = status.last_backup
    return DatabaseLine(
        namespace=seen.meta.namespace,
        name=seen.meta.name,
        engine=str(seen.spec.engine),
        version=status.engine_version or seen.spec.version,
        tier=seen.spec.tier,
        protected=_status(seen, ConditionType.PROTECTED),
        rpo=now - latest if latest is not None else None,
        rpo_objective=status.objectives.rpo if status.objectives else None,
        rto_objective=status.objectives.rto if status.objectives else None,
        last_backup=last.name if last else None,
        last_backup_at=last.at if last else None,
        last_backup_bytes=last.size_bytes if last else None,
        next_run=min(upcoming, default=None),
        policies=tuple(entry.name for entry in status.policies),
        ready=_status(seen, ConditionType.READY),
        proven=_status(seen, ConditionType.PROVEN),
        proven_at=status.last_proven.at if status.last_proven else None,
        rto=status.last_proven.rto if status.last_proven else None,
        rto_met=_status(seen, ConditionType.RTO_MET),
    )


def _status(seen: SeenDatabase, kind: ConditionType) -> str:
    condition = find(seen.status.conditions, kind)
    return condition.status if condition is not None else "Unknown"


def run_line(seen: SeenBackup) -> RunLine:
    """What one unfinished Backup comes to."""
    ready = find(seen.status.conditions, ConditionType.READY)
    return RunLine(
        namespace=seen.meta.namespace,
        name=seen.meta.name,
        database=seen.spec.database_ref.name if seen.spec.database_ref else seen.status.database or "",
        phase=str(seen.status.phase or BackupPhase.PENDING),
        message=ready.message if ready else "",
        progress=seen.status.progress,
        since=seen.status.start_time or seen.meta.created,
    )


def document(overview: Overview) -> dict[str, Any]:
    """For programs: spans in seconds, sizes in bytes, absent what is not known."""
    return {
        "at": _instant(overview.at),
        "databases": [_database(one) for one in overview.databases],
        "running": [_run(one) for one in overview.runs],
        "needsHuman": [one.document() for one in overview.findings],
    }


def _database(line: DatabaseLine) -> dict[str, Any]:
    last = {
        "name": line.last_backup,
        "at": _instant(line.last_backup_at),
        "bytes": line.last_backup_bytes,
        "human": humanize_bytes(line.last_backup_bytes) if line.last_backup_bytes is not None else None,
    }
    return _known(
        {
            "namespace": line.namespace,
            "name": line.name,
            "engine": line.engine,
            "version": line.version,
            "tier": line.tier,
            "ready": line.ready,
            "protected": line.protected,
            "rpoSeconds": int(line.rpo.total_seconds()) if line.rpo is not None else None,
            "rpoObjective": line.rpo_objective,
            "rtoObjective": line.rto_objective,
            "proven": line.proven,
            "provenAt": _instant(line.proven_at),
            "rto": line.rto,
            "rtoMet": line.rto_met,
            "lastBackup": _known(last) if line.last_backup else None,
            "nextRun": _instant(line.next_run),
            "policies": list(line.policies),
        }
    )


def _run(line: RunLine) -> dict[str, Any]:
    return _known(
        {
            "namespace": line.namespace,
            "name": line.name,
            "database": line.database,
            "phase": line.phase,
            "message": line.message,
            "progress": line.progress.dump() if line.progress else None,
            "since": _instant(line.since),
        }
    )


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _instant(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None
