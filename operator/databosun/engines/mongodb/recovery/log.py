"""The shipped oplog behind a restored chain: from the entry that the chain ends with to the point asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import FILE_SPAN, lsn_of
from databosun.engines.mongodb.bsonwalk import Splitter
from databosun.engines.mongodb.connect import CODEC
from databosun.engines.mongodb.positions import file_of, format_ts
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.replay.apply import Replay
from databosun.engines.mongodb.replay.entries import wall_of
from databosun.engines.recovery import LogSupply, RecoveryPlan
from databosun.engines.replaying import Aim, demand_log

_CHUNK = 1024 * 1024
_NUMBER = slice(8, 16)  # of a segment's name: that of the file
_ENTRY = CODEC.with_options(document_class=RawBSONDocument)
_PULSE_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Step:
    """One entry, up to `end`."""

    entry: RawBSONDocument
    end: int


class LogEntries:
    """Iterate it once. Entries in order, each in the file of its time. `read`: how far the log was, whole or not."""

    def __init__(self, log: LogSupply) -> None:
        self._log = log
        self._last: Timestamp | None = None
        self._number = -1
        self._end = 0
        self._splitter = Splitter("")
        self.read = 0

    def __iter__(self) -> Iterator[Step]:
        for name in self._log.names:
            number = int(name[_NUMBER], 16)
            if number != self._number:
                self._next_file(number)
            for data in self._pieces(name):
                yield from self._steps(data)

    def _next_file(self, number: int) -> None:
        try:
            self._splitter.finish()
        except WorldFault as fault:
            raise SafetyStop(Reason.LOG_GAP, fault.message) from fault
        self._number = number
        self._end = self.read = lsn_of(number)
        self._splitter = Splitter(f"file {number} of the shipped oplog")

    def _pieces(self, name: str) -> Iterator[bytes]:
        path = self._log.take(name)
        if path is None:
            raise SafetyStop(Reason.LOG_GAP, f"segment {name} of the shipped oplog is not there")
        try:
            with path.open("rb") as file:
                while data := file.read(_CHUNK):
                    yield data
        finally:
            path.unlink(missing_ok=True)

    def _steps(self, data: bytes) -> Iterator[Step]:
        try:
            documents = self._splitter.push(memoryview(data))
        except WorldFault as fault:
            raise SafetyStop(Reason.FORMAT_CHECK_FAILED, fault.message) from fault
        self.read += len(data)
        for document in documents:
            entry = RawBSONDocument(bytes(document), _ENTRY)
            when = entry["ts"]
            if file_of(when) != self._number or (self._last is not None and when <= self._last):
                message = f"file {self._number} of the shipped oplog has an entry of {format_ts(when)}"
                raise SafetyStop(Reason.FORMAT_CHECK_FAILED, f"{message}, which is not in order")
            self._last = when
            self._end += len(document)
            yield Step(entry, self._end)


@dataclass
class Followed:
    """The entries of the log that were applied: the newest one and where it ends, or none."""

    last: RawBSONDocument | None = None
    end: int = 0
    stopped: bool = False


def replay_log(work: Replay, backup: Backup, plan: RecoveryPlan) -> Followed:
    """Replay to `plan.until`. SafetyStop(LogGap, LogConflict, FormatCheckFailed, RecoveryFailed)."""
    entries = LogEntries(demand_log(plan, backup.id, positioned=backup.end is not None))
    aim, found, first, begun = Aim(plan), Followed(), True, False
    for number, step in enumerate(entries):
        if number % _PULSE_EVERY == 0:
            work.pulse()
        if not begun:
            begun = _begins(backup, step, aim, first=first)
            first = False
            continue
        if aim.excludes(step.end, wall_of(step.entry)):
            found.stopped = True
            break
        work.entry(step.entry)
        found.last, found.end = step.entry, step.end
    work.flush()
    if not begun:
        message = (
            f"what was shipped of the oplog ends before entry {backup.position.optime}, with which backup {backup.id} "
            "ends: the archiver is not as far yet, or its newest objects are gone; restore without the log, or later"
        )
        raise SafetyStop(Reason.LOG_GAP, message)
    if not found.stopped:
        expected = aim.expected or 0
        file_ended = expected % FILE_SPAN == 0 and entries.read < expected
        aim.demand_reached(entries.read, file_ended=file_ended)
    return found


def _begins(backup: Backup, step: Step, aim: Aim, *, first: bool) -> bool:
    """Whether it is the very entry that the chain ends with. SafetyStop where the log has none such; UserFault where
    the point that was asked for lies before it."""
    when = step.entry["ts"]
    if backup.end is None or when < backup.end:
        return False
    if first and when > backup.end:
        message = (
            f"backup {backup.id} ends with entry {format_ts(backup.end)}, and what was shipped of the oplog begins "
            f"with {format_ts(when)}: what lies between is lost; restore without the log, or from a later backup"
        )
        raise SafetyStop(Reason.LOG_GAP, message)
    term = int(step.entry.get("t") or 0)
    if when > backup.end or backup.term not in (None, term):
        raise _conflict(backup, f"has {format_ts(when)} of term {term} there")
    if aim.excludes(step.end, wall_of(step.entry)):
        raise aim.not_covered(backup.id, f"entry {format_ts(when)}")
    return True


def _conflict(backup: Backup, found: str) -> SafetyStop:
    message = (
        f"backup {backup.id} ends with entry {backup.position.optime} of term {backup.term}, and the shipped oplog "
        f"{found}: it is of another server, or of another branch; restore without it, or another backup"
    )
    return SafetyStop(Reason.LOG_CONFLICT, message)
