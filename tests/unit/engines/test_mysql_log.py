"""What the archiver and the replay of MySQL decide without a server; the events are those that 9.7.4 wrote."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.gtidset import parse_gtid_set
from databosun.engines.mysql.binlogevents import HEADER, Event, Groups, Kind, read_event
from databosun.engines.mysql.binlogway import Place, read_place
from databosun.engines.mysql.dialect import MARIADB, MYSQL
from databosun.engines.mysql.logged import MySQLLogged, logged_of
from databosun.engines.mysql.mysqlevents import read_beginning, read_previous
from databosun.engines.mysql.recovery.log import begins_behind
from unit.engines.test_mariadb_log import Taken, aim, description, event, feed, query

UUID = "c82adaf6-ec68-11f1-969c-02fc00000001"
PLAIN = bytes.fromhex(
    "00c82adaf6ec6811f1969c02fc000000012500000000000000020100000000000000040000000000000012361579756106fc1a0150620100"
)
TAGGED = bytes.fromhex(
    "0274000000022103546903d903b103d022c5035902710204f10300000002040406086d696e6508200a280c7f86ea1579756106107104"
)
PREVIOUS = bytes.fromhex(
    "0100000000000000c82adaf6ec6811f1969c02fc00000001010000000000000001000000000000002200000000000000"
)
TAGGED_PREVIOUS = bytes.fromhex(
    "0102000000000001c82adaf6ec6811f1969c02fc0000000100010000000000000001000000000000002f00000000000000"
    "c82adaf6ec6811f1969c02fc00000001086d696e65010000000000000001000000000000000200000000000000"
)
STAMP = 1796007030


def gtid(number: int, length: int, begin: int, *, kind: int = 33) -> Event:
    """One that begins a transaction of that many bytes, its own with them."""
    server, packed = PLAIN[1:17], b"\xfd" + length.to_bytes(3, "little")
    return event(kind, b"\1" + server + struct.pack("<Q", number) + PLAIN[25:49] + packed, begin)


def previous(held: str, begin: int) -> Event:
    body = b""
    for stretch in filter(None, held.split(",")):
        first, last = (int(one) for one in stretch.split("-"))
        body += struct.pack("<QQ", first, last + 1)
    one = PLAIN[1:17] + struct.pack("<Q", len(body) // 16) + body
    return event(Kind.PREVIOUS_GTIDS, struct.pack("<Q", 1) + one if body else struct.pack("<Q", 0), begin)


def stamped(at: int = STAMP) -> Event:
    found = description()
    data = HEADER.pack(at, *HEADER.unpack_from(found.data)[1:]) + bytes(found.data[HEADER.size : -4])
    return read_event(bytearray(data + struct.pack("<I", zlib.crc32(data))))


def test_where_a_transaction_begins_all_is_said_of_it() -> None:
    found = read_beginning(33, PLAIN + b"sums")
    assert (found.gtid, found.length) == (f"{UUID}:37", 282)
    assert found.committed == datetime(2026, 11, 30, 2, 50, 30, 765074, tzinfo=UTC)
    assert read_beginning(34, PLAIN).gtid == ""
    tagged = read_beginning(42, TAGGED + b"sums")
    assert (tagged.gtid, tagged.length) == (f"{UUID}:mine:1", 284)
    assert tagged.committed == datetime(2026, 11, 30, 2, 50, 30, 811270, tzinfo=UTC)


def test_a_transaction_that_came_from_elsewhere_says_when_it_was_committed_here() -> None:
    here = int.from_bytes(PLAIN[42:49], "little")
    there = (here - 5_000_000).to_bytes(7, "little")
    replicated = PLAIN[:42] + (here | 1 << 55).to_bytes(7, "little") + there + PLAIN[49:]
    found = read_beginning(33, replicated)
    assert (found.committed, found.length) == (read_beginning(33, PLAIN).committed, 282)


@pytest.mark.parametrize("body", [PLAIN[:42], PLAIN[:-7] + b"\0", b"", TAGGED[:20], TAGGED[:4] + b"\x2a"])
def test_what_is_not_understood_is_not_guessed(body: bytes) -> None:
    for kind in (33, 42):
        with pytest.raises(WorldFault) as caught:
            read_beginning(kind, body)
        assert caught.value.reason == "BinlogUnreadable"


def test_the_list_at_the_beginning_of_a_file() -> None:
    assert read_previous(PREVIOUS + b"sums") == parse_gtid_set(f"{UUID}:1-33")
    assert read_previous(TAGGED_PREVIOUS + b"sums") == parse_gtid_set(f"{UUID}:1-46:mine:1")
    assert not read_previous(bytes(8))
    with pytest.raises(WorldFault):
        read_previous(PREVIOUS[:30])


def test_a_transaction_ends_where_its_beginning_says() -> None:
    """Whatever its events are: of rows, compressed, a statement alone, prepared."""
    groups = Groups()
    first = gtid(1, 0, 1000)
    rows = event(30, b"r" * 50, first.end)
    last = event(Kind.XID, b"8" * 8, rows.end)
    groups.take(gtid(1, last.end - 1000, 1000), checksums=True)
    found = []
    for one in (query(b"COMMIT"), rows, last):
        if one.kind == Kind.QUERY:
            one.end = rows.end - 1  # in the midst: a savepoint's name may end so
        groups.take(one, checksums=True)
        found.append(groups.whole)
    assert found == [False, False, True]
    groups.take(gtid(2, 200, 2000), checksums=True)
    with pytest.raises(SafetyStop, match="is to end at 2200"):
        groups.take(event(40, b"z" * 300, 2081), checksums=True)


def test_what_is_logged_is_followed_and_written_down() -> None:
    found = logged_of(MYSQL)
    assert not found.known
    for one in (stamped(), previous("1-33", 123), gtid(34, 500, 190), gtid(0, 500, 700, kind=34)):
        found.take(one)
    assert str(found) == f"{UUID}:1-34@{STAMP}"
    assert logged_of(MYSQL, str(found)) == found
    assert found.follows(previous("1-34", 4))
    assert not found.follows(previous("1-33", 4))
    assert found.reached(f"{UUID}:30-34")
    assert not found.reached(f"{UUID}:35")
    assert read_place(str(Place(7, 4711, str(found)))) == Place(7, 4711, str(found))


@pytest.mark.parametrize(
    ("backup", "same"),
    [
        (f"{UUID}:1-34@{STAMP}", True),
        (f"{UUID}:1-40@{STAMP}", True),  # what was set by gtid_purged is in no log
        (f"@{STAMP}", True),  # taken while GTIDs were off
        (f"{UUID}:1-33@{STAMP}", False),
        (f"{UUID}:1-34@{STAMP + 1}", False),  # begun anew
        (f"{UUID}:1-34", False),
    ],
)
def test_the_log_of_a_backup_is_told_by_its_files_instant_and_its_transactions(backup: str, same: bool) -> None:
    assert MySQLLogged(parse_gtid_set(f"{UUID}:1-34"), STAMP).same(backup) is same


def test_a_stream_that_goes_on_in_a_file_knows_when_that_was_begun() -> None:
    """The description is sent again there, and is not of the file."""
    sink = Taken()
    stream = feed(sink, Place(7, 1000, f"{UUID}:1-4@1"), dialect=MYSQL)
    again = stamped()
    again.end = 0
    stream.take(again)
    one = gtid(5, 500, 1000)
    stream.take(one)
    stream.flush()
    assert sink.data == one.data
    assert sink.marks == [str(Place(7, 1000, f"{UUID}:1-4@{STAMP}"))]


def test_a_file_that_has_nothing_yet_is_known_by_when_it_was_begun() -> None:
    sink = Taken()
    stream = feed(sink, Place(8, 4, f"{UUID}:1-33@1"), dialect=MYSQL)
    first = stamped()
    second = previous("1-33", first.end)
    for one in (first, second):
        stream.take(one)
    assert sink.marks == [str(Place(8, second.end, f"{UUID}:1-33@{STAMP}"))]


def test_a_time_is_met_to_the_microsecond() -> None:
    one = event(33, PLAIN, 1000, at=datetime(1970, 1, 1, tzinfo=UTC))  # SET timestamp
    committed = one.committed[0]
    assert not begins_behind(aim(RecoveryPoint(kind=PointKind.TIME, time=committed)), one, 1000)
    before = RecoveryPoint(kind=PointKind.TIME, time=committed - timedelta(microseconds=1))
    assert begins_behind(aim(before), one, 1000)


def test_each_server_is_asked_in_its_own_words() -> None:
    assert MYSQL.log_status((9, 7)) == "SHOW BINARY LOG STATUS"
    assert MYSQL.log_status((8, 0)) == MARIADB.log_status((11, 4)) == "SHOW MASTER STATUS"
