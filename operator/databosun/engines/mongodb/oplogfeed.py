"""From the entries of an oplog to the bytes of a log of files, in the sink: in order, each once, none left out."""

from __future__ import annotations

from bson.raw_bson import RawBSONDocument

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import FILE_SPAN, WalPoint, lsn_of
from databosun.engines.archiving import WalSink
from databosun.engines.filelog import TIMELINE
from databosun.engines.mongodb.oplogway import Place
from databosun.engines.mongodb.positions import FILE_SECONDS, Mark, file_of

GATHERED = 64 * 1024


class Feed:
    """Writes from `at` on what a stream that begins at `place` brings. `last`: the entry that was taken last."""

    def __init__(self, sink: WalSink, place: Place, at: WalPoint) -> None:
        self._sink = sink
        self._begin = place
        self._number = place.number
        self._offset = place.offset
        self._from = at.lsn % FILE_SPAN
        self._buffer = bytearray()
        self.last: Mark | None = None

    @property
    def point(self) -> WalPoint:
        """Behind all that was taken."""
        return WalPoint(TIMELINE, lsn_of(self._number, self._offset))

    @property
    def begins(self) -> Mark:
        """The entry that a look at the oplog begins with: the last one that is known, which comes again."""
        return self.last or self._begin.entry

    def take(self, entry: RawBSONDocument) -> None:
        """One entry, behind all before it. SafetyStop where it is not; WorldFault where a file would be too long."""
        mark = Mark(entry["ts"], int(entry.get("t") or 0))
        if self.last is not None and mark.ts <= self.last.ts:
            message = f"the server sent entry {mark} behind {self.last}: its oplog is not in order"
            raise SafetyStop(Reason.FORMAT_CHECK_FAILED, message)
        if file_of(mark.ts) > self._number:
            self._roll(mark)
        elif len(self._buffer) >= GATHERED or not self._buffer:
            self.flush()
            if self._offset >= self._from:
                self._sink.mark(Place(self._number, self._offset, mark))
        self._emit(bytes(entry.raw))
        self.last = mark

    def flush(self) -> None:
        """Write what was gathered: whole entries."""
        if self._buffer:
            self._sink.write(memoryview(self._buffer))
            self._buffer = bytearray()

    def _roll(self, mark: Mark) -> None:
        self.flush()
        self._number, self._offset, self._from = file_of(mark.ts), 0, 0
        place = Place(self._number, 0, mark)
        self._sink.end_file(place, next_at=lsn_of(self._number))

    def _emit(self, data: bytes) -> None:
        if self._offset + len(data) >= FILE_SPAN:
            message = f"more than 4 GiB of oplog in the {FILE_SECONDS} s of {self.last}: as much cannot be archived"
            raise WorldFault(Reason.DATABASE_ERROR, message)
        before = max(0, min(len(data), self._from - self._offset))
        self._offset += len(data)
        self._buffer += data[before:] if before else data
