"""The shipper: in order, nothing durable before the store has it, nothing overwritten, nothing behind a hole."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from databosun.agent.children import Children
from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.agent.stop import Stop
from databosun.agent.walencode import Known, OpenSegment
from databosun.agent.walpairs import PairBook
from databosun.agent.walship import MAX_WAITING, Shipper, ShipPlan
from databosun.agent.walstore import LONGEST_MARK, WalBucket
from databosun.api.archive import LogGap, PositionLine, TimePair
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import WalPoint, first_history, format_lsn, parse_history
from databosun.engines.archiving import ArchiveState
from databosun.storage.layout import Layout
from databosun.storage.volume import VolumeStore
from databosun.storage.walog import DIGEST, LogDescription, read_log
from databosun.storage.waltimes import newest_pair
from support.waiting import eventually

MIB = 1024 * 1024
SYSTEM = "7312345678901234567"
FOLDER = Layout("prod", "shop").wal(SYSTEM)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = 3 * MIB


def wal(begin: int, end: int, seed: int = 1) -> memoryview:
    """Bytes that are the same for the same positions."""
    pages = range(begin // 4096, (end + 4095) // 4096)
    data = b"".join(random.Random(f"{seed}/{page}").randbytes(4096) for page in pages)
    return memoryview(data)[begin % 4096 : begin % 4096 + end - begin]


class Flaky(VolumeStore):
    """A folder that refuses while `away`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.away = False
        self.puts: list[str] = []

    def put(self, key: str, data: bytes, **more: Any) -> None:
        if self.away:
            raise WorldFault("StorageUnreachable", "away")
        super().put(key, data, **more)
        self.puts.append(key)


class Yard:
    """A shipper and its store."""

    def __init__(self, root: Path, interval: float = 0.02) -> None:
        self.store = Flaky(root)
        self.state = ArchiveState(PositionLine(database_uid="u"))
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.interval = interval
        self.shippers: list[Shipper] = []

    def shipper(self) -> Shipper:
        """One more life."""

        def bucket(system: str) -> WalBucket:
            return WalBucket(self.store, Layout("prod", "shop").wal(system), self.children, [], lambda: None)

        made = Shipper(
            ShipPlan(self.interval, bucket), self.state, Log(io.StringIO(), Redactor()), self.stop, self.failures.append
        )
        self.shippers.append(made)
        made.adopt(SYSTEM, MIB, 8192)
        return made

    @property
    def children(self) -> Children:
        return Children(Stop(), Redactor())

    def plaintext(self, key: str) -> bytes:
        data = self.store.get(key, limit=1 << 26)
        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(data)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.stop.set()
    made.store.away = False
    for shipper in made.shippers:
        shipper.finish(1)


def feed(shipper: Shipper, begin: int, end: int, *, piece: int = 100_000, seed: int = 1) -> None:
    for at in range(begin, end, piece):
        shipper.write(wal(at, min(at + piece, end), seed))


def stored_up_to(shipper: Shipper, lsn: int) -> Callable[[], bool]:
    return lambda: shipper.durable is not None and shipper.durable.lsn >= lsn


def test_segments_and_the_open_part_arrive_as_they_were_written(yard: Yard) -> None:
    shipper = yard.shipper()
    assert shipper.stored_end(first_history()) is None
    shipper.begin(WalPoint(1, START), after_gap=True)
    end = 5 * MIB + 12_345
    feed(shipper, START, end)
    eventually("all is stored", stored_up_to(shipper, end))
    assert shipper.finish(10)
    log = read_log(yard.store, FOLDER)
    found = log.coverage(first_history(), START)
    assert found.whole
    assert found.reached == end
    for segment in found.segments:
        assert yard.plaintext(segment.key) == bytes(wal(segment.start, segment.end))
        digest = hashlib.sha256(wal(segment.start, segment.end)).hexdigest()
        assert yard.store.head(segment.key).metadata[DIGEST] == digest
    names = [one.key for one in yard.store.list(FOLDER.timeline(1))]
    assert len([name for name in names if ".partial." in name]) <= 2


