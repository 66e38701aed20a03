"""From what an agent reports of a copy to what stands in a status, and from a user's checks to the agent's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

from databosun.api.drill import Check, CheckResult, CheckType, Operator, PointKind, RecoveryPoint, Rpo, Rto
from databosun.api.quantities import format_duration, parse_duration
from databosun.api.restoretasks import BackupRef
from databosun.api.v1alpha1.proving import (
    Breakdown,
    ChosenBackup,
    CopyCheck,
    CopyCheckResult,
    MeasuredRpo,
    MeasuredRto,
    TargetPoint,
)
from databosun.domain.presets import invalid_spec

GIB = 1024**3
# What every copy needs beside its data: the log while it is replayed, temporary files, room to breathe.
SPARE_SCRATCH = 2 * GIB


def asked_checks(checks: Iterable[CopyCheck]) -> list[Check]:
    """Checks of a spec as the agent takes them. UserFault(InvalidSpec) names the check."""
    return [_check(one) for one in checks]


def _check(one: CopyCheck) -> Check:
    return Check(
        name=one.name,
        type=CheckType(one.type),
        severity=one.severity,
        database=one.database,
        table=one.table,
        query=one.query,
        operator=Operator("=" if one.operator == "==" else one.operator),
        value=one.value,
        min=one.min,
        max=one.max,
        max_age_seconds=_seconds(f"check {one.name}: maxAge", one.max_age) if one.max_age else None,
        exec=one.exec,
        timeout_seconds=_seconds(f"check {one.name}: timeout", one.timeout),
    )


def _seconds(path: str, text: str) -> float:
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        message = f"{path}: {error}"
        raise invalid_spec(message) from error
    if seconds <= 0:
        message = f"{path} is {text}; expected a duration longer than nothing"
        raise invalid_spec(message)
    return seconds


def check_results(found: Sequence[CheckResult]) -> list[CopyCheckResult] | None:
    """What the checks found, for a status; those that say least are cut first."""
    shown = [
        CopyCheckResult(
            name=one.name,
            type=str(one.type),
            severity=one.severity,
            result=one.outcome,
            reason=one.reason,
            observed=one.observed,
            expected=one.expected,
            message=one.message or None,
            milliseconds=_millis(one.seconds),
        )
        for one in sorted(found, key=lambda one: one.outcome == "Passed")
    ]
    return shown or None


def measured_rto(rto: Rto | None) -> MeasuredRto | None:
    """Time to restore, in whole numbers."""
    if rto is None:
        return None
    parts = {name: _millis(getattr(rto, name)) for name in Breakdown.model_fields}
    return MeasuredRto(
        milliseconds=_millis(rto.seconds),
        seconds=math.ceil(rto.seconds),
        took=for_people(rto.seconds),
        objective=_objective(rto.objective),
        met=rto.met,
        breakdown=Breakdown(**parts),
        available_seconds=math.ceil(rto.available) if rto.available is not None else None,
        readable_seconds=math.ceil(rto.readable) if rto.readable is not None else None,
    )


def measured_rpo(rpo: Rpo | None) -> MeasuredRpo | None:
    """Span of lost writes, in whole numbers."""
    if rpo is None:
        return None
    return MeasuredRpo(
        milliseconds=_millis(rpo.seconds),
        seconds=math.ceil(rpo.seconds),
        span=for_people(rpo.seconds),
        objective=_objective(rpo.objective),
        met=rpo.met,
        source=rpo.source,
        newest=rpo.newest,
        exact=rpo.exact,
    )


def for_people(seconds: float) -> str:
    """A measured span: tenths of a second below a minute, whole seconds above."""
    return f"{seconds:.1f}s" if seconds < 60 else format_duration(timedelta(seconds=round(seconds)))


def _objective(seconds: float | None) -> str | None:
    return format_duration(timedelta(seconds=seconds)) if seconds is not None else None


def _millis(seconds: float) -> int:
    return round(seconds * 1000)


def target_point(point: RecoveryPoint) -> TargetPoint:
    """A point as a status has it."""
    return TargetPoint(kind=point.kind, time=point.time, lsn=point.lsn, name=point.name)


def recovery_point(point: TargetPoint | None) -> RecoveryPoint:
    """And back."""
    if point is None:
        return RecoveryPoint(kind=PointKind.NONE)
    return RecoveryPoint(kind=point.kind, time=point.time, lsn=point.lsn, name=point.name)


def backup_ref(one: ChosenBackup) -> BackupRef:
    """The backup as the agent reads it back."""
    return BackupRef(
        id=one.name,
        attempt=one.attempt,
        database=one.database,
        manifest_sha256=one.checksum,
        verified=not one.unverified,
    )


def scratch_for(logical_bytes: Sequence[int]) -> int:
    """Room for a copy: the data of every member of the chain, and once more the largest, since incrementals are
    combined into a new copy. In whole GiB, since it becomes a volume's size."""
    if not logical_bytes:
        return 10 * GIB
    extra = max(logical_bytes) if len(logical_bytes) > 1 else 0
    need = (sum(logical_bytes) + extra) * 11 // 10 + SPARE_SCRATCH
    return max(10, -(-need // GIB)) * GIB
