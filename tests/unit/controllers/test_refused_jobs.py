"""What somebody deletes does not hang on an API server that takes no Job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.kube.errors import AdmissionRefused, QuotaExceeded
from databosun.kube.resources import JOBS, Object, Resource
from support.memorykube import MemoryKube
from support.objects import conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import MINUTE, Driver, all_done, ready
from support.operatorseeds import seeded

REFUSALS = pytest.mark.parametrize("refusal", [QuotaExceeded, AdmissionRefused])
PLACE = {"parameterGroup": "drills", "subnetGroup": "private", "securityGroupIds": ["sg-1"]}
RDS = {
    "instance": "orders",
    "region": "eu-central-1",
    "engine": "PostgreSQL",
    "credentialsSecretRef": {"name": "aws"},
    "drill": PLACE,
}


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


def refuse(monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]) -> None:
    """From now on no Job is taken."""
    real = MemoryKube.create

    async def create(self: MemoryKube, resource: Resource, *args: Any) -> Object:
        if resource == JOBS:
            raise refusal("no Job today")
        return await real(self, resource, *args)

    monkeypatch.setattr(MemoryKube, "create", create)


@REFUSALS
async def test_a_backup_goes_and_its_data_stay(
    drive: Driver, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    rig = drive.rig
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    refuse(monkeypatch, refusal)
    await rig.delete("Backup", "seed-0")
    await drive.idle(15 * MINUTE)
    assert len(await rig.objects("Backup")) == 2, "it may yet be taken"
    await drive.idle(30 * MINUTE)
    assert [one["metadata"]["name"] for one in await rig.objects("Backup")] == ["seed-1"]
    (told,) = [message for name, reason, message in rig.told.events if (name, reason) == ("seed-0", "DataRetained")]
    assert "no Job today" in told


@REFUSALS
async def test_a_database_goes_and_its_slot_is_named(
    drive: Driver, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    rig = drive.rig
    await rig.create(storage(), database(tier=1), policy(continuous={"enabled": True, "maxLag": "1m"}))

    async def archiving() -> bool:
        body = await rig.get("Database", "orders")
        return conditions(body).get("ContinuousHealthy") == ("True", "Archiving") and not await rig.objects("Job")

    await drive.until(archiving)
    refuse(monkeypatch, refusal)
    await rig.delete("Database", "orders")
    await drive.idle(15 * MINUTE)
    assert await rig.objects("Database")
    await drive.idle(30 * MINUTE)
    assert not await rig.objects("Database")
    (told,) = [message for _, reason, message in rig.told.events if reason == "SlotLeft"]
    assert "no Job today" in told


@REFUSALS
async def test_a_database_goes_whose_instances_cannot_be_looked_for(
    drive: Driver, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    rig = drive.rig
    await rig.create(storage(), database(engine="RDS", rds=RDS))

    async def held() -> bool:
        return bool((await rig.get("Database", "orders"))["metadata"].get("finalizers"))

    await drive.until(held)
    refuse(monkeypatch, refusal)
    await rig.delete("Database", "orders")
    await drive.idle(45 * MINUTE)
    assert not await rig.objects("Database")
    assert "InstanceLeft" in rig.told.reasons("orders")


async def test_a_job_that_is_taken_in_time_deletes_as_ever(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = drive.rig
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    with monkeypatch.context() as patch:
        refuse(patch, QuotaExceeded)
        await rig.delete("Backup", "seed-0")
        await drive.idle(10 * MINUTE)
    await drive.until(all_done(rig, "Succeeded"))
    assert rig.agents.bucket.deleted == ["seed-0"]
