"""One database under its policies, of whatever kind: which runs to start now, and how far each schedule has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.api.v1alpha1.databasestatus import PolicyCursor, ScheduleCursor
from databosun.domain.names import run_name, run_now_name
from databosun.domain.requests import Named
from databosun.domain.schedule import ScheduleRow, SlotDecision, decide_slots, jitter_for, skip_to


class Scheduled(Protocol):
    """One schedule of a policy. `type` ranks those that are due at once."""

    @property
    def name(self) -> str:
        """As the policy has it; a run's name has it too."""
        ...

    @property
    def type(self) -> BackupType:
        """What a run of it takes."""
        ...

    @property
    def cron(self) -> str:
        """When, in the policy's zone."""
        ...


class Timing(Protocol):
    """When a policy wants runs."""

    @property
    def schedules(self) -> Sequence[Scheduled]:
        """What it wants, and when."""
        ...

    @property
    def zone(self) -> str:
        """The time zone of the schedules, by its IANA name."""
        ...

    @property
    def jitter(self) -> timedelta:
        """A run starts up to so long after its slot, each database at a time of its own."""
        ...

    @property
    def starting_deadline(self) -> timedelta:
        """A slot that is older is skipped, and counted as missed."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """One policy as it concerns one database. `cause`: what asks for a run now beside the schedules, such as the tenth
    backup; the same cause starts one run, however often it is seen."""

    ref: Named
    created: datetime
    effective: Timing
    suspended: bool
    forbid_overlap: bool
    run_now: str | None = None
    cause: str | None = None


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
class RunOrder:
    """Start the run of this name; same slot, token or cause, same name: starting it twice is harmless."""

    name: str
    type: BackupType
    schedule: str | None
    scheduled_for: datetime


@dataclass(frozen=True, slots=True)
class Timetabled:
    """What to start, the policy's entry in Database.status, and when to look again."""

    start: tuple[RunOrder, ...]
    entry: PolicyCursor
    wake_at: datetime | None


def decide_timetable(facts: TimetableFacts, now: datetime) -> Timetabled:
    """Apply one policy's schedules, run-now token and cause to one database; total, deterministic."""
    rows = _rows(facts, now)
    token = facts.policy.run_now
    if facts.policy.suspended:
        return Timetabled((), _entry(facts, rows, {}, None, token, suspended=True), None)
    if facts.entry is not None and facts.entry.suspended:
        skipped = skip_to(rows, now)
        rows = [_moved(row, skipped.cursors[row.name]) for row in rows]
    busy = any(run.active for run in facts.runs) and facts.policy.forbid_overlap
    start = _run_now(facts, now) or (() if busy else _caused(facts, now))
    jitter = jitter_for(f"{facts.policy.ref.uid}/{facts.database.uid}", facts.policy.effective.jitter)
    rows = _answered(rows, facts, jitter)
    decision = decide_slots(rows, now, facts.policy.effective.starting_deadline, jitter)
    if decision.run and (busy or start):
        # The slot stays due: the run that goes on, when it ends, brings us here again.
        return Timetabled(start, _entry(facts, rows, {}, decision.run[0].start_at, token), decision.run[0].start_until)
    start += tuple(_scheduled(facts, decision, index) for index in range(len(decision.run)))
    moved = [_moved(row, decision.cursors[row.name]) for row in rows]
    return Timetabled(start, _entry(facts, moved, decision.missed, decision.next, token), decision.next)


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


def _run_now(facts: TimetableFacts, now: datetime) -> tuple[RunOrder, ...]:
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
    return (RunOrder(name, kind, schedule.name if schedule else None, now.replace(microsecond=0)),)


def _caused(facts: TimetableFacts, now: datetime) -> tuple[RunOrder, ...]:
    cause = facts.policy.cause
    if cause is None or facts.entry is None:
        return ()
    name = run_now_name(facts.database.name, facts.policy.ref.uid, facts.database.uid, f"cause:{cause}")
    if any(run.name == name for run in facts.runs):
        return ()
    return (RunOrder(name, BackupType.FULL, None, now.replace(microsecond=0)),)


def _scheduled(facts: TimetableFacts, decision: SlotDecision, index: int) -> RunOrder:
    due = decision.run[index]
    name = run_name(facts.database.name, due.slot, facts.policy.ref.uid, due.schedule, facts.database.uid)
    return RunOrder(name, due.type, due.schedule, due.slot)


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
