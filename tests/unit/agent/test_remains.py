"""What lies in a store from before an erasure is found, whoever it stands for; what is shown to be later is not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.archive import TimePair
from databosun.api.backuptasks import ValidateTask
from databosun.api.remains import MOST_NAMED, RemainsResult, RemainsTask
from databosun.api.result import Outcome
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.remains import copy_mark
from databosun.domain.wal import format_lsn, segment_name
from databosun.storage.layout import Layout
from databosun.storage.volume import VolumeStore
from databosun.storage.walog import LogDescription
from databosun.storage.waltimes import write_pairs
from support.agentrun import NAMESPACE, UID, Workplace, backup_task

SYSTEM = "7312345678901234567"  # of the fake engine
ERASED = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIB = 1024 * 1024


@pytest.fixture
def mine(place: Workplace) -> Workplace:
    """A storage that is this cluster's."""
    place.run(ValidateTask())
    return place


def look(place: Workplace, **more: Any) -> RemainsResult:
    values = {"database": "orders", "database_uid": UID, "engine": EngineName.POSTGRESQL, "until": ERASED, **more}
    ran = place.run(RemainsTask(**values), database=None)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    found = ran.result.remains
    assert found is not None
    return found


def folder(place: Workplace, name: str) -> Path:
    database, backup_id = name.split("/")
    return place.paths.volume / NAMESPACE / database / "backups" / backup_id


def taken(place: Workplace, name: str, began: datetime, /, **database: Any) -> None:
    """A backup under that name, begun then."""
    named, backup_id = name.split("/")
    target = place.request(backup_task()).database
    assert target
    place.run(backup_task(backup_id), database=target.model_copy(update={"name": named}))
    path = folder(place, name) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    stamp = began.isoformat()
    manifest |= {"startedAt": stamp, "snapshotTime": stamp, "completedAt": (began + HOUR).isoformat()}
    manifest["database"] |= database
    path.write_text(json.dumps(manifest))


def test_what_was_begun_before_counts_and_what_was_begun_later_does_not(mine: Workplace) -> None:
    taken(mine, "orders/before", ERASED - DAY)
    taken(mine, "orders/over-it", ERASED)
    taken(mine, "orders/later", ERASED + timedelta(seconds=1))
    found = look(mine)
    assert (found.copies, found.leftovers, found.looked_at) == (2, 0, 3)
    assert found.named == ["orders/before", "orders/over-it"]


@pytest.mark.parametrize(("began", "shows"), [(HOUR, -HOUR), (-HOUR, HOUR)])
def test_what_was_read_before_counts_whichever_instant_it_shows(
    mine: Workplace, began: timedelta, shows: timedelta
) -> None:
    """A standby shows an earlier one, files that were copied over the erasure a later one."""
    taken(mine, "orders/over-it", ERASED + began)
    path = folder(mine, "orders/over-it") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"snapshotTime": (ERASED + shows).isoformat()}))
    assert look(mine).named == ["orders/over-it"]


def test_what_the_store_had_by_then_counts_whatever_the_clock_of_its_job_said(mine: Workplace) -> None:
    taken(mine, "orders/clock-ahead", ERASED + DAY)
    assert look(mine).copies == 0
    stamp = (ERASED - HOUR).timestamp()
    os.utime(folder(mine, "orders/clock-ahead") / "manifest.json", (stamp, stamp))
    assert look(mine).named == ["orders/clock-ahead"]


def test_what_an_object_stands_for_is_left_out_by_its_mark(mine: Workplace) -> None:
    for name in ("one", "two", "three"):
        taken(mine, f"orders/{name}", ERASED - DAY)
    marks = [copy_mark("orders", "one"), copy_mark("orders", "three"), copy_mark("other", "two")]
    assert look(mine, marks=marks).named == ["orders/two"]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema": 9}', b"\xff\xfe"])
def test_a_damaged_manifest_is_a_copy_whatever_its_age(mine: Workplace, data: bytes) -> None:
    taken(mine, "orders/later", ERASED + DAY)
    (folder(mine, "orders/later") / "manifest.json").write_bytes(data)
    found = look(mine)
    assert (found.copies, found.named) == (1, ["orders/later"])


def test_data_without_a_manifest_and_of_attempts_that_it_does_not_name_are_leftovers(mine: Workplace) -> None:
    taken(mine, "orders/halfway", ERASED - DAY)
    (folder(mine, "orders/halfway") / "manifest.json").unlink()
    taken(mine, "orders/second-try", ERASED + DAY)
    other = folder(mine, "orders/second-try") / "a2" / "base.tar.zst.0000"
    other.parent.mkdir()
    other.write_bytes(b"rows")
    taken(mine, "orders/running", ERASED + DAY)
    (folder(mine, "orders/running") / "manifest.json").unlink()
    found = look(mine, marks=[copy_mark("orders", "running")])
    assert (found.copies, found.leftovers) == (0, 2)
    assert found.named == ["orders/halfway", "orders/second-try"]


