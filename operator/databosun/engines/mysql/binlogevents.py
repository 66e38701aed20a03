"""Events of a binary log, one by one: their headers, and the transactions that they belong to.

Formats: https://mariadb.com/kb/en/2-binlog-event-header/, gtid_event, gtid_list_event, rotate_event, query_event. Those
of MySQL have the same header, and kinds of their own (mysqlevents.py).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.mysql.mysqlevents import BEGINNINGS, Beginning, read_beginning

MAGIC = b"\xfebin"
FIRST = len(MAGIC)
HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, length, end position, flags
ARTIFICIAL = 0x20
_CHECKSUM_BYTES = 4
_FLAGS_AT, _IN_USE = 17, 1
_STANDALONE = 1


class Kind(IntEnum):
    """The kinds of events that are looked at."""

    QUERY = 2
    ROTATE = 4
    INTVAR = 5
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    TABLE_MAP = 19
    HEARTBEAT = 27
    PREVIOUS_GTIDS = 35
    XA_PREPARE = 38
    ANNOTATE_ROWS = 160
    GTID = 162
    GTID_LIST = 163


_WITHIN = frozenset({Kind.INTVAR, Kind.RAND, Kind.USER_VAR, Kind.TABLE_MAP, Kind.ANNOTATE_ROWS})
_ENDINGS = (b"COMMIT", b"ROLLBACK")
_LISTS = frozenset({Kind.GTID_LIST, Kind.PREVIOUS_GTIDS})


@dataclass(slots=True)
class Event:
    """One event. `data`: all of it. `end`: position behind it in its file; 0 of one that is in no file."""

    when: int
    kind: int
    server: int
    end: int
    flags: int
    data: bytearray

    @property
    def at(self) -> datetime:
        """When it was written, to the second, by the server's clock."""
        return datetime.fromtimestamp(self.when, UTC)

    @property
    def in_file(self) -> bool:
        """Whether it stands in the server's file; others are made up for whoever reads, a heartbeat with a position."""
        return self.kind != Kind.HEARTBEAT and self.end != 0 and not self.flags & ARTIFICIAL

    @property
    def body(self) -> bytearray:
        """What lies behind its header, a checksum with it."""
        return self.data[HEADER.size :]

    @property
    def begins(self) -> bool:
        """Whether a transaction begins with it."""
        return self.kind == Kind.GTID or self.kind in BEGINNINGS

    @property
    def lists(self) -> bool:
        """Whether it says, at the beginning of a file, which transactions lie before it."""
        return self.kind in _LISTS

    @property
    def beginning(self) -> Beginning | None:
        """What MySQL says where a transaction begins."""
        return read_beginning(self.kind, self.body) if self.kind in BEGINNINGS else None

    @property
    def committed(self) -> tuple[datetime, datetime]:
        """Of one that begins a transaction: when that was committed, at the earliest and at the latest."""
        said = self.beginning
        return (self.at, self.at + timedelta(seconds=1)) if said is None else (said.committed, said.committed)

    def demand_sound(self, *, checksums: bool, where: str) -> None:
        """SafetyStop where its bytes are not those that were written."""
        if checksums and not _sums_up(self.data):
            message = f"the event that ends at {self.end} of binary log {where} is damaged: its checksum does not fit"
            raise SafetyStop(Reason.FORMAT_CHECK_FAILED, message)


def read_event(data: bytearray) -> Event:
    """One event, whole. Of a description the mark is taken off that the server still writes its file."""
    when, kind, server, _, end, flags = HEADER.unpack_from(data)
    if kind == Kind.FORMAT_DESCRIPTION:
        # Its checksum was taken before that mark was set.
        data[_FLAGS_AT] &= ~_IN_USE & 0xFF
    return Event(when, kind, server, end, flags, data)


def has_checksums(description: Event) -> bool:
    """Whether every event behind this description has one: its last five bytes say so, and are its own."""
    return description.data[-5] == 1


def rotated_to(event: Event) -> str:
    """The file that a rotation names. It has a checksum or none, as the reader was promised, not as the file says."""
    body = event.data[HEADER.size + 8 :]
    return (body[:-_CHECKSUM_BYTES] if _sums_up(event.data) else body).decode()


def _sums_up(data: bytearray) -> bool:
    with memoryview(data) as whole:
        return (
            len(data) > _CHECKSUM_BYTES and zlib.crc32(whole[:-4]) == struct.unpack_from("<I", data, len(data) - 4)[0]
        )


@dataclass(slots=True)
class Groups:
    """Where transactions begin and end. `whole`: the event that was taken last ended one, or belongs to none."""

    whole: bool = True
    _standalone: bool = field(default=False)
    _until: int | None = field(default=None)

    def take(self, event: Event, *, checksums: bool) -> None:
        """Follow one event. SafetyStop(FormatCheckFailed) where one goes on behind its transaction's end."""
        if event.begins:
            self.whole = False
            said = event.beginning
            self._until = None if said is None else event.end - len(event.data) + said.length
            self._standalone = said is None and bool(event.data[HEADER.size + 12] & _STANDALONE)
        elif not self.whole:
            self.whole = self._ends(event, checksums=checksums)

    def begin_file(self) -> None:
        """What a file ends in the middle of was never committed."""
        self.whole = True

    def _ends(self, event: Event, *, checksums: bool) -> bool:
        if self._until is not None:
            return self._ends_there(event, self._until)
        if event.kind in (Kind.XID, Kind.XA_PREPARE):
            return True
        if self._standalone:
            return event.kind not in _WITHIN
        if event.kind != Kind.QUERY:
            return False
        said = bytes(event.data[HEADER.size : -_CHECKSUM_BYTES if checksums else None])
        return said.endswith(_ENDINGS)

    def _ends_there(self, event: Event, until: int) -> bool:
        if event.end > until:
            message = f"a transaction that is to end at {until} has an event that ends at {event.end}"
            raise SafetyStop(Reason.FORMAT_CHECK_FAILED, message)
        return event.end == until


def events_of(pieces: Iterator[bytes], where: str) -> Iterator[Event | None]:
    """The events of one file after its first four bytes; None in the end where the last one is cut."""
    buffer = bytearray()
    begun = False
    for piece in pieces:
        buffer += piece
        at = 0
        if not begun and len(buffer) >= FIRST:
            if buffer[:FIRST] != MAGIC:
                raise SafetyStop(Reason.FORMAT_CHECK_FAILED, f"{where} does not begin as a binary log does")
            begun, at = True, FIRST
        while begun and (length := _length(buffer, at, where)) is not None:
            yield read_event(buffer[at : at + length])
            at += length
        del buffer[:at]
    if buffer:
        yield None


def _length(buffer: bytearray, at: int, where: str) -> int | None:
    """The length of the event there; None where it is not all there yet."""
    if len(buffer) - at < HEADER.size:
        return None
    length: int = HEADER.unpack_from(buffer, at)[3]
    if length < HEADER.size:
        raise SafetyStop(Reason.FORMAT_CHECK_FAILED, f"{where} has an event of {length} bytes")
    return length if len(buffer) - at >= length else None
