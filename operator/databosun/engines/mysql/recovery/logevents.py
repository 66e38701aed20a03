"""The shipped log event by event: each file goes on where the one before it ended, and its bytes are as written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import lsn_of
from databosun.engines.mysql.binlogevents import FIRST, Event, Groups, Kind, events_of, has_checksums
from databosun.engines.mysql.logged import Logged
from databosun.engines.recovery import LogSupply

_CHUNK = 1024 * 1024
_NUMBER = slice(8, 16)  # of a segment's name: that of the server's file


@dataclass(frozen=True, slots=True)
class Step:
    """One event, from `begin` to `end`. `grouped`: it belongs to a transaction; `whole`: none is open behind it."""

    event: Event
    begin: int
    end: int
    grouped: bool
    whole: bool


class LogEvents:
    """Iterate it once. `logged`: the transactions up to the last step; `end`: up to where there were bytes."""

    def __init__(self, log: LogSupply, logged: Logged) -> None:
        self._log = log
        self._bytes = 0
        self._cut = False
        self.logged = logged
        self.end = 0

    def __iter__(self) -> Iterator[Step]:
        before: int | None = None
        for said, names in groupby(self._log.names, lambda name: name[_NUMBER]):
            number = int(said, 16)
            if before is not None and (number != before + 1 or self._cut):
                how = "ends in the middle of an event" if self._cut else f"is followed by file {number}"
                raise SafetyStop(Reason.LOG_GAP, f"file {before} of the shipped binary log {how}")
            yield from self._file(number, names)
            before = number

    def _file(self, number: int, names: Iterable[str]) -> Iterator[Step]:
        where = f"file {number} of the shipped binary log"
        position, checksums, groups = FIRST, False, Groups()
        self._bytes = 0
        for event in events_of(self._pieces(names), where):
            if event is None:
                self._cut = True
                break
            if event.kind == Kind.FORMAT_DESCRIPTION:
                checksums = has_checksums(event)
            event.demand_sound(checksums=checksums or event.kind == Kind.FORMAT_DESCRIPTION, where=where)
            if event.end != position + len(event.data):
                raise SafetyStop(Reason.FORMAT_CHECK_FAILED, f"{where} goes on at {event.end}, not at {position}")
            if event.lists and not self.logged.follows(event):
                raise SafetyStop(
                    Reason.LOG_GAP, f"{where} does not follow on {self.logged}, where the one before it ends"
                )
            within = not groups.whole
            self.logged.take(event)
            groups.take(event, checksums=checksums)
            begin, position = lsn_of(number, position), event.end
            grouped = within or event.begins
            yield Step(event, begin, lsn_of(number, position), grouped, groups.whole)
        self.end = lsn_of(number, self._bytes)

    def _pieces(self, names: Iterable[str]) -> Iterator[bytes]:
        for name in names:
            path = self._log.take(name)
            if path is None:
                raise SafetyStop(Reason.LOG_GAP, f"segment {name} of the shipped binary log is not there")
            with path.open("rb") as file:
                while data := file.read(_CHUNK):
                    self._bytes += len(data)
                    yield data
            path.unlink()
