"""What happens between a slot and its Job: few requests, and nothing is told before the Job is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.kube.resources import Object, Resource
from support.chaoskube import ChaosKube
from support.objects import database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, phases, ready
from support.operatorseeds import soon

Asked = list[tuple[str, str]]


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    """Objects at rest, some minutes before a slot."""
    rig = Rig(None)
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(cron=soon(rig), jitter="0s"))
    await drive.until(lambda: ready(rig))
    yield drive
    await rig.close()


def listen(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the operator asks of the API server from now on."""
    asked: Asked = []
    for verb in ("get", "list", "create", "patch_status", "patch_metadata"):
        real = getattr(ChaosKube, verb)

        def heard(
            self: ChaosKube, resource: Resource, *rest: Any, verb: str = verb, real: Any = real, **more: Any
        ) -> Any:
            asked.append((verb, resource.kind))
            return real(self, resource, *rest, **more)

        monkeypatch.setattr(ChaosKube, verb, heard)
    return asked


async def test_a_due_run_takes_five_requests_to_its_job(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = listen(monkeypatch)
    await drive.until(all_done(drive.rig, "Succeeded"))
    assert asked[: asked.index(("create", "Job")) + 1] == [
        ("get", "Database"),
        ("get", "BackupPolicy"),
        ("create", "Backup"),
        ("get", "Backup"),
        ("create", "Job"),
    ]


async def test_a_run_that_is_deleted_before_its_slot_is_written_down_is_not_made_again(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = ChaosKube.create, []

    async def create(self: ChaosKube, resource: Resource, namespace: str, body: Object) -> Object:
        made.append(resource.kind)
        created = await real(self, resource, namespace, body)
        if resource.kind == "Backup":
            await drive.rig.delete("Backup", created["metadata"]["name"])
        return created

    monkeypatch.setattr(ChaosKube, "create", create)
    await drive.idle(HOUR)
    assert made.count("Backup") == 1
    assert await phases(drive.rig) == []
    (entry,) = (await drive.rig.get("Database", "orders"))["status"]["policies"]
    assert entry["schedules"][0]["slot"], "the slot is answered"
    await drive.idle(MINUTE)
