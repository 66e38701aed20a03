"""From what an agent reports of a failover test to what stands in its run's status."""

from __future__ import annotations

from typing import Any

from databosun.api.failover import (
    FailbackSeen,
    FailoverMeasured,
    FailoverResult,
    FailoverVerdict,
    GuardResult,
    Topology,
)
from databosun.api.failoverprobe import ClientSeen, ErrorClass, InstanceSeen, PathSeen
from databosun.api.v1alpha1.databasestatus import FailedOver
from databosun.api.v1alpha1.failoverseen import (
    ClientResult,
    ErrorSeen,
    FailbackResult,
    FailoverMeasurement,
    InstanceResult,
    PathResult,
)
from databosun.api.v1alpha1.failovertestrun import (
    FAILOVER_FINAL,
    FailoverEvent,
    FailoverPhase,
    FailoverTestRunStatus,
    GuardSeen,
    NodeSeen,
    TopologySeen,
)
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.domain.measured import for_people

PHASES = {
    FailoverVerdict.PASSED: FailoverPhase.PASSED,
    FailoverVerdict.FAILED: FailoverPhase.FAILED,
    FailoverVerdict.REFUSED: FailoverPhase.REFUSED,
    FailoverVerdict.ABORTED: FailoverPhase.ABORTED,
    FailoverVerdict.INCONCLUSIVE: FailoverPhase.INCONCLUSIVE,
}


def found(result: FailoverResult, storage: str | None) -> dict[str, Any]:
    """What the agent says, for a status; what it does not say is left as it stands."""
    said: dict[str, Any] = {
        "moved_at": result.ordered_at.replace(microsecond=0) if result.ordered_at else None,
        "topology_before": topology(result.topology),
        "topology_after": topology(result.topology_after),
        "guards": guards(result.guards),
        "timeline": [FailoverEvent(**one.model_dump()) for one in result.timeline] or None,
        "result": _measurement(result.measured),
        "clients": _clients(result.clients),
        "paths": [_path(one) for one in result.paths] or None,
        "instances": [_instance(one) for one in result.instances] or None,
        "failback": _failback(result.failback),
        "evidence": _record(result, storage),
        "notes": list(dict.fromkeys(result.notes))[:16] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def failed_over(run: str, status: FailoverTestRunStatus) -> FailedOver | None:
    """What a run that ended says of its database; None where it moved nothing."""
    plan, measured, after = status.plan, status.result, status.topology_after
    back = status.failback.result if status.failback else None
    if status.moved_at is None or plan is None or status.phase not in FAILOVER_FINAL:
        return None
    return FailedOver(
        run=run,
        at=status.completion_time or status.moved_at,
        mode=plan.mode,
        phase=str(status.phase),
        primary=after.primary if after else None,
        write_downtime_milliseconds=measured.write_downtime_milliseconds if measured else None,
        write_downtime=measured.write_downtime if measured else None,
        lost=sum(one.lost + one.rejoin_lost for one in (measured, back) if one) if measured else None,
    )


def topology(seen: Topology | None) -> TopologySeen | None:
    """The nodes as they were found."""
    if seen is None:
        return None
    nodes = {
        one.name: NodeSeen(
            name=one.name,
            role=str(one.role),
            healthy=one.healthy,
            lag_bytes=one.lag_bytes,
            lag_milliseconds=_millis(one.lag_seconds),
            position=one.position,
            synchronous=one.synchronous,
            problems=one.problems,
        )
        for one in seen.members
    }
    return TopologySeen(
        at=seen.observed_at,
        primary=seen.primary,
        synchronous=seen.synchronous,
        fencing=seen.fencing,
        members=list(nodes.values()),
    )


def guards(results: list[GuardResult]) -> list[GuardSeen] | None:
    """Guards by name, each as it was found last."""
    return list({one.name: GuardSeen(**one.model_dump()) for one in results}.values()) or None


def _measurement(seen: FailoverMeasured | None) -> FailoverMeasurement | None:
    if seen is None:
        return None
    down = seen.write_downtime_seconds
    return FailoverMeasurement(
        write_downtime_milliseconds=_millis(down),
        write_downtime=for_people(down) if down is not None else None,
        read_downtime_milliseconds=_millis(seen.read_downtime_seconds),
        promotion_milliseconds=_millis(seen.promotion_seconds),
        recovered_milliseconds=_millis(seen.recovered_seconds),
        rejoin_milliseconds=_millis(seen.rejoin_seconds),
        acknowledged=seen.acknowledged,
        lost=seen.lost,
        unknown=seen.unknown,
        phantom=seen.phantom,
        rejoin_lost=seen.rejoin_lost,
        split_brain=seen.split_brain,
    )


def _failback(seen: FailbackSeen | None) -> FailbackResult | None:
    if seen is None:
        return None
    return FailbackResult(
        phase=str(PHASES[seen.verdict]),
        reason=seen.reason,
        message=seen.message,
        primary=seen.primary,
        candidate=seen.candidate,
        at=seen.ordered_at.replace(microsecond=0) if seen.ordered_at else None,
        result=_measurement(seen.measured),
    )


def _clients(seen: list[ClientSeen]) -> list[ClientResult] | None:
    return [_client(one) for one in seen] or None


def _errors(seen: list[ErrorClass]) -> list[ErrorSeen]:
    return list({error.kind: ErrorSeen(**error.model_dump()) for error in seen}.values())


def _path(one: PathSeen) -> PathResult:
    down = one.write_downtime_seconds
    return PathResult(
        name=one.name,
        kind=one.kind,
        clients=one.clients,
        acknowledged=one.acknowledged,
        failed=one.failed,
        unknown=one.unknown,
        broken_connections=one.broken_connections,
        write_downtime_milliseconds=_millis(down),
        write_downtime=for_people(down) if down is not None else None,
        first_success_milliseconds=_millis(one.first_success_seconds),
        all_succeeded_milliseconds=_millis(one.all_succeeded_seconds),
        errors=_errors(one.errors),
    )


def _instance(one: InstanceSeen) -> InstanceResult:
    return InstanceResult(
        name=one.name,
        asked=one.asked,
        took_writes=one.took_writes,
        last_milliseconds=_millis(one.last_seconds),
        first_milliseconds=_millis(one.first_seconds),
        errors=_errors(one.errors),
    )


def _client(one: ClientSeen) -> ClientResult:
    return ClientResult(
        name=one.client,
        path=one.path,
        acknowledged=one.acknowledged,
        longest_gap_milliseconds=_millis(one.longest_gap_seconds),
        first_success_milliseconds=_millis(one.first_success_seconds),
        errors=_errors(one.errors),
    )


def _record(result: FailoverResult, storage: str | None) -> StoredRecord | None:
    if result.evidence is None or result.evidence_sha256 is None:
        return None
    return StoredRecord(uri=result.evidence, sha256=result.evidence_sha256, storage=storage)


def _millis(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds is not None else None
