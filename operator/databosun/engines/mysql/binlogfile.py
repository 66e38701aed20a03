"""Walks the events of a piece of the binary log: is it whole, to the last checksum, and where does it end?

Format: https://mariadb.com/kb/en/2-binlog-event-header/ (header), -4-rotate-event and so on. Nothing in an event is
taken for granted: lengths are bounded, and what follows no rule is an error.
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.domain.gtidset import GtidSet
from databosun.engines.mysql.mysqlevents import BEGINNINGS, read_beginning

MAGIC = b"\xfebin"
_HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, length, end position, flags
_FORMAT_DESCRIPTION, _XID, _GTID, _QUERY = 15, 16, 162, 2
_CHECKSUM_BYTES = 4
_FLAGS_AT, _IN_USE = 17, 1
_LONGEST = 2**31


class BinlogWalk:
    """A StreamCheck. `end`: position in the server's file after the last event; `last_commit`: of its newest commit.

    `offset`: bytes of the piece itself up to the end of the event that ends at `until`; of a piece from there on (of an
    idle server), those of its description. `gtids`: MySQL's transactions up to there.
    """

    def __init__(self, name: str, begin: int = 0, until: int | None = None) -> None:
        self._name = name
        self._until = until
        self._buffer = bytearray()
        self._magic = False
        self._checksums = False
        self._described = False
        self._bytes = 0
        self.end = begin
        self.events = 0
        self.last_commit: datetime | None = None
        self.offset: int | None = None
        self.gtids = GtidSet()

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        self._buffer += data
        if not self._magic:
            if len(self._buffer) < len(MAGIC):
                return
            if self._buffer[:4] != MAGIC:
                message = f"begins with {bytes(self._buffer[:4])!r}, not as a binary log does"
                raise self._wrong(message)
            self._magic = True
            self._take(4)
        at = 0
        while (length := self._next(at)) is not None:
            self._event(at, length)
            at += length
            self._bytes += length
            if self._until is not None and self.end == self._until and self.offset is None:
                self.offset = self._bytes
        del self._buffer[:at]

    def close(self) -> int:
        """Demand that the last event is whole."""
        if self._buffer or not self._described:
            message = f"is cut in the middle of an event, {len(self._buffer)} bytes after event {self.events}"
            raise self._wrong(message)
        return self._bytes

    def _take(self, count: int) -> None:
        del self._buffer[:count]
        self._bytes += count

    def _next(self, at: int) -> int | None:
        """The length of the event there; None where it is not all there yet."""
        if len(self._buffer) - at < _HEADER.size:
            return None
        length: int = _HEADER.unpack_from(self._buffer, at)[3]
        if not _HEADER.size <= length < _LONGEST:
            message = f"has an event of {length} bytes after event {self.events}"
            raise self._wrong(message)
        return length if len(self._buffer) - at >= length else None

    def _event(self, at: int, length: int) -> None:
        when, kind, _, _, end, _ = _HEADER.unpack_from(self._buffer, at)
        if kind == _FORMAT_DESCRIPTION:
            # Its last five bytes say whether every event has a checksum; its own is always there, and was taken before
            # the server marked the file as one that it still writes.
            self._checksums = self._buffer[at + length - 5] == 1
            self._described = True
            self._buffer[at + _FLAGS_AT] &= ~_IN_USE & 0xFF
        elif not self._described:
            message = "does not begin with a description of its format"
            raise self._wrong(message)
        if self._checksums or kind == _FORMAT_DESCRIPTION:
            self._demand_checksum(at, length)
        self.events += 1
        # Events that the server makes up for whoever reads have no place in the file.
        self.end = end or self.end
        if self.offset is None and kind in BEGINNINGS:
            said = read_beginning(kind, self._buffer[at + _HEADER.size : at + length])
            if said.number:
                self.gtids.add(said.server, said.tag, said.number)
        if (kind in (_XID, _QUERY, _GTID) or kind in BEGINNINGS) and when:
            self.last_commit = datetime.fromtimestamp(when, UTC)

    def _demand_checksum(self, at: int, length: int) -> None:
        body = memoryview(self._buffer)[at : at + length - _CHECKSUM_BYTES]
        found = zlib.crc32(body)
        body.release()
        (expected,) = struct.unpack_from("<I", self._buffer, at + length - _CHECKSUM_BYTES)
        if found != expected:
            message = (
                f"has a damaged event {self.events + 1}: its checksum is {expected:08x}, its bytes give {found:08x}"
            )
            raise self._wrong(message)

    def _wrong(self, what: str) -> WorldFault:
        return WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._name} {what} ({self._bytes} bytes before it)")
