"""What MySQL writes where a transaction begins, and at the beginning of a file of what lies before it.

Formats: https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Gtid__event.html and
Previous__gtids__event; of tagged ones, `mysql::serialization` in the same place.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.domain.gtidset import GtidSet

ANONYMOUS, TAGGED = 34, 42
BEGINNINGS = frozenset({33, ANONYMOUS, TAGGED})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_BYTES = 16
# Flags, server, number; kind of clock, two of its ticks; then the instants of 7 bytes, and the length.
_FIXED = struct.Struct("<B16sQBQQ")
_INSTANT_BYTES, _TWO_INSTANTS = 7, 1 << 55
_PACKED = {0xFC: 2, 0xFD: 3, 0xFE: 8}
# Fields of a tagged one, by number.
_UUID, _NUMBER, _TAG, _COMMITTED, _LENGTH, _SKIPPED = 1, 2, 3, 6, 8, frozenset({0, 4, 5, 7})
_TAGGED_SETS = 1


@dataclass(frozen=True, slots=True)
class Beginning:
    """`number` 0: it has no GTID. `committed`: when it was here, to the microsecond. `length`: of all its events."""

    server: str
    tag: str
    number: int
    committed: datetime
    length: int

    @property
    def gtid(self) -> str:
        """In the server's words; empty where it has none."""
        return ":".join(filter(None, (self.server, self.tag, str(self.number)))) if self.number else ""


def read_beginning(kind: int, body: bytes | bytearray | memoryview) -> Beginning:
    """Of an event's body. WorldFault(BinlogUnreadable) where it does not say how long the transaction is."""
    try:
        found = _tagged(bytes(body)) if kind == TAGGED else _plain(kind, bytes(body))
    except (IndexError, struct.error, ValueError, KeyError) as error:
        raise _unreadable(error) from error
    if found.length <= 0:
        why = "it does not say how long its transaction is, as MySQL 8.0.2 and later does"
        raise _unreadable(why)
    return found


def read_previous(body: bytes | bytearray | memoryview) -> GtidSet:
    """The transactions that lie before a file."""
    data = bytes(body)
    try:
        (count,) = struct.unpack_from("<Q", data)
        tagged = data[7] == _TAGGED_SETS
        count, at = ((count >> 8) & (1 << 48) - 1 if tagged else count), 8
        found = GtidSet()
        for _ in range(count):
            server, at, tag = str(uuid.UUID(bytes=data[at : at + _UUID_BYTES])), at + _UUID_BYTES, ""
            if tagged:
                length, at = _varied(data, at)
                tag, at = data[at : at + length].decode(), at + length
            (stretches,) = struct.unpack_from("<Q", data, at)
            at += 8
            for _ in range(stretches):
                first, behind = struct.unpack_from("<QQ", data, at)
                at += 16
                found.add(server, tag, first, behind - 1)
    except (IndexError, struct.error, ValueError) as error:
        raise _unreadable(error) from error
    return found


def _plain(kind: int, data: bytes) -> Beginning:
    _, server, number, *_ = _FIXED.unpack_from(data)
    at = _FIXED.size
    instant = int.from_bytes(data[at : at + _INSTANT_BYTES], "little")
    at += _INSTANT_BYTES * (2 if instant & _TWO_INSTANTS else 1)
    size = _PACKED.get(data[at], 0)
    length = int.from_bytes(data[at + 1 : at + 1 + size], "little") if size else data[at]
    committed = _EPOCH + timedelta(microseconds=instant & ~_TWO_INSTANTS)
    return Beginning(str(uuid.UUID(bytes=server)), "", 0 if kind == ANONYMOUS else number, committed, length)


def _tagged(data: bytes) -> Beginning:
    """Fields with numbers, whose integers say themselves how long they are."""
    at = 0
    for _ in range(3):  # version, size, and the last field that none may leave out
        _, at = _varied(data, at)
    server, tag, found = bytearray(), "", dict[int, int]()
    while _LENGTH not in found:
        field, at = _varied(data, at)
        if field == _UUID:
            for _ in range(_UUID_BYTES):
                one, at = _varied(data, at)
                server.append(one)
        elif field == _TAG:
            size, at = _varied(data, at)
            tag, at = data[at : at + size].decode(), at + size
        elif field in _SKIPPED or field in (_NUMBER, _COMMITTED, _LENGTH):
            found[field], at = _varied(data, at)
        else:
            msg = f"field {field} is not known"
            raise ValueError(msg)
    committed = _EPOCH + timedelta(microseconds=found[_COMMITTED])
    number = found[_NUMBER] >> 1  # signed: the sign is its last bit
    return Beginning(str(uuid.UUID(bytes=bytes(server))), tag, number, committed, found[_LENGTH])


def _varied(data: bytes, at: int) -> tuple[int, int]:
    """An integer whose first byte has a one at its end for each byte that follows; where the next thing begins."""
    more = 0
    while more < 8 and data[at] >> more & 1:
        more += 1
    value = int.from_bytes(data[at : at + more + 1], "little") >> min(more + 1, 8)
    return value, at + more + 1


def _unreadable(why: object) -> WorldFault:
    message = f"an event that begins a transaction, or a file, of MySQL's log is not understood: {why}"
    return WorldFault(Reason.BINLOG_UNREADABLE, message)
