"""What the archiver and the replay of MariaDB decide without a server: where to go on, what fits, where to stop."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import WalPoint, format_lsn, lsn_of
from databosun.engines.mysql.binlogevents import HEADER, MAGIC, Event, Groups, Kind, events_of, read_event
from databosun.engines.mysql.binlogfeed import GATHERED, Broken, Feed
from databosun.engines.mysql.binlogway import File, Place, behind_gap, first_place, may_resume, read_place
from databosun.engines.mysql.dialect import MARIADB, Dialect
from databosun.engines.mysql.logged import Gtids, logged_of
from databosun.engines.mysql.positions import number_of_file
from databosun.engines.mysql.recovery.log import begins_behind
from databosun.engines.recovery import RecoveryPlan
from databosun.engines.replaying import Aim

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = [File("bin.000007", 5000), File("bin.000008", 300)]


def event(kind: int, body: bytes, begin: int = 4, *, server: int = 7, at: datetime = NOW, flags: int = 0) -> Event:
    """One with its checksum, that begins there; in no file where `begin` is negative."""
    length = HEADER.size + len(body) + 4
    end = begin + length if begin >= 0 else 0
    data = HEADER.pack(int(at.timestamp()), kind, server, length, end, flags) + body
    return read_event(bytearray(data + struct.pack("<I", zlib.crc32(data))))


def description(begin: int = 4) -> Event:
    return event(Kind.FORMAT_DESCRIPTION, b"x" * 80 + b"\1", begin)


def listed(*gtids: tuple[int, int, int], begin: int = 4) -> Event:
    body = struct.pack("<I", len(gtids)) + b"".join(struct.pack("<IIQ", *gtid) for gtid in gtids)
    return event(Kind.GTID_LIST, body, begin)


def gtid(sequence: int, *, domain: int = 0, standalone: bool = False, begin: int = 4, at: datetime = NOW) -> Event:
    return event(Kind.GTID, struct.pack("<QIB6x", sequence, domain, int(standalone)), begin, at=at)


def query(text: bytes) -> Event:
    return event(Kind.QUERY, b"\0" * 13 + b"shop\0" + text)


class Taken:
    """A sink that keeps all it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.marks: list[str] = []
        self.files = 0

    def write(self, data: memoryview) -> None:
        self.data += bytes(data)

    def mark(self, mark: object) -> None:
        self.marks.append(str(mark))

    def end_file(self, mark: object) -> None:
        self.files += 1
        self.marks.append(str(mark))


def feed(sink: Taken, place: Place, at: int | None = None, dialect: Dialect = MARIADB) -> Feed:
    begin = WalPoint(1, lsn_of(place.number, 0) if at is None else at)
    return Feed(sink, place, begin, logged_of(dialect, place.logged))  # type: ignore[arg-type]


def test_a_place_is_written_and_read() -> None:
    for place in (Place(7, 4711, "0-7-12,3-1-4"), Place(8), Place(9, 4, "")):
        assert read_place(str(place)) == place
    assert read_place(None) is None
    assert number_of_file("a.b-bin.1000012") == 1000012
    with pytest.raises(ValueError, match="no name of a binary log"):
        number_of_file("bin.index")


def test_the_first_life_begins_with_the_newest_file() -> None:
    assert first_place(FILES).place == Place(8)


@pytest.mark.parametrize(
    ("place", "end", "possible"),
    [
        (Place(7, 4000), lsn_of(7, 4500), True),
        (Place(7, 4000), lsn_of(7, 5001), False),  # the store has more than the server: its end was lost
        (Place(7, 4), lsn_of(8, 300), True),
        (Place(8), lsn_of(8, 0), True),  # the file before it may be gone
        (Place(6, 4), lsn_of(7, 10), False),  # the segment would have to be read from its beginning
        (Place(9), lsn_of(9, 0), False),
    ],
)
def test_a_stream_goes_on_where_the_server_still_has_it(place: Place, end: int, possible: bool) -> None:
    assert may_resume(place, end, FILES) is possible


