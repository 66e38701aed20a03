"""Databases whose backups a cloud keeps, on an API server: who is given the login, and what is made of what it says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import BackupTask, DeleteTask, ProbeTask
from databosun.api.request import Request
from databosun.api.restoretasks import DrillTask
from databosun.api.result import ManagedState, Outcome, ProbeResult, Result
from databosun.domain.plan import FINALIZER_INSTANCES
from databosun.kube.resources import Object
from support.objects import conditions, database, drill_run, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, all_done, ready, runs_done
from support.operatorseeds import soon

PLACE = {"parameterGroup": "drills", "subnetGroup": "private", "securityGroupIds": ["sg-1"]}
RDS = {"instance": "orders", "region": "eu-central-1", "engine": "PostgreSQL", "credentialsSecretRef": {"name": "aws"}}


def orders(**spec: Any) -> Object:
    return database(engine="RDS", rds=RDS, **spec)


class Cloud:
    """What a look finds; and every request."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.missing: list[str] = []
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Result | None:
        self.asked.append(request)
        if not isinstance(request.job, ProbeTask):
            return None
        now = self.rig.clock.now()
        state = ManagedState(
            earliest=now - timedelta(days=7),
            latest=now - timedelta(minutes=5),
            retention_days=7,
            missing=self.missing,
        )
        probe = ProbeResult(
            reachable=True, host="orders", engine_version="15.4", system_identifier="db-ABC", managed=state
        )
        return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", probe=probe)

    def of(self, kind: type) -> list[Request]:
        """The requests of one task."""
        return [one for one in self.asked if isinstance(one.job, kind)]


async def test_the_cloud_says_how_far_back_and_a_snapshot_that_is_gone_protects_nothing(rig: Rig) -> None:
    cloud = Cloud(rig)
    rig.agents.script = cloud
    drive = Driver(rig)
    await rig.create(storage(), orders(), policy(cron=soon(rig)))
    await drive.until(all_done(rig, "Succeeded"))
    status = (await rig.get("Database", "orders"))["status"]
    assert status["managed"]["retentionDays"] == 7
    assert status["recovery"]["continuous"]
    assert status["recovery"]["continuousFrom"] == status["managed"]["earliest"]
    assert conditions({"status": status})["Protected"] == ("True", "RecentBackup")
    (taken,) = await rig.objects("Backup")
    (request,) = cloud.of(BackupTask)
    assert [use.use for use in request.secrets] == ["database", "cloud"]
    cloud.missing = [taken["metadata"]["name"]]

    async def noticed() -> bool:
        seen = conditions(await rig.get("Database", "orders"))
        return seen["Protected"] == ("False", "NoBackup")

    await drive.until(noticed, limit=3 * HOUR)
    last = cloud.of(ProbeTask)[-1].job
    assert isinstance(last, ProbeTask)
    assert last.managed
    assert (last.managed.backups, last.managed.active) == (cloud.missing, [])


async def test_a_drill_and_a_deletion_are_given_the_login(rig: Rig) -> None:
    cloud = Cloud(rig)
    rig.agents.script = cloud
    drive = Driver(rig)
    keep = {"keepLast": 1, "grace": "0s"}
    await rig.create(storage(), orders(), policy(cron="*/30 * * * *", retention=keep))
    await drive.until(lambda: ready(rig))

    async def one_went() -> bool:
        return bool(rig.agents.bucket.deleted)

    await drive.until(one_went, limit=4 * HOUR)
    deletion = cloud.of(DeleteTask)[0]
    assert deletion.database
    assert deletion.database.rds
    assert "cloud" in [use.use for use in deletion.secrets]
    await rig.create(drill_run("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    (request,) = cloud.of(DrillTask)
    assert [use.use for use in request.secrets] == ["database", "cloud"]
    assert request.database
    assert request.database.rds


@pytest.mark.parametrize("works", [True, False])
async def test_a_database_goes_only_after_what_its_drills_have_left_and_always_goes(rig: Rig, works: bool) -> None:
    cloud = Cloud(rig)
    rig.agents.script = cloud
    drive = Driver(rig)
    await rig.create(storage(), database(engine="RDS", rds={**RDS, "drill": PLACE}))
    await drive.until(lambda: ready(rig))

    async def held() -> bool:
        return FINALIZER_INSTANCES in (await rig.get("Database", "orders"))["metadata"].get("finalizers", ())

    await drive.until(held)
    looks = len(cloud.of(ProbeTask))
    refusal = Result(outcome=Outcome.FAILED, reason="CloudUnreachable", message="no answer", retryable=True)
    rig.agents.script = cloud if works else lambda request: cloud(request) and refusal
    await rig.delete("Database", "orders")

    async def gone() -> bool:
        return not await rig.objects("Database")

    await drive.until(gone, limit=HOUR)
    more = [one.job for one in cloud.of(ProbeTask)[looks:]]
    assert [one.managed and one.managed.active for one in more if isinstance(one, ProbeTask)] == [[]] * (
        1 if works else 3
    )
    assert ("InstanceLeft" in rig.told.reasons("orders")) is not works
