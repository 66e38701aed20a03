"""A look at an instance: what AWS can restore by itself, what is in the way, what became of our own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent.rds.conftest import PLACE, Yard
from databosun.api.result import Outcome
from databosun.engines.rds import engine
from support.awsrds import GROUP, PROD_SG, Refusal, set_parameter

pytestmark = pytest.mark.servers


def findings(yard: Yard, *backups: str, **more: Any) -> dict[str, str]:
    ran = yard.look(*backups, **more)
    assert ran.result.probe, ran.output[-3000:]
    return {one.reason: one.message for one in ran.result.probe.findings}


def test_a_look_says_how_far_aws_reaches_and_that_nothing_is_in_the_way(yard: Yard) -> None:
    ran = yard.look()
    probe = ran.result.probe
    assert probe
    assert (probe.reachable, probe.engine_version) == (True, "15.4")
    assert probe.system_identifier
    assert probe.findings == []
    assert probe.managed
    assert probe.managed.latest is not None
    assert (probe.managed.retention_days, probe.managed.multi_az, probe.managed.encrypted) == (7, True, True)


def test_an_instance_without_backups_of_its_own_says_what_mends_it(yard: Yard) -> None:
    yard.account.client().modify_db_instance(DBInstanceIdentifier="orders", BackupRetentionPeriod=0)
    ran = yard.look()
    probe = ran.result.probe
    assert probe
    (found,) = probe.findings
    assert (found.reason, found.blocks) == ("BackupRetentionOff", [])
    assert found.fix == "aws rds modify-db-instance --db-instance-identifier orders --backup-retention-period 7"
    assert probe.managed
    assert probe.managed.latest is None


@pytest.mark.parametrize("action", ["DescribeDBInstances", "DescribeDBSnapshots"])
def test_a_missing_grant_is_named_with_who_needs_it(yard: Yard, action: str) -> None:
    yard.account.refusals.append(Refusal(action, "AccessDenied", times=99))
    ran = yard.look()
    said = ran.summary.message + "".join(one.message for one in (ran.result.probe.findings if ran.result.probe else []))
    assert f"grant rds:{action} to Secret aws" in said


def test_a_place_of_drills_that_is_productions_own_is_found(yard: Yard) -> None:
    yard.rds["drill"] = PLACE.model_copy(update={"security_group_ids": [PROD_SG]})
    assert f"security group {PROD_SG}" in findings(yard)["DrillPlaceUnsafe"]


def test_a_parameter_group_that_lets_a_copy_act_is_found(yard: Yard) -> None:
    set_parameter(yard.account, "max_logical_replication_workers", "4")
    assert f"{GROUP} of spec.rds.drill has max_logical_replication_workers = 4" in findings(yard)["DrillPlaceUnsafe"]
    set_parameter(yard.account, "max_logical_replication_workers", "0")
    set_parameter(yard.account, "shared_preload_libraries", "pg_stat_statements,pg_cron")
    assert "pg_cron" in findings(yard)["DrillPlaceUnsafe"]


def test_a_snapshot_gone_behind_our_back_is_noticed(yard: Yard) -> None:
    yard.good("orders-1")
    yard.good("orders-2")
    assert findings(yard, "orders-1", "orders-2") == {}
    gone = next(one for one in yard.snapshots() if one["DBSnapshotIdentifier"].endswith("orders-2"))
    yard.account.client().delete_db_snapshot(DBSnapshotIdentifier=gone["DBSnapshotIdentifier"])
    ran = yard.look("orders-1", "orders-2")
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert ran.result.probe
    assert ran.result.probe.managed
    assert ran.result.probe.managed.missing == ["orders-2"]
    assert "orders-2" in findings(yard, "orders-1", "orders-2")["SnapshotMissing"]


def test_a_snapshot_that_no_backup_claims_is_told_of_and_left(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.good("orders-1")
    yard.good("orders-2")
    assert findings(yard, "orders-1") == {}, "it is young: its run may be at it"
    monkeypatch.setattr(engine, "UNCLAIMED_AFTER", timedelta(0))
    assert "orders-2" in findings(yard, "orders-1")["SnapshotUnclaimed"]
    assert len(yard.snapshots()) == 2


def test_an_instance_that_is_stopped_blocks_backups(yard: Yard) -> None:
    yard.account.client().stop_db_instance(DBInstanceIdentifier="orders")
    ran = yard.look()
    assert ran.result.probe
    blocking = [one for one in ran.result.probe.findings if one.blocks]
    assert [one.reason for one in blocking] == ["InstanceNotAvailable"]


def test_an_instance_that_is_gone_blocks_backups_and_promises_nothing(yard: Yard) -> None:
    yard.good("orders-1")
    yard.account.client().delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
    ran = yard.look("orders-1", "orders-2")
    probe = ran.result.probe
    assert probe
    assert (probe.reachable, probe.findings[0].reason) == (False, "InstanceMissing")
    assert "no instance orders in eu-central-1" in probe.findings[0].message
    assert "Snapshot" in probe.findings[0].blocks
    assert probe.managed
    assert (probe.managed.latest, probe.managed.missing) == (None, ["orders-2"])
    assert yard.back_up("orders-3").summary.reason == "InstanceMissing"
