"""What the archiver and the replay of MongoDB decide without a server: where to go on, what fits, where to stop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.domain.wal import WalPoint, format_lsn, lsn_of, parse_lsn, segment_name
from databosun.engines.filelog import SEGMENT_BYTES
from databosun.engines.mongodb.oplogfeed import Feed
from databosun.engines.mongodb.oplogway import (
    Break,
    Place,
    file_behind,
    first_file,
    goes_on,
    read_place,
    settled_at,
)
from databosun.engines.mongodb.positions import FILE_SECONDS, Mark, backup_position, file_of, first_in
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.recovery.log import LogEntries, replay_log
from databosun.engines.recovery import RecoveryPlan

BEGAN = 1_800_000_000  # the first second of a file
NUMBER = BEGAN // FILE_SECONDS
LATEST = RecoveryPoint(kind=PointKind.LATEST)


def entry(seconds: int, increment: int = 1, *, term: int = 1, text: str = "") -> RawBSONDocument:
    found = {"op": "n", "ns": "", "o": {"msg": text}, "ts": Timestamp(seconds, increment), "t": Int64(term)}
    return RawBSONDocument(bson.encode({**found, "wall": datetime.fromtimestamp(seconds, UTC)}))


def mark(seconds: int, increment: int = 1, term: int = 1) -> Mark:
    return Mark(Timestamp(seconds, increment), term)


class Taken:
    """A sink that keeps all it is given, file by file."""

    def __init__(self) -> None:
        self.files = [b""]
        self.marks: list[str] = []
        self.next: list[int | None] = []

    def write(self, data: memoryview) -> None:
        self.files[-1] += bytes(data)

    def mark(self, found: object) -> None:
        self.marks.append(str(found))

    def end_file(self, found: object, *, next_at: int | None = None) -> None:
        self.files.append(b"")
        self.marks.append(str(found))
        self.next.append(next_at)


def feed(sink: Taken, place: Place, offset: int = 0) -> Feed:
    return Feed(sink, place, WalPoint(1, lsn_of(place.number, offset)))  # type: ignore[arg-type]


def test_a_place_is_written_and_read() -> None:
    place = Place(30_000_000, 4711, mark(BEGAN, 5, 3))
    assert read_place(str(place)) == place
    assert read_place(None) is None


def test_a_backup_knows_where_a_replay_begins() -> None:
    found = backup_position(mark(BEGAN + FILE_SECONDS - 1), identified=True)
    assert found.start_lsn
    assert parse_lsn(found.start_lsn) == lsn_of(NUMBER)
    assert (found.lsn, found.timeline, found.optime) == (found.start_lsn, 1, f"{BEGAN + FILE_SECONDS - 1}:1")
    assert backup_position(mark(BEGAN), identified=False).start_lsn is None
    assert backup_position(None, identified=True).optime is None


@pytest.mark.parametrize(
    ("oldest", "term", "reason"),
    [
        (Timestamp(BEGAN - 5, 1), 1, None),
        (Timestamp(BEGAN, 1), 1, None),
        (Timestamp(BEGAN, 2), 1, "OplogOverrun"),
        (None, None, "OplogOverrun"),
        (Timestamp(BEGAN - 5, 1), 2, "OplogDiverged"),
        (Timestamp(BEGAN - 5, 1), None, "OplogDiverged"),
    ],
)
def test_a_stream_goes_on_with_the_very_entry_alone(oldest: Timestamp, term: int | None, reason: str | None) -> None:
    found = goes_on(Place(file_of(Timestamp(BEGAN, 1)), 0, mark(BEGAN)), oldest, term, "host")
    assert (found.reason if found else None) == reason


LOST = Break(Reason.OPLOG_OVERRUN, "it begins later")


def test_the_log_begins_with_the_file_of_the_newest_entry() -> None:
    assert first_file(Timestamp(BEGAN + 5, 1), Timestamp(BEGAN - 900, 1)) == NUMBER


@pytest.mark.parametrize(
    ("end", "newest", "oldest", "number"),
    [
        (NUMBER - 9, BEGAN + 200, BEGAN + 2, NUMBER + 1),  # the first that is whole
        (NUMBER - 9, BEGAN + 200, BEGAN, NUMBER + 1),
        (NUMBER - 9, BEGAN + 5, BEGAN + 2, NUMBER),  # all that is left lies in one file
        (NUMBER, BEGAN + 200, BEGAN - 900, NUMBER + 1),
        (NUMBER + 1, BEGAN + 200, BEGAN - 900, NUMBER + 2),
    ],
)
def test_behind_a_gap_a_number_is_left_out_and_a_file_that_is_whole_taken(
    end: int, newest: int, oldest: int, number: int
) -> None:
    assert file_behind(LOST, end, Timestamp(newest, 1), Timestamp(oldest, 1)) == number


def test_a_file_that_begins_with_its_first_second_is_whole() -> None:
    assert file_behind(LOST, NUMBER - 9, Timestamp(BEGAN + 200, 1), first_in(NUMBER)) == NUMBER


def test_a_gap_within_one_file_waits_for_the_next() -> None:
    with pytest.raises(WorldFault, match="it begins later; the log goes on, behind a gap") as caught:
        file_behind(LOST, NUMBER, Timestamp(BEGAN + 20, 1), Timestamp(BEGAN + 10, 1))
    assert caught.value.reason == "OplogOverrun"


NOW = datetime.fromtimestamp(BEGAN + 100, UTC)


def said(written: int, majority: int, *, hosts: int = 3, date: bool = True) -> Mapping[str, Any]:
    """What a primary says at `NOW` that wrote up to a second before it, a majority up to another."""
    last: dict[str, Any] = {
        "opTime": {"ts": Timestamp(BEGAN + 100 - written, 1), "t": Int64(1)},
        "majorityOpTime": {"ts": Timestamp(BEGAN + 100 - majority, 1), "t": Int64(1)},
    }
    if date:
        last["majorityWriteDate"] = (NOW - timedelta(seconds=majority)).replace(tzinfo=None)
    return {"localTime": NOW, "hosts": ["h"] * hosts, "lastWrite": last}


@pytest.mark.parametrize(
    ("hello", "seconds"),
    [
        ({"localTime": NOW}, 0),  # keeps no account of a majority
        (said(90, 90, hosts=1), 0),  # nobody else can be elected
        (said(3, 3), 4),
        (said(90, 90), 15),  # silence is believed only as long as no other can have been elected
        (said(0, 40), 41),  # what waits for a majority was acknowledged, it may be
        (said(0, 40, hosts=1, date=False), 41),
    ],
)
def test_a_primary_vouches_for_what_a_majority_has(hello: Mapping[str, Any], seconds: int) -> None:
    assert settled_at(hello, 10.0) == NOW - timedelta(seconds=seconds)


def test_each_stretch_with_entries_is_a_file() -> None:
    sink, place = Taken(), Place(NUMBER, 0, mark(BEGAN))
    entries = [entry(BEGAN), entry(BEGAN + FILE_SECONDS - 1, 9), entry(BEGAN + FILE_SECONDS), entry(BEGAN + 3600)]
    given = feed(sink, place)
    for one in entries:
        given.take(one)
    given.flush()
    last = file_of(Timestamp(BEGAN + 3600, 1))
    assert sink.files == [entries[0].raw + entries[1].raw, entries[2].raw, entries[3].raw]
    assert sink.next == [lsn_of(NUMBER + 1), lsn_of(last)]
    assert given.point.lsn == lsn_of(last, len(entries[3].raw))


def test_a_stream_that_is_resumed_writes_the_same_bytes_from_where_the_store_ends() -> None:
    sink, number = Taken(), BEGAN // FILE_SECONDS
    entries = [entry(BEGAN, n, text="x" * 5000) for n in range(1, 100)]
    whole = b"".join(one.raw for one in entries)
    given = feed(sink, Place(number, 0, mark(BEGAN, 1)))
    for one in entries:
        given.take(one)
    given.flush()
    assert sink.files == [whole]
    later = read_place(sink.marks[3])
    assert later
    assert later.offset > 100_000
    again = Taken()
    resumed = feed(again, later, later.offset + 777)
    for one in entries:
        if one["ts"] >= later.entry.ts:
            resumed.take(one)
    resumed.flush()
    assert again.files == [whole[later.offset + 777 :]]


def test_what_is_not_in_order_is_not_taken() -> None:
    given = feed(Taken(), Place(BEGAN // FILE_SECONDS, 0, mark(BEGAN, 2)))
    given.take(entry(BEGAN, 2))
    with pytest.raises(SafetyStop, match="not in order"):
        given.take(entry(BEGAN, 2))


class Supply:
    """Segments by name, each a file; taken away when read."""

    def __init__(self, folder: Path, pieces: dict[tuple[int, int], bytes]) -> None:
        self._paths: dict[str, Path] = {}
        for (number, piece), data in pieces.items():
            name = segment_name(1, (lsn_of(number) // SEGMENT_BYTES) + piece, SEGMENT_BYTES)
            self._paths[name] = folder / name
            self._paths[name].write_bytes(data)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def take(self, name: str) -> Path | None:
        return self._paths.get(name)


def test_entries_are_read_across_pieces_and_files(tmp_path: Path) -> None:
    first, second, third = entry(BEGAN, text="a" * 99), entry(BEGAN + 1), entry(BEGAN + 7200)
    data, later = first.raw + second.raw, file_of(Timestamp(BEGAN + 7200, 1))
    log = LogEntries(Supply(tmp_path, {(NUMBER, 0): data[:50], (NUMBER, 1): data[50:], (later, 0): third.raw}))
    found = [(step.entry["ts"].time, step.end) for step in log]
    assert found == [
        (BEGAN, lsn_of(NUMBER, len(first.raw))),
        (BEGAN + 1, lsn_of(NUMBER, len(data))),
        (BEGAN + 7200, lsn_of(later, len(third.raw))),
    ]
    assert log.read == found[-1][1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({(NUMBER, 0): entry(BEGAN).raw[:-3], (NUMBER + 1, 0): entry(BEGAN + FILE_SECONDS).raw}, "LogGap"),
        ({(NUMBER, 0): entry(BEGAN + FILE_SECONDS).raw}, "FormatCheckFailed"),
        ({(NUMBER, 0): entry(BEGAN + 5).raw + entry(BEGAN + 4).raw}, "FormatCheckFailed"),
        ({(NUMBER, 0): b"no document at all"}, "FormatCheckFailed"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_found_out(
    tmp_path: Path, files: dict[tuple[int, int], bytes], reason: str
) -> None:
    with pytest.raises(SafetyStop, match=reason):
        list(LogEntries(Supply(tmp_path, files)))


class Work:
    """What a replay does, written down."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def entry(self, found: RawBSONDocument) -> None:
        self.seen.append(found["ts"].time - BEGAN)

    def flush(self) -> None:
        pass

    def pulse(self) -> None:
        pass


