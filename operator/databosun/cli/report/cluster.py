"""What the cluster knows of drills: Databases, Backups, RestoreDrillRuns, and the keys that records are signed with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from databosun.api.drill import CheckResult, CheckType, Rpo, Rto, Verdict
from databosun.api.failover import FailoverVerdict
from databosun.api.quantities import parse_duration
from databosun.api.report import RecordSeen, ReportCondition, ReportFailover, ReportObjectives, Trust
from databosun.api.v1alpha1.proving import Breakdown, CopyCheckResult, MeasuredRpo, MeasuredRto
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrillrun import DRILL_FINAL
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup, SeenDatabase, SeenDrillRun, SeenFailoverRun, SeenStorage
from databosun.domain.errors import UserFault
from databosun.domain.failoverstatus import failed_over
from databosun.domain.measured import recovery_point
from databosun.domain.report import KnownDatabase
from databosun.domain.reportcoverage import KnownBackup
from databosun.domain.reportdrill import KnownRun, describe_point
from databosun.domain.reportfailover import KnownFailover, by_path
from databosun.domain.review import review_of
from databosun.domain.sealing import public_key_of
from databosun.domain.tiers import tier_objectives
from databosun.kube.resources import BACKUP_STORAGES, BACKUPS, DATABASES, FAILOVER_TEST_RUNS, RESTORE_DRILL_RUNS

_SHOWN = ("Protected", "Proven", "RPOMet", "RTOMet")


@dataclass(frozen=True, slots=True)
class Known:
    """What was found. `notes`: objects that could not be read."""

    databases: tuple[KnownDatabase, ...]
    runs: tuple[KnownRun, ...]
    failovers: tuple[KnownFailover, ...]
    backups: tuple[KnownBackup, ...]
    storages: tuple[SeenStorage, ...]
    manifests: Mapping[str, frozenset[str]]
    notes: tuple[str, ...]


async def ask(session: Session) -> Known:
    """Read it all, within the session's scope."""
    notes: list[str] = []
    databases = _parsed(await session.list(DATABASES), read.database, notes)
    runs = _parsed(await session.list(RESTORE_DRILL_RUNS), read.drill_run, notes)
    tests = _parsed(await session.list(FAILOVER_TEST_RUNS), read.failover_run, notes)
    backups = _parsed(await session.list(BACKUPS, label_selector="databosun.io/finished=Succeeded"), read.backup, notes)
    storages = _parsed(await session.list(BACKUP_STORAGES), read.storage, notes)
    return Known(
        databases=tuple(_database(one) for one in databases),
        runs=tuple(
            # A run over many databases adds nothing to what the runs that it owns say of each.
            _run(one)
            for one in runs
            if one.status.phase in DRILL_FINAL and one.spec.database_ref is not None
        ),
        failovers=tuple(found for one in tests if (found := _failover(one)) is not None),
        backups=tuple(_backup(one) for one in backups),
        storages=tuple(storages),
        manifests=_manifests(backups),
        notes=tuple(notes),
    )


def _parsed(bodies: Iterable[Mapping[str, Any]], parse: Any, notes: list[str]) -> list[Any]:
    found = []
    for body in bodies:
        try:
            found.append(parse(body))
        except UserFault as fault:
            name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            notes.append(f"{body.get('kind', 'object')} {name} could not be read: {fault.message}")
    return found


def _database(seen: SeenDatabase) -> KnownDatabase:
    aims = tier_objectives(seen.spec.tier, seen.spec.objectives)
    return KnownDatabase(
        namespace=seen.meta.namespace,
        name=seen.meta.name,
        engine=str(seen.spec.engine),
        engine_version=seen.status.engine_version,
        objectives=ReportObjectives(
            tier=seen.spec.tier, rto=aims.rto.total_seconds(), rpo=aims.rpo.total_seconds(), source="Database"
        ),
        conditions=tuple(
            ReportCondition(type=one.type, status=one.status, reason=one.reason, message=one.message)
            for one in seen.status.conditions
            if one.type in _SHOWN
        ),
    )


