"""One database under its policies: which Backups to create now, and how far each schedule has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy
from databosun.api.v1alpha1.database import PolicyCursor, ScheduleCursor
from databosun.domain.names import run_name, run_now_name
from databosun.domain.plan import (
    FINALIZER_DATA,
    LABEL_DATABASE_UID,
    LABEL_POLICY_UID,
    LABEL_SCHEDULE,
    LABEL_STORAGE_UID,
    CreateBackup,
)
from databosun.domain.presets import EffectivePolicy
from databosun.domain.requests import Named
from databosun.domain.schedule import ScheduleRow, SlotDecision, decide_slots, jitter_for, skip_to


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """One policy as it concerns one database."""

    ref: Named
    created: datetime
    effective: EffectivePolicy
    storage: str
    storage_uid: str | None
    method: str
    deletion_policy: DeletionPolicy
    suspended: bool
    forbid_overlap: bool
    run_now: str | None = None


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of a policy for the database; `slot` as its name or spec says."""

    name: str
    schedule: str
    created: datetime
    slot: datetime | None
    active: bool
    succeeded: bool


@dataclass(frozen=True, slots=True)
class TimetableFacts:
    """One policy, one database, and what has happened between them."""

    database: Named
    database_created: datetime
    policy: PolicyFacts
    entry: PolicyCursor | None
    runs: tuple[PastRun, ...]
    last_success: datetime | None = None


@dataclass(frozen=True, slots=True)
class Timetabled:
    """What to create, the policy's entry in Database.status, and when to look again."""

    create: tuple[CreateBackup, ...]
    entry: PolicyCursor
    wake_at: datetime | None


def decide_timetable(facts: TimetableFacts, now: datetime) -> Timetabled:
    """Apply one policy's schedules and run-now token to one database; total, deterministic."""
    rows = _rows(facts, now)
    token = facts.policy.run_now
    if facts.policy.suspended:
        return Timetabled((), _entry(facts, rows, {}, None, token, suspended=True), None)
    if facts.entry is not None and facts.entry.suspended:
        skipped = skip_to(rows, now)
        rows = [_moved(row, skipped.cursors[row.name]) for row in rows]
    create = _run_now(facts, now)
    jitter = jitter_for(f"{facts.policy.ref.uid}/{facts.database.uid}", facts.policy.effective.jitter)
    rows = _answered(rows, facts, jitter)
    decision = decide_slots(rows, now, facts.policy.effective.starting_deadline, jitter)
    busy = [run.name for run in facts.runs if run.active]
    if decision.run and ((busy and facts.policy.forbid_overlap) or create):
        # The slot stays due: the run that goes on, when it ends, brings us here again.
        return Timetabled(create, _entry(facts, rows, {}, decision.run[0].start_at, token), decision.run[0].start_until)
    create += tuple(_scheduled(facts, decision, index) for index in range(len(decision.run)))
    moved = [_moved(row, decision.cursors[row.name]) for row in rows]
    return Timetabled(create, _entry(facts, moved, decision.missed, decision.next, token), decision.next)


def _rows(facts: TimetableFacts, now: datetime) -> list[ScheduleRow]:
    effective = facts.policy.effective
    known = {cursor.name: cursor for cursor in facts.entry.schedules} if facts.entry else {}
    start = max(facts.policy.created, facts.database_created)
    rows = []
    for schedule in effective.schedules:
        cursor = known.get(schedule.name)
        if cursor is not None and cursor.slot is not None:
            since = cursor.slot
        elif cursor is None and facts.entry is not None:
            since = now  # a schedule that was added to a policy already at work owes nothing for the past
        else:
            since = start
        newest = max(
            (run.slot for run in facts.runs if run.schedule == schedule.name and run.slot is not None), default=since
        )
        rows.append(ScheduleRow(schedule.name, schedule.type, schedule.cron, effective.zone, max(since, newest)))
    return rows


def _answered(rows: list[ScheduleRow], facts: TimetableFacts, jitter: timedelta) -> list[ScheduleRow]:
    """Move the cursors over all that was decided together with the newest scheduled run.

    Its creation comes before the cursors are recorded; without this, a kill in between would run what it covered too.
    """
    decided = max((max(run.slot, run.created - jitter) for run in facts.runs if run.slot is not None), default=None)
    if decided is None:
        return rows
    skipped = skip_to(rows, decided)
    return [_moved(row, skipped.cursors[row.name]) for row in rows]


def _moved(row: ScheduleRow, cursor: datetime) -> ScheduleRow:
    return ScheduleRow(row.name, row.type, row.cron, row.zone, cursor)


