"""What a rebuilt Backup says, and what it never claims."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from databosun.api.drill import Level
from databosun.api.result import CatalogPage, CatalogProof
from databosun.api.v1alpha1.backup import BackupSpec, BackupStatus
from databosun.api.v1alpha1.backupstorage import BackupStorageStatus, CatalogRebuild
from databosun.domain.catalog import (
    MAX_TRIES,
    KnownDatabase,
    Rebuilt,
    asked,
    may_fill,
    obstacle,
    page_done,
    page_failed,
    rebuilt,
    relabelled,
    under_way,
)
from databosun.domain.requests import Named
from support.catalogs import SYSTEM, stored

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORAGE = Named("shop", "prod", "uid-of-storage")
READY = BackupStorageStatus.model_validate(
    {"conditions": [{"type": "Ready", "status": "True", "reason": "Validated", "message": ""}]}
)


def known(uid: str = "uid-of-new", system: str | None = SYSTEM, *, looked_at: bool = True) -> KnownDatabase:
    return KnownDatabase(uid, system, looked_at, {"daily": "uid-of-new-policy"})


def made(
    databases: dict[str, KnownDatabase] | None = None, id: str = "orders-2602010200-abcde", **more: Any
) -> Rebuilt:
    one = rebuilt(stored(id, **more), STORAGE, databases or {}, "t1", NOW)
    assert one is not None
    return one


def conditions(one: Rebuilt) -> dict[str, str]:
    return {item["type"]: item["status"] for item in one.status["conditions"]}


def test_it_is_finished_from_its_creation_and_its_slot_is_long_past() -> None:
    one = made()
    assert one.labels["databosun.io/finished"] == "Succeeded"
    spec = BackupSpec.model_validate(one.spec)
    assert spec.scheduled_for is not None
    assert spec.scheduled_for < NOW
    assert spec.not_after is None


def test_one_made_by_hand_could_not_start_after_it_was_complete() -> None:
    spec = BackupSpec.model_validate(made(scheduledFor=None).spec)
    assert spec.scheduled_for is None
    assert spec.not_after == datetime(2026, 2, 1, 2, 0, 10, tzinfo=UTC)


def test_it_can_be_stood_on_and_restored_from() -> None:
    status = BackupStatus.model_validate(made().status)
    assert status.checksum == "ab" * 32
    assert status.attempts[-1].number == 2
    assert status.size is not None
    assert (status.size.logical, status.size.stored, status.size.human) == (4096, 1024, "1.0KiB")
    assert status.system_identifier == SYSTEM
    assert status.location == "s3://backups/prod/shop/orders/backups/orders-2602010200-abcde/"
    assert status.duration == "10s"
    assert status.position is not None
    assert status.position.lsn == "0/5000028"


def test_an_incremental_names_its_parent() -> None:
    one = made(type="Incremental", parent="orders-2602010100-abcde", base="orders-2602010000-abcde", chainLength=2)
    assert one.spec["parentRef"] == {"name": "orders-2602010100-abcde"}
    assert (one.status["parent"], one.status["base"], one.status["chainLength"]) == (
        "orders-2602010100-abcde",
        "orders-2602010000-abcde",
        2,
    )


def test_an_unsigned_manifest_makes_it_unverified() -> None:
    assert conditions(made(verified=False)) == {"Ready": "True", "Unverified": "True"}
    assert conditions(made(verified=True)) == {"Ready": "True"}


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        (None, "uid-of-old"),
        (known(), "uid-of-new"),
        (known(uid="uid-of-old", system=None), "uid-of-old"),
        (known(system=None), "uid-of-old"),
        (known(system="another server"), "uid-of-old"),
    ],
    ids=["no database", "same server", "same object", "unknown server", "another server"],
)
def test_it_counts_for_a_database_only_where_that_is_provably_the_same_server(
    database: KnownDatabase | None, expected: str
) -> None:
    one = made({"orders": database} if database else {})
    assert one.labels["databosun.io/database-uid"] == expected
    assert one.spec["databaseRef"] == {"name": "orders"}


def test_a_policy_governs_it_only_where_it_counts_for_that_database() -> None:
    assert made({"orders": known()}).labels["databosun.io/policy-uid"] == "uid-of-new-policy"
    assert "databosun.io/policy-uid" not in made({"orders": known(system="another server")}).labels
    assert "databosun.io/policy-uid" not in made({"orders": known()}, policy="gone").labels


def test_a_legal_hold_in_the_store_holds_the_object_again() -> None:
    one = made(hold="case 17")
    assert one.labels["databosun.io/hold"] == "true"
    assert one.annotations["databosun.io/hold-reason"] == "case 17"
    assert one.status["hold"] == {"reason": "case 17"}
    without_reason = made(hold="")
    assert without_reason.labels["databosun.io/hold"] == "true"
    assert "databosun.io/hold" not in made().labels


def test_what_signed_evidence_proved_is_proven_again() -> None:
    proof = CatalogProof(level=Level.DEEP, at=NOW, run="weekly-1")
    entry = stored("orders-2602010200-abcde").model_copy(update={"proof": proof})
    one = rebuilt(entry, STORAGE, {}, "t1", NOW)
    assert one is not None
    assert one.status["proven"] == {"level": "Deep", "at": "2026-03-01T12:00:00Z", "run": "weekly-1"}
    assert one.labels["databosun.io/proven"] == "true"
    assert "proven" not in made().status
    assert "databosun.io/proven" not in made().labels


@pytest.mark.parametrize(
    "manifest",
    [
        {"id": "orders-2602020200-abcde"},
        {"database": {**stored("x").manifest["database"], "namespace": "other"}},
        {"database": {**stored("x").manifest["database"], "name": "payments"}},
        {"type": "Everything"},
        {"attempt": "many"},
        {"storedBytes": -1},
        {"parent": "../../other"},
        {"policy": "Not A Name"},
    ],
)
def test_a_manifest_that_does_not_fit_its_folder_makes_no_object(manifest: dict[str, Any]) -> None:
    entry = stored("orders-2602010200-abcde")
    assert rebuilt(entry, STORAGE, {}, "t1", NOW) is not None
    strange = entry.model_copy(update={"manifest": {**entry.manifest, **manifest}})
    assert rebuilt(strange, STORAGE, {}, "t1", NOW) is None


def test_a_rebuild_is_under_way_until_its_token_was_carried_out() -> None:
    annotations = {"databosun.io/rebuild-catalog": "t1"}
    assert asked({}) is None
    assert under_way(READY, {}) is None
    assert under_way(READY, annotations) == CatalogRebuild(token="t1")
    assert under_way(READY.model_copy(update={"catalog_token": "t1"}), annotations) is None
    half = CatalogRebuild(token="t1", found=3, next="orders/x")
    assert under_way(READY.model_copy(update={"catalog": half}), annotations) == half
    assert under_way(
        READY.model_copy(update={"catalog": half}), {"databosun.io/rebuild-catalog": "t2"}
    ) == CatalogRebuild(token="t2")


def test_it_waits_for_the_storage_and_for_the_first_look_at_each_database() -> None:
    assert obstacle(BackupStorageStatus(), {}) is not None
    assert obstacle(READY, {}) is None
    assert obstacle(READY, {"orders": known()}) is None
    why = obstacle(READY, {"orders": known(looked_at=False)})
    assert why is not None
    assert "orders" in why


def test_pages_add_up_and_the_last_one_ends_it() -> None:
    begun = CatalogRebuild(token="t1", tries=2, error="Disrupted: evicted")
    first = page_done(READY, begun, CatalogPage(entries=[stored("a"), stored("b")], next="orders/b"), 1, 1, NOW)
    assert first["catalog"] == {"token": "t1", "found": 2, "created": 1, "skipped": 1, "next": "orders/b", "tries": 0}
    assert "catalogToken" not in first
    half = CatalogRebuild.model_validate(first["catalog"])
    last = page_done(READY, half, CatalogPage(entries=[stored("c")], next=None), 1, 0, NOW)
    assert last["catalogToken"] == "t1"
    assert last["catalog"]["found"] == 3
    assert last["catalog"]["at"] == "2026-03-01T12:00:00Z"
    assert "next" not in last["catalog"]


def test_a_fault_that_may_pass_is_tried_again_but_not_for_ever() -> None:
    catalog = CatalogRebuild(token="t1")
    for _ in range(MAX_TRIES - 1):
        status = page_failed(READY, catalog, "Disrupted", "evicted", NOW, retryable=True)
        assert "catalogToken" not in status
        catalog = CatalogRebuild.model_validate(status["catalog"])
    ended = page_failed(READY, catalog, "Disrupted", "evicted", NOW, retryable=True)
    assert ended["catalogToken"] == "t1"
    assert ended["catalog"]["error"] == "Disrupted: evicted"


def test_a_fault_of_the_user_ends_it_at_once() -> None:
    status = page_failed(READY, CatalogRebuild(token="t1"), "SecretMissing", "no Secret s3", NOW, retryable=False)
    assert status["catalogToken"] == "t1"
    assert status["catalog"]["error"] == "SecretMissing: no Secret s3"


def test_only_an_empty_status_of_a_finished_record_is_filled() -> None:
    finished = {"databosun.io/finished": "Succeeded"}
    assert may_fill(finished, {})
    assert not may_fill(finished, {"phase": "Succeeded"})
    assert not may_fill({}, {})


def test_references_are_put_right_on_rebuilt_records_alone() -> None:
    wanted = {"databosun.io/database-uid": "new", "databosun.io/hold": "true"}
    old = {"databosun.io/database-uid": "old"}
    rebuilt_before = {"databosun.io/rebuilt": "t0"}
    assert relabelled(rebuilt_before, old, wanted) == {"databosun.io/database-uid": "new"}
    assert relabelled({}, old, wanted) == {}
    assert relabelled(rebuilt_before, wanted, wanted) == {}
