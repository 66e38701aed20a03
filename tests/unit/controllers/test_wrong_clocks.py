"""A server's clock was ahead while a backup was taken: that backup is not the newest for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from databosun.api.v1alpha1.backup import BackupStatus
from databosun.kube.resources import BACKUPS
from support.objects import conditions
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, ready
from support.operatorseeds import seeded

YEAR = timedelta(days=365)


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


async def ahead(rig: Rig, name: str) -> None:
    """As if that backup had been taken while the server's clock was a year ahead."""
    body = await rig.get("Backup", name)
    at = datetime.fromisoformat(body["status"]["snapshotTime"]) + YEAR
    status, version = {"snapshotTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}, body["metadata"]["resourceVersion"]
    await rig.kube.patch_status(BACKUPS, rig.namespace, name, status, version)


def test_a_backup_shows_nothing_that_came_after_it() -> None:
    done = datetime(2026, 3, 1, tzinfo=UTC)
    assert BackupStatus(snapshot_time=done + YEAR, completion_time=done).shows == done
    assert BackupStatus(snapshot_time=done - HOUR, completion_time=done).shows == done - HOUR
    assert BackupStatus(snapshot_time=done).shows == done
    assert BackupStatus(completion_time=done).shows is None


async def test_it_makes_no_database_protected_for_ever(drive: Driver) -> None:
    rig = drive.rig
    rig.agents.script = lambda request: "crash" if request.job.task == "backup" else None
    await seeded(drive, 3, cron="0 0 * * *")
    await ahead(rig, "seed-0")
    await drive.until(lambda: ready(rig))
    recovery = (await rig.get("Database", "orders"))["status"]["recovery"]
    assert datetime.fromisoformat(recovery["latest"]) < rig.clock.now() - 23 * HOUR
    rig.clock.advance(timedelta(days=10))
    await drive.idle(HOUR)
    found = conditions(await rig.get("Database", "orders"))
    assert (found["Protected"][0], found["RPOMet"][0]) == ("False", "False")


async def test_retention_and_a_persons_delete_keep_the_real_newest(drive: Driver) -> None:
    rig = drive.rig
    retention = {"keepLast": 1, "grace": "0s"}
    await seeded(drive, 2, deletionPolicy="Delete", retention=retention, suspend=True)
    await ahead(rig, "seed-0")
    await drive.until(lambda: ready(rig))
    await rig.delete("Backup", "seed-1")
    await drive.idle(5 * MINUTE)
    assert "DataRetained" in rig.told.reasons("seed-1")
    assert not rig.agents.bucket.deleted


async def test_retention_lets_it_go_when_its_turn_comes(drive: Driver) -> None:
    rig = drive.rig
    await seeded(drive, 3, retention={"keepLast": 2, "grace": "0s"}, suspend=True)
    await ahead(rig, "seed-0")
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"].update(suspend=False))
    await drive.idle(HOUR)
    assert rig.agents.bucket.deleted == ["seed-0"]