def test_a_hold_without_data_is_no_leftover(mine: Workplace) -> None:
    path = folder(mine, "orders/gone") / "hold.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert look(mine) == RemainsResult(looked_at=1)


def test_another_database_of_the_same_name_counts_and_the_same_server_by_another_name_too(mine: Workplace) -> None:
    taken(mine, "orders/of-old", ERASED - DAY, uid="another", systemIdentifier="42")
    taken(mine, "users/same-server", ERASED - DAY, uid="u", name="users")
    taken(mine, "users/other-server", ERASED - DAY, uid="u", name="users", systemIdentifier="99")
    taken(mine, "moved/by-hand", ERASED - DAY, systemIdentifier="99")
    assert look(mine, systems=[SYSTEM]).named == ["moved/by-hand", "orders/of-old", "users/same-server"]


def test_servers_are_learnt_from_the_databases_own_backups(mine: Workplace) -> None:
    taken(mine, "users/under-the-old-name", ERASED - DAY, uid="u", name="users", systemIdentifier="42")
    assert look(mine, database_uid=None).copies == 0
    taken(mine, "orders/newer", ERASED + DAY, systemIdentifier="42")
    assert look(mine, database_uid=None).named == ["users/under-the-old-name"]


def test_a_damaged_manifest_beside_another_servers_backups_is_that_servers(mine: Workplace) -> None:
    taken(mine, "users/damaged", ERASED - DAY)
    (folder(mine, "users/damaged") / "manifest.json").write_bytes(b"")
    assert look(mine, others={"users": "99"}).copies == 0
    assert look(mine).copies == 1


def test_counts_are_whole_and_names_few(mine: Workplace) -> None:
    taken(mine, "orders/b-0", ERASED - DAY)
    source = (folder(mine, "orders/b-0") / "manifest.json").read_text()
    for number in range(1, 300):
        path = folder(mine, f"orders/b-{number}") / "manifest.json"
        path.parent.mkdir()
        path.write_text(source)
    found = look(mine)
    assert (found.copies, found.looked_at, len(found.named)) == (300, 300, MOST_NAMED)


def test_a_folder_that_is_not_known_to_be_ours_proves_nothing(place: Workplace) -> None:
    task = RemainsTask(database="orders", until=ERASED)
    ran = place.run(task, database=None)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "StorageOwnedByAnother")


def log(place: Workplace, *pairs: tuple[datetime, int], system: str = SYSTEM, first: int = 28) -> None:
    """Segments from `first` on, and pairs of an instant and a position in MiB."""
    wal = Layout("", NAMESPACE).wal(system)
    store = VolumeStore(place.paths.volume)
    store.put(wal.description, LogDescription(system_identifier=system, segment_bytes=MIB).encode())
    for number in range(first, 32):
        store.put(wal.segment(segment_name(1, number, MIB), end=None, encrypted=False), b"1234")
    for at, position in pairs:
        pair = TimePair(at=at, timeline=1, lsn=format_lsn(position * MIB))
        store.put(wal.hour(1, f"{at:%Y%m%dT%H}"), write_pairs([pair]))


def test_a_log_counts_unless_it_is_shown_to_begin_later(mine: Workplace) -> None:
    log(mine, (ERASED - HOUR, 27), (ERASED + HOUR, 30))
    (told,) = look(mine).logs
    assert told == f"the log in _log/postgresql/{SYSTEM} reaches back to 2026-03-01T11:00:00Z (timeline 1)"


def test_a_log_whose_newest_pair_below_its_beginning_is_later_is_none(mine: Workplace) -> None:
    log(mine, (ERASED - HOUR, 20), (ERASED + HOUR, 28), (ERASED + 2 * HOUR, 29))
    assert look(mine).logs == []


def test_a_log_without_a_pair_below_its_beginning_counts(mine: Workplace) -> None:
    log(mine, (ERASED + HOUR, 29))
    (told,) = look(mine).logs
    assert "an instant that nothing there tells" in told


def test_the_log_of_another_database_is_its_own_and_that_of_nobody_counts(mine: Workplace) -> None:
    log(mine, (ERASED - HOUR, 27), system="99")
    assert look(mine, others={"users": "99"}).logs == []
    assert len(look(mine).logs) == 1
    assert len(look(mine, others={"users": "99"}, systems=["99"]).logs) == 1
    assert look(mine, engine=EngineName.MONGODB).logs == []
    assert len(look(mine, engine=None).logs) == 1
