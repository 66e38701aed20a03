"""Clusters of Aurora, and what else RDS runs than PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.rds.conftest import PLACE, Yard
from databosun.api.drill import Check, CheckType, Level, Verdict
from databosun.api.targets import CopyTarget
from support.awsrds import CLUSTER_GROUP, OTHER_REGION, Account, clustered, production
from support.mariasample import fill as fill_mariadb
from support.mariaserver import PASSWORD, MariaServer

pytestmark = pytest.mark.servers


@pytest.fixture
def aurora(served: Yard) -> Yard:
    """A cluster behind the same PostgreSQL."""
    clustered(served.account)
    place = PLACE.model_copy(update={"cluster_parameter_group": CLUSTER_GROUP})
    served.rds |= {"instance": None, "cluster": "orders-cluster", "drill": place}
    return served


def made(yard: Yard, region: str | None = None) -> list[dict[str, Any]]:
    client = yard.account.client(region) if region else yard.account.client()
    found: list[dict[str, Any]] = client.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    return found


def clusters(yard: Yard) -> list[str]:
    return [one["DBClusterIdentifier"] for one in yard.account.client().describe_db_clusters()["DBClusters"]]


def test_a_cluster_is_backed_up_drilled_and_let_go(aurora: Yard) -> None:
    ref = aurora.good()
    (snapshot,) = made(aurora)
    assert {one["Key"]: one["Value"] for one in snapshot["TagList"]}["databosun.io/run"] == "orders-1"
    drill = aurora.drill(ref, level=Level.DEEP).result.drill
    assert drill
    assert (drill.verdict, drill.proven) == (Verdict.PASSED, True), drill
    assert clusters(aurora) == ["orders-cluster"]
    assert aurora.instances() == ["orders", "orders-cluster-1"]
    (restored,) = aurora.account.asked("RestoreDBClusterFromSnapshot")
    assert restored["DBClusterParameterGroupName"] == CLUSTER_GROUP
    assert aurora.delete("orders-1")["orders-1"].deleted
    assert made(aurora) == []


def test_a_cluster_that_is_gone_is_proven_by_what_its_backup_knows(aurora: Yard) -> None:
    ref, client = aurora.good(), aurora.account.client()
    client.delete_db_instance(DBInstanceIdentifier="orders-cluster-1", SkipFinalSnapshot=True)
    client.delete_db_cluster(DBClusterIdentifier="orders-cluster", SkipFinalSnapshot=True)
    drill = aurora.drill(ref).result.drill
    assert drill
    assert (drill.verdict, drill.proven) == (Verdict.PASSED, True), drill
    (member,) = aurora.account.asked("CreateDBInstance")
    assert member["DBInstanceClass"] == "db.r6g.large", "the writer's, of the day of the backup"
    assert (clusters(aurora), aurora.instances()) == ([], ["orders"])


def test_a_look_at_a_cluster_finds_nothing_in_the_way(aurora: Yard) -> None:
    probe = aurora.look().result.probe
    assert probe
    assert probe.findings == []
    assert probe.managed
    assert probe.managed.retention_days == 7


def test_a_member_of_a_cluster_is_not_backed_up_alone(aurora: Yard) -> None:
    aurora.rds |= {"instance": "orders-cluster-1", "cluster": None}
    ran = aurora.back_up()
    assert ran.summary.reason == "EngineDiffers"
    assert "set spec.rds.cluster" in ran.summary.message


def test_a_clusters_snapshot_is_copied_too(aurora: Yard) -> None:
    aurora.rds["copy_to"] = CopyTarget(region=OTHER_REGION)
    aurora.good()
    assert len(made(aurora, OTHER_REGION)) == 1


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaServer]:
    """What the endpoints of MariaDB lead to."""
    server = MariaServer()
    server.init()
    server.start()
    fill_mariadb(server)
    yield server
    server.remove()


def test_mariadb_is_drilled_by_its_own_words(yard: Yard, maria: MariaServer) -> None:
    yard.account.reset()
    yard.account.port = maria.port
    production(yard.account, engine="mariadb", version="10.11.6")
    yard.rds["engine"] = "MariaDB"
    yard.place.secrets["database"] = {"username": "backup", "password": PASSWORD}
    checks = [
        Check(name="tables", type=CheckType.QUERY, value="shop",
              query="SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'shop'"),
    ]  # fmt: skip
    for level in (Level.RESTORE, Level.APPLICATION):
        ref = yard.good(f"orders-{level}".lower())
        drill = yard.drill(ref, level=level, checks=checks, id=f"drill-{level}".lower()).result.drill
        assert drill
        assert (drill.verdict, drill.proven) == (Verdict.PASSED, True), drill
    assert yard.instances() == ["orders"]


def test_an_event_scheduler_that_runs_is_no_place_for_a_drill(yard: Yard, account: Account) -> None:
    account.reset()
    account.port = 1
    production(account, engine="mysql", version="8.0.35")
    yard.rds["engine"] = "MySQL"
    one = {"ParameterName": "event_scheduler", "ParameterValue": "ON", "ApplyMethod": "pending-reboot"}
    account.client().modify_db_parameter_group(DBParameterGroupName=PLACE.parameter_group, Parameters=[one])
    probe = yard.look().result.probe
    assert probe
    (found,) = probe.findings
    assert "event_scheduler = ON" in found.message
