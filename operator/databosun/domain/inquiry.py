"""An Inquiry: what the steps of its run mean, the Job that answers, and what its answer says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.request import Compare, DatabaseTarget, InquireTask, ReadRecords, Request, SecretUse, StorageTarget
from databosun.api.v1alpha1.common import PodTemplate
from databosun.api.v1alpha1.inquiry import InquiryPhase, InquirySpec, InquiryStatus
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import kstatus
from databosun.domain.measured import backup_ref, recovery_point
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import Plan, StartJob
from databosun.domain.run import Conclude, Ending, Recover, Start, decide_run
from databosun.domain.running import (
    RunKind,
    RunState,
    closed_attempts,
    go_on,
    references,
    started,
    without_success,
)

INQUIRY_RUN = RunKind("Inquiry", InquiryPhase.PENDING, InquiryPhase.RUNNING)
KEPT = timedelta(days=1)
"""How long a finished inquiry is kept: its answer is for whoever asked, and large."""


@dataclass(frozen=True, slots=True)
class InquiryOrder:
    """All that the Job needs to be told. `backup` and `database` are those of a comparison."""

    storage: StorageTarget
    secrets: tuple[SecretUse, ...]
    image: str
    backup: ChosenBackup | None = None
    until: TargetPoint | None = None
    database: DatabaseTarget | None = None
    storage_uid: str | None = None
    storage_claim: str | None = None
    pod_template: PodTemplate | None = None
    scratch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class InquiryFacts:
    """One unfinished inquiry. `order` is None where it is not known whom to ask."""

    state: RunState
    spec: InquirySpec
    status: InquiryStatus
    order: InquiryOrder | None


def decide_inquiry(facts: InquiryFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished inquiry; total, deterministic."""
    step = decide_run(facts.state.facts, now)
    match step:
        case Start():
            chooses = facts.spec.comparison is not None and facts.status.backup is None
            return _choose(facts, now) if chooses else _start(facts, step, now)
        case Conclude():
            return _conclude(facts, step, now)
        case Recover():
            # Nothing of an inquiry outlives its pod: there is nothing to look for.
            message = f"attempt {step.number} left no answer; ask again"
            return _without(facts, 0, Ending(Reason.NO_RESULT, message), now)
        case _:
            return go_on(facts.state, step, now, facts.order.image if facts.order else None)


def _order(facts: InquiryFacts) -> InquiryOrder:
    assert facts.order is not None  # noqa: S101 (decide_run starts nothing that is doomed)
    return facts.order


def _choose(facts: InquiryFacts, now: datetime) -> Plan:
    """Write the choice down before anything starts, so that retention keeps what will be read."""
    order = _order(facts)
    message = f"{order.backup.name if order.backup else 'a backup'} is to be copied and compared with"
    status = facts.state.write(
        kstatus(ready=False, reason="Chosen", message=message, reconciling=message),
        now,
        phase=InquiryPhase.PENDING,
        backup=order.backup,
        until=order.until,
    )
    return Plan(status=status, wake_at=now)


def _start(facts: InquiryFacts, step: Start, now: datetime) -> Plan:
    order, ref = _order(facts), facts.state.ref
    request = Request(
        run=ref.name,
        attempt=step.number,
        deadline=step.deadline.replace(microsecond=0),
        not_after=facts.spec.not_after if step.number == 1 else None,
        database=order.database,
        storage=order.storage,
        secrets=list(order.secrets),
        image=order.image,
        job=_task(facts, order),
    )
    job = StartJob(
        name=attempt_job_name(ref.name, step.number),
        namespace=ref.namespace,
        owner=facts.state.owner,
        request=request,
        image=order.image,
        pod_template=order.pod_template,
        labels=references(order.database.uid if order.database else None, None, order.storage_uid),
        storage_claim=order.storage_claim,
    )
    return started(facts.state, replace(job, scratch_bytes=order.scratch_bytes), now)


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
        "completion_time": now.replace(microsecond=0),
        "duration": facts.state.duration(now),
        "attempts": closed_attempts(facts.state, step.attempt, ending, now),
        "progress": None,
        "failure": None,
        "records": result.records,
        "comparison": result.comparison,
    }
    status = facts.state.write(
        kstatus(ready=True, reason="Answered", message="the answer is in the status"), now, **changes
    )
    return Plan(status=status, wake_at=now)


def _without(facts: InquiryFacts, attempt: int, ending: Ending, now: datetime) -> Plan:
    refused = ending.refused or attempt == 0
    phase = InquiryPhase.REFUSED if refused else InquiryPhase.FAILED
    return Plan(status=without_success(facts.state, attempt, ending, now, phase=phase), wake_at=now)