def _run(seen: SeenDrillRun) -> KnownRun:
    status = seen.status
    phase = str(status.phase)
    failure = status.failure
    return KnownRun(
        namespace=seen.meta.namespace,
        name=seen.meta.name,
        database=seen.spec.database_name,
        phase=phase,
        verdict=Verdict(phase) if phase in {"Passed", "Failed", "Partial"} else None,
        completed_at=status.completion_time,
        backup=status.backup.name if status.backup else "",
        manifest_sha256=status.backup.checksum if status.backup else None,
        reason=failure.reason if failure else phase,
        message=failure.message if failure else "",
        level_asked=status.level,
        level_reached=status.level_reached,
        proven=status.proven,
        checks=tuple(copy_check(one) for one in status.checks or ()),
        rto=_rto(status.rto),
        rpo=_rpo(status.rpo),
        until=describe_point(recovery_point(status.until)) if status.until else "",
        notes=tuple(status.notes or ()),
        uri=status.evidence.uri if status.evidence else None,
        sha256=status.evidence.sha256 if status.evidence else None,
        storage=status.backup.storage if status.backup else None,
        looked_for=False,
        review=review_of(seen.meta.annotations),
    )


def _failover(seen: SeenFailoverRun) -> KnownFailover | None:
    status, moved = seen.status, failed_over(seen.meta.name, seen.status)
    if moved is None:
        return None
    measured, stored, plan, failure = status.result, status.evidence, status.plan, status.failure
    back = status.failback.result if status.failback else None
    return KnownFailover(
        ReportFailover(
            namespace=seen.meta.namespace,
            database=seen.spec.database_ref.name,
            run=seen.meta.name,
            at=moved.at,
            mode=moved.mode,
            verdict=FailoverVerdict(moved.phase),
            reason=failure.reason if failure else moved.phase,
            message=failure.message if failure else "",
            primary=plan.primary if plan else None,
            candidate=plan.candidate if plan else None,
            write_downtime=_from_millis(moved.write_downtime_milliseconds),
            paths=by_path((one.name, _from_millis(one.write_downtime_milliseconds)) for one in seen.status.paths or []),
            rejoin=_from_millis(measured.rejoin_milliseconds) if measured else None,
            acknowledged=sum(one.acknowledged for one in (measured, back) if one) if measured else None,
            lost=moved.lost,
            unknown=measured.unknown if measured else None,
            split_brain=list(measured.split_brain) if measured else [],
            record=RecordSeen(
                where=stored.uri if stored else "", sha256=stored.sha256 if stored else None, trust=Trust.STATUS_ONLY
            ),
        ),
        stored.storage if stored else None,
    )


def _from_millis(value: int | None) -> float | None:
    return None if value is None else value / 1000


def copy_check(one: CopyCheckResult) -> CheckResult:
    """The result of a check as an agent reports it, from a status."""
    known = CheckType(one.type) if one.type in set(CheckType) else CheckType.QUERY
    return CheckResult(
        name=one.name,
        type=known,
        severity=one.severity,
        outcome=one.result,
        reason=one.reason,
        observed=one.observed,
        expected=one.expected,
        message=one.message or "",
        seconds=one.milliseconds / 1000,
    )


def _rto(found: MeasuredRto | None) -> Rto | None:
    if found is None:
        return None
    into = found.breakdown or Breakdown()
    parts = {name: value / 1000 for name, value in into.model_dump().items()}
    return Rto(seconds=found.milliseconds / 1000, objective=_seconds(found.objective), met=found.met, **parts)


def _rpo(found: MeasuredRpo | None) -> Rpo | None:
    if found is None:
        return None
    return Rpo(
        seconds=found.milliseconds / 1000,
        objective=_seconds(found.objective),
        met=found.met,
        source=found.source,
        newest=found.newest,
        exact=found.exact,
    )


def _seconds(text: str | None) -> float | None:
    return parse_duration(text).total_seconds() if text else None


def _manifests(backups: Iterable[SeenBackup]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in backups:
        if one.status.checksum is not None:
            found[one.meta.name].add(one.status.checksum.lower())
    return {name: frozenset(digests) for name, digests in found.items()}


def _backup(seen: SeenBackup) -> KnownBackup:
    completed = seen.status.completion_time or seen.meta.created
    name = read.database_name(seen)
    return KnownBackup(seen.meta.namespace, name, seen.meta.name, completed, seen.status.proven is not None)


def keys_of(storage: SeenStorage) -> tuple[Ed25519PublicKey, ...]:
    """The key that records in a storage are signed with; none where it does not sign. UserFault(SigningKeyInvalid)."""
    if storage.spec.signing is None:
        return ()
    try:
        return (public_key_of(storage.spec.signing.public_key),)
    except ValueError as error:
        message = f"spec.signing.publicKey of BackupStorage {storage.meta.name} cannot be used: {error}"
        raise UserFault(Reason.INVALID_SPEC, message) from error
