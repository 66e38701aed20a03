"""A backup of RDS: one snapshot of that run, waited for, noted in the store, and never made twice."""

from __future__ import annotations

import json

import pytest

from agent.rds.conftest import Yard
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.storage.manifest import Manifest
from support.agentrun import CLUSTER, NAMESPACE, UID, backup_task
from support.awsrds import OTHER_REGION, REGION, Account, Refusal

pytestmark = pytest.mark.servers


def manifest(yard: Yard) -> Manifest:
    (path,) = yard.place.paths.volume.rglob("manifest.json")
    return Manifest.model_validate_json(path.read_bytes())


def test_a_backup_is_a_tagged_snapshot_and_a_note_of_it(yard: Yard) -> None:
    ran = yard.back_up()
    (snapshot,) = yard.snapshots()
    assert snapshot["SnapshotType"] == "manual"
    assert {one["Key"]: one["Value"] for one in snapshot["TagList"]} == {
        "databosun.io/cluster": CLUSTER,
        "databosun.io/namespace": NAMESPACE,
        "databosun.io/database": "orders",
        "databosun.io/database-uid": UID,
        "databosun.io/run": "orders-1",
    }
    done = ran.result.backup
    assert done
    assert (done.type, done.method, done.engine_version) == (BackupType.FULL, Method.SNAPSHOT, "15.4")
    assert done.logical_bytes == 20 * 1024**3
    assert done.position
    assert done.position.snapshot == snapshot["DBSnapshotArn"]
    assert done.snapshot_time == snapshot["SnapshotCreateTime"]
    found = manifest(yard)
    assert [(one.kind, one.name, one.region) for one in found.elsewhere] == [
        ("rds:snapshot", snapshot["DBSnapshotArn"], REGION)
    ]
    (note,) = yard.place.paths.volume.rglob("snapshot.json*")
    assert json.loads(note.read_text())["snapshot"]["EngineVersion"] == "15.4"


def test_states_are_waited_for(yard: Yard) -> None:
    yard.account.states["snapshot"] = ["creating", "creating", "creating"]
    ran = yard.back_up()
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert yard.account.states["snapshot"] == []
    assert len(yard.account.asked("CreateDBSnapshot")) == 1


def test_an_agent_that_was_killed_while_it_waited_is_gone_on_from(yard: Yard) -> None:
    yard.account.states["snapshot"] = ["creating"] * 1_000_000
    first = yard.back_up(clock=yard.late_once("CreateDBSnapshot"))
    assert first.summary.outcome is Outcome.FAILED
    assert first.summary.reason == "DeadlineExceeded"
    yard.account.states.clear()
    assert yard.back_up(attempt=2).summary.outcome is Outcome.SUCCEEDED
    assert len(yard.account.asked("CreateDBSnapshot")) == 1
    assert len(yard.snapshots()) == 1


def test_a_lost_answer_makes_no_second_snapshot(yard: Yard) -> None:
    yard.account.refusals.append(Refusal("CreateDBSnapshot", "ServiceUnavailable", status=503, after=True))
    assert yard.back_up().summary.outcome is Outcome.SUCCEEDED
    assert len(yard.snapshots()) == 1


def test_a_failed_snapshot_counts_for_nothing_and_the_next_attempt_takes_another(yard: Yard) -> None:
    yard.account.states["snapshot"] = ["failed"]
    first = yard.back_up()
    assert (first.summary.outcome, first.summary.reason, first.summary.retryable) == (
        Outcome.FAILED, "SnapshotFailed", True,
    )  # fmt: skip
    assert not list(yard.place.paths.volume.rglob("manifest.json"))
    yard.account.states["snapshot"] = ["failed"]
    assert yard.back_up(attempt=2).summary.outcome is Outcome.SUCCEEDED
    assert len(yard.account.asked("DeleteDBSnapshot")) == 1
    assert len(yard.account.asked("CreateDBSnapshot")) == 2