ENTRIES = [entry(BEGAN + second) for second in range(5)]


def ends(count: int) -> str:
    """Where so many entries end."""
    return format_lsn(lsn_of(NUMBER, sum(len(one.raw) for one in ENTRIES[:count])))


def replayed(
    folder: Path, until: RecoveryPoint, *, backup: tuple[int, int] = (1, 1), cut: int = 0, **plan: Any
) -> list[int]:
    """The seconds of the entries that are applied behind a backup that ends with that entry of that term."""
    data = b"".join(one.raw for one in ENTRIES)
    given = {
        "chain": (), "place": folder, "until": until, "deadline": NOW, "expected": ends(5),
        "log": Supply(folder, {(NUMBER, 0): data[: len(data) - cut]}), **plan,
    }  # fmt: skip
    second, term = backup
    base = Backup(
        id="orders-1", type=BackupType.FULL, product="MongoDB", version="7.0.5", artefacts=(), logical_bytes=0,
        users=False, replica_set="rs0", begin=Timestamp(BEGAN, 1), end=Timestamp(BEGAN + second, 1), term=term,
        start_lsn=None, snapshot_time=None, objects={}, schema_hash=None,
    )  # fmt: skip
    work = Work()
    replay_log(work, base, RecoveryPlan(**given))  # type: ignore[arg-type]
    return work.seen


