"""What the operator does otherwise where a cloud keeps the backups: no more than it must know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.result import Finding, ManagedState, ProbeResult
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupType
from databosun.api.v1alpha1.database import DatabaseSpec, EngineName, TLSMode
from databosun.api.v1alpha1.recovery import ManagedRecovery, Recovery
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec
from databosun.controllers.context import Images
from databosun.controllers.history import History, without
from databosun.domain.attempt import Ending
from databosun.domain.drillpolicy import effective_drill
from databosun.domain.errors import UserFault
from databosun.domain.presets import effective
from databosun.domain.protection import Success, judge_probe, managed_of
from databosun.domain.recovery import with_managed
from databosun.domain.requests import Named, database_target

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RDS = {"instance": "orders", "region": "eu-central-1", "engine": "PostgreSQL"}


def policy(**fields: Any) -> BackupPolicySpec:
    return BackupPolicySpec.model_validate({"databaseRef": {"name": "orders"}, "storageRef": {"name": "s3"}, **fields})


def database(**fields: Any) -> DatabaseSpec:
    return DatabaseSpec.model_validate({"engine": "RDS", "rds": RDS, **fields})


def test_incrementals_beside_fulls_start_no_run_and_the_policy_says_so() -> None:
    found = effective(policy(preset="Critical"), EngineName.RDS)
    assert [row.type for row in found.schedules] == [BackupType.FULL]
    assert found.continuous is None
    assert [note.partition(":")[0] for note in found.notes] == ["ManagedByCloud", "ManagedByCloud"]


def test_incrementals_alone_are_taken_all_the_same() -> None:
    rows = [{"name": "hourly", "type": "Incremental", "cron": "0 * * * *"}]
    found = effective(policy(schedules=rows), EngineName.RDS)
    assert [row.name for row in found.schedules] == ["hourly"]
    assert found.notes == ()


def test_other_engines_keep_their_incrementals() -> None:
    found = effective(policy(preset="Critical"), EngineName.POSTGRESQL)
    assert len(found.schedules) == 2


def test_the_clouds_window_is_the_recovery_point() -> None:
    backups = Recovery(earliest=NOW - 30 * DAY, latest=NOW - 6 * HOUR, backups=3)
    cloud = ManagedRecovery(earliest=NOW - 7 * DAY, latest=NOW - timedelta(minutes=5), retention_days=7)
    found = with_managed(backups, cloud, NOW)
    assert found
    assert (found.earliest, found.latest, found.backups) == (backups.earliest, cloud.latest, 3)
    assert (found.continuous, found.continuous_from) == (True, cloud.earliest)
    assert with_managed(None, cloud, NOW) is not None


def test_a_clouds_instant_in_the_future_is_now() -> None:
    cloud = ManagedRecovery(earliest=NOW - DAY, latest=NOW + HOUR)
    found = with_managed(None, cloud, NOW)
    assert found
    assert found.latest == NOW


@pytest.mark.parametrize("cloud", [None, ManagedRecovery(latest=NOW), ManagedRecovery(earliest=NOW - DAY)])
def test_a_window_that_is_not_known_whole_is_not_claimed(cloud: ManagedRecovery | None) -> None:
    backups = Recovery(earliest=NOW - DAY, latest=NOW - HOUR, backups=1)
    assert with_managed(backups, cloud, NOW) == backups


def test_a_look_that_could_not_be_taken_leaves_what_was_known() -> None:
    known = ManagedRecovery(latest=NOW)
    assert managed_of(ProbeResult(reachable=False), known) == known
    assert managed_of(ProbeResult(reachable=True), known) is None
    state = ManagedState(latest=NOW.replace(microsecond=7), retention_days=7, missing=["orders-1"], removed=["x"])
    found = managed_of(ProbeResult(reachable=True, managed=state), None)
    assert found == ManagedRecovery(latest=NOW, retention_days=7, missing=["orders-1"])


def test_a_look_that_found_no_instance_promises_nothing_and_says_why() -> None:
    known = ManagedRecovery(earliest=NOW - DAY, latest=NOW)
    finding = Finding(reason="InstanceMissing", message="there is no instance orders", blocks=["Snapshot"])
    probe = ProbeResult(reachable=False, findings=[finding], managed=ManagedState(missing=["orders-1"]))
    assert managed_of(probe, known) == ManagedRecovery(missing=["orders-1"])
    ending = Ending("Succeeded", "", succeeded=True)
    said = {one.type: (one.status, one.reason, one.message) for one in judge_probe(probe, ending, ["Snapshot"])}
    why = ("InstanceMissing", "there is no instance orders")
    assert said["Reachable"] == said["Ready"] == (False, *why)
    assert said["Stalled"] == (True, *why)


def test_backups_whose_data_are_gone_count_for_nothing() -> None:
    successes = (Success("a", NOW - DAY, 1), Success("b", NOW - HOUR, 1))
    history = History((), successes, {})
    assert without(history, {"b"}).successes == successes[:1]
    assert without(history, ()) is history


def test_any_runner_image_will_do() -> None:
    images = Images({"PostgreSQL": {"18": "pg:18"}})
    assert images.runner("RDS", "15.4") == "pg:18"
    assert Images({}).runner("RDS", "15.4") is None


def test_a_database_without_connection_has_the_clouds_login_alone() -> None:
    spec = database(rds={**RDS, "credentialsSecretRef": {"name": "aws"}, "copyTo": {"region": "eu-west-1"}})
    target, secrets = database_target(Named("shop", "orders", "u"), spec, 5432, "15.4")
    assert target.hosts == []
    assert target.rds
    assert (target.rds.instance, target.rds.has_credentials, target.rds.secret) == ("orders", True, "aws")
    assert target.rds.copy_to
    assert target.rds.copy_to.region == "eu-west-1"
    assert [(use.use, use.secret) for use in secrets] == [("cloud", "aws")]


def test_a_login_for_the_copy_comes_beside_it() -> None:
    connection = {"host": "orders.example.com", "credentialsSecretRef": {"name": "login"}, "tls": {"mode": "Disable"}}
    spec = database(connection=connection, rds={**RDS, "credentialsSecretRef": {"name": "aws"}})
    target, secrets = database_target(Named("shop", "orders", "u"), spec, 5432, None)
    assert (target.hosts, target.tls) == (["orders.example.com"], TLSMode.DISABLE)
    assert [use.use for use in secrets] == ["database", "cloud"]


def test_workload_identity_mounts_nothing() -> None:
    target, secrets = database_target(Named("shop", "orders", "u"), database(), 5432, None)
    assert secrets == []
    assert target.rds
    assert not target.rds.has_credentials


@pytest.mark.parametrize(
    ("rds", "field"),
    [
        ({**RDS, "copyTo": {"region": "eu-central-1"}}, "spec.rds.copyTo.region"),
        (
            {
                "cluster": "orders",
                "region": "r",
                "engine": "MySQL",
                "drill": {"parameterGroup": "p", "subnetGroup": "s", "securityGroupIds": ["g"]},
            },
            "spec.rds.drill.clusterParameterGroup",
        ),
    ],
)
def test_what_does_not_go_together_names_its_field(rds: dict[str, Any], field: str) -> None:
    with pytest.raises(UserFault) as refused:
        database_target(Named("shop", "orders", "u"), database(rds=rds), 5432, None)
    assert (refused.value.reason, refused.value.message.partition(" ")[0]) == ("InvalidSpec", field)


def test_other_engines_still_need_a_connection() -> None:
    spec = DatabaseSpec.model_construct(engine=EngineName.REDIS, connection=None, rds=None)
    with pytest.raises(UserFault, match=r"spec\.connection is missing"):
        database_target(Named("shop", "cache", "u"), spec, 6379, None)


def test_the_ceiling_shortens_attempts_that_need_an_instance_alone() -> None:
    spec = RestoreDrillSpec.model_validate(
        {"databaseRef": {"name": "orders"}, "maxInstanceHours": 2, "deadline": "6h", "startDeadline": "3h"}
    )
    found = effective_drill(spec, 3)
    assert found.limits_of(EngineName.POSTGRESQL) == found.limits
    limited = found.limits_of(EngineName.RDS)
    assert (limited.deadline, limited.start_deadline) == (2 * HOUR, 2 * HOUR)
    assert (
        effective_drill(spec.model_copy(update={"max_instance_hours": 9}), 3).limits_of(EngineName.RDS).deadline
        == 6 * HOUR
    )
