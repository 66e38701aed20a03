"""A folder as object store: whole objects or none, whatever dies in between."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.port import AlreadyExists, ObjectMissing, Retention
from databosun.storage.volume import TEMPORARY, VolumeStore
from databosun.storage.volume_files import TemporaryFile, sidecar


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path)


def keys(store: VolumeStore, prefix: str = "a") -> list[str]:
    return [one.key for one in store.list(prefix)]


def test_an_object_is_read_back_with_its_metadata(store: VolumeStore) -> None:
    store.put("a/b", b"hello", metadata={"sha": "1"})
    assert store.get("a/b", limit=5) == b"hello"
    head = store.head("a/b")
    assert (head.size, dict(head.metadata)) == (5, {"sha": "1"})
    assert b"".join(store.stream("a/b", start=1, end=4)) == b"ell"
    assert keys(store) == ["a/b"]
    assert store.folders("a") == ()


def test_metadata_of_an_earlier_object_does_not_cling(store: VolumeStore) -> None:
    store.put("a/b", b"old", metadata={"sha": "old"})
    store.put("a/b", b"new")
    assert dict(store.head("a/b").metadata) == {}


def test_a_second_conditional_write_is_refused_and_changes_nothing(store: VolumeStore) -> None:
    store.put("a/b", b"first", if_absent=True, metadata={"sha": "1"})
    with pytest.raises(AlreadyExists):
        store.put("a/b", b"second", if_absent=True, metadata={"sha": "2"})
    assert store.get("a/b", limit=99) == b"first"
    assert dict(store.head("a/b").metadata) == {"sha": "1"}


def test_of_many_writers_at_once_exactly_one_wins(store: VolumeStore) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            store.put("a/b", b"%d" % number, if_absent=True, metadata={"by": str(number)})
        except AlreadyExists:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("a/b", limit=9) == b"%d" % won[0]
    assert store.head("a/b").metadata["by"] == str(won[0])


def test_a_replacement_needs_the_object_that_was_read(store: VolumeStore) -> None:
    store.put("a/b", b"one")
    etag = store.head("a/b").etag
    assert etag
    store.replace("a/b", b"two", etag=etag)
    with pytest.raises(AlreadyExists):
        store.replace("a/b", b"three", etag=etag)
    assert store.get("a/b", limit=9) == b"two"


def test_a_writer_shows_nothing_before_it_is_closed_and_nothing_after_it_was_aborted(store: VolumeStore) -> None:
    writer = store.open_writer("a/b", max_bytes=100)
    writer.write(b"x" * 50)
    assert keys(store) == []
    writer.abort()
    writer.abort()
    assert keys(store) == []
    assert list((Path(store.url("a").removeprefix("file://")).parent / TEMPORARY).iterdir()) == []


@pytest.mark.parametrize("dies_in", ["flush", "appear"])
def test_a_crash_leaves_the_old_object_whole(store: VolumeStore, monkeypatch: pytest.MonkeyPatch, dies_in: str) -> None:
    store.put("a/b", b"old", metadata={"sha": "old"})

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TemporaryFile, dies_in, die)
    monkeypatch.setattr(TemporaryFile, "discard", lambda _: None)  # a process that is killed tidies nothing
    with pytest.raises(KeyboardInterrupt):
        store.put("a/b", b"new")
    monkeypatch.undo()
    assert store.get("a/b", limit=99) == b"old"
    assert keys(store) == ["a/b"]


def test_a_crash_between_sidecar_and_object_means_nothing(store: VolumeStore, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    sidecar(tmp_path / "a" / "b").write_text('{"sha": "of the dead"}')
    with pytest.raises(ObjectMissing):
        store.head("a/b")
    assert keys(store) == []
    store.put("a/b", b"new", if_absent=True)
    assert dict(store.head("a/b").metadata) == {}


def test_bytes_are_on_disk_before_the_name_is(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, link = os.fsync, Path.hardlink_to

    def watched_fsync(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def watched_link(path: Path, to: Path) -> None:
        order.append("link")
        link(path, to)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "hardlink_to", watched_link)
    store.put("b", b"x", if_absent=True)
    assert order == ["fsync", "link", "fsync"]


def test_deleting_removes_object_sidecar_and_empty_folders(store: VolumeStore, tmp_path: Path) -> None:
    store.put("a/b/c", b"x", metadata={"k": "v"})
    store.put("a/d", b"y")
    assert store.delete(["a/b/c", "a/never"]) == ()
    assert keys(store) == ["a/d"]
    assert not (tmp_path / "a" / "b").exists()


def test_leftovers_of_dead_writers_go_when_they_are_old(store: VolumeStore, tmp_path: Path) -> None:
    store.open_writer("a/b", max_bytes=1).write(b"x")
    assert store.abort_uploads("a", before=datetime.now(UTC) - timedelta(hours=1)) == ()
    gone = store.abort_uploads("a", before=datetime.now(UTC) + timedelta(hours=1))
    assert len(gone) == 1
    assert list((tmp_path / TEMPORARY).iterdir()) == []


def test_what_a_folder_cannot_is_refused(store: VolumeStore) -> None:
    lock = Retention("Compliance", datetime.now(UTC))
    with pytest.raises(UserFault, match="ObjectLockUnsupported"):
        store.retain("a", lock)
    with pytest.raises(UserFault, match="ObjectLockUnsupported"):
        store.put("a", b"", retention=lock)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", f"{TEMPORARY}/x"])
def test_a_key_cannot_leave_the_folder(store: VolumeStore, key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        store.get(key, limit=1)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = VolumeStore(tmp_path / "gone")
    with pytest.raises(UserFault, match=r"volume folder .*/gone is not there"):
        gone.put("a", b"x")


def test_an_object_larger_than_expected_is_not_read(store: VolumeStore) -> None:
    store.put("a", b"x" * 10)
    with pytest.raises(WorldFault, match="ObjectTooLarge"):
        store.get("a", limit=9)


def test_a_full_disk_is_named(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    writer = store.open_writer("a", max_bytes=10)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(WorldFault, match=r"StorageFull: .*is full"):
        writer.write(b"x")