def test_nothing_is_durable_while_the_store_is_away_and_reading_pauses(yard: Yard) -> None:
    shipper = yard.shipper()
    shipper.stored_end(first_history())
    shipper.begin(WalPoint(1, START), after_gap=True)
    yard.store.away = True
    at = START
    while not shipper.full():
        feed(shipper, at, at + MIB)
        at += MIB
        assert at < START + MAX_WAITING + 8 * MIB
    eventually("the trouble is known", lambda: yard.state.snapshot().trouble is not None)
    assert shipper.durable is None
    assert not shipper.idle()
    yard.store.away = False
    eventually("all is stored", stored_up_to(shipper, at))
    eventually("all is well", lambda: yard.state.snapshot().trouble is None)
    keys = [key for key in yard.store.puts if key.endswith(".zst") and ".partial." not in key]
    assert keys == sorted(keys)
    assert not shipper.full()


def test_the_next_life_goes_on_where_the_store_ends(yard: Yard) -> None:
    first = yard.shipper()
    first.stored_end(first_history())
    first.begin(WalPoint(1, START), after_gap=True)
    end = 4 * MIB + 777
    feed(first, START, end)
    eventually("all is stored", stored_up_to(first, end))
    second = yard.shipper()
    assert second.stored_end(first_history()) == WalPoint(1, end)
    second.begin(WalPoint(1, 4 * MIB))
    feed(second, 4 * MIB, 6 * MIB)
    eventually("all is stored", stored_up_to(second, 6 * MIB))
    assert second.finish(10)
    assert read_log(yard.store, FOLDER).coverage(first_history(), START, 6 * MIB).whole


def test_other_bytes_for_what_is_stored_stop_everything(yard: Yard) -> None:
    first = yard.shipper()
    first.stored_end(first_history())
    first.begin(WalPoint(1, START), after_gap=True)
    feed(first, START, 4 * MIB + 777)
    eventually("all is stored", stored_up_to(first, 4 * MIB + 777))
    second = yard.shipper()
    second.stored_end(first_history())
    second.begin(WalPoint(1, 4 * MIB))
    with pytest.raises(SafetyStop, match="LogConflict"):
        feed(second, 4 * MIB, 4 * MIB + 5000, seed=2)  # the open part that is stored differs


def test_another_full_segment_in_its_place_is_never_overwritten(yard: Yard) -> None:
    first = yard.shipper()
    first.stored_end(first_history())
    first.begin(WalPoint(1, START), after_gap=True)
    feed(first, START, 4 * MIB)
    eventually("it is stored", stored_up_to(first, 4 * MIB))
    key = next(one.key for one in yard.store.list(FOLDER.timeline(1)) if ".partial." not in one.key)
    before = yard.store.get(key, limit=1 << 26)
    second = yard.shipper()
    second.stored_end(first_history())
    second.begin(WalPoint(1, START))
    feed(second, START, 4 * MIB, seed=2)
    eventually("it stops", lambda: bool(yard.failures))
    assert isinstance(yard.failures[0], SafetyStop)
    assert yard.store.get(key, limit=1 << 26) == before


def test_nothing_is_taken_behind_a_hole(yard: Yard) -> None:
    shipper = yard.shipper()
    shipper.stored_end(first_history())
    shipper.begin(WalPoint(1, START), after_gap=True)
    feed(shipper, START, 4 * MIB)
    eventually("it is stored", stored_up_to(shipper, 4 * MIB))
    with pytest.raises(RuntimeError, match="no gap is recorded"):
        shipper.begin(WalPoint(1, 6 * MIB))
    shipper.record_gap(
        LogGap(timeline=1, begin=format_lsn(4 * MIB), end_timeline=1, end=format_lsn(6 * MIB), end_time=NOW,
               reason="SlotLost", message="m")
    )  # fmt: skip
    shipper.begin(WalPoint(1, 6 * MIB), after_gap=True)
    feed(shipper, 6 * MIB, 7 * MIB)
    eventually("it is stored", stored_up_to(shipper, 7 * MIB))
    log = read_log(yard.store, FOLDER)
    assert [gap.reason for gap in log.gaps] == ["SlotLost"]
    assert not log.coverage(first_history(), START).whole


