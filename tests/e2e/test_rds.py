"""Amazon RDS, played by a pod: snapshots proven in instances that are gone afterwards; nothing of anybody else goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.test_drills import CUSTOMERS
from support.awsrds import Account
from support.clusterapi import Object
from support.stack import ROOT
from support.stackfaults import kill
from support.stackplace import GROUP, NEVER, Place, ask_for_drill, policy

pytestmark = pytest.mark.e2e

PRODUCTION = ["payments"]
DRILL_PLACE = {
    "parameterGroup": "databosun-drills", "subnetGroup": "private", "securityGroupIds": ["sg-0123456789abcdef0"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cloud:
    """The account in its pod, as a person sees it from outside of the cluster."""

    place: Place
    account: Account

    def instances(self) -> list[str]:
        """Names, production's first."""
        found = self.account.client().describe_db_instances()["DBInstances"]
        return sorted((one["DBInstanceIdentifier"] for one in found), key=lambda name: name not in PRODUCTION)

    def snapshots(self) -> list[str]:
        """Names of all, AWS's own among them."""
        found = self.account.client().describe_db_snapshots()["DBSnapshots"]
        return sorted(one["DBSnapshotIdentifier"] for one in found)

    def trail(self) -> list[str]:
        """What was changed there, `Action name`, in order."""
        lines = self.place.stack.kubectl("logs", "-n", self.place.namespace, "deployment/cloud", "--tail=-1")
        return [line.split(maxsplit=2)[2] for line in lines.splitlines() if " 200 " in line]


@pytest.fixture(scope="module")
def cloud(place: Place) -> Cloud:
    """An account with one instance, whose endpoint is PostgreSQL 18; a Database and a policy of it."""
    stack, namespace = place.stack, place.namespace
    stack.kubectl("apply", "-n", namespace, "-f", str(ROOT / "hack/demo/rds.yaml"))
    door = {"type": "NodePort", "selector": {"app": "cloud"}, "ports": [{"port": 5000}]}
    place.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cloud-door"}, "spec": door})
    stack.kubectl("rollout", "status", "-n", namespace, "deployment/cloud", "--timeout=120s")
    port = stack.api.read("services", namespace, "cloud-door")["spec"]["ports"][0]["nodePort"]
    made = Cloud(place, Account(f"http://{urlsplit(stack.endpoint).hostname}:{port}"))
    rds = {
        "instance": "payments", "region": "eu-central-1", "engine": "PostgreSQL", "drill": DRILL_PLACE,
        "endpoint": f"http://cloud.{namespace}.svc:5000", "credentialsSecretRef": {"name": "aws"},
    }  # fmt: skip
    connection = {
        "host": stack.servers[18].host, "database": "shop", "credentialsSecretRef": {"name": "payments-drill"},
        "tls": {"mode": "Disable"},
    }  # fmt: skip
    spec = {"engine": "RDS", "rds": rds, "connection": connection}
    once = {"databaseRef": {"name": "payments"}, "schedule": {"cron": NEVER}, "retries": 0}
    place.apply(
        {"apiVersion": GROUP, "kind": "Database", "metadata": {"name": "payments"}, "spec": spec},
        policy("payments", method="Snapshot", deletionPolicy="Delete"),
        {"apiVersion": GROUP, "kind": "RestoreDrill", "metadata": {"name": "once"}, "spec": once},
    )
    place.ready("databases", "payments")
    return made


@pytest.fixture(scope="module")
def backups(cloud: Cloud) -> list[str]:
    """Two of them, one by the policy."""
    first = cloud.place.run_now("payments", "full/first")
    cloud.place.succeeded(first)
    cloud.place.back_up("payments-2", "payments", method="Snapshot", deletionPolicy="Delete")
    cloud.place.succeeded("payments-2")
    return [first, "payments-2"]


def test_a_backup_is_a_snapshot_of_that_run(cloud: Cloud, backups: list[str]) -> None:
    for name in backups:
        status = cloud.place.status("backups", name)
        assert (status["engine"], status["type"], status["method"]) == ("RDS", "Full", "Snapshot")
        (part,) = cloud.place.manifest(name)["elsewhere"]
        assert part["name"] == status["position"]["snapshot"]
        assert part["name"].rpartition(":")[2] in cloud.snapshots()


