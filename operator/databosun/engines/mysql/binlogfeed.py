"""From the events of a stream to the bytes of the server's files, in the sink: nothing is taken that does not fit."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.domain.wal import WalPoint
from databosun.engines.archiving import WalSink
from databosun.engines.mysql.binlogevents import FIRST, MAGIC, Event, Kind, has_checksums, rotated_to
from databosun.engines.mysql.binlogway import Place
from databosun.engines.mysql.logged import Logged
from databosun.engines.mysql.positions import number_of_file

GATHERED = 64 * 1024


class Broken(Exception):
    """The server's log does not go on from what the store has. `why`: for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Feed:
    """Writes from `at` on what a stream that began at `place` brings. `logged`: what is logged up to there."""

    def __init__(self, sink: WalSink, place: Place, at: WalPoint, logged: Logged) -> None:
        self._sink = sink
        self._number = place.number
        self._position = place.offset
        self._from = at.lsn & 0xFFFFFFFF
        self._logged = logged
        self._buffer = bytearray()
        self._checksums = False
        self._unmarked = 0
        # Whether the file is known to be the right one: its list of transactions says so, or was asked beforehand.
        self._sound = place.offset != FIRST
        if place.offset == FIRST:
            self._begin_file()

    def take(self, event: Event) -> None:
        """One event. Broken; WorldFault(BinlogUnreadable), SafetyStop(FormatCheckFailed) where it does not fit."""
        if event.kind == Kind.FORMAT_DESCRIPTION:
            self._checksums = has_checksums(event)
            self._logged.take(event)  # in the middle of a file it is sent again, and stands in none
        if event.in_file:
            self._take(event)
        elif event.kind == Kind.ROTATE:
            self._rotate(rotated_to(event))
        elif event.kind == Kind.HEARTBEAT:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered: whole events only, and nothing of a file that may not be the right one."""
        if self._buffer and self._sound:
            self._sink.write(memoryview(self._buffer))
            self._buffer = bytearray()

    def _take(self, event: Event) -> None:
        event.demand_sound(checksums=self._checksums or event.kind == Kind.FORMAT_DESCRIPTION, where=str(self._number))
        if event.end != self._position + len(event.data):
            message = (
                f"binary log {self._number} of the server goes on at {event.end - len(event.data)}, and not at "
                f"{self._position}: a file of 4 GiB and more, or one of which events are left out, cannot be archived"
            )
            raise WorldFault(Reason.BINLOG_UNREADABLE, message)
        if event.lists:
            if not self._logged.follows(event):
                message = (
                    f"the server's binary log {self._number} does not follow on {self._logged}, where the store ends: "
                    "it was begun anew or cut, or another server answers"
                )
                raise Broken(message)
            self._sound = True
        if event.begins and (not self._buffer or self._unmarked >= GATHERED):
            self.flush()
            self._mark()
        self._logged.take(event)
        self._emit(event.data)
        if event.lists:  # however long nothing follows, whoever goes on from here knows which file it is
            self.flush()
            self._mark()
        if len(self._buffer) >= GATHERED:  # also in the midst of a transaction, which may be larger than memory
            self.flush()

    def _mark(self) -> None:
        if self._position >= self._from:
            self._sink.mark(self._place())
            self._unmarked = 0

    def _rotate(self, name: str) -> None:
        number = number_of_file(name)
        if number == self._number:
            return
        if number != self._number + 1:
            raise WorldFault(Reason.BINLOG_UNREADABLE, f"the server went on from file {self._number} to {name}")
        self.flush()
        self._number, self._position, self._from, self._sound = number, FIRST, 0, False
        self._sink.end_file(self._place())
        self._begin_file()

    def _begin_file(self) -> None:
        """The stream begins behind a file's first four bytes."""
        self._position = 0
        self._emit(MAGIC)

    def _emit(self, data: bytes | bytearray) -> None:
        before = max(0, min(len(data), self._from - self._position))
        self._position += len(data)
        self._unmarked += len(data)
        self._buffer += data[before:] if before else data

    def _place(self) -> Place:
        return Place(self._number, self._position, str(self._logged) if self._logged.known else None)