def test_what_a_crash_left_between_full_and_sweep_is_swept_by_the_next_life(yard: Yard) -> None:
    first = yard.shipper()
    first.stored_end(first_history())
    first.begin(WalPoint(1, START), after_gap=True)
    feed(first, START, 4 * MIB)
    eventually("it is stored", stored_up_to(first, 4 * MIB))
    assert first.finish(10)
    full = next(one.key for one in yard.store.list(FOLDER.timeline(1)))
    left = full.replace(".zst", f".partial.{START + 5:016X}.zst")
    yard.store.put(left, b"x", metadata={DIGEST: "d"})
    second = yard.shipper()
    second.stored_end(first_history())
    second.begin(WalPoint(1, 4 * MIB))
    assert second.finish(10)
    assert [one.key for one in yard.store.list(FOLDER.timeline(1))] == [full]


def test_only_samples_that_the_store_reaches_are_recoverable(yard: Yard) -> None:
    shipper = yard.shipper()
    shipper.stored_end(first_history())
    shipper.begin(WalPoint(1, START), after_gap=True)
    shipper.sampled(NOW, WalPoint(1, START + 1000))
    shipper.sampled(NOW + timedelta(seconds=1), WalPoint(1, START + 9_000_000))
    feed(shipper, START, START + 5000)
    eventually("it is stored", stored_up_to(shipper, START + 5000))
    assert yard.state.snapshot().recoverable_at == NOW
    for seconds in (2, 3, 4):  # idle: time passes, the position stays
        shipper.sampled(NOW + timedelta(seconds=seconds), WalPoint(1, START + 9_000_000))
    assert yard.state.snapshot().recoverable_at == NOW
    assert shipper.finish(10)
    pair = newest_pair(yard.store, FOLDER, read_log(yard.store, FOLDER), 1)
    assert pair == TimePair(at=NOW, timeline=1, lsn=format_lsn(START + 1000))


