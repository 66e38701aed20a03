"""Deleting: children before parents, manifest first, nothing half, nothing held."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.agent.tasks.delete import children_first
from databosun.api.backuptasks import CatalogTask, DeleteTask, HoldTask
from databosun.api.result import DeletedBackup, Outcome
from databosun.domain.errors import WorldFault
from databosun.storage.port import Undeleted
from databosun.storage.volume import VolumeStore
from support.agentrun import Ran, Workplace, backup_task, child_of

FULL, INCR, LAST = "orders-a", "orders-b", "orders-c"


@pytest.fixture
def chain(place: Workplace) -> Workplace:
    ran = place.run(backup_task(FULL))
    for backup_id in (INCR, LAST):
        ran = place.run(child_of(ran, backup_id))
        assert ran.summary.outcome is Outcome.SUCCEEDED
    return place


def delete(place: Workplace, *ids: str) -> dict[str, DeletedBackup]:
    ran = place.run(DeleteTask(database="orders", ids=list(ids)))
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    assert ran.result.deleted is not None
    assert [one.id for one in ran.result.deleted] == list(dict.fromkeys(ids))
    assert ran.summary.reason == ("Succeeded" if all(one.deleted for one in ran.result.deleted) else "NotDeleted")
    return {one.id: one for one in ran.result.deleted}


def left(place: Workplace) -> set[str]:
    backups = place.root / "volume" / "shop" / "orders" / "backups"
    return {path.name for path in backups.iterdir()} if backups.exists() else set()


def catalogued(place: Workplace) -> list[str]:
    page = place.run(CatalogTask()).result.catalog
    assert page
    return [entry.id for entry in page.entries]


def test_a_whole_chain_goes_in_whatever_order_it_is_named(chain: Workplace) -> None:
    outcomes = delete(chain, FULL, LAST, INCR)
    assert all(one.deleted for one in outcomes.values())
    assert left(chain) == set()


@pytest.mark.parametrize("parent", [FULL, INCR])
def test_a_parent_stays_while_a_child_stands_on_it(chain: Workplace, parent: str) -> None:
    outcome = delete(chain, parent)[parent]
    assert not outcome.deleted
    assert outcome.message
    assert f"stands on {parent}" in outcome.message
    assert catalogued(chain) == [FULL, INCR, LAST]


def test_a_held_child_keeps_its_ancestors(chain: Workplace) -> None:
    chain.run(HoldTask(database="orders", ids=[LAST], reason="audit"))
    outcomes = delete(chain, FULL, INCR, LAST)
    assert [one.deleted for one in outcomes.values()] == [False, False, False]
    assert "legal hold" in str(outcomes[LAST].message)
    assert left(chain) == {FULL, INCR, LAST}


def test_what_is_not_there_is_deleted(chain: Workplace) -> None:
    assert delete(chain, "orders-never")["orders-never"].deleted
    assert left(chain) == {FULL, INCR, LAST}


def test_what_is_not_there_is_told_apart_from_what_was_deleted(chain: Workplace) -> None:
    outcomes = delete(chain, LAST, "orders-z")
    assert {id: (one.deleted, one.absent) for id, one in outcomes.items()} == {
        LAST: (True, False),
        "orders-z": (True, True),
    }


def test_what_a_failed_run_left_goes_too(chain: Workplace) -> None:
    (chain.root / "volume" / "shop" / "orders" / "backups" / "Not Ours").mkdir()
    garbage = chain.root / "volume" / "shop" / "orders" / "backups" / "orders-x" / "a1"
    garbage.mkdir(parents=True)
    (garbage / "base.tar.0000").write_bytes(b"half")
    assert delete(chain, "orders-x")["orders-x"].deleted
    assert left(chain) == {FULL, INCR, LAST, "Not Ours"}


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
def test_wherever_it_is_interrupted_no_half_backup_is_taken_for_good(
    chain: Workplace, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    unlink, count = Path.unlink, [0]

    def dying(path: Path, missing_ok: bool = False) -> None:
        if "/orders-c/" in str(path) and not path.name.endswith(".databosun-meta"):
            count[0] += 1
            if count[0] == dies_at:
                raise WorldFault("Killed", "here")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    ran = chain.run(DeleteTask(database="orders", ids=[LAST]))
    assert ran.summary.reason == "Killed"
    monkeypatch.undo()
    # Either nothing has gone, or it is no backup any more; and the next try finishes the work.
    assert catalogued(chain) == ([FULL, INCR, LAST] if dies_at == 1 else [FULL, INCR])
    assert delete(chain, LAST)[LAST].deleted
    assert left(chain) == {FULL, INCR}


def test_a_lock_on_any_object_keeps_all_of_them(chain: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    until = datetime.now(UTC) + timedelta(days=30)
    monkeypatch.setattr(VolumeStore, "locked_until", lambda _, key: until if key.endswith("RESTORE.md") else None)
    outcome = delete(chain, LAST)[LAST]
    assert (outcome.deleted, outcome.locked_until) == (False, until)
    assert catalogued(chain) == [FULL, INCR, LAST]


def test_a_refusal_of_the_store_is_reported_and_not_looped_on(
    chain: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(_: VolumeStore, keys: Iterable[str]) -> tuple[Undeleted, ...]:
        asked.extend(keys)
        return tuple(Undeleted(key, f"locked: {key}") for key in asked)

    monkeypatch.setattr(VolumeStore, "delete", refuse)
    outcome = delete(chain, LAST)[LAST]
    assert not outcome.deleted
    assert str(outcome.message).startswith("locked: ")
    assert [key.rpartition("/")[2] for key in asked] == ["manifest.json"]


def test_a_manifest_that_cannot_be_read_stops_the_task(chain: Workplace) -> None:
    """It may be the child of what is to go, written by a newer release."""
    path = chain.root / "volume" / "shop" / "orders" / "backups" / "orders-z" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"schema": 2, "parent": LAST}))
    ran = chain.run(DeleteTask(database="orders", ids=[LAST]))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "ManifestInvalid")
    assert left(chain) == {FULL, INCR, LAST, "orders-z"}


def a_delete(place: Workplace) -> Ran:
    return place.run(DeleteTask(database="orders", ids=[LAST]))


def a_hold(place: Workplace) -> Ran:
    return place.run(HoldTask(database="orders", ids=[LAST], reason="x"))


@pytest.mark.parametrize("task", [a_delete, a_hold])
def test_nothing_of_a_foreign_cluster_is_touched(chain: Workplace, task: Callable[[Workplace], Ran]) -> None:
    chain.storage["cluster_id"] = "cluster-two"
    assert task(chain).summary.reason == "StorageOwnedByAnother"
    assert left(chain) == {FULL, INCR, LAST}


@given(st.lists(st.integers(0, 9), min_size=1), st.dictionaries(st.integers(0, 9), st.integers(0, 9)))
def test_children_come_first_in_any_forest(ids: list[int], edges: dict[int, int]) -> None:
    parents = {f"b{child}": f"b{parent}" for child, parent in edges.items() if parent < child}
    order = children_first([f"b{one}" for one in ids], parents)
    assert sorted(order) == sorted({f"b{one}" for one in ids})
    for child, parent in parents.items():
        if child in order and parent in order:
            assert order.index(child) < order.index(parent)
