"""The log before the oldest needed backup goes, oldest first; nothing goes that the named backup needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.tasks import expire_log
from databosun.api.archive import TimePair
from databosun.api.backuptasks import ExpireLogTask
from databosun.api.result import Outcome
from databosun.domain.wal import format_lsn, segment_name
from databosun.storage.layout import Layout
from databosun.storage.port import Undeleted
from databosun.storage.volume import VolumeStore
from databosun.storage.walog import LogDescription
from databosun.storage.walreach import reaches_back
from databosun.storage.waltimes import write_pairs
from support.agentrun import NAMESPACE, Ran, Workplace, backup_task

SYSTEM = "7312345678901234567"  # of the fake engine, whose backups start at 0/2000028
MIB = 1024 * 1024
FOLDER = Layout("", NAMESPACE).wal(SYSTEM)
SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def checksum(place: Workplace) -> str:
    backup = place.run(backup_task("orders-a")).result.backup
    assert backup is not None
    store = VolumeStore(place.paths.volume)
    store.put(FOLDER.description, LogDescription(system_identifier=SYSTEM, segment_bytes=MIB).encode())
    for timeline in (1, 2):
        for number in range(28, 36):
            store.put(FOLDER.segment(segment_name(timeline, number, MIB), end=None, encrypted=False), b"1234")
    store.put(FOLDER.segment(segment_name(1, 29, MIB), end=29 * MIB + 5, encrypted=False), b"12")
    store.put(FOLDER.history(2), b"1\t0/1D00000\tx\n")
    for hour in ("20260301T09", "20260301T11"):
        store.put(FOLDER.hour(1, hour), b"[]\n")
    return backup.checksum


def expire(place: Workplace, checksum: str, **more: Any) -> Ran:
    values = {"keep_timeline": 1, "keep_lsn": "0/2000028", "keep_since": SINCE, "base": "orders-a", **more}
    return place.run(ExpireLogTask(database="orders", system_identifier=SYSTEM, manifest_sha256=checksum, **values))


def left(place: Workplace) -> set[str]:
    root = place.paths.volume / FOLDER.root
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_what_lies_before_the_backup_goes(place: Workplace, checksum: str) -> None:
    before = left(place)
    ran = expire(place, checksum)
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert ran.summary.reason == "Succeeded"
    gone = before - left(place)
    names = {f"00000001/{segment_name(1, number, MIB)}.zst" for number in range(28, 32)}
    part = f"00000001/{segment_name(1, 29, MIB)}.partial.{29 * MIB + 5:016X}.zst"
    assert gone == {*names, part, "times/00000001/20260301T09.json"}
    assert ran.result.swept is not None
    assert [name.rpartition("/")[2][:24] for name in ran.result.swept[:5]] == [
        segment_name(1, number, MIB) for number in (28, 29, 29, 30, 31)
    ]
    assert "6 objects" in ran.result.message
    assert left(place) == before - gone
    assert "0 objects" in expire(place, checksum).result.message


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"base": "orders-b"}, "ParentMissing"),
        ({"keep_lsn": "0/2100000"}, "NotDeleted"),
        ({"keep_timeline": 2}, "NotDeleted"),
    ],
)
def test_nothing_goes_that_the_backup_needs(place: Workplace, checksum: str, more: dict[str, Any], reason: str) -> None:
    before = left(place)
    ran = expire(place, checksum, **more)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, reason)
    assert left(place) == before


def test_nothing_goes_where_the_manifest_was_changed(place: Workplace, checksum: str) -> None:
    before = left(place)
    assert expire(place, "0" * 64).summary.reason == "ManifestForged"
    assert left(place) == before


def test_a_locked_segment_stays_and_everything_behind_it(
    place: Workplace, checksum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(store: VolumeStore, keys: Iterable[str]) -> tuple[Undeleted, ...]:
        return tuple(Undeleted(key, f"{key} is locked") for key in keys)

    monkeypatch.setattr(expire_log, "BATCH", 2)
    monkeypatch.setattr(VolumeStore, "delete", delete)
    before = left(place)
    ran = expire(place, checksum)
    assert ran.summary.reason == "NotDeleted"
    assert "is locked" in ran.result.message
    assert left(place) == before


def test_the_folder_of_another_server_is_not_touched(place: Workplace, checksum: str, tmp_path: Path) -> None:
    other = Layout("", NAMESPACE).wal("99")
    store = VolumeStore(place.paths.volume)
    store.put(other.segment(segment_name(1, 1, MIB), end=None, encrypted=False), b"x")
    expire(place, checksum)
    assert [one.key for one in store.list(other.root)] == [
        other.segment(segment_name(1, 1, MIB), end=None, encrypted=False)
    ]


def test_the_newest_pair_from_before_what_is_left_stays_and_says_how_far_back_that_reaches(
    place: Workplace, checksum: str
) -> None:
    store = VolumeStore(place.paths.volume)
    # The log that is kept begins at 0/2000000, which is MiB 32.
    for hour, mib in (("20260301T05", 29), ("20260301T06", 31), ("20260301T07", 33)):
        at = datetime.strptime(hour, "%Y%m%dT%H").replace(tzinfo=UTC)
        pair = TimePair(at=at, timeline=1, lsn=format_lsn(mib * MIB))
        store.put(FOLDER.hour(1, hour), write_pairs([pair]))
    assert expire(place, checksum).summary.reason == "Succeeded"
    hours = {name.rpartition("/")[2] for name in left(place) if name.startswith("times/")}
    assert hours == {"20260301T06.json", "20260301T07.json", "20260301T09.json", "20260301T11.json"}
    until = datetime(2026, 3, 1, 5, 59, tzinfo=UTC)
    assert reaches_back(store, FOLDER, until) == "an instant that nothing there tells (timeline 2)"
    for one in list(store.list(FOLDER.timeline(2))):
        store.delete([one.key])
    assert reaches_back(store, FOLDER, until) is None
    assert reaches_back(store, FOLDER, until + timedelta(hours=1)) == "2026-03-01T06:00:00Z (timeline 1)"
