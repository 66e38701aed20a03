"""The shipped commands behind a backup, as the incremental part of an append-only file: so they restore exactly.

Sent to a running server instead, keys would expire while the replay is late, and what follows would act on other data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import format_lsn, lsn_of, parse_segment
from databosun.engines.filelog import SEGMENT_BYTES, TIMELINE
from databosun.engines.recovery import LogSupply, Reached, RecoveryPlan
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.log.commands import Step, Walker
from databosun.engines.redis.log.files import HEAD, read_came, read_head
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.resp import encode
from databosun.engines.replaying import Aim, demand_log

_CHUNK = 1024 * 1024


def write_commands(plan: RecoveryPlan, backup: Backup, target: Path) -> Reached:
    """Leave at `target` what is to be replayed. SafetyStop(LogGap, LogConflict), UserFault(LogMissing, PointNot…)."""
    log = demand_log(plan, backup.id, positioned=backup.offset is not None)
    with guarded(f"writing below {plan.place}"), target.open("wb") as out:
        target.chmod(0o600)
        run = _Run(plan, backup, out)
        run.replay(log)
    return run.reached


@dataclass
class _Run:
    """What was taken so far: up to `_good` bytes of `out`, behind which nothing is open."""

    plan: RecoveryPlan
    backup: Backup
    out: BinaryIO
    _walker: Walker = field(default_factory=Walker)

    def __post_init__(self) -> None:
        self._replid, _, offset = (self.backup.offset or "").partition(":")
        self._start = int(offset)
        self._offset: int | None = None
        self._aligned: int | None = None
        self._came: datetime | None = None
        self._stopped = False
        self.out.write(encode("SELECT", self.backup.selected))
        self._good = self.out.tell()
        self.reached = Reached(Position(offset=self.backup.offset, lsn=self.backup.lsn, timeline=TIMELINE))
        self._aim = Aim(self.plan)

    def replay(self, log: LogSupply) -> None:
        """File by file, each going on where the one before it ended."""
        last: int | None = None
        for name in log.names:
            number = parse_segment(name, SEGMENT_BYTES)[1] * SEGMENT_BYTES >> 32
            if last is not None and number != last + 1:
                raise SafetyStop(Reason.LOG_GAP, f"file {last} of the shipped log is followed by file {number}")
            last = number
            path = log.take(name)
            if path is None:
                raise SafetyStop(Reason.LOG_GAP, f"file {number} of the shipped log is not there")
            try:
                self._file(number, path)
            finally:
                path.unlink(missing_ok=True)
            if self._stopped:
                break
        self.out.truncate(self._good)
        self._demand_covered()
        if not self._stopped:
            self._aim.demand_reached(lsn_of((last or 0) + 1))

    def _file(self, number: int, path: Path) -> None:
        rest, base = b"", lsn_of(number)
        for piece in _pieces(path):
            self.plan.pulse()
            data = rest + piece
            try:
                self._piece(data, base)
            except WorldFault as fault:
                if fault.reason != Reason.PROTOCOL_ERROR:
                    raise
                raise SafetyStop(Reason.LOG_CONFLICT, f"file {number} of the log: {fault.message}") from fault
            if self._stopped:
                return
            base, rest = base + self._walker.used, data[self._walker.used :]
        if rest:
            raise SafetyStop(Reason.LOG_CONFLICT, f"file {number} of the shipped log ends in {rest[:40]!r}")

    def _piece(self, data: bytes, base: int) -> None:
        """What a piece of a file holds; `base`: its first byte's position."""
        at = 0
        for step in self._walker.walk(data):
            if step.note:
                self._note(step, base)
            else:
                self._pass(data, at, step.end, wanted=not step.idle)
                if step.whole and not self._settle(base + step.end):
                    return
            at = step.end
        self._pass(data, at, self._walker.used, wanted=True)

    def _pass(self, data: bytes, begin: int, end: int, *, wanted: bool) -> None:
        """Go on; what lies behind the backup is taken, but for pings."""
        if begin == end:
            return
        if self._offset is None:
            why = "the log does not say at its beginning where it stands"
            raise self._conflict(why)
        if wanted:
            first = min(max(begin, begin + self._start - self._offset), end)
            self.out.write(memoryview(data)[first:end])
        self._offset += end - begin

    def _note(self, step: Step, base: int) -> None:
        if not step.name.startswith(HEAD):
            self._came = read_came(step.name) or self._came
            return
        self._replid, offset = read_head(step.name)
        if self._offset is None:
            if offset > self._start:
                why = f"the log begins at offset {offset}"
                raise self._conflict(why)
            self._offset = offset
        elif offset != self._offset:
            raise SafetyStop(Reason.LOG_GAP, f"the shipped log ends at offset {self._offset}, and goes on at {offset}")
        if offset == self._start and self._aligned is None:
            self._aligned = base + step.end

    def _settle(self, lsn: int) -> bool:
        """Nothing is open at that position: all up to it counts, unless the point that was asked for lies before."""
        offset = self._offset or 0
        if offset <= self._start:
            self._aligned = lsn if offset == self._start else None
            return True
        if self._aligned is None:
            why = "no command of the log ends there"
            raise self._conflict(why)
        if self._aim.excludes(lsn, self._came):
            self._stopped = True
            return False
        self._good = self.out.tell()
        position = Position(offset=f"{self._replid}:{offset}", lsn=format_lsn(lsn), timeline=TIMELINE)
        self.reached = Reached(position, self._came)
        return True

    def _demand_covered(self) -> None:
        """UserFault(PointNotCovered) where the position that was asked for lies within the backup."""
        asked = self._aim.lsn
        if asked is not None and (self._aligned is None or asked < self._aligned):
            raise self._aim.not_covered(self.backup.id, f"offset {self._start}")

    def _conflict(self, why: str) -> SafetyStop:
        message = (
            f"backup {self.backup.id} ends at {self.backup.offset}, and {why}: the log is of another history; restore "
            "without it, or another backup"
        )
        return SafetyStop(Reason.LOG_CONFLICT, message)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            yield data
