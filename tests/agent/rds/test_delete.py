"""Deleting backups of RDS: only what is ours, all of it or nothing, found again after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.rds.conftest import Yard
from databosun.api.backuptasks import HoldTask
from support.agentrun import CLUSTER
from support.awsrds import OTHER_REGION, Refusal

pytestmark = pytest.mark.servers


def folders(yard: Yard) -> set[str]:
    backups = yard.place.paths.volume / "shop" / "orders" / "backups"
    return {path.name for path in backups.iterdir()} if backups.exists() else set()


def test_snapshot_and_folder_go_together_in_every_region(copying: Yard) -> None:
    copying.good("orders-1")
    copying.good("orders-2")
    assert copying.delete("orders-1")["orders-1"].deleted
    assert folders(copying) == {"orders-2"}
    for region in ("eu-central-1", OTHER_REGION):
        (left,) = copying.snapshots(region)
        assert left["DBSnapshotIdentifier"].endswith("orders-2")


def test_others_snapshots_are_never_deleted(yard: Yard) -> None:
    yard.good()
    client = yard.account.client()
    client.create_db_snapshot(DBSnapshotIdentifier="by-hand", DBInstanceIdentifier="orders")
    (ours,) = [one for one in yard.snapshots() if one["DBSnapshotIdentifier"] != "by-hand"]
    (path,) = yard.place.paths.volume.rglob("manifest.json")
    forged = path.read_text().replace(
        ours["DBSnapshotArn"], ours["DBSnapshotArn"].replace(ours["DBSnapshotIdentifier"], "by-hand")
    )
    path.write_text(forged)
    kept = yard.delete("orders-1")["orders-1"]
    assert not kept.deleted
    assert "does not carry the tags of run orders-1" in str(kept.message)
    assert len(yard.snapshots()) == 2
    assert path.exists()


def test_awss_own_snapshots_are_never_deleted(yard: Yard) -> None:
    yard.good()
    client = yard.account.client()
    (own,) = client.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"]
    (ours,) = yard.snapshots()
    client.add_tags_to_resource(ResourceName=own["DBSnapshotArn"], Tags=ours["TagList"])
    (path,) = yard.place.paths.volume.rglob("manifest.json")
    path.write_text(path.read_text().replace(ours["DBSnapshotArn"], own["DBSnapshotArn"]))
    kept = yard.delete("orders-1")["orders-1"]
    assert not kept.deleted
    assert "is automated, not manual" in str(kept.message)
    assert not yard.account.asked("DeleteDBSnapshot")


def test_a_retagged_snapshot_stays_with_its_manifest(yard: Yard) -> None:
    yard.good()
    (snapshot,) = yard.snapshots()
    tag = [{"Key": "databosun.io/database-uid", "Value": "another"}]
    yard.account.client().add_tags_to_resource(ResourceName=snapshot["DBSnapshotArn"], Tags=tag)
    assert not yard.delete("orders-1")["orders-1"].deleted
    assert len(yard.snapshots()) == 1
    assert folders(yard) == {"orders-1"}


def test_without_a_login_all_of_it_stays(yard: Yard) -> None:
    yard.good()
    kept = yard.delete("orders-1", database=None)["orders-1"]
    assert not kept.deleted
    assert "given no login there" in str(kept.message)
    assert list(yard.place.paths.volume.rglob("manifest.json"))
    assert len(yard.snapshots()) == 1


def test_a_held_backup_keeps_its_snapshot(yard: Yard) -> None:
    yard.good()
    yard.run(HoldTask(database="orders", ids=["orders-1"], reason="audit"))
    assert not yard.delete("orders-1")["orders-1"].deleted
    assert len(yard.snapshots()) == 1


def test_an_interruption_behind_the_manifest_leaves_nothing_for_ever(copying: Yard) -> None:
    copying.good()
    copying.account.refusals.append(Refusal("DeleteDBSnapshot", "InternalFailure", times=99, status=500))
    with pytest.raises(AssertionError):
        copying.delete("orders-1")
    assert not list(copying.place.paths.volume.rglob("manifest.json"))
    assert len(copying.snapshots()) == 1
    copying.account.refusals.clear()
    assert copying.delete("orders-1")["orders-1"].deleted
    assert copying.snapshots() == copying.snapshots(OTHER_REGION) == []
    assert folders(copying) == set()


def test_what_is_gone_there_already_is_deleted_here(yard: Yard) -> None:
    yard.good()
    (snapshot,) = yard.snapshots()
    yard.account.client().delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    assert yard.delete("orders-1")["orders-1"].deleted
    assert folders(yard) == set()


def test_a_grant_that_is_missing_keeps_all_and_is_named(yard: Yard) -> None:
    yard.good()
    yard.account.refusals.append(Refusal("DescribeDBSnapshots", "AccessDenied", times=99))
    kept = yard.delete("orders-1")["orders-1"]
    assert "grant rds:DescribeDBSnapshots" in str(kept.message)
    assert folders(yard) == {"orders-1"}


def test_a_cluster_that_took_over_knows_and_lets_go_of_the_one_befores(yard: Yard) -> None:
    yard.good("orders-1")
    yard.place.storage |= {"cluster_id": "cluster-two", "adopt_from": CLUSTER}
    yard.database["uid"] = "another"
    yard.good("orders-2")
    probe = yard.look("orders-1", "orders-2").result.probe
    assert probe
    assert probe.managed
    assert probe.managed.missing == []
    assert yard.delete("orders-1")["orders-1"].deleted
    (left,) = yard.snapshots()
    assert left["DBSnapshotIdentifier"].endswith("orders-2")


def test_a_backup_of_the_database_before_is_let_go_by_its_own_tags(yard: Yard, tmp_path: Path) -> None:
    yard.good()
    yard.database["uid"] = "the-database-was-created-anew"
    assert yard.delete("orders-1")["orders-1"].deleted
    assert yard.snapshots() == []