def test_behind_a_gap_nothing_is_written_over() -> None:
    purged = behind_gap(lsn_of(5, 99), FILES, "purged")
    assert (purged.place, purged.gap_reason) == (Place(7), "BinlogPurged")
    other = behind_gap(lsn_of(7, 99), FILES, "other transactions")
    assert (other.place, other.gap_reason) == (Place(8), "AnotherServer")
    for end in (lsn_of(8, 10), lsn_of(8, 0), lsn_of(12, 4)):
        with pytest.raises(SafetyStop, match="FLUSH BINARY LOGS") as caught:
            behind_gap(end, FILES, "it was begun anew")
        assert caught.value.reason == "SourceWentBack"


def test_transactions_end_where_the_server_ended_them() -> None:
    ends: list[bool] = []
    groups = Groups()
    for one in (
        gtid(1), event(Kind.ANNOTATE_ROWS, b"I"), event(Kind.TABLE_MAP, b""), event(25, b""), event(Kind.XID, b"8" * 8),
        gtid(2, standalone=True), query(b"DROP TABLE t"),
        gtid(3, standalone=True), event(Kind.INTVAR, b"9" * 9), event(Kind.USER_VAR, b"9"), query(b"INSERT INTO t"),
        gtid(4), query(b"SAVEPOINT s"), query(b"INSERT INTO t"), query(b"COMMIT"),
        gtid(5), event(25, b""), query(b"ROLLBACK"),
    ):  # fmt: skip
        groups.take(one, checksums=True)
        ends.append(groups.whole)
    whole = [at for at, end in enumerate(ends) if end]
    assert whole == [4, 6, 10, 14, 17]


def test_positions_follow_the_newest_of_each_domain() -> None:
    found = Gtids()
    assert str(found) == ""
    found.take(listed((0, 7, 10), (0, 9, 12), (3, 1, 4)))
    assert found.same("3-1-4,0-9-12")
    found.take(gtid(13))
    assert str(found) == "0-7-13,3-1-4"
    assert found.follows(listed((3, 1, 4), (0, 9, 12), (0, 7, 13)))
    assert not found.follows(listed((3, 1, 4), (0, 7, 13), (0, 9, 12)))
    assert not found.follows(listed((0, 7, 13)))
    assert not found.follows(listed())
    assert not found.same("0-7-13")


def test_what_a_stream_brings_is_the_servers_file() -> None:
    sink = Taken()
    stream = feed(sink, Place(7))
    first = description()
    second = listed((0, 7, 1), begin=first.end)
    third = gtid(2, begin=second.end)
    stream.take(event(Kind.ROTATE, struct.pack("<Q", 4) + b"bin.000007", -1))
    for one in (first, second):
        stream.take(one)
    assert sink.marks == [str(Place(7, second.end, "0-7-1"))], "an idle server's file is known to be the right one"
    stream.take(third)
    stream.take(event(Kind.HEARTBEAT, b"bin.000007", third.end - HEADER.size - 14))
    assert sink.data == MAGIC + first.data + second.data + third.data
    stream.take(event(Kind.ROTATE, struct.pack("<Q", 4) + b"bin.000008", -1))
    assert sink.files == 1
    assert sink.marks[-1] == str(Place(8, 4, "0-7-2"))
    stream.take(first)
    stream.flush()
    assert not sink.data.endswith(bytes(first.data)), (
        "nothing of a file is written before it is known to be the right one"
    )
    with pytest.raises(Broken, match="does not follow on 0-7-2"):
        stream.take(listed((0, 7, 1), begin=first.end))
    assert not sink.data.endswith(bytes(first.data))


def test_a_resumed_stream_writes_from_the_segments_first_byte() -> None:
    sink = Taken()
    one = gtid(5, begin=1000)
    stream = feed(sink, Place(7, 1000, "0-7-4"), lsn_of(7, 1010))
    stream.take(one)
    stream.flush()
    assert sink.data == one.data[10:]


