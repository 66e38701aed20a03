"""Events of a binary log, one by one: their headers, the transactions that they belong to, the GTID that follows.

Formats: https://mariadb.com/kb/en/2-binlog-event-header/, gtid_event, gtid_list_event, rotate_event, query_event.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop

MAGIC = b"\xfebin"
FIRST = len(MAGIC)
HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, length, end position, flags
ARTIFICIAL = 0x20
_CHECKSUM_BYTES = 4
_FLAGS_AT, _IN_USE = 17, 1
_STANDALONE = 1
_LIST_FLAGS_SHIFT = 28


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
    XA_PREPARE = 38
    ANNOTATE_ROWS = 160
    GTID = 162
    GTID_LIST = 163


_WITHIN = frozenset({Kind.INTVAR, Kind.RAND, Kind.USER_VAR, Kind.TABLE_MAP, Kind.ANNOTATE_ROWS})
_ENDINGS = (b"COMMIT", b"ROLLBACK")


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
class Gtids:
    """The newest transaction of each domain, as MariaDB's GTID positions say it. None: not known yet."""

    newest: dict[int, tuple[int, int]] | None = None

    def take(self, event: Event) -> None:
        """Follow one event."""
        if event.kind == Kind.GTID:
            domain, server, sequence = _transaction(event)
            self.newest = {**(self.newest or {}), domain: (server, sequence)}
        elif event.kind == Kind.GTID_LIST and self.newest is None:
            self.newest = list_of(event)

    def follows(self, event: Event) -> bool:
        """Whether the list at a file's beginning goes on from here."""
        return self.newest is None or self.newest == list_of(event)

    def same(self, text: str) -> bool:
        """Whether a position in words is this one, whatever the order of its domains."""
        return set(str(self).split(",")) == set(text.split(","))

    def holds(self, gtid: str) -> bool:
        """Whether a transaction lies at or before this, by its domain's sequence."""
        domain, _, sequence = (int(part) for part in gtid.split("-"))
        found = (self.newest or {}).get(domain)
        return found is not None and found[1] >= sequence

    def copy(self) -> Gtids:
        """As it is now."""
        return Gtids(dict(self.newest) if self.newest is not None else None)

    def __str__(self) -> str:
        found = sorted((self.newest or {}).items())
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in found)


def gtid_of(event: Event) -> str:
    """The transaction that an event of kind GTID begins."""
    return "-".join(str(part) for part in _transaction(event))


def _transaction(event: Event) -> tuple[int, int, int]:
    sequence, domain = struct.unpack_from("<QI", event.data, HEADER.size)
    return domain, event.server, sequence


def parse_gtids(text: str) -> Gtids:
    """`0-1-12,3-1-4`; nothing: no transaction yet."""
    found: dict[int, tuple[int, int]] = {}
    for one in filter(None, text.split(",")):
        domain, server, sequence = (int(part) for part in one.split("-"))
        found[domain] = (server, sequence)
    return Gtids(found)


def list_of(event: Event) -> dict[int, tuple[int, int]]:
    """What the list at the beginning of a file says: of each domain the last one that it names is the newest."""
    (count,) = struct.unpack_from("<I", event.data, HEADER.size)
    found: dict[int, tuple[int, int]] = {}
    for number in range(count & ((1 << _LIST_FLAGS_SHIFT) - 1)):
        domain, server, sequence = struct.unpack_from("<IIQ", event.data, HEADER.size + 4 + 16 * number)
        found.pop(domain, None)
        found[domain] = (server, sequence)
    return found


@dataclass(slots=True)
class Groups:
    """Where transactions begin and end. `whole`: the event that was taken last ended one, or belongs to none."""

    whole: bool = True
    _standalone: bool = field(default=False)

    def take(self, event: Event, *, checksums: bool) -> None:
        """Follow one event."""
        if event.kind == Kind.GTID:
            self.whole = False
            self._standalone = bool(event.data[HEADER.size + 12] & _STANDALONE)
        elif not self.whole:
            self.whole = self._ends(event, checksums=checksums)

    def begin_file(self) -> None:
        """What a file ends in the middle of was never committed."""
        self.whole = True

    def _ends(self, event: Event, *, checksums: bool) -> bool:
        if event.kind in (Kind.XID, Kind.XA_PREPARE):
            return True
        if self._standalone:
            return event.kind not in _WITHIN
        if event.kind != Kind.QUERY:
            return False
        said = bytes(event.data[HEADER.size : -_CHECKSUM_BYTES if checksums else None])
        return said.endswith(_ENDINGS)


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
