"""The controllers on an API server: what a user applies becomes backups, verdicts and conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import BackupTask
from databosun.api.result import Finding, Outcome, ProbeResult, Result
from databosun.domain.plan import FINALIZER_RESULT
from databosun.kube.errors import AdmissionRefused, QuotaExceeded
from databosun.kube.resources import JOBS, Object, Resource
from support.objects import backup, conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, phases, ready
from support.operatorlife import Process
from support.operatorseeds import seeded, soon


async def test_a_due_slot_becomes_a_backup_and_every_status_says_so(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(cron=soon(rig)))
    await drive.until(all_done(rig, "Succeeded"))
    (found,) = await rig.objects("Backup")
    assert conditions(found) == {"Ready": ("True", "Succeeded")}
    assert [one["number"] for one in found["status"]["attempts"]] == [1]
    seen = conditions(await rig.get("Database", "orders"))
    assert seen["Protected"] == ("True", "RecentBackup")
    summary = await rig.get("BackupPolicy", "nightly")
    assert conditions(summary)["LastRunSucceeded"] == ("True", "Succeeded")
    assert summary["status"]["backups"]["total"] == 1
    assert not await rig.objects("Pod")


async def test_a_database_that_cannot_be_backed_up_says_what_to_do(rig: Rig) -> None:
    finding = Finding(reason="GrantMissing", message="may not replicate", fix="ALTER ROLE …", blocks=["Auto"])
    seen = ProbeResult(reachable=True, host="db", engine_version="18.1", findings=[finding])
    refusal = Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", probe=seen)
    rig.agents.script = lambda request: refusal if request.job.task == "probe" else None
    await rig.create(storage(), database(), policy())

    async def stalled() -> bool:
        return conditions(await rig.get("Database", "orders")).get("Stalled") == ("True", "GrantMissing")

    await Driver(rig).until(stalled)
    ready_one = next(
        one for one in (await rig.get("Database", "orders"))["status"]["conditions"] if one["type"] == "Ready"
    )
    assert "ALTER ROLE" in ready_one["message"]


async def test_a_backup_by_hand_that_waits_is_not_started_after_its_not_after(rig: Rig) -> None:
    refusal = Result(outcome=Outcome.FAILED, reason="StorageAway", message="no answer", retryable=True)
    rig.agents.script = lambda request: refusal if request.job.task == "validate" else None
    await rig.create(storage(), database(), policy(), backup("mine", rig.clock.now() + 10 * MINUTE))
    drive = Driver(rig)
    await drive.until(all_done(rig, "Failed"))
    assert (await rig.get("Backup", "mine"))["status"]["failure"]["reason"] == "NotStarted"
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "backup"]


async def test_a_backup_that_names_only_its_policy_starts_when_the_storage_becomes_ready(rig: Rig) -> None:
    refusal = Result(outcome=Outcome.FAILED, reason="StorageAway", message="no answer", retryable=True)
    rig.agents.script = lambda request: refusal if request.job.task == "validate" else None
    made = backup("mine", rig.clock.now() + 12 * HOUR)
    del made["spec"]["databaseRef"]
    await rig.create(storage(), database(), policy(), made)
    drive = Driver(rig)

    async def waiting() -> bool:
        return conditions(await rig.get("Backup", "mine")).get("Reconciling") == ("True", "StorageNotReady")

    await drive.until(waiting)
    rig.agents.script = lambda _request: None
    await drive.until(all_done(rig, "Succeeded"), limit=HOUR)


def refusing(process: Process, error: Exception) -> None:
    """From now on no Job of a backup is let in."""
    create = process.kube.create

    async def refuse(resource: Resource, namespace: str, body: Object) -> Any:
        if resource == JOBS and body["metadata"]["labels"]["databosun.io/task"] == "backup":
            raise error
        return await create(resource, namespace, body)

    process.kube.create = refuse  # type: ignore[method-assign]


async def test_a_job_that_admission_refuses_ends_the_run_and_blocks_nobody(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(rig))
    refusing(await drive.process(), AdmissionRefused("denied by policy: no such image"))
    await rig.create(backup("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(all_done(rig, "Failed"))
    failure = (await rig.get("Backup", "mine"))["status"]["failure"]
    assert failure["reason"] == "AdmissionRefused"
    assert "no such image" in failure["message"]
    assert not (await drive.process()).wired.context.register.active


async def test_a_quota_for_jobs_is_waited_for_while_others_go_on(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(rig))
    process = await drive.process()
    create = process.kube.create
    refusing(process, QuotaExceeded("exceeded quota: jobs"))
    await rig.create(backup("mine", rig.clock.now() + 12 * HOUR))

    async def waiting() -> bool:
        return conditions(await rig.get("Backup", "mine")).get("Reconciling") == ("True", "QuotaExceeded")

    await drive.until(waiting)
    assert not process.wired.context.register.active
    process.kube.create = create  # type: ignore[method-assign]
    await drive.until(all_done(rig, "Succeeded"))


async def test_a_run_that_is_deleted_before_it_has_a_pod_frees_its_database(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(rig))
    process = await drive.process()
    await rig.create(backup("mine", rig.clock.now() + 12 * HOUR))
    await process.watch(await rig.everything())
    assert len(process.wired.context.register.active) == 1
    await rig.delete("Backup", "mine")
    await process.watch(await rig.everything())
    assert not process.wired.context.register.active


async def test_pods_of_objects_that_are_gone_are_let_go(rig: Rig) -> None:
    rig.agents.script = lambda _request: "hang"
    await rig.create(storage(), database(), policy())
    drive = Driver(rig)

    async def looking() -> bool:
        return [pod["status"]["phase"] for pod in await rig.objects("Pod")] == ["Running", "Running"]

    await drive.until(looking)
    assert all(FINALIZER_RESULT in pod["metadata"]["finalizers"] for pod in await rig.objects("Pod"))
    for kind, name in (("Database", "orders"), ("BackupStorage", "prod"), ("BackupPolicy", "nightly")):
        await rig.delete(kind, name)
    for _ in range(100):
        await rig.rest(await drive.process())
        if not await rig.objects("Pod"):
            break
        await rig.wait(await drive.process(), timedelta(seconds=1))
    assert not await rig.objects("Pod")


async def test_a_pod_that_vanishes_counts_as_writing_until_its_deadline_and_a_minute(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(deadline="20m", retries=1))
    await drive.until(lambda: ready(rig))
    rig.agents.script = lambda request: "hang" if isinstance(request.job, BackupTask) else None
    await rig.create(backup("mine", rig.clock.now() + 12 * HOUR))

    async def running() -> bool:
        return [pod["status"]["phase"] for pod in await rig.objects("Pod")] == ["Running"]

    await drive.until(running)
    begun = rig.clock.now()
    (pod,) = await rig.objects("Pod")
    await rig.strip(pod)
    await rig.delete("Pod", pod["metadata"]["name"])
    rig.agents.script = lambda _request: None
    rig.agents.one_pod_a_job = True
    await drive.until(all_done(rig, "Succeeded"))
    attempts = (await rig.get("Backup", "mine"))["status"]["attempts"]
    assert [(one["number"], one["reason"]) for one in attempts] == [(1, "Unresponsive"), (2, "Succeeded")]
    assert rig.clock.now() - begun >= timedelta(minutes=20)


async def test_the_only_backup_deleted_the_database_says_that_it_is_not_protected(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 1, cron="0 0 * * *")
    await drive.until(lambda: ready(rig))
    assert conditions(await rig.get("Database", "orders"))["Protected"][0] == "True"
    await rig.delete("Backup", "seed-0")
    await drive.idle(5 * MINUTE)
    found = await rig.get("Database", "orders")
    assert conditions(found)["Protected"] == ("False", "NoBackup")
    assert "lastBackup" not in found["status"]


async def test_a_policy_that_is_suspended_lets_nothing_go(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 4, retention={"keepLast": 2, "grace": "1h"}, suspend=True)
    await drive.until(lambda: ready(rig))
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert conditions(await rig.get("BackupPolicy", "nightly"))["RetentionHealthy"] == ("True", "Suspended")
    assert not rig.agents.bucket.deleted


async def test_a_policy_that_is_broken_for_a_while_owes_nothing_when_it_is_put_right(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(cron="*/30 * * * *", suspend=True))
    await drive.until(lambda: ready(rig))
    await drive.idle(3 * HOUR)

    def broken(body: Object) -> None:
        body["spec"] |= {"suspend": False, "jitter": "2h"}

    await rig.edit("BackupPolicy", "nightly", broken)
    await drive.idle(MINUTE)
    assert conditions(await rig.get("BackupPolicy", "nightly"))["Stalled"] == ("True", "InvalidSpec")

    def mended(body: Object) -> None:
        body["spec"]["jitter"] = "0s"

    await rig.edit("BackupPolicy", "nightly", mended)
    await drive.idle(MINUTE)
    entry = (await rig.get("Database", "orders"))["status"]["policies"][0]
    assert entry["missedSlots"] == 0


@pytest.mark.parametrize("policy_of_two", ["Forbid", "Allow"])
async def test_two_runs_of_one_database_meet_only_where_that_is_allowed(rig: Rig, policy_of_two: str) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(concurrencyPolicy=policy_of_two))
    await drive.until(lambda: ready(rig))
    rig.agents.script = lambda request: "hang" if isinstance(request.job, BackupTask) else None
    late = rig.clock.now() + 12 * HOUR
    await rig.create(backup("mine", late), backup("first", late))
    await drive.idle(MINUTE)
    running = [body for body in await rig.objects("Backup") if body["status"]["phase"] == "Running"]
    assert len(running) == (1 if policy_of_two == "Forbid" else 2)
    rig.agents.script = lambda _request: None
    await drive.until(all_done(rig, "Succeeded", "Succeeded"))
