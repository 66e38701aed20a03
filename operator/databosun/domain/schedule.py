"""When schedules are due, and which slot is run.

A slot is one instant of a schedule, in UTC; it is the identity of the run that answers it. What happens when clocks
change is Debian cron's rule. A schedule whose minute and hour both name times (`30 2 * * *`) fires once for each time
on the wall: one that the change skips fires at the first minute after the gap (together with all others that were
skipped), one that comes twice fires at the first. A schedule with a star in minute or hour (`*/15 * * * *`) follows
elapsed time: it fires at each minute that exists and matches, also in the hour that comes twice.

Cron expressions and zones must have passed `check_cron` and `check_zone`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.timetable import Timetable, check_cron, timetable
from databosun.domain.zones import (
    DAY,
    HORIZON_DAYS,
    Stretch,
    check_zone,
    from_minute,
    stretches,
    stretches_back,
    to_minute,
)

__all__ = [
    "CoveredSlot",
    "DueSlot",
    "ScheduleRow",
    "SkipDecision",
    "SlotDecision",
    "check_cron",
    "check_zone",
    "count_due",
    "decide_slots",
    "interval",
    "jitter_for",
    "last_due",
    "next_due",
    "skip_to",
]

# More missed slots than anybody reads; a schedule of every minute gets there in 19 years.
COUNT_LIMIT = 10_000_000

_RANK = {BackupType.FULL: 0, BackupType.DIFFERENTIAL: 1, BackupType.INCREMENTAL: 2}


def next_due(cron: str, zone: str, after: datetime) -> datetime:
    """The first slot later than `after`."""
    table, known = timetable(cron), to_minute(after)
    for stretch in stretches(zone, known):
        wall = table.at_or_after(_first_wall(table, stretch, known))
        if wall is None:
            break
        if wall < stretch.end + stretch.offset:
            return from_minute(max(stretch.start, wall - stretch.offset))
    message = f"{cron!r} has no slot after {after.isoformat()}; expected an expression that check_cron accepts"
    raise ValueError(message)


def last_due(cron: str, zone: str, after: datetime, until: datetime) -> datetime | None:
    """The newest slot later than `after` and not later than `until`. The cost does not grow with the slots between."""
    table, known, end = timetable(cron), to_minute(after), to_minute(until)
    for stretch in stretches_back(zone, end):
        if stretch.end - 1 <= known:
            return None
        top = min(end, stretch.end - 1) + stretch.offset
        wall = table.at_or_before(top, _first_wall(table, stretch, known))
        if wall is not None:
            return from_minute(max(stretch.start, wall - stretch.offset))
    return None


def count_due(cron: str, zone: str, after: datetime, until: datetime, limit: int) -> int:
    """How many slots lie later than `after` and not later than `until`, up to `limit`; the cost grows with the days."""
    table, known, end = timetable(cron), to_minute(after), to_minute(until)
    total = 0
    for stretch in stretches(zone, known):
        if stretch.start > end or total >= limit:
            break
        low, high = _first_wall(table, stretch, known), min(end, stretch.end - 1) + stretch.offset
        # Wall minutes that a gap swallowed fire at its end, all as one, together with the minute that ends it.
        seam = min(high, stretch.start + stretch.offset)
        total += min(1, table.count(low, seam)) + table.count(max(low, seam + 1), high)
    return min(total, limit)


def interval(cron: str, zone: str, at: datetime) -> timedelta:
    """The longest time from one slot to the next in the 400 days after `at`; for rarer schedules the next such time.

    Never too short; too long by at most a clock change, where the longest pause on the wall holds a change that
    shortens it. A schedule with less than two slots in 41 years has these 41 years.
    """
    return _interval(cron, zone, to_minute(at) // DAY)


def jitter_for(seed: str, jitter: timedelta) -> timedelta:
    """A span in [0, jitter), to the second, evenly spread over seeds and always the same for one seed."""
    seconds = int(jitter.total_seconds())
    if seconds <= 0:
        return timedelta(0)
    return timedelta(seconds=int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % seconds)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule of a policy for one database; `cursor` is the newest slot that was answered in whatever way."""

    name: str
    type: BackupType
    cron: str
    zone: str
    cursor: datetime


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot to run. `start_at` = slot + jitter, already past; `start_until` is when it counts as missed."""

    schedule: str
    type: BackupType
    slot: datetime
    start_at: datetime
    start_until: datetime


@dataclass(frozen=True, slots=True)
class CoveredSlot:
    """A slot that needs no run of its own: the run of schedule `by` answers it."""

    schedule: str
    slot: datetime
    by: str


@dataclass(frozen=True, slots=True)
class SlotDecision:
    """What becomes of the slots that are due. Who cannot start `run` now leaves all else too: the slots stay due."""

    run: tuple[DueSlot, ...]
    covered: tuple[CoveredSlot, ...]
    cursors: Mapping[str, datetime]
    missed: Mapping[str, int]
    next: datetime | None


@dataclass(frozen=True, slots=True)
class SkipDecision:
    """Cursors moved over slots that are not to be run, and how many these were, by schedule."""

    cursors: Mapping[str, datetime]
    skipped: Mapping[str, int]


def decide_slots(
    rows: Sequence[ScheduleRow], now: datetime, starting_deadline: timedelta, jitter: timedelta
) -> SlotDecision:
    """Choose at most one slot to run; every other slot that is due is covered by it or counted as missed.

    A slot is due from slot + `jitter` on, until slot + `starting_deadline` (past that it is missed, however it came
    about). Of each schedule only the newest due slot counts, older ones are missed: a database that could not be backed
    up for a day needs one backup, not twenty-four. Of several schedules a Full answers all, a Differential answers
    Incrementals. Cursors never move back, so a clock that does changes nothing but the wait. `next` is when the next
    slot becomes due.
    """
    edge = now - jitter
    coming = {row.name: next_due(row.cron, row.zone, row.cursor) for row in rows}
    due = [found for row in rows if coming[row.name] <= edge and (found := _due(row, edge))]
    coming |= {found.row.name: next_due(found.row.cron, found.row.zone, edge) for found in due}
    fresh = [found for found in due if found.slot + starting_deadline >= now]
    winner = min(fresh, key=_precedence, default=None)
    return SlotDecision(
        run=() if winner is None else (_to_run(winner, jitter, starting_deadline),),
        covered=tuple(
            CoveredSlot(found.row.name, found.slot, winner.row.name)
            for found in fresh
            if winner is not None and found is not winner
        ),
        cursors={row.name: row.cursor for row in rows} | {found.row.name: found.slot for found in due},
        missed={found.row.name: left for found in due if (left := found.count - (found in fresh))},
        next=min((slot + jitter for slot in coming.values()), default=None),
    )


def skip_to(rows: Sequence[ScheduleRow], now: datetime) -> SkipDecision:
    """Move the cursors over all slots until `now`, running and missing none: what a policy does when it is resumed."""
    passed = [found for row in rows if (found := _due(row, now))]
    return SkipDecision(
        cursors={row.name: row.cursor for row in rows} | {found.row.name: found.slot for found in passed},
        skipped={found.row.name: found.count for found in passed},
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """The newest slot of a schedule that is due, and how many are since its cursor, this one included."""

    row: ScheduleRow
    slot: datetime
    count: int


def _due(row: ScheduleRow, until: datetime) -> _Due | None:
    slot = last_due(row.cron, row.zone, row.cursor, until)
    return None if slot is None else _Due(row, slot, count_due(row.cron, row.zone, row.cursor, slot, COUNT_LIMIT))


def _precedence(due: _Due) -> tuple[int, float, str]:
    return _RANK[due.row.type], -due.slot.timestamp(), due.row.name


def _to_run(due: _Due, jitter: timedelta, deadline: timedelta) -> DueSlot:
    return DueSlot(due.row.name, due.row.type, due.slot, due.slot + jitter, due.slot + deadline)


def _first_wall(table: Timetable, stretch: Stretch, known: int) -> int:
    """The first wall minute whose slot belongs to this stretch and is later than `known`.

    The walls of a fixed timetable are dealt out without gap or overlap: those that a change skipped go to the stretch
    after it, those that come twice to the one before.
    """
    if known >= stretch.start:
        known_wall = known + stretch.offset + 1
        return max(known_wall, stretch.start + stretch.before) if table.fixed else known_wall
    return stretch.start + (stretch.before if table.fixed else stretch.offset)


@lru_cache(maxsize=4096)
def _interval(cron: str, zone: str, day: int) -> timedelta:
    minutes = timetable(cron).longest_pause(day, 400)
    if minutes is None:
        return timedelta(days=HORIZON_DAYS)
    longest = timedelta(minutes=minutes)
    for stretch in stretches(zone, day * DAY):
        if stretch.start > (day + 400) * DAY + minutes:
            break
        if stretch.offset != stretch.before:
            change = from_minute(stretch.start)
            before = last_due(cron, zone, change - longest - timedelta(days=2), change - timedelta(minutes=1))
            if before is not None:
                longest = max(longest, next_due(cron, zone, before) - before)
    return longest