def _run_now(facts: TimetableFacts, now: datetime) -> tuple[CreateBackup, ...]:
    """A token that was not there before starts one run; one that is there at first sight is recorded, not run."""
    asked = facts.policy.run_now
    if asked is None or facts.entry is None or asked == facts.entry.run_now_token:
        return ()
    wanted, _, _ = asked.rpartition("/")
    schedules = facts.policy.effective.schedules
    schedule = next(
        (row for row in schedules if row.name == wanted), schedules[0] if schedules and not wanted else None
    )
    if wanted and schedule is None:
        return ()
    name = run_now_name(facts.database.name, facts.policy.ref.uid, facts.database.uid, asked)
    kind = schedule.type if schedule else BackupType.FULL
    return (_create(facts, name, kind, schedule.name if schedule else None, now.replace(microsecond=0)),)


def _scheduled(facts: TimetableFacts, decision: SlotDecision, index: int) -> CreateBackup:
    due = decision.run[index]
    name = run_name(facts.database.name, due.slot, facts.policy.ref.uid, due.schedule, facts.database.uid)
    return _create(facts, name, due.type, due.schedule, due.slot)


def _create(
    facts: TimetableFacts, name: str, kind: BackupType, schedule: str | None, scheduled_for: datetime
) -> CreateBackup:
    policy = facts.policy
    spec: dict[str, Any] = {
        "databaseRef": {"name": facts.database.name},
        "policyRef": {"name": policy.ref.name},
        "storageRef": {"name": policy.storage},
        "type": str(kind),
        "method": policy.method,
        "scheduledFor": scheduled_for.isoformat().replace("+00:00", "Z"),
        "deletionPolicy": str(policy.deletion_policy),
        **({"schedule": schedule} if schedule else {}),
    }
    labels = {
        LABEL_DATABASE_UID: facts.database.uid,
        LABEL_POLICY_UID: policy.ref.uid,
        **({LABEL_STORAGE_UID: policy.storage_uid} if policy.storage_uid else {}),
        **({LABEL_SCHEDULE: schedule} if schedule else {}),
    }
    finalizers = (FINALIZER_DATA,) if policy.deletion_policy is DeletionPolicy.DELETE else ()
    return CreateBackup(facts.database.namespace, name, spec, labels, finalizers)


def _entry(
    facts: TimetableFacts,
    rows: Sequence[ScheduleRow],
    missed: Mapping[str, int],
    upcoming: datetime | None,
    token: str | None,
    *,
    suspended: bool = False,
) -> PolicyCursor:
    old = {cursor.name: cursor for cursor in facts.entry.schedules} if facts.entry else {}
    start = max(facts.policy.created, facts.database_created)
    schedules = []
    for row in rows:
        before = old.get(row.name)
        count = (before.missed if before else 0) + missed.get(row.name, 0)
        slot = row.cursor if (before is not None and before.slot is not None) or row.cursor > start else None
        schedules.append(
            ScheduleCursor(name=row.name, slot=slot.replace(microsecond=0) if slot else None, missed=count)
        )
    finished = [run for run in facts.runs if not run.active]
    good = [run for run in finished if run.succeeded]
    return PolicyCursor(
        name=facts.policy.ref.name,
        uid=facts.policy.ref.uid,
        schedules=schedules,
        run_now_token=token,
        suspended=suspended,
        last_run=_last(facts),
        last_success=facts.last_success if good else None,
        last_success_run=good[-1].name if good else None,
        consecutive_failures=_failures(finished),
        missed_slots=(facts.entry.missed_slots if facts.entry else 0) + sum(missed.values()),
        next=upcoming,
    )


def _last(facts: TimetableFacts) -> str | None:
    newest = max(facts.runs, key=lambda run: (run.created, run.name), default=None)
    return newest.name if newest else (facts.entry.last_run if facts.entry else None)


def _failures(finished: Sequence[PastRun]) -> int:
    """Failed runs since the newest success."""
    count = 0
    for run in reversed(finished):
        if run.succeeded:
            break
        count += 1
    return count


def slot_of(run: str) -> datetime | None:
    """The slot that a scheduled run's name carries; None for run-now and hand-made ones."""
    parts = run.rsplit("-", 2)
    if len(parts) != 3 or len(parts[1]) != 10 or not parts[1].isdigit():
        return None
    try:
        return datetime.strptime(parts[1] + "+0000", "%y%m%d%H%M%z")
    except ValueError:
        return None
