"""The shipped log onto a restored backup: whole transactions, from the backup's own position to the point asked for."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.gtid import is_of, lacking
from databosun.domain.wal import format_lsn, next_file, parse_lsn
from databosun.engines.filelog import TIMELINE
from databosun.engines.mysql.binlogevents import MAGIC, Event, Kind
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.logged import logged_of
from databosun.engines.mysql.recovery.facts import Backup
from databosun.engines.mysql.recovery.load import Replay
from databosun.engines.mysql.recovery.logevents import LogEvents, Step
from databosun.engines.mysql.recovery.private import PrivateServer
from databosun.engines.recovery import Reached, RecoveryPlan
from databosun.engines.replaying import Aim, demand_log

_CHUNK = 1024 * 1024
_HELD_IN_MEMORY = 8 * 1024 * 1024


def replay_log(server: PrivateServer, backup: Backup, plan: RecoveryPlan) -> Reached:
    """Replay to `plan.until`. SafetyStop(LogGap, LogConflict, FormatCheckFailed, RecoveryFailed)."""
    log = demand_log(plan, backup.id, positioned=backup.position.lsn is not None)
    events = LogEvents(log, logged_of(backup.dialect))
    run = _Run(backup, Aim(plan), _last(plan, backup))
    with (
        guarded(f"writing below {plan.place}"),
        tempfile.SpooledTemporaryFile(_HELD_IN_MEMORY, dir=str(plan.place)) as held,
        Replay(server, plan.pulse) as replay,
    ):
        replay.write(MAGIC)
        for step in events:
            if not run.take(step, events, held, replay):
                break
        replay.finish()
    run.demand_reached(events.end)
    return Reached(run.position, run.last_commit or backup.last_commit)


def _last(plan: RecoveryPlan, backup: Backup) -> str | None:
    """What is to be there in the end and is not in the backup; None where no GTID was asked for."""
    if plan.until.kind is not PointKind.GTID:
        return None
    asked, held = plan.until.name or "", backup.position.gtid or ""
    if not is_of(backup.dialect.engine, asked):
        raise UserFault(Reason.POINT_NOT_COVERED, f"{asked} is no GTID of {backup.dialect.name}")
    left = lacking(held, asked)
    if not left:
        raise Aim(plan).not_covered(backup.id, f"GTID {held}")
    return left


def begins_behind(aim: Aim, first: Event, begin: int) -> bool:
    """Whether a transaction that begins so lies behind the point. Where it ends is not known yet: behind that byte.

    MariaDB stamps whole seconds: of the second that was asked for nothing is taken, but what was there already when its
    clock was looked at.
    """
    return aim.excludes(begin + 1, first.committed[1])


@dataclass
class _Run:
    """What was replayed so far: up to `reached`, the end of a transaction. `last`: the one that is to be the last."""

    backup: Backup
    aim: Aim
    last: str | None = None
    last_commit: datetime | None = None

    def __post_init__(self) -> None:
        self._start = self._reached = parse_lsn(self.backup.position.lsn or "0/0")
        self._logged = self.backup.logged
        self._found = self._stopped = False
        self._begun: datetime | None = None

    def take(self, step: Step, events: LogEvents, held: IO[bytes], replay: Replay) -> bool:
        """One event; False where nothing more is to be replayed."""
        if step.event.kind == Kind.FORMAT_DESCRIPTION:
            _clear(held)  # what a file ends in the middle of was never committed
            replay.write(step.event.data)
        if step.end <= self._start:
            self._look_for_start(step, events)
            return True
        if not self._found:
            why = "no event of the log ends there"
            raise self._conflict(why)
        if not step.grouped:
            return True
        if step.event.begins:
            if begins_behind(self.aim, step.event, step.begin):
                self._stopped = True
                return False
            self._begun = step.event.committed[0]
        held.write(step.event.data)
        if step.whole:
            if self.aim.lsn is not None and self.aim.excludes(step.end, None):
                self._stopped = True
                return False
            _move(held, replay)
            self._reached, self._logged, self.last_commit = step.end, str(events.logged), self._begun
            self._stopped = self.last is not None and events.logged.reached(self.last)
        return not self._stopped

    @property
    def position(self) -> Position:
        """Where it ended."""
        return Position(gtid=self._logged.partition("@")[0] or None, lsn=format_lsn(self._reached), timeline=TIMELINE)

    def demand_reached(self, end: int) -> None:
        """SafetyStop(LogGap) where the log was shorter than it promised to be; UserFault(PointNotReached)."""
        if self._stopped:
            return
        if not self._found:
            why = f"the log ends at {format_lsn(end)}"
            raise self._conflict(why)
        self.aim.demand_reached(end, file_ended=self.aim.expected == next_file(end))

    def _look_for_start(self, step: Step, events: LogEvents) -> None:
        """The backup's position is one of this log: the transactions before it are those of the backup."""
        if step.end < self._start:
            return
        if not events.logged.same(self.backup.logged):
            why = f"the log has {events.logged} there, and not {self.backup.logged}"
            raise self._conflict(why)
        self._found = True

    def _conflict(self, why: str) -> SafetyStop:
        position = self.backup.position
        message = (
            f"backup {self.backup.id} ends at {position.binlog} (GTID {position.gtid or 'none'}), and {why}: the log "
            "is of another server, or was begun anew; restore without it, or another backup"
        )
        return SafetyStop(Reason.LOG_CONFLICT, message)


def _move(held: IO[bytes], replay: Replay) -> None:
    held.seek(0)
    while data := held.read(_CHUNK):
        replay.write(data)
    _clear(held)


def _clear(held: IO[bytes]) -> None:
    held.seek(0)
    held.truncate()
