"""What the metrics say of one object: a pure function of its spec and status, as the API server holds them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from databosun.api.quantities import parse_duration
from databosun.runtime import lifecyclefamilies as lifecycles
from databosun.runtime import objectfamilies as objects
from databosun.runtime import protectionfamilies as protection
from databosun.runtime import provingfamilies as proving
from databosun.runtime.families import Family

Body = Mapping[str, Any]


class Row(NamedTuple):
    """Values of several families under the same labels; None where there is nothing to say."""

    families: tuple[Family, ...]
    labels: tuple[str, ...]
    values: tuple[float | None, ...]


_INFO = (protection.DATABASE_INFO,)
_DATABASE = (
    protection.DATABASE_PROTECTED,
    protection.DATABASE_REACHABLE,
    protection.RECOVERY_POINT,
    protection.RPO_OBJECTIVE,
    protection.RTO_OBJECTIVE,
    protection.BACKUP_SIZE,
)
_LOG = (protection.CONTINUOUS_HEALTHY, protection.LOG_GAPS)
_RULED_OUT = frozenset({"OneDatabaseOnly", "LogicalHasNoLog"})
_PROOF = (
    protection.PROVEN,
    protection.LAST_PROVEN,
    protection.DRILL_FAILED,
    protection.DRILL_OVERDUE,
    protection.DRILLS,
    protection.RTO_MEASURED,
    protection.RESTORE_ESTIMATE,
)
_FAILED_OVER = (protection.FAILOVER_DOWNTIME, protection.FAILOVER_LOST)
_DRILL = (
    proving.DRILL_DATABASES,
    proving.DRILL_PROVEN,
    proving.DRILL_FAILING,
    proving.DRILL_BACKUPS,
    proving.DRILL_BACKUPS_DRILLED,
    proving.DRILL_RTO_P95,
)
_JOINT = (proving.JOINT_SECONDS, proving.JOINT_TOO_SLOW)
_DRILL_RUNS = (proving.DRILL_RUNS,)
_FAILOVER = (proving.FAILOVER_FAILED, proving.FAILOVER_LAST_PASSED)
_FAILOVER_RUNS = (proving.FAILOVER_RUNS,)
_NOT_FAILED_OVER = frozenset({"Failed", "Aborted", "Inconclusive"})
_OVERDUE = frozenset({"ProofTooOld", "DrillOverdue"})
_PROTECTION = (protection.LAST_SUCCESS, protection.CONSECUTIVE_FAILURES, protection.MISSED_SLOTS)
_POLICY = (
    protection.EXPECTED_INTERVAL,
    protection.RETENTION_BLOCKED,
    protection.POLICY_BACKUPS,
    protection.POLICY_PROVEN,
    protection.POLICY_HELD,
    protection.POLICY_BYTES,
    protection.PENDING_DELETIONS,
)
_STORAGE = (protection.STORAGE_REACHABLE, protection.LAST_VALIDATED)
_RULE = (
    lifecycles.LIFECYCLE_REMAINING,
    lifecycles.LIFECYCLE_OLDEST,
    lifecycles.LIFECYCLE_RATE,
    lifecycles.LIFECYCLE_INFLOW,
    lifecycles.LIFECYCLE_PROCESSED,
    lifecycles.LIFECYCLE_HELD,
)
_LIFECYCLE = (lifecycles.LIFECYCLE_BEHIND, lifecycles.LIFECYCLE_APPROVED, lifecycles.LIFECYCLE_ENFORCED)
_STALLED = (objects.STALLED,)


def database_series(body: Body) -> tuple[Row, ...]:
    """A Database: what it is, how well it is protected, and how each policy fares with it."""
    namespace, name, spec, status = _parts(body)
    objectives = status.get("objectives") or {}
    info = (
        namespace,
        name,
        str(spec.get("engine", "")),
        str(status.get("engineVersion") or spec.get("version") or ""),
        str(objectives.get("tier") or spec.get("tier", "")),
        str(spec.get("environment", "")),
    )
    values = (
        1.0 if _condition(status, "Protected") == "True" else 0.0,
        _verdict(status, "Reachable"),
        _timestamp((status.get("recovery") or {}).get("latest")) or 0.0,
        _seconds(objectives.get("rpo")),
        _seconds(objectives.get("rto")),
        (status.get("lastBackup") or {}).get("sizeBytes"),
    )
    cursors = tuple(
        Row(
            _PROTECTION,
            (namespace, cursor["name"], name),
            (
                _timestamp(cursor.get("lastSuccess")) or 0.0,
                cursor.get("consecutiveFailures", 0),
                cursor.get("missedSlots", 0),
            ),
        )
        for cursor in status.get("policies") or ()
    )
    rows = (
        Row(_INFO, info, (1.0,)),
        Row(_DATABASE, (namespace, name), values),
        Row(_LOG, (namespace, name), _log(status)),
        Row(_PROOF, (namespace, name), _proof(status)),
        Row(_FAILED_OVER, (namespace, name), _failed_over(status)),
        *cursors,
    )
    return rows + _stalled("Database", body)


def _log(status: Body) -> tuple[float | None, ...]:
    ruled_out = _reason(status, "ContinuousHealthy") in _RULED_OUT
    healthy = None if ruled_out else _verdict(status, "ContinuousHealthy")
    return healthy, (status.get("archiver") or {}).get("gaps")


def _proof(status: Body) -> tuple[float | None, ...]:
    last, why = status.get("lastProven") or {}, _reason(status, "Proven")
    covered = bool(status.get("drills"))
    return (
        1.0 if _condition(status, "Proven") == "True" else 0.0,
        _timestamp(last.get("at")) or 0.0,
        1.0 if why == "DrillFailed" else 0.0,
        1.0 if covered and why in _OVERDUE else 0.0,
        float(sum(not one.get("suspended") for one in status.get("drills") or ())),
        last.get("rtoSeconds"),
        (status.get("estimate") or {}).get("restoreNowSeconds"),
    )


def _failed_over(status: Body) -> tuple[float | None, ...]:
    last = status.get("lastFailover") or {}
    down = last.get("writeDowntimeMilliseconds")
    return None if down is None else down / 1000, last.get("lost")


def drill_series(body: Body) -> tuple[Row, ...]:
    """A RestoreDrill: what it covers, how that fares, and its runs by verdict."""
    namespace, name, spec, status = _parts(body)
    covered, runs = status.get("databases") or {}, status.get("runs") or {}
    coverage, last = status.get("coverage") or {}, status.get("lastRun") or {}
    values = (
        *(covered.get(field, 0) for field in ("matched", "proven", "failing")),
        *(coverage.get(field, 0) for field in ("backupsTotal", "backupsDrilled")),
        (status.get("trend") or {}).get("rtoP95Seconds"),
    )
    joint = (last.get("rtoSeconds"), 1.0 if last.get("rtoMet") is False else 0.0) if spec.get("order") else (None, None)
    verdicts = tuple(Row(_DRILL_RUNS, (namespace, name, verdict), (count,)) for verdict, count in runs.items())
    return (
        Row(_DRILL, (namespace, name), values),
        Row(_JOINT, (namespace, name), joint),
        *verdicts,
        *_stalled("RestoreDrill", body),
    )


def failover_series(body: Body) -> tuple[Row, ...]:
    """A FailoverTest: how its newest run ended, when one passed last, and its runs by verdict."""
    namespace, name, _, status = _parts(body)
    last = (status.get("lastRun") or {}).get("phase")
    values = (1.0 if last in _NOT_FAILED_OVER else 0.0, _timestamp(status.get("lastPassedTime")) or 0.0)
    verdicts = ((verdict, count) for verdict, count in (status.get("runs") or {}).items())
    return (
        Row(_FAILOVER, (namespace, name), values),
        *(Row(_FAILOVER_RUNS, (namespace, name, verdict), (count,)) for verdict, count in verdicts),
        *_stalled("FailoverTest", body),
    )


def policy_series(body: Body, expected_interval: timedelta | None) -> tuple[Row, ...]:
    """A BackupPolicy. `expected_interval` is the longest time between two slots; None while it is suspended."""
    namespace, name, _, status = _parts(body)
    backups = status.get("backups") or {}
    values = (
        expected_interval.total_seconds() if expected_interval is not None else None,
        1.0 if _condition(status, "RetentionHealthy") == "False" else 0.0,
        backups.get("total"),
        backups.get("proven"),
        backups.get("held"),
        backups.get("bytes"),
        (status.get("pendingDeletions") or {}).get("count", 0),
    )
    return (Row(_POLICY, (namespace, name), values), *_stalled("BackupPolicy", body))


def storage_series(body: Body) -> tuple[Row, ...]:
    """A BackupStorage."""
    namespace, name, _, status = _parts(body)
    values = (_verdict(status, "Reachable"), _timestamp(status.get("lastValidatedTime")) or 0.0)
    return (Row(_STORAGE, (namespace, name), values), *_stalled("BackupStorage", body))


def lifecycle_series(body: Body) -> tuple[Row, ...]:
    """A LifecyclePolicy: its backlog by rule, and whether anything may go."""
    namespace, name, spec, status = _parts(body)
    enforces = spec.get("mode") == "Enforce"
    rules = tuple(
        Row(
            _RULE,
            (namespace, name, rule["name"]),
            (
                rule.get("remaining", 0),
                _timestamp(rule.get("oldestEligible")),
                rule.get("ratePerDay"),
                rule.get("inflowPerDay", 0),
                rule.get("processed", 0),
                rule.get("heldBack", 0),
            ),
        )
        for rule in status.get("rules") or ()
    )
    values = (
        1.0 if _condition(status, "FallingBehind") == "True" else 0.0,
        (1.0 if _condition(status, "Approved") == "True" else 0.0) if enforces else None,
        (_timestamp(status.get("lastEnforcedTime")) or 0.0) if enforces else None,
    )
    return (*rules, Row(_LIFECYCLE, (namespace, name), values), *_stalled("LifecyclePolicy", body))


def other_series(kind: str, body: Body) -> tuple[Row, ...]:
    """Any other kind: only whether it is stalled."""
    return _stalled(kind, body)


def _stalled(kind: str, body: Body) -> tuple[Row, ...]:
    namespace, name, _, status = _parts(body)
    for condition in status.get("conditions") or ():
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return (Row(_STALLED, (kind, namespace, name, condition["reason"]), (1.0,)),)
    return ()


def _parts(body: Body) -> tuple[str, str, Body, Body]:
    metadata = body["metadata"]
    return metadata["namespace"], metadata["name"], body.get("spec") or {}, body.get("status") or {}


def _condition(status: Body, kind: str) -> str:
    return next((one["status"] for one in status.get("conditions") or () if one["type"] == kind), "Unknown")


def _reason(status: Body, kind: str) -> str:
    return next((one["reason"] for one in status.get("conditions") or () if one["type"] == kind), "")


def _verdict(status: Body, kind: str) -> float | None:
    return {"True": 1.0, "False": 0.0}.get(_condition(status, kind))


def _timestamp(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _seconds(text: str | None) -> float | None:
    return parse_duration(text).total_seconds() if text else None
