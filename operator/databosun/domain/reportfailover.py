"""Failover tests of the report: from their records, or, where one is not at hand, from what the cluster remembers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.failover import FailoverMeasured, FailoverResult, FailoverVerdict
from databosun.api.report import RecordSeen, ReportFailover, Trust
from databosun.domain.records import FailoverRecord


@dataclass(frozen=True, slots=True)
class KnownFailover:
    """A finished FailoverTestRun that moved a primary, as its status tells it. `looked_for`: the storage of its record
    was read, so a record that was not found there is missing."""

    shown: ReportFailover
    storage: str | None
    looked_for: bool = False


def failovers_of(
    records: Sequence[FailoverRecord], runs: Sequence[KnownFailover], since: datetime, only: Collection[str]
) -> list[ReportFailover]:
    """Those of the period, newest first. A refused one moved nothing, and says nothing."""
    told = {(run.shown.namespace, run.shown.run): run for run in runs}
    found = [_of_record(one, told.get((one.namespace, one.evidence.run))) for one in records]
    written = {(one.namespace, one.run) for one in found}
    found += [_of_status(run) for at, run in told.items() if at not in written]
    wanted = [one for one in found if one.at >= since and one.verdict is not FailoverVerdict.REFUSED]
    shown = [one for one in wanted if not only or one.database in only]
    return sorted(shown, key=lambda one: (one.at, one.run), reverse=True)


def by_path(told: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Seconds by way; nothing where there is but one, whose figure is that of the test."""
    found = {name: seconds for name, seconds in told if seconds is not None}
    return found if len(found) > 1 else {}


def _of_record(record: FailoverRecord, run: KnownFailover | None) -> ReportFailover:
    evidence, result, measured = record.evidence, record.evidence.result, record.evidence.result.measured
    problems = list(record.problems)
    remembered = run.shown.record.sha256 if run else None
    if remembered is not None and remembered.lower() != record.sha256:
        problems.append(f"the cluster remembers SHA-256 {remembered} of it: it was changed or replaced")
    trust = Trust.BROKEN if problems else Trust.SIGNED if record.signed else Trust.UNSIGNED
    return ReportFailover(
        namespace=record.namespace,
        database=record.database,
        run=evidence.run,
        at=evidence.completed_at,
        mode=evidence.plan.mode if evidence.plan else None,
        verdict=result.verdict or FailoverVerdict.INCONCLUSIVE,
        reason=result.reason,
        message=result.message,
        primary=result.primary,
        candidate=result.candidate,
        write_downtime=measured.write_downtime_seconds if measured else None,
        paths=by_path((one.name, one.write_downtime_seconds) for one in result.paths),
        write_downtime_objective=evidence.asked.write_downtime_seconds,
        rejoin=measured.rejoin_seconds if measured else None,
        acknowledged=sum(one.acknowledged for one in _moves(result)) if measured else None,
        lost=_lost(result),
        unknown=measured.unknown if measured else None,
        split_brain=list(measured.split_brain) if measured else [],
        record=RecordSeen(where=record.where, sha256=record.sha256, trust=trust, problems=problems),
    )


def _moves(result: FailoverResult) -> list[FailoverMeasured]:
    """What was measured of the move, and of the one back."""
    found = [result.measured, result.failback.measured if result.failback else None]
    return [one for one in found if one is not None]


def _lost(result: FailoverResult) -> int | None:
    return sum(one.lost + one.rejoin_lost for one in _moves(result)) if result.measured else None


def _of_status(run: KnownFailover) -> ReportFailover:
    seen = run.shown.record
    if not run.looked_for or seen.sha256 is None:
        return run.shown
    problem = f"its record is missing from the store; the cluster remembers SHA-256 {seen.sha256}"
    broken = seen.model_copy(update={"trust": Trust.BROKEN, "problems": [problem]})
    return run.shown.model_copy(update={"record": broken})