def test_a_snapshot_of_that_name_that_is_not_ours_is_not_touched(yard: Yard) -> None:
    yard.good()
    (snapshot,) = yard.snapshots()
    client = yard.account.client()
    client.remove_tags_from_resource(ResourceName=snapshot["DBSnapshotArn"], TagKeys=["databosun.io/run"])
    for path in yard.place.paths.volume.rglob("manifest.json"):
        path.unlink()
    ran = yard.back_up(attempt=2)
    assert (ran.summary.reason, ran.summary.retryable) == ("ForeignSnapshot", False)
    assert len(yard.snapshots()) == 1
    assert not yard.account.asked("DeleteDBSnapshot")


def test_a_copy_stands_in_another_region(copying: Yard) -> None:
    copying.good()
    (copy,) = copying.snapshots(OTHER_REGION)
    assert [one.region for one in manifest(copying).elsewhere] == [REGION, OTHER_REGION]
    assert manifest(copying).elsewhere[1].name == copy["DBSnapshotArn"]
    assert {one["Key"]: one["Value"] for one in copy["TagList"]}["databosun.io/run"] == "orders-1"


def test_an_incremental_is_a_snapshot_and_says_why(yard: Yard) -> None:
    ran = yard.run(backup_task("orders-1", type=BackupType.INCREMENTAL, method=Method.AUTO))
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert any(note.startswith("ManagedByCloud: ") for note in ran.result.backup.notes)


@pytest.mark.parametrize(
    ("code", "reason", "outcome", "retryable", "named"),
    [
        ("AccessDenied", "CloudPermissionDenied", Outcome.FAILED, False, "grant rds:CreateDBSnapshot to Secret aws"),
        ("SnapshotQuotaExceeded", "CloudQuota", Outcome.FAILED, False, "quota"),
        ("InvalidClientTokenId", "CloudCredentialsInvalid", Outcome.FAILED, False, "correct Secret aws"),
        ("InternalFailure", "CloudFailed", Outcome.FAILED, True, "InternalFailure"),
    ],
)
def test_what_aws_refuses_says_who_must_act(
    yard: Yard, code: str, reason: str, outcome: Outcome, retryable: bool, named: str
) -> None:
    yard.account.refusals.append(Refusal("CreateDBSnapshot", code, times=99))
    ran = yard.back_up()
    assert (ran.summary.outcome, ran.summary.reason, ran.summary.retryable) == (outcome, reason, retryable)
    assert named in ran.summary.message
    assert yard.snapshots() == []


@pytest.mark.parametrize("code", ["InvalidDBInstanceState", "Throttling"])
def test_a_busy_instance_and_a_busy_api_are_waited_for(yard: Yard, code: str) -> None:
    yard.account.refusals.append(Refusal("CreateDBSnapshot", code, times=9))
    assert yard.back_up().summary.outcome is Outcome.SUCCEEDED
    assert yard.account.refusals[0].times == 0


def test_throttling_while_it_waits_is_borne(yard: Yard) -> None:
    yard.account.states["snapshot"] = ["creating", "creating"]
    yard.account.refusals.append(Refusal("DescribeDBSnapshots", "Throttling", times=0))

    def throttle(asked: dict[str, str]) -> None:
        if asked["Action"] == "CreateDBSnapshot":
            yard.account.refusals[0].times = 9  # more than the client itself tries again

    yard.account.hook = throttle
    assert yard.back_up().summary.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "reason", "named"),
    [
        ({"instance": "elsewhere"}, "InstanceMissing", "no instance elsewhere in eu-central-1"),
        ({"engine": "MariaDB"}, "EngineDiffers", "runs postgres"),
    ],
)
def test_a_wrong_spec_is_refused_before_anything_is_made(
    yard: Yard, change: dict[str, str], reason: str, named: str
) -> None:
    yard.rds |= change
    ran = yard.back_up()
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, reason)
    assert named in ran.summary.message
    assert yard.snapshots() == []


def test_a_method_that_rds_has_not_is_refused(yard: Yard) -> None:
    ran = yard.run(backup_task("orders-1", method=Method.PHYSICAL))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "UnsupportedMethod")


def test_two_installations_never_meet(account: Account, yard: Yard) -> None:
    yard.good()
    yard.place.storage["cluster_id"] = "cluster-two"
    for path in list(yard.place.paths.volume.rglob("*")):
        if path.is_file():
            path.unlink()
    yard.good()
    assert len({one["DBSnapshotIdentifier"] for one in yard.snapshots()}) == 2
