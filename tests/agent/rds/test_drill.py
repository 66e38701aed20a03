"""A drill of RDS: a temporary instance of the snapshot, read by SQL, measured, and gone whatever happens."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.rds.conftest import PLACE, Yard
from databosun.api.drill import Check, CheckOutcome, CheckType, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.restoretasks import DrillTask, RestoreTask
from databosun.api.result import DrillResult, Outcome
from databosun.api.v1alpha1.database import EngineName
from support.agentrun import Ran
from support.awsrds import DRILL_SG, GROUP, PROD_SG, SUBNETS, Refusal, set_parameter
from support.recoverypod import RecoveryPod
from support.waiting import eventually

pytestmark = pytest.mark.servers
PRODUCTION = ["orders"]


def found(ran: Ran) -> DrillResult:
    assert ran.result.drill, ran.output[-4000:]
    return ran.result.drill


def test_a_drill_restores_reads_everything_measures_and_leaves_nothing(served: Yard) -> None:
    ref = served.good()
    checks = [
        Check(name="customers", type=CheckType.ROW_COUNT, database="shop", table="customers", min=2000, max=2000),
        Check(name="canary", type=CheckType.CANARY, database="shop", query="SELECT name FROM customers WHERE id = 7",
              value="name 7"),
    ]  # fmt: skip
    served.account.states["instance"] = ["creating", "backing-up", "modifying"]
    ran = served.drill(ref, level=Level.APPLICATION, checks=checks, rto_seconds=600, rpo_seconds=3600,
                       negative_control=True)  # fmt: skip
    drill = found(ran)
    assert (drill.verdict, drill.proven, drill.level_reached) == (Verdict.PASSED, True, Level.APPLICATION), drill
    assert {one.outcome for one in drill.checks} == {CheckOutcome.PASSED}
    assert [one.name for one in drill.checks] == ["server", "rows", "customers", "canary", "negative-control"]
    assert drill.checks[0].observed
    assert drill.checks[0].observed.startswith("15.")
    rto = drill.rto
    assert rto
    assert rto.available
    assert rto.readable
    assert 0 < rto.available <= rto.seconds <= rto.readable
    assert drill.rpo
    assert drill.rpo.met
    assert served.account.states["instance"] == []
    assert served.instances() == PRODUCTION
    (made,) = served.account.asked("RestoreDBInstanceFromDBSnapshot")
    assert made["DBParameterGroupName"] == GROUP
    assert made["DBSubnetGroupName"] == SUBNETS
    assert made["VpcSecurityGroupIds.VpcSecurityGroupId.1"] == DRILL_SG
    assert (made["MultiAZ"], made["PubliclyAccessible"]) == ("false", "false")
    (gone,) = served.account.asked("DeleteDBInstance")
    assert gone["DBInstanceIdentifier"] == made["DBInstanceIdentifier"]
    assert (gone["SkipFinalSnapshot"], gone["DeleteAutomatedBackups"]) == ("true", "true")
    (evidence,) = served.place.paths.volume.rglob("evidence.json")
    said = json.loads(evidence.read_bytes())
    assert said["verdict"] == "Passed"
    assert said["rto"]["readable"] == rto.readable
    assert "temporary instance" in said["measuredOn"]["path"]


def test_a_check_that_fails_fails_the_drill_and_the_instance_goes(served: Yard) -> None:
    ref = served.good()
    check = Check(name="customers", type=CheckType.ROW_COUNT, database="shop", table="customers", min=999_999)
    drill = found(served.drill(ref, level=Level.APPLICATION, checks=[check]))
    assert (drill.verdict, drill.reason, drill.proven) == (Verdict.FAILED, "RowCountWrong", False)
    assert served.instances() == PRODUCTION


@pytest.mark.parametrize("level", [Level.ARTIFACT, Level.RESTORE])
def test_a_snapshot_that_is_gone_fails_the_drill(served: Yard, level: Level) -> None:
    ref = served.good()
    (snapshot,) = served.snapshots()
    served.account.client().delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    drill = found(served.drill(ref, level=level))
    assert (drill.verdict, drill.reason) == (Verdict.FAILED, "ArtefactMissing")
    assert served.instances() == PRODUCTION


def test_another_snapshot_of_the_same_name_fails_the_drill(served: Yard) -> None:
    ref = served.good()
    (snapshot,) = served.snapshots()
    client, name = served.account.client(), snapshot["DBSnapshotIdentifier"]
    client.delete_db_snapshot(DBSnapshotIdentifier=name)
    eventually("a second passes", lambda: datetime.now(UTC) - snapshot["SnapshotCreateTime"] > timedelta(seconds=1))
    client.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier="orders", Tags=snapshot["TagList"])
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (Verdict.FAILED, "ForeignSnapshot")
    assert not served.account.asked("RestoreDBInstanceFromDBSnapshot")


def test_an_artifact_drill_makes_no_instance(served: Yard) -> None:
    drill = found(served.drill(served.good(), level=Level.ARTIFACT))
    assert (drill.verdict, drill.proven) == (Verdict.PASSED, False)
    assert not served.account.asked("RestoreDBInstanceFromDBSnapshot")


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("failed", Verdict.FAILED),
        ("incompatible-restore", Verdict.FAILED),
        ("storage-full", Verdict.REFUSED),
        ("incompatible-network", Verdict.REFUSED),
        ("incompatible-parameters", Verdict.REFUSED),
    ],
)
def test_an_instance_that_never_becomes_available_goes_and_says_why(served: Yard, state: str, verdict: Verdict) -> None:
    ref = served.good()
    served.account.states["instance"] = ["creating", state]
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (verdict, "InstanceFailed")
    assert state in drill.message
    assert served.instances() == PRODUCTION


@pytest.mark.parametrize(
    ("code", "verdict", "reason"),
    [
        ("AccessDenied", Verdict.REFUSED, "CloudPermissionDenied"),
        ("InstanceQuotaExceeded", Verdict.REFUSED, "CloudQuota"),
        ("InsufficientDBInstanceCapacity", Verdict.REFUSED, "CloudQuota"),
        ("InternalFailure", Verdict.ERROR, "CloudFailed"),
    ],
)
def test_a_restore_that_aws_refuses_says_who_must_act(served: Yard, code: str, verdict: Verdict, reason: str) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("RestoreDBInstanceFromDBSnapshot", code, times=99))
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (verdict, reason)
    assert served.instances() == PRODUCTION


def test_a_place_that_is_not_named_or_not_safe_is_refused_and_nothing_is_made(served: Yard) -> None:
    ref = served.good()
    served.rds["drill"] = None
    assert found(served.drill(ref)).reason == "DrillPlaceMissing"
    served.rds["drill"] = PLACE.model_copy(update={"security_group_ids": [DRILL_SG, PROD_SG]})
    assert found(served.drill(ref)).reason == "DrillPlaceUnsafe"
    served.rds["drill"] = PLACE
    set_parameter(served.account, "shared_preload_libraries", "pg_cron")
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "DrillPlaceUnsafe")
    assert not served.account.asked("RestoreDBInstanceFromDBSnapshot")


def test_a_login_that_the_copy_does_not_know_is_refused_and_the_instance_goes(served: Yard) -> None:
    ref = served.good()
    served.place.secrets["database"] = {"username": "backup", "password": "not the one"}
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "WrongPassword")
    assert served.instances() == PRODUCTION


def test_the_deadline_ends_a_drill_and_its_instance(served: Yard) -> None:
    ref = served.good()
    served.account.states["instance"] = ["creating"] * 1_000_000
    ran = served.drill(ref, clock=served.late_once("RestoreDBInstanceFromDBSnapshot"))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "DeadlineExceeded")
    assert len(served.account.asked("RestoreDBInstanceFromDBSnapshot")) == 1
    served.account.states.clear()
    assert served.instances() == PRODUCTION


def test_a_lost_answer_leaves_no_instance(served: Yard) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("RestoreDBInstanceFromDBSnapshot", "InternalFailure", times=99, after=True))
    drill = found(served.drill(ref))
    assert drill.verdict is Verdict.ERROR
    assert served.instances() == PRODUCTION


MOMENTS = ["RestoreDBInstanceFromDBSnapshot", "DescribeDBInstances", "DeleteDBInstance"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_agent_killed_at_any_moment_leaves_what_the_next_job_removes(
    served: Yard, moment: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ref = served.good()
    pod = RecoveryPod(
        tmp_path_factory.mktemp("killed"), None, storage=dict(served.place.storage), secrets=dict(served.place.secrets),
        volume=served.place.paths.volume, engine=EngineName.RDS,
    )  # fmt: skip
    running = Future[subprocess.Popen[str]]()

    def kill(asked: dict[str, str]) -> None:
        made = bool(served.account.asked("RestoreDBInstanceFromDBSnapshot"))
        if asked["Action"] == moment and made:
            running.result().kill()

    served.account.hook = kill
    running.set_result(pod.start(DrillTask(id="drill-1", backup=ref, level=Level.RESTORE), database=served.target()))
    process = running.result()
    process.communicate(timeout=580)
    assert process.returncode == -9
    served.account.hook = None
    left = [name for name in served.instances() if name not in PRODUCTION]
    assert len(left) == (1 if moment != "DeleteDBInstance" else len(left))
    ran = served.look(active=("drill-1",))
    assert [name for name in served.instances() if name not in PRODUCTION] == left, "of a run that goes on: spared"
    ran = served.look()
    assert served.instances() == PRODUCTION
    if left:
        assert ran.result.probe
        assert ran.result.probe.managed
        assert ran.result.probe.managed.removed == left


def test_the_next_attempt_removes_what_the_one_before_left(served: Yard) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("DeleteDBInstance", "InternalFailure", times=99))
    first = served.drill(ref)
    assert "InstanceLeft" in first.output
    served.account.refusals.clear()
    (left,) = [name for name in served.instances() if name not in PRODUCTION]
    for path in served.place.paths.volume.rglob("evidence.json"):
        path.unlink()
    assert found(served.drill(ref, attempt=2)).verdict is Verdict.PASSED
    assert served.instances() == PRODUCTION
    assert left in [one["DBInstanceIdentifier"] for one in served.account.asked("DeleteDBInstance")]


def test_an_instance_whose_time_is_over_goes_though_its_run_is_active(served: Yard) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("DeleteDBInstance", "InternalFailure", times=99))
    served.drill(ref)
    served.account.refusals.clear()
    (left,) = [name for name in served.instances() if name not in PRODUCTION]
    client = served.account.client()
    arn = client.describe_db_instances(DBInstanceIdentifier=left)["DBInstances"][0]["DBInstanceArn"]
    served.look(active=("drill-1",))
    assert left in served.instances()
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    client.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "databosun.io/expires", "Value": past}])
    served.look(active=("drill-1",))
    assert served.instances() == PRODUCTION


@pytest.mark.parametrize("spoilt", ["gone", "another engine"])
def test_what_is_left_goes_though_its_database_is_not_there(served: Yard, spoilt: str) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("DeleteDBInstance", "InternalFailure", times=99))
    served.drill(ref)
    served.account.refusals.clear()
    (left,) = [name for name in served.instances() if name not in PRODUCTION]
    if spoilt == "gone":
        end_production(served)
    else:
        served.rds["engine"] = "MySQL"
    probe = served.look().result.probe
    assert probe
    assert probe.managed
    assert probe.managed.removed == [left]
    assert left not in served.instances()


@pytest.mark.parametrize("spoilt", ["prefix", "owner", "age"])
def test_only_what_has_prefix_tags_and_age_is_ever_removed(served: Yard, spoilt: str) -> None:
    ref = served.good()
    served.account.refusals.append(Refusal("DeleteDBInstance", "InternalFailure", times=99))
    served.drill(ref)
    served.account.refusals.clear()
    (left,) = [name for name in served.instances() if name not in PRODUCTION]
    client = served.account.client()
    one = client.describe_db_instances(DBInstanceIdentifier=left)["DBInstances"][0]
    if spoilt == "prefix":
        client.modify_db_instance(DBInstanceIdentifier=left, NewDBInstanceIdentifier="reporting", ApplyImmediately=True)
    elif spoilt == "owner":
        tags = [{"Key": "databosun.io/cluster", "Value": "another"}]
        client.add_tags_to_resource(ResourceName=one["DBInstanceArn"], Tags=tags)
    else:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        tags = [{"Key": "databosun.io/began", "Value": later}]
        client.add_tags_to_resource(ResourceName=one["DBInstanceArn"], Tags=tags)
    before = served.instances()
    served.look()
    assert served.instances() == before


@pytest.mark.parametrize("kind", [PointKind.LATEST, PointKind.TIME])
def test_a_point_in_time_comes_of_awss_own_backups_and_proves_no_snapshot(served: Yard, kind: PointKind) -> None:
    ref = served.good()
    at = datetime.now(UTC).replace(microsecond=0) if kind is PointKind.TIME else None
    drill = found(served.drill(ref, until=RecoveryPoint(kind=kind, time=at)))
    assert (drill.verdict, drill.proven) == (Verdict.PASSED, False), drill
    assert any(note.startswith("ManagedByCloud: ") for note in drill.notes)
    (made,) = served.account.asked("RestoreDBInstanceToPointInTime")
    assert made["SourceDBInstanceIdentifier"] == "orders"
    assert not served.account.asked("RestoreDBInstanceFromDBSnapshot")
    assert served.instances() == PRODUCTION


def end_production(yard: Yard) -> None:
    yard.account.client().delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)


def test_a_backup_is_proven_after_its_instance_is_gone(served: Yard) -> None:
    ref = served.good()
    end_production(served)
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.proven) == (Verdict.PASSED, True), drill
    assert any(note.startswith("InstanceMissing: orders is gone") for note in drill.notes)
    (made,) = served.account.asked("RestoreDBInstanceFromDBSnapshot")
    assert made["DBInstanceClass"] == "db.t4g.medium", "production's, of the day of the backup"
    assert served.instances() == []


def test_what_production_was_in_is_no_place_for_a_drill_though_it_is_gone(served: Yard) -> None:
    ref = served.good()
    end_production(served)
    served.rds["drill"] = PLACE.model_copy(update={"security_group_ids": [PROD_SG]})
    drill = found(served.drill(ref))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "DrillPlaceUnsafe")
    assert not served.account.asked("RestoreDBInstanceFromDBSnapshot")


def test_a_point_in_time_of_an_instance_that_is_gone_is_refused(served: Yard) -> None:
    ref = served.good()
    end_production(served)
    drill = found(served.drill(ref, until=RecoveryPoint(kind=PointKind.LATEST)))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "InstanceMissing")
    assert served.instances() == []


def test_a_position_of_a_log_is_refused(served: Yard) -> None:
    drill = found(served.drill(served.good(), until=RecoveryPoint(kind=PointKind.LSN, lsn="0/1")))
    assert (drill.verdict, drill.reason) == (Verdict.REFUSED, "PointNotCovered")


def test_a_restore_into_a_volume_is_refused(served: Yard, tmp_path: Path) -> None:
    ref = served.good()
    (served.place.root / "restore").mkdir()
    ran = served.run(RestoreTask(id="restore-1", candidates=[ref]))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "VolumeUnsupported")