def test_a_transaction_larger_than_memory_is_written_as_it_comes() -> None:
    sink = Taken()
    stream = feed(sink, Place(7, 1000, "0-7-4"))
    found = [gtid(5, begin=1000)]
    for _ in range(20):
        found.append(event(25, b"r" * 50_000, found[-1].end))
    for one in found:
        stream.take(one)
    taken = sum(len(one.data) for one in found)
    assert taken - len(sink.data) < 2 * GATHERED
    assert sink.marks == [str(Place(7, 1000, "0-7-4"))]
    last = gtid(6, begin=found[-1].end)
    stream.take(last)
    assert len(sink.data) == taken
    assert sink.marks[1:] == [str(Place(7, found[-1].end, "0-7-5"))]


def test_what_does_not_fit_is_refused() -> None:
    stream = feed(Taken(), Place(7, 1000, "0-7-4"))
    with pytest.raises(WorldFault, match="goes on at 1001, and not at 1000") as caught:
        stream.take(gtid(5, begin=1001))
    assert caught.value.reason == "BinlogUnreadable"
    stream = feed(Taken(), Place(7))
    stream.take(description())
    broken = listed((0, 7, 1), begin=description().end)
    broken.data[-1] ^= 1
    with pytest.raises(SafetyStop, match="checksum"):
        stream.take(broken)


def test_a_cut_event_is_told_from_the_end() -> None:
    one, two = description(), gtid(1, begin=description().end)
    text = MAGIC + bytes(one.data) + bytes(two.data)
    for size in (1, 7, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert [found.kind for found in events_of(iter(pieces), "it") if found] == [one.kind, two.kind]
    assert list(events_of(iter([text[:-1]]), "it"))[-1] is None
    with pytest.raises(SafetyStop, match="does not begin as a binary log"):
        list(events_of(iter([b"nothing of ours"]), "it"))


def aim(until: RecoveryPoint, *, surely: int | None = None, expected: int | None = None) -> Aim:
    return Aim(
        RecoveryPlan(
            chain=(),
            place=Path(),
            until=until,
            deadline=NOW,
            surely=None if surely is None else format_lsn(surely),
            expected=None if expected is None else format_lsn(expected),
        )
    )


def test_a_time_takes_what_was_committed_before_it_and_nothing_of_its_own_second() -> None:
    found = aim(RecoveryPoint(kind=PointKind.TIME, time=NOW))
    assert not begins_behind(found, gtid(1, at=NOW - timedelta(seconds=1)), 1000)
    assert begins_behind(found, gtid(1, at=NOW), 1000)
    later = aim(RecoveryPoint(kind=PointKind.TIME, time=NOW + timedelta(seconds=0.9)))
    assert begins_behind(later, gtid(1, at=NOW), 1000)


def test_a_time_trusts_the_looks_at_the_clock_more_than_a_stamp() -> None:
    """A session may say `SET TIMESTAMP`: what was there at an earlier look is before, what came later is behind."""
    found = aim(RecoveryPoint(kind=PointKind.TIME, time=NOW), surely=5000, expected=9000)
    assert not begins_behind(found, gtid(1, at=NOW + timedelta(days=900)), 4999)
    assert begins_behind(found, gtid(1, at=NOW + timedelta(days=900)), 5000)
    assert begins_behind(found, gtid(1, at=NOW - timedelta(days=900)), 9000)


def test_a_position_takes_whole_transactions_up_to_it() -> None:
    found = aim(RecoveryPoint(kind=PointKind.LSN, lsn=format_lsn(lsn_of(7, 5000))))
    assert not begins_behind(found, gtid(1), lsn_of(7, 4999))
    assert begins_behind(found, gtid(1), lsn_of(7, 5000))
    assert found.excludes(lsn_of(7, 5001), None)
    assert not found.excludes(lsn_of(7, 5000), None)
