"""The sweep removes what no manifest stands for, when it is old and nobody works on it; nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from databosun.api.backuptasks import SweepTask
from databosun.api.result import Outcome
from databosun.domain.errors import WorldFault
from databosun.storage.volume import VolumeStore
from support.agentrun import Workplace, backup_task
from support.fakeengine import FakeEngine

GOOD, GARBAGE = "orders-good", "orders-garbage"
OLD = 3 * 3600


@pytest.fixture
def swept(place: Workplace) -> Workplace:
    """A failed first attempt and a good second one of one backup, and what a dead run left of another."""

    def trap(_name: str, done: int) -> None:
        if done > 1_000_000:
            raise WorldFault("Broken", "in the middle")

    plain = {"backup_manifest": b"{}"}
    ran = place.run(backup_task(GOOD), engine=FakeEngine(artefacts={"a": 10, "b": 5_000_000}, plain=plain, trap=trap))
    assert ran.summary.outcome is Outcome.FAILED
    assert place.run(backup_task(GOOD), attempt=2).summary.outcome is Outcome.SUCCEEDED
    ran = place.run(
        backup_task(GARBAGE), engine=FakeEngine(artefacts={"a": 10, "b": 5_000_000}, plain=plain, trap=trap)
    )
    assert ran.summary.outcome is Outcome.FAILED
    return place


def folder(place: Workplace, backup_id: str) -> Path:
    return place.root / "volume" / "shop" / "orders" / "backups" / backup_id


def age(place: Workplace, seconds: float = OLD) -> None:
    then = time.time() - seconds
    for path in (place.root / "volume").rglob("*"):
        os.utime(path, (then, then))


def sweep(place: Workplace, *active: str) -> list[str]:
    ran = place.run(SweepTask(older_than_seconds=3600, active=list(active)))
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    assert ran.result.swept is not None
    return ran.result.swept


def test_garbage_goes_and_the_backup_stays_whole(swept: Workplace) -> None:
    before = {
        path.relative_to(folder(swept, GOOD)) for path in folder(swept, GOOD).rglob("*") if "a1" not in path.parts
    }
    age(swept)
    assert sweep(swept) == [f"orders/{GARBAGE}", f"orders/{GOOD}"]
    assert not folder(swept, GARBAGE).exists()
    assert {path.relative_to(folder(swept, GOOD)) for path in folder(swept, GOOD).rglob("*")} == before
    assert Path("a2/base.tar.zst.0000") in before


def test_what_is_young_stays(swept: Workplace) -> None:
    assert sweep(swept) == []


def test_one_young_object_keeps_its_whole_folder(swept: Workplace) -> None:
    age(swept)
    (path,) = (folder(swept, GARBAGE) / "a1").iterdir()
    path.with_name("b.0000").write_bytes(b"still writing")
    assert sweep(swept) == [f"orders/{GOOD}"]
    assert path.exists()


def test_an_active_run_s_folder_is_never_touched(swept: Workplace) -> None:
    age(swept, 30 * 86400)
    assert sweep(swept, f"orders/{GARBAGE}", f"orders/{GOOD}") == []
    assert (folder(swept, GARBAGE) / "a1").exists()
    assert (folder(swept, GOOD) / "a1").exists()


def test_a_manifest_that_appears_meanwhile_saves_its_folder(swept: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    age(swept)
    listing = VolumeStore.list

    def late(store: VolumeStore, prefix: str) -> object:
        found = list(listing(store, prefix))
        if prefix.endswith(GARBAGE):
            (folder(swept, GARBAGE) / "manifest.json").write_bytes(b"{}")
        return iter(found)

    monkeypatch.setattr(VolumeStore, "list", late)
    assert sweep(swept) == [f"orders/{GOOD}"]
    assert (folder(swept, GARBAGE) / "a1").exists()


def test_attempts_beside_a_manifest_that_cannot_be_read_stay(swept: Workplace) -> None:
    (folder(swept, GOOD) / "manifest.json").write_bytes(b"{}")
    age(swept)
    assert sweep(swept) == [f"orders/{GARBAGE}"]
    assert (folder(swept, GOOD) / "a1").exists()


def test_files_of_dead_writers_go(swept: Workplace) -> None:
    left = swept.root / "volume" / ".databosun-tmp" / "dead"
    left.write_bytes(b"x")
    age(swept)
    assert ".databosun-tmp/dead" in sweep(swept)
    assert not left.exists()


def test_nothing_else_below_the_folder_is_garbage(swept: Workplace) -> None:
    others = [
        Path("_log/postgresql/1/000000010000000000000001"),
        Path("orders/drills/r1/evidence.json"),
        Path("notes.txt"),
        Path("My Stuff/backups/x/a1/y"),
        Path("orders/backups/Old Ones/a1/y"),
    ]
    for other in others:
        path = swept.root / "volume" / "shop" / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    age(swept, 365 * 86400)
    sweep(swept)
    assert all((swept.root / "volume" / "shop" / other).exists() for other in others)


def test_nothing_of_a_foreign_cluster_is_swept(swept: Workplace) -> None:
    age(swept)
    swept.storage["cluster_id"] = "cluster-two"
    assert swept.run(SweepTask(older_than_seconds=3600)).summary.reason == "StorageOwnedByAnother"
    assert folder(swept, GARBAGE).exists()
