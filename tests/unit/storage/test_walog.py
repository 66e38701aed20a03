"""What a bucket says about a log: contiguity along a history, open parts, gaps, instants."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.api.archive import LogGap, TimePair
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import WalPoint, first_history, format_lsn, parse_history, segment_name
from databosun.storage.layout import Layout
from databosun.storage.port import ObjectMissing
from databosun.storage.volume import VolumeStore
from databosun.storage.walnames import parse_timeline_folder, parse_wal
from databosun.storage.walog import INSTANT, LogDescription, WalLog, read_history, read_log
from databosun.storage.waltimes import newest_pair, pairs_around, write_pairs

MIB = 1024 * 1024
FOLDER = Layout("prod", "shop").wal("7312345678901234567")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Bucket:
    """A log in a folder, with segments of 1 MiB that hold nothing."""

    def __init__(self, root: Path) -> None:
        self.store = VolumeStore(root)
        self.store.put(FOLDER.description, LogDescription(system_identifier="1", segment_bytes=MIB).encode())

    def full(self, timeline: int, *numbers: int, at: datetime | None = None) -> None:
        for number in numbers:
            key = FOLDER.segment(segment_name(timeline, number, MIB), end=None, encrypted=True)
            self.store.put(key, b"x", metadata={INSTANT: at.isoformat()} if at else None)

    def open(self, timeline: int, end: int) -> None:
        self.store.put(FOLDER.segment(segment_name(timeline, (end - 1) // MIB, MIB), end=end, encrypted=True), b"x")

    def history(self, timeline: int, text: str) -> None:
        self.store.put(FOLDER.history(timeline), text.encode())

    def pairs(self, timeline: int, hour: str, *pairs: tuple[datetime, int]) -> None:
        found = [TimePair(at=at, timeline=timeline, lsn=format_lsn(lsn)) for at, lsn in pairs]
        self.store.put(FOLDER.hour(timeline, hour), write_pairs(found))

    def read(self, **more: int) -> WalLog:
        return read_log(self.store, FOLDER, **more)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def test_the_names_are_those_of_the_contract() -> None:
    root = "prod/shop/_log/postgresql/7312345678901234567"
    name = segment_name(1, 0xB37 + 0x16000, MIB)
    assert FOLDER.segment(name, end=None, encrypted=False) == f"{root}/00000001/{name}.zst"
    partial = FOLDER.segment(name, end=0x16B374D848, encrypted=True)
    assert partial == f"{root}/00000001/{name}.partial.00000016B374D848.zst.age"
    assert FOLDER.history(2) == f"{root}/00000002/00000002.history"
    assert FOLDER.hour(2, "20260301T03") == f"{root}/times/00000002/20260301T03.json"
    assert FOLDER.gap(1, 5, 6) == f"{root}/gaps/00000001-0000000000000005-0000000000000006.json"
    found = parse_wal(partial)
    assert found is not None
    assert (found.segment, found.end, found.encrypted) == (name, 0x16B374D848, True)
    assert parse_wal(FOLDER.history(2)) is None
    last = FOLDER.segment(name, end=0x16B374D848, encrypted=False, last=True, following=0x1900000000)
    assert last == f"{root}/00000001/{name}.last.00000016B374D848-0000001900000000.zst"
    known = parse_wal(last)
    assert known is not None
    assert (known.end, known.last, known.open, known.following) == (0x16B374D848, True, False, 0x1900000000)
    assert parse_wal(last.replace("last", "partial")) is None
    assert [parse_timeline_folder(one) for one in ("0000000A", "times", "gaps", "00000000")] == [10, None, None, None]


def test_a_whole_log_is_covered_to_its_open_end(bucket: Bucket) -> None:
    bucket.full(1, 3, 4, 5)
    bucket.open(1, 6 * MIB + 500)
    log = bucket.read()
    found = log.coverage(first_history(), 3 * MIB + 40)
    assert found.whole
    assert found.reached == found.end == 6 * MIB + 500
    assert [one.number for one in found.segments] == [3, 4, 5, 6]
    assert log.end_of(1) == WalPoint(1, 6 * MIB + 500)
    assert log.timelines == (1,)


def test_a_missing_middle_segment_is_a_hole(bucket: Bucket) -> None:
    bucket.full(1, 3, 5)
    found = bucket.read().coverage(first_history(), 3 * MIB)
    assert not found.whole
    assert found.reached == 4 * MIB
    assert found.hole == segment_name(1, 4, MIB)


def test_an_open_part_is_never_used_where_a_later_segment_exists(bucket: Bucket) -> None:
    bucket.full(1, 3, 5)
    bucket.open(1, 4 * MIB + 1000)
    log = bucket.read()
    found = log.coverage(first_history(), 3 * MIB)
    assert found.hole == segment_name(1, 4, MIB)
    assert found.reached == 4 * MIB + 1000
    assert log.coverage(first_history(), 3 * MIB, 4 * MIB + 1000).whole
    assert not log.coverage(first_history(), 3 * MIB, 4 * MIB + 1001).whole


def test_the_longest_part_counts_and_a_full_segment_before_any(bucket: Bucket) -> None:
    bucket.open(1, 3 * MIB + 10)
    bucket.open(1, 3 * MIB + 300)
    bucket.open(1, 3 * MIB + 200)
    assert bucket.read().end_of(1) == WalPoint(1, 3 * MIB + 300)
    bucket.full(1, 3)
    found = bucket.read().stored(1, 3)
    assert found is not None
    assert found.full


def test_recovery_follows_the_timelines_of_a_history(bucket: Bucket) -> None:
    fork = 4 * MIB + 700
    bucket.full(1, 3, 4, 5)  # the old branch went on
    bucket.history(2, f"1\t{format_lsn(fork)}\tno recovery target specified\n")
    history = read_history(bucket.store, FOLDER, 2)
    assert bucket.read().end_along(history) == WalPoint(1, fork)
    without = bucket.read().coverage(history, 3 * MIB, 5 * MIB)
    assert without.hole == segment_name(2, 4, MIB)
    assert without.reached == fork
    bucket.full(2, 4)
    bucket.open(2, 5 * MIB + 9)
    found = bucket.read().coverage(history, 3 * MIB)
    assert found.whole
    assert [(one.timeline, one.number) for one in found.segments] == [(1, 3), (2, 4), (2, 5)]
    assert found.end == 5 * MIB + 9
    old = bucket.read().coverage(first_history(), 3 * MIB)
    assert [(one.timeline, one.number) for one in old.segments] == [(1, 3), (1, 4), (1, 5)]


def test_a_listing_begins_where_it_is_asked_to(bucket: Bucket) -> None:
    bucket.full(1, *range(3, 12))
    log = bucket.read(since=9 * MIB + 5)
    assert sorted(log.segments[1]) == [9, 10, 11]
    assert log.end_of(1) == WalPoint(1, 12 * MIB)


def test_a_log_of_nobody_is_missing_and_a_strange_one_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing):
        read_log(bucket.store, Layout("prod", "shop").wal("5"))
    bucket.store.put(FOLDER.description, json.dumps({"systemIdentifier": "1", "segmentBytes": 5}).encode())
    with pytest.raises(SafetyStop, match="LogUnreadable"):
        bucket.read()


def test_gaps_are_read_with_the_log(bucket: Bucket) -> None:
    gap = LogGap(
        timeline=1, begin="0/300000", end_timeline=1, end="0/500000", end_time=START, reason="SlotLost", message="m"
    )
    bucket.store.put(FOLDER.gap(1, 3 * MIB, 5 * MIB), json.dumps(gap.dump()).encode())
    assert bucket.read().gaps == (gap,)


def test_the_newest_instant_is_proven_by_what_is_there(bucket: Bucket) -> None:
    bucket.full(1, 3, at=START)
    assert newest_pair(bucket.store, FOLDER, bucket.read(), 1) == TimePair(at=START, timeline=1, lsn="0/400000")
    later = START + timedelta(minutes=5)
    bucket.pairs(1, "20260301T11", (START - timedelta(minutes=30), 3 * MIB))
    bucket.pairs(1, "20260301T12", (START, 3 * MIB + 5), (later, 4 * MIB), (later + timedelta(1), 4 * MIB + 1))
    newest = newest_pair(bucket.store, FOLDER, bucket.read(), 1)
    assert newest == TimePair(at=later, timeline=1, lsn="0/400000")  # the last pair's WAL is not there
    assert newest_pair(bucket.store, FOLDER, bucket.read(), 2) is None


def test_an_instant_of_an_idle_stretch_is_one_position(bucket: Bucket) -> None:
    minutes = [START + timedelta(minutes=at) for at in range(8)]
    bucket.pairs(1, "20260301T11", (START - timedelta(hours=1), 10), (START - timedelta(seconds=1), 15))
    bucket.pairs(1, "20260301T12", (minutes[1], 20), (minutes[3], 20), (minutes[5], 30))

    def around(at: datetime) -> tuple[str | None, str | None]:
        before, after = pairs_around(bucket.store, FOLDER, 1, at)
        return before and before.lsn, after and after.lsn

    assert around(minutes[2]) == ("0/14", "0/14")
    assert around(minutes[3]) == ("0/14", "0/14")
    assert around(minutes[4]) == ("0/14", "0/1E")
    assert around(minutes[6]) == ("0/1E", None)
    assert around(START) == ("0/F", "0/14")
    assert around(START - timedelta(hours=2)) == (None, "0/A")


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(3, 12)), st.integers(3 * MIB, 13 * MIB - 1), st.integers(0, 10 * MIB))
def test_what_is_called_whole_has_every_byte(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], begin: int, length: int
) -> None:
    bucket = Bucket(tmp_path_factory.mktemp("log"))
    bucket.full(1, *numbers)
    end = begin + length
    found = bucket.read().coverage(first_history(), begin, end)
    needed = set(range(begin // MIB, max(end - 1, begin) // MIB + 1))
    assert found.whole == (needed <= numbers)
    if found.whole:
        assert {one.number for one in found.segments} == needed


def test_a_history_in_the_bucket_that_is_none_is_refused(bucket: Bucket) -> None:
    bucket.history(2, "nonsense")
    with pytest.raises(SafetyStop, match="LogUnreadable"):
        read_history(bucket.store, FOLDER, 2)
    assert parse_history(2, "1\t0/5\t").timeline == 2