def at(seconds: float) -> RecoveryPoint:
    return RecoveryPoint(kind=PointKind.TIME, time=datetime.fromtimestamp(BEGAN + seconds, UTC))


def to(lsn: str) -> RecoveryPoint:
    return RecoveryPoint(kind=PointKind.LSN, lsn=lsn)


def inside(count: int) -> str:
    """A position in the midst of an entry."""
    return format_lsn(parse_lsn(ends(count)) + 9)


@pytest.mark.parametrize(
    ("until", "plan", "seconds"),
    [
        (LATEST, {}, [2, 3, 4]),
        (at(3), {}, [2, 3]),
        (at(3.5), {}, [2, 3]),
        (at(2), {"surely": ends(4)}, [2, 3]),  # what the server had written when its clock was looked at
        (at(9), {"expected": ends(3)}, [2]),  # what came after a later look
        (to(ends(4)), {}, [2, 3]),
        (to(inside(3)), {}, [2]),  # an entry is never split
        (to(ends(2)), {}, []),
    ],
)
def test_a_replay_ends_at_the_point(
    tmp_path: Path, until: RecoveryPoint, plan: dict[str, Any], seconds: list[int]
) -> None:
    assert replayed(tmp_path, until, **plan) == seconds


@pytest.mark.parametrize(
    ("until", "plan", "fault", "reason"),
    [
        (LATEST, {"backup": (1, 2)}, SafetyStop, "LogConflict"),  # of another term
        (LATEST, {"backup": (-1, 1)}, SafetyStop, "LogGap"),  # the log begins behind it
        (LATEST, {"backup": (9, 1)}, SafetyStop, "LogGap"),  # or ends before it
        (LATEST, {"cut": 1, "backup": (4, 1)}, SafetyStop, "LogGap"),
        (LATEST, {"cut": 1}, SafetyStop, "LogGap"),
        (at(9), {"expected": None}, UserFault, "PointNotReached"),
        (to(ends(1)), {}, UserFault, "PointNotCovered"),
        (at(0.5), {}, UserFault, "PointNotCovered"),
        (LATEST, {"log": None}, UserFault, "LogMissing"),
    ],
)
def test_a_log_that_does_not_fit_or_reach_is_refused(
    tmp_path: Path, until: RecoveryPoint, plan: dict[str, Any], fault: type[Exception], reason: str
) -> None:
    with pytest.raises(fault, match=reason):
        replayed(tmp_path, until, **plan)


def test_an_entry_that_is_cut_where_the_log_ends_is_no_hole(tmp_path: Path) -> None:
    """A piece that is full may end in the midst of an entry whose rest was not stored yet."""
    expected = format_lsn(parse_lsn(ends(5)) - 1)
    assert replayed(tmp_path, LATEST, cut=1, expected=expected) == [2, 3]
