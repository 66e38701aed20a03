"""An Inquiry: what the steps of its run mean, the Job that answers, and what its answer says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.recordtasks import ReadRecords
from databosun.api.restoretasks import Compare, InquireTask
from databosun.api.v1alpha1.inquiry import InquiryPhase, InquirySpec, InquiryStatus
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending
from databosun.domain.measured import backup_ref, recovery_point
from databosun.domain.plan import Plan
from databosun.domain.run import Conclude, Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow
from databosun.domain.running import RunKind, chosen, started, with_success, without_success

INQUIRY_RUN = RunKind("Inquiry", InquiryPhase.PENDING, InquiryPhase.RUNNING)
KEPT = timedelta(days=1)
"""How long a finished inquiry is kept: its answer is for whoever asked, and large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryOrder(JobOrder):
    """What the Job is told of its own. `backup` and `database` are those of a comparison."""

    backup: ChosenBackup | None = None
    until: TargetPoint | None = None
    scratch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class InquiryFacts(Unfinished[InquirySpec, InquiryStatus, InquiryOrder]):
    """One unfinished inquiry."""


def decide_inquiry(facts: InquiryFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished inquiry; total, deterministic."""
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: InquiryFacts, step: Start, now: datetime) -> Plan:
    order = facts.ordered
    if facts.spec.comparison is not None and facts.status.backup is None:
        message = f"{order.backup.name if order.backup else 'a backup'} is to be copied and compared with"
        return chosen(facts.state, message, now, backup=order.backup, until=order.until)
    not_after = facts.spec.not_after if step.number == 1 else None
    task = _task(facts, order)
    job = attempt_job(facts.state, order, step, task, not_after=not_after, scratch_bytes=order.scratch_bytes)
    return started(facts.state, job, now)


def _recover(facts: InquiryFacts, step: Recover, now: datetime) -> Plan:
    """Nothing of an inquiry outlives its pod: there is nothing to look for."""
    return _without(facts, 0, Ending(Reason.NO_RESULT, f"attempt {step.number} left no answer; ask again"), now)


def _task(facts: InquiryFacts, order: InquiryOrder) -> InquireTask:
    if facts.spec.records is not None:
        asked = facts.spec.records
        records = ReadRecords(restore=asked.restore, database=asked.database, since=asked.since, after=asked.after)
        return InquireTask(records=records)
    comparison, backup = facts.spec.comparison, order.backup
    assert comparison is not None  # noqa: S101 (exactly one of the two, by the schema)
    assert backup is not None  # noqa: S101 (chosen before anything starts)
    return InquireTask(
        compare=Compare(
            backup=backup_ref(backup),
            until=recovery_point(order.until),
            database=comparison.database,
            tables=comparison.tables or [],
            statement_seconds=parse_duration(comparison.statement_timeout).total_seconds(),
        )
    )


def _conclude(facts: InquiryFacts, step: Conclude, now: datetime) -> Plan:
    ending, result = step.ending, step.ending.result
    answer = (result.records or result.comparison) if result is not None else None
    if not ending.succeeded or result is None or answer is None:
        return _without(facts, step.attempt, ending, now)
    changes: dict[str, Any] = {
        "phase": InquiryPhase.SUCCEEDED,
        "records": result.records,
        "comparison": result.comparison,
    }
    message = "the answer is in the status"
    status = with_success(facts.state, step.attempt, ending, now, reason="Answered", message=message, **changes)
    return Plan(status=status, wake_at=now)


def _without(facts: InquiryFacts, attempt: int, ending: Ending, now: datetime) -> Plan:
    refused = ending.refused or attempt == 0
    phase = InquiryPhase.REFUSED if refused else InquiryPhase.FAILED
    return Plan(status=without_success(facts.state, attempt, ending, now, phase=phase), wake_at=now)
