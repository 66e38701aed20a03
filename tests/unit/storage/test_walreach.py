"""Since when there is log, along the timelines; where nothing tells, that is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databosun.api.archive import TimePair
from databosun.domain.wal import format_lsn, segment_name
from databosun.storage.layout import Layout
from databosun.storage.volume import VolumeStore
from databosun.storage.walog import LogDescription
from databosun.storage.walreach import reaches_back
from databosun.storage.waltimes import write_pairs

MIB = 1024 * 1024
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FOLDER = Layout("", "shop").wal("7")


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    made = VolumeStore(tmp_path)
    made.put(FOLDER.description, LogDescription(system_identifier="7", segment_bytes=MIB).encode())
    return made


def segments(store: VolumeStore, timeline: int, *numbers: int) -> None:
    for number in numbers:
        store.put(FOLDER.segment(segment_name(timeline, number, MIB), end=None, encrypted=False), b"1234")


def pairs(store: VolumeStore, timeline: int, *known: tuple[datetime, float]) -> None:
    for at, mib in known:
        pair = TimePair(at=at, timeline=timeline, lsn=format_lsn(int(mib * MIB)))
        store.put(FOLDER.hour(timeline, f"{at:%Y%m%dT%H}"), write_pairs([pair]))


def test_no_segments_are_no_log(store: VolumeStore) -> None:
    assert reaches_back(store, FOLDER, NOON) is None
    store.put(FOLDER.history(2), b"1\t0/1D00000\tx\n")
    assert reaches_back(store, FOLDER, NOON) is None


def test_a_pair_at_the_first_byte_tells_and_one_within_the_first_segment_does_not(store: VolumeStore) -> None:
    segments(store, 1, 8, 9)
    pairs(store, 1, (NOON + HOUR, 8.5))
    assert reaches_back(store, FOLDER, NOON) == "an instant that nothing there tells (timeline 1)"
    pairs(store, 1, (NOON + timedelta(minutes=1), 8))
    assert reaches_back(store, FOLDER, NOON) is None
    assert reaches_back(store, FOLDER, NOON + timedelta(minutes=1)) == "2026-03-01T12:01:00Z (timeline 1)"


def test_the_newest_pair_below_counts_also_of_an_idle_server(store: VolumeStore) -> None:
    segments(store, 1, 8)
    pairs(store, 1, (NOON - HOUR, 7), (NOON, 7), (NOON + HOUR, 7), (NOON + 2 * HOUR, 8.1))
    assert reaches_back(store, FOLDER, NOON) is None


def test_a_timeline_begins_with_what_its_ancestor_had_and_a_branch_that_was_left_counts(store: VolumeStore) -> None:
    store.put(FOLDER.history(2), f"1\t{format_lsn(10 * MIB)}\tx\n".encode())
    segments(store, 2, 9, 10)
    pairs(store, 1, (NOON - HOUR, 8), (NOON + HOUR, 9), (NOON + 5 * HOUR, 12))
    pairs(store, 2, (NOON + 2 * HOUR, 10.5))
    assert reaches_back(store, FOLDER, NOON) is None
    assert reaches_back(store, FOLDER, NOON + HOUR) == "2026-03-01T13:00:00Z (timeline 2)"
    segments(store, 1, 8)
    assert reaches_back(store, FOLDER, NOON) == "2026-03-01T11:00:00Z (timeline 1)"


def test_what_an_ancestor_has_beyond_the_fork_tells_nothing(store: VolumeStore) -> None:
    store.put(FOLDER.history(2), f"1\t{format_lsn(9 * MIB)}\tx\n".encode())
    segments(store, 2, 12)
    pairs(store, 1, (NOON - HOUR, 8), (NOON + HOUR, 11))
    assert reaches_back(store, FOLDER, NOON) == "2026-03-01T11:00:00Z (timeline 2)"


@pytest.mark.parametrize("name", ["history", "description", "pairs"])
def test_what_is_missing_or_damaged_tells_nothing(store: VolumeStore, name: str) -> None:
    timeline = 2 if name == "history" else 1
    segments(store, timeline, 8)
    pairs(store, timeline, (NOON + HOUR, 8))
    if name == "description":
        store.put(FOLDER.description, b"{}")
    if name == "pairs":
        store.put(FOLDER.hour(1, f"{NOON + HOUR:%Y%m%dT%H}"), b"rows")
    assert "an instant that nothing there tells" in (reaches_back(store, FOLDER, NOON) or "")


@pytest.mark.parametrize(
    "name",
    [
        "copy.tar",
        "log.json.old",
        "00000001/000000010000000000000008.gz",
        "00000001/000000020000000000000008.zst",
        "00000001/00000002.history",
        "00000001/old/000000010000000000000008.zst",
        "old/000000010000000000000008.zst",
        "times/00000001/20260301T13.json.1",
    ],
)
def test_what_has_no_name_of_a_log_may_hold_anything(store: VolumeStore, name: str) -> None:
    segments(store, 1, 8)
    pairs(store, 1, (NOON + HOUR, 8))
    store.put(FOLDER.history(1), b"")
    store.put(FOLDER.gap(1, 4 * MIB, 8 * MIB), b"{}")
    assert reaches_back(store, FOLDER, NOON) is None
    store.put(f"{FOLDER.root}/{name}", b"1234")
    told = f"an instant that nothing there tells ({FOLDER.root}/{name} is nothing that belongs to a log)"
    assert reaches_back(store, FOLDER, NOON) == told


def test_something_without_a_description_may_be_anything(store: VolumeStore) -> None:
    store.delete([FOLDER.description])
    assert reaches_back(store, FOLDER, NOON) is None
    store.put(f"{FOLDER.root}/copy.tar", b"1234")
    assert reaches_back(store, FOLDER, NOON) == "an instant that nothing there tells"