def test_a_drill_passes_in_an_instance_that_is_gone_afterwards(cloud: Cloud, backups: list[str]) -> None:
    ask_for_drill(cloud.place, "proof", "payments", checks=[CUSTOMERS])
    status = cloud.place.verdict("proof")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["proven"]) == (backups[-1], True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]
    assert 0 < status["rto"]["availableSeconds"] <= status["rto"]["readableSeconds"]
    drills = [one.split() for one in cloud.trail() if "databosun-drill-" in one]
    words = ("RestoreDBInstanceFromDBSnapshot", "DeleteDBInstance")
    made, gone = ([name for action, name, *_ in drills if action == word] for word in words)
    assert len(made) == 1
    assert made == gone
    assert cloud.instances() == PRODUCTION


def test_a_deleted_backup_takes_its_own_snapshot_and_no_other(cloud: Cloud, backups: list[str]) -> None:
    client, place = cloud.account.client(), cloud.place
    for name in ("before-the-migration", "databosun-0123456789ab-payments-9"):
        client.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier="payments")
    before = cloud.snapshots()
    (own,) = (part["name"].rpartition(":")[2] for part in place.manifest(backups[0])["elsewhere"])
    place.stack.kubectl("delete", "bbk", backups[0], "-n", place.namespace, "--timeout=120s")
    assert "DataDeleted" in place.events(backups[0])
    assert place.files(backups[0]) == []
    assert cloud.snapshots() == [name for name in before if name != own]
    assert [one for one in cloud.trail() if one.startswith("DeleteDBSnapshot")] == [f"DeleteDBSnapshot {own}"]


def test_what_a_killed_drill_leaves_is_removed_by_a_look_and_by_the_last_one(cloud: Cloud, backups: list[str]) -> None:
    place, client = cloud.place, cloud.account.client()
    with _held(place):
        for number in (1, 2):
            _kill_in_the_middle(place, number)
    _, *left = cloud.instances()
    assert len(left) == 2, "one of each drill"
    # One is as old as if its drill had been killed ten minutes ago: a look spares what is younger than five.
    one = client.describe_db_instances(DBInstanceIdentifier=left[0])["DBInstances"][0]
    began = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    client.add_tags_to_resource(ResourceName=one["DBInstanceArn"], Tags=[{"Key": "databosun.io/began", "Value": began}])
    place.stack.api.merge("databases", place.namespace, "payments", {"spec": {"tier": 2}})
    place.wait("a look has removed the older one", lambda: left[0] not in cloud.instances(), 60)
    assert cloud.instances() == [*PRODUCTION, left[1]]
    said = place.condition
    place.wait("the look says so", lambda: left[0] in said("databases", "payments", "Ready").get("message", ""), 60)
    place.stack.kubectl("delete", "bdb", "payments", "-n", place.namespace, "--timeout=60s")
    assert cloud.instances() == PRODUCTION, "the finalizer held the Database until it was gone"
    assert "InstanceLeft" not in place.events("payments")


@contextmanager
def _held(place: Place) -> Iterator[None]:
    """No check of `_kill_in_the_middle` comes to an end meanwhile."""
    with place.stack.servers[18].connect("shop") as session:
        session.execute("SELECT pg_advisory_lock(1, 74), pg_advisory_lock(2, 74)")
        yield


def _kill_in_the_middle(place: Place, number: int) -> None:
    """A drill whose agent is killed while it checks its instance, and that is not tried again."""
    name, sql = f"killed-{number}", place.stack.servers[18].sql
    query = f"SELECT 1 FROM pg_advisory_lock_shared({number}, 74)"
    check = {"name": "held", "type": "Query", "database": "shop", "query": query, "value": "1"}
    ask_for_drill(place, name, "payments", drillRef={"name": "once"}, checks=[check])
    waiting = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = {number} AND NOT granted"
    place.wait(f"{name} is at its check", lambda: bool(sql(waiting)), 120)
    kill(_pod(place, name), "databosun agent")
    status = place.verdict(name)
    assert status["phase"] == "Error", status


def _pod(place: Place, run: str) -> Object:
    mark = f"RestoreDrillRun/{place.namespace}/{run}"
    found: list[Any] = place.stack.api.list("pods", place.namespace, "databosun.io/task=drill")
    (pod,) = (one for one in found if one["metadata"]["annotations"]["databosun.io/for"] == mark)
    made: Object = pod
    return made