def test_a_segment_that_reads_back_wrong_is_written_anew(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    good, wrong = VolumeStore.stream, [b"garbage"]

    def stream(store: VolumeStore, key: str, **more: Any) -> Any:
        return iter([wrong.pop()]) if wrong else good(store, key, **more)

    monkeypatch.setattr(VolumeStore, "stream", stream)
    shipper = yard.shipper()
    shipper.stored_end(first_history())
    shipper.begin(WalPoint(1, START), after_gap=True)
    feed(shipper, START, 4 * MIB)
    eventually("it is stored", stored_up_to(shipper, 4 * MIB))
    key = next(one.key for one in yard.store.list(FOLDER.timeline(1)) if ".partial." not in one.key)
    assert yard.store.puts.count(key) == 2
    assert yard.plaintext(key) == bytes(wal(START, 4 * MIB))


def test_a_history_file_of_another_promotion_is_never_overwritten(yard: Yard) -> None:
    shipper = yard.shipper()
    shipper.keep_history(2, b"1\t0/500000\tno reason\n")
    shipper.keep_history(2, b"1\t0/500000\tno reason\n")
    with pytest.raises(SafetyStop, match="apart from each other"):
        shipper.keep_history(2, b"1\t0/400000\tno reason\n")
    assert parse_history(2, yard.store.get(FOLDER.history(2), limit=1000).decode()).branches[0].end == 5 * MIB


def test_another_segment_size_is_refused(yard: Yard) -> None:
    yard.shipper()
    bucket = WalBucket(yard.store, FOLDER, yard.children, [], lambda: None)
    with pytest.raises(SafetyStop, match="pg_resetwal"):
        bucket.describe(LogDescription(system_identifier=SYSTEM, segment_bytes=2 * MIB))


def test_only_open_parts_can_be_swept(yard: Yard) -> None:
    bucket = WalBucket(yard.store, FOLDER, yard.children, [], lambda: None)
    with pytest.raises(ValueError, match="no open part"):
        bucket.sweep([FOLDER.segment("000000010000000000000003", end=None, encrypted=True)])


@pytest.mark.parametrize(("length", "kept"), [(LONGEST_MARK, True), (LONGEST_MARK + 1, False)])
def test_a_mark_that_a_store_would_refuse_costs_itself_and_not_the_log(yard: Yard, length: int, kept: bool) -> None:
    shipper = yard.shipper()
    shipper.mark("1" * length)
    shipper.begin(WalPoint(1, START))
    shipper.write(memoryview(wal(START, START + 5000)))
    shipper.ship()
    eventually("it is stored", lambda: shipper.durable == WalPoint(1, START + 5000))
    again = yard.shipper()
    assert again.stored_end(first_history()) == WalPoint(1, START + 5000)
    assert again.mark_of(1) == ("1" * length if kept else None)


def test_a_segment_reads_the_same_however_often_it_was_shipped() -> None:
    segment = OpenSegment(WalPoint(1, START), MIB)
    encoded = None
    for at in range(START, 4 * MIB, 50_000):
        segment.write(wal(at, min(at + 50_000, 4 * MIB)))
        encoded = segment.encode()
        text = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(encoded.data)
        assert text == bytes(wal(START, encoded.end.lsn))
        assert encoded.sha256 == hashlib.sha256(text).hexdigest()
    assert encoded is not None
    assert encoded.full


def test_a_known_part_is_compared_at_its_very_end() -> None:
    known = Known(START + 1234, hashlib.sha256(wal(START, START + 1234)).hexdigest())
    OpenSegment(WalPoint(1, START), MIB, known).write(wal(START, START + 9999))
    with pytest.raises(SafetyStop):
        OpenSegment(WalPoint(1, START), MIB, known).write(wal(START, START + 9999, seed=2))


def test_pairs_are_thinned_and_idle_stretches_keep_both_ends() -> None:
    book = PairBook()
    for second in range(600):  # busy
        book.add(TimePair(at=NOW + timedelta(seconds=second), timeline=1, lsn=format_lsn(second)))
    assert len(book.pairs) <= 2 * 600 / 30 + 2
    for second in range(600, 1800):  # idle
        book.add(TimePair(at=NOW + timedelta(seconds=second), timeline=1, lsn=format_lsn(599)))
    idle = [pair for pair in book.pairs if pair.lsn == format_lsn(599)]
    assert idle[-1].at == NOW + timedelta(seconds=1799)
    assert idle[0].at <= NOW + timedelta(seconds=660)
    assert [pair.at for pair in book.pairs] == sorted(pair.at for pair in book.pairs)
    before: Mapping[str, Any] = {"at": NOW - timedelta(seconds=5), "timeline": 1, "lsn": "0/0"}
    book.load([TimePair.model_validate(before)])
    assert book.pairs[0].at == NOW - timedelta(seconds=5)


FILES = 7 << 32  # the beginning of the server's seventh file


def test_a_log_of_files_goes_on_where_the_next_file_begins(yard: Yard) -> None:
    """One ends in the middle of a segment, one with a segment, one before its first segment is full."""
    shipper = yard.shipper()
    shipper.begin(WalPoint(1, FILES), after_gap=True)
    sizes = [MIB + 1234, 2 * MIB, 99]
    for place, size in enumerate(sizes):
        feed(shipper, FILES + (place << 32), FILES + (place << 32) + size)
        shipper.end_file(f"behind {place}")
    feed(shipper, FILES + (3 << 32), FILES + (3 << 32) + 50)
    end = FILES + (3 << 32) + 50
    eventually("all is stored", stored_up_to(shipper, end))
    assert shipper.finish(10)
    found = read_log(yard.store, FOLDER).coverage(first_history(), FILES)
    assert (found.whole, found.reached, found.end) == (True, end, end)
    texts = [yard.plaintext(one.key) for one in found.segments]
    assert [len(text) for text in texts] == [MIB, 1234, MIB, MIB, 0, 99, 50]
    assert texts[5] == bytes(wal(FILES + (2 << 32), FILES + (2 << 32) + 99))


@pytest.mark.parametrize("missing", range(6))
def test_a_log_of_files_that_lacks_any_of_its_pieces_has_a_hole(yard: Yard, missing: int) -> None:
    shipper = yard.shipper()
    shipper.begin(WalPoint(1, FILES), after_gap=True)
    for place, size in enumerate((MIB + 1234, 2 * MIB, 99)):
        feed(shipper, FILES + (place << 32), FILES + (place << 32) + size)
        shipper.end_file("")
    assert shipper.finish(10)
    found = read_log(yard.store, FOLDER).coverage(first_history(), FILES)
    assert (found.whole, found.reached) == (True, FILES + (3 << 32))
    gone = found.segments[missing]
    yard.store.delete([gone.key])
    # What comes behind is known from elsewhere, such as a pair of clock and position.
    after = read_log(yard.store, FOLDER).coverage(first_history(), FILES, FILES + (3 << 32))
    assert not after.whole
    assert after.reached <= gone.start


def test_a_log_of_files_may_leave_numbers_out_and_says_so(yard: Yard) -> None:
    """Where a piece is gone, or nothing says that numbers are left out, there is a hole."""
    shipper = yard.shipper()
    shipper.begin(WalPoint(1, FILES), after_gap=True)
    later = FILES + (5 << 32)
    feed(shipper, FILES, FILES + MIB + 77)
    shipper.end_file("the next file", next_at=later)
    feed(shipper, later, later + 50)
    eventually("all is stored", stored_up_to(shipper, later + 50))
    shipper.end_file("none is left out", next_at=later + (1 << 32))
    assert shipper.finish(10)
    log = read_log(yard.store, FOLDER)
    found = log.coverage(first_history(), FILES)
    assert (found.whole, found.reached) == (True, later + (1 << 32))
    assert [one.length for one in found.segments] == [MIB, 77, 50]
    names = [one.key.rpartition("/")[2].removesuffix(".zst") for one in found.segments]
    assert names[1].endswith(f".last.{FILES + MIB + 77:016X}-{later:016X}")
    assert names[2].endswith(f".last.{later + 50:016X}")
    assert yard.shipper().stored_end(first_history()) == WalPoint(1, later + (1 << 32))
    bridge = found.segments[1].key
    data = yard.store.get(bridge, limit=MIB)
    yard.store.delete([bridge])
    yard.store.put(bridge.replace(f"-{later:016X}", ""), data)
    hole = read_log(yard.store, FOLDER).coverage(first_history(), FILES)
    assert (hole.whole, hole.reached) == (False, FILES + (1 << 32))


def test_a_life_resumes_at_the_mark_of_what_is_newest(yard: Yard) -> None:
    """Of an open part where its segment began; of a full segment behind it; of a file that ended in the next one."""
    shipper = yard.shipper()
    shipper.mark("at the beginning")
    shipper.begin(WalPoint(1, FILES), after_gap=True)
    feed(shipper, FILES, FILES + 1000)
    shipper.mark("later")
    feed(shipper, FILES + 1000, FILES + 2000)
    eventually("the open part is stored", stored_up_to(shipper, FILES + 2000))
    assert yard.shipper().mark_of(1) == "at the beginning"
    feed(shipper, FILES + 2000, FILES + MIB)
    eventually("the segment is stored", stored_up_to(shipper, FILES + MIB))
    assert yard.shipper().mark_of(1) == "later"
    feed(shipper, FILES + MIB, FILES + MIB + 10)
    shipper.end_file("the next file")
    eventually("the file is stored", stored_up_to(shipper, FILES + (1 << 32)))
    again = yard.shipper()
    assert again.mark_of(1) == "the next file"
    assert again.stored_end(first_history()) == WalPoint(1, FILES + (1 << 32))


def test_the_last_piece_of_a_file_is_never_swept(yard: Yard) -> None:
    bucket = WalBucket(yard.store, FOLDER, yard.children, [], lambda: None)
    with pytest.raises(ValueError, match="no open part"):
        bucket.sweep([FOLDER.segment("000000010000000000000003", end=77, encrypted=True, last=True)])
